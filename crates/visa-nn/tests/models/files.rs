//! Model files: round trips, and what is said of damaged ones.

use std::fs;
use std::path::Path;

use candle_core::{DType, Tensor};
use visa_nn::{Decoder, DecoderConfig, Encoder, EncoderConfig, Error, Params, StoreType};

use crate::{CPU, assert_close, golden, ids};

const NAMES: [&str; 3] = ["bert", "llama-tied", "llama-untied"];

fn load(dir: &Path) -> Result<usize, Error> {
    if fs::read_to_string(dir.join("config.json")).is_ok_and(|text| text.contains("\"bert\"")) {
        Encoder::load(dir, CPU).map(|encoder| encoder.params().len())
    } else {
        Decoder::load(dir, CPU).map(|decoder| decoder.params().len())
    }
}

/// A copy of a golden model that a test may damage.
fn copy_of(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(golden(name).join(file), dir.path().join(file)).unwrap();
    }
    dir
}

#[test]
fn saving_what_was_loaded_gives_the_same_bytes() {
    for name in NAMES {
        let dir = tempfile::tempdir().unwrap();
        let params = Params::load(&golden(name), CPU).unwrap();
        params.save(dir.path(), StoreType::F32).unwrap();
        let again = Params::load(dir.path(), CPU).unwrap();
        for (name, tensor) in params.iter() {
            assert_close(again.get(name).unwrap(), tensor, 0.0);
        }
        for dtype in [StoreType::F32, StoreType::F16, StoreType::Bf16] {
            let first = params.to_bytes(dtype).unwrap();
            let read = Params::from_bytes(&first, Path::new("memory"), CPU).unwrap();
            assert_eq!(read.to_bytes(dtype).unwrap(), first, "{name} {dtype:?}");
        }
        // One file there, and no temporary one.
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_saved_model_loads_with_its_configuration() {
    let text = ids(&[&[5, 9, 200, 7]]);
    let dir = tempfile::tempdir().unwrap();
    for name in ["llama-tied", "llama-untied"] {
        let decoder = Decoder::load(&golden(name), CPU).unwrap();
        decoder.save(dir.path(), StoreType::F32).unwrap();
        let again = Decoder::load(dir.path(), CPU).unwrap();
        assert_eq!(again.config(), decoder.config());
        assert_close(
            &again.forward(&text, None).unwrap(),
            &decoder.forward(&text, None).unwrap(),
            0.0,
        );
        // Bytes round to half a step of their row; what is no matrix is bf16.
        decoder.save(dir.path(), StoreType::Int8).unwrap();
        let bytes = Decoder::load(dir.path(), CPU).unwrap();
        assert_eq!(bytes.config(), decoder.config());
        assert_eq!(bytes.params().len(), decoder.params().len());
        for (name, weight) in decoder.params().iter() {
            let most = weight.abs().unwrap().max_all().unwrap();
            let half = 0.51 / 127.0 * most.to_scalar::<f32>().unwrap();
            assert_close(bytes.params().get(name).unwrap(), weight, half);
        }
        // Half precision rounds, and not more.
        decoder.save(dir.path(), StoreType::Bf16).unwrap();
        let half = Decoder::load(dir.path(), CPU).unwrap();
        let w = "model.layers.0.mlp.up_proj.weight";
        assert_close(
            half.params().get(w).unwrap(),
            decoder.params().get(w).unwrap(),
            4e-3,
        );
    }
    let encoder = Encoder::load(&golden("bert"), CPU).unwrap();
    encoder.save(dir.path(), StoreType::F32).unwrap();
    assert_eq!(EncoderConfig::load(dir.path()).unwrap(), *encoder.config());
}

#[test]
fn names_with_and_without_prefix_and_of_old_checkpoints_load() {
    let dir = copy_of("bert");
    let check = |from: &str, to: &str| {
        let mut params = Params::load(&golden("bert"), CPU).unwrap();
        params.rename(|name| name.replace(from, to));
        params.save(dir.path(), StoreType::F32).unwrap();
        load(dir.path()).unwrap();
    };
    check("encoder.layer", "bert.encoder.layer");
    check("LayerNorm.weight", "LayerNorm.gamma");
    let mut params = Params::load(&golden("bert"), CPU).unwrap();
    params.rename(|name| format!("bert.{name}"));
    params.save(dir.path(), StoreType::F32).unwrap();
    load(dir.path()).unwrap();
}

#[test]
fn shards_are_read_and_stay_beside_their_index() {
    let dir = copy_of("llama-untied");
    let params = Params::load(&golden("llama-untied"), CPU).unwrap();
    let mut map = serde_json::Map::new();
    for (part, odd) in [("a.safetensors", false), ("b.safetensors", true)] {
        let mut shard = Params::new(part, CPU);
        for (i, (name, tensor)) in params.iter().enumerate() {
            if (i % 2 == 1) == odd {
                shard.insert(name, tensor).unwrap();
                map.insert(name.to_owned(), part.into());
            }
        }
        shard
            .save_file(&dir.path().join(part), StoreType::F32)
            .unwrap();
    }
    fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    let index = dir.path().join("model.safetensors.index.json");
    fs::write(&index, serde_json::json!({ "weight_map": map }).to_string()).unwrap();
    assert_eq!(load(dir.path()).unwrap(), params.len());
    fs::write(&index, r#"{"weight_map": {"x": "../a.safetensors"}}"#).unwrap();
    let error = load(dir.path()).unwrap_err().to_string();
    assert!(error.contains("not a file name"), "{error}");
}

#[test]
fn truncated_and_missing_files_are_named() {
    for name in NAMES {
        let dir = copy_of(name);
        let file = dir.path().join("model.safetensors");
        let whole = fs::read(&file).unwrap();
        for keep in [0, 4, 9, 300, whole.len() / 2, whole.len() - 1] {
            fs::write(&file, &whole[..keep]).unwrap();
            let error = load(dir.path()).unwrap_err().to_string();
            assert!(
                error.contains("model.safetensors: not a whole"),
                "{keep}: {error}"
            );
            assert!(error.contains("again"), "{error}");
        }
        fs::remove_file(&file).unwrap();
        let error = load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("model.safetensors"), "{error}");
        fs::remove_file(dir.path().join("config.json")).unwrap();
        let error = load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("config.json"), "{error}");
    }
}

#[test]
fn wrong_tensors_are_named() {
    let name = "model.layers.1.mlp.up_proj.weight";
    let check = |change: &dyn Fn(&mut Params), expected: &str| {
        let dir = copy_of("llama-untied");
        let mut params = Params::load(&golden("llama-untied"), CPU).unwrap();
        change(&mut params);
        params.save(dir.path(), StoreType::F32).unwrap();
        let error = load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("model.safetensors"), "{error}");
        assert!(error.contains(name) && error.contains(expected), "{error}");
    };
    check(&|params| drop(params.remove(name)), "is missing");
    let other = Tensor::zeros((3, 4), DType::F32, CPU).unwrap();
    check(
        &|params| params.insert(name, &other).unwrap(),
        "has shape [3, 4], expected [40, 16]",
    );
}

#[test]
fn numbers_that_are_none_are_not_loaded_or_saved() {
    let mut params = Params::new("memory", CPU);
    params
        .insert("a", &Tensor::new(&[1f32, 70_000.0], CPU).unwrap())
        .unwrap();
    params.to_bytes(StoreType::Bf16).unwrap();
    let error = params.to_bytes(StoreType::F16).unwrap_err().to_string();
    assert!(error.contains("`a`") && error.contains("f32"), "{error}");
    let bytes = params.to_bytes(StoreType::F32).unwrap();
    let mut broken = bytes.clone();
    let end = broken.len();
    broken[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let error = Params::from_bytes(&broken, Path::new("x.safetensors"), CPU)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("x.safetensors") && error.contains("`a`"),
        "{error}"
    );
    params
        .insert("a", &Tensor::new(&[f32::NAN], CPU).unwrap())
        .unwrap();
    assert!(params.to_bytes(StoreType::F32).is_err());
}

#[test]
fn configurations_that_are_not_supported_are_refused_by_name() {
    let decoder = fs::read_to_string(golden("llama-tied").join("config.json")).unwrap();
    let encoder = fs::read_to_string(golden("bert").join("config.json")).unwrap();
    let check = |base: &str, field: &str, value: serde_json::Value, expected: &str| {
        let mut json: serde_json::Value = serde_json::from_str(base).unwrap();
        json[field] = value;
        let path = Path::new("somewhere/config.json");
        let error = match base == encoder {
            true => EncoderConfig::parse(&json.to_string(), path).map(|_| ()),
            false => DecoderConfig::parse(&json.to_string(), path).map(|_| ()),
        };
        let error = error.unwrap_err().to_string();
        assert!(error.contains("somewhere/config.json"), "{error}");
        assert!(error.contains(expected), "{error}");
    };
    use serde_json::json;
    check(&decoder, "model_type", json!("mamba"), "mamba");
    check(&decoder, "model_type", json!(null), "model_type");
    check(
        &decoder,
        "rope_parameters",
        json!({"rope_type": "llama3", "factor": 8}),
        "llama3",
    );
    check(
        &decoder,
        "rope_scaling",
        json!({"type": "linear", "factor": 2}),
        "linear",
    );
    check(&decoder, "rope_scaling", json!({"factor": 2}), "factor");
    check(&decoder, "hidden_act", json!("gelu"), "hidden_act");
    check(&decoder, "hidden_size", json!(-3), "hidden_size");
    check(&decoder, "hidden_size", json!(null), "hidden_size");
    check(
        &decoder,
        "num_key_value_heads",
        json!(3),
        "num_key_value_heads",
    );
    check(&decoder, "head_dim", json!(5), "head_dim");
    check(&decoder, "eos_token_id", json!([1, 100_000]), "100000");
    check(
        &decoder,
        "quantization_config",
        json!({}),
        "quantization_config",
    );
    check(&decoder, "rms_norm_eps", json!("x"), "rms_norm_eps");
    check(&encoder, "model_type", json!("roberta"), "roberta");
    check(&encoder, "hidden_act", json!("relu"), "hidden_act");
    check(
        &encoder,
        "position_embedding_type",
        json!("relative_key"),
        "relative_key",
    );
    check(&encoder, "is_decoder", json!(true), "is_decoder");
    check(
        &encoder,
        "num_attention_heads",
        json!(5),
        "num_attention_heads",
    );
    let old = r#"{"model_type": "llama", "vocab_size": 9, "hidden_size": 8, "intermediate_size": 8,
        "num_hidden_layers": 1, "num_attention_heads": 2, "rope_theta": 500000.0, "pad_token_id": -1}"#;
    let config = DecoderConfig::parse(old, Path::new("config.json")).unwrap();
    assert_eq!(
        (
            config.rope_theta,
            config.head_dim,
            config.num_key_value_heads
        ),
        (5e5, 4, 2)
    );
    assert!(DecoderConfig::parse("{", Path::new("config.json")).is_err());
    assert!(DecoderConfig::parse("[]", Path::new("config.json")).is_err());
}

#[test]
fn random_models_depend_on_the_seed_alone() {
    let config = DecoderConfig::load(&golden("llama-tied")).unwrap();
    let bytes = |seed| {
        let decoder = Decoder::new_random(&config, seed, CPU).unwrap();
        assert_eq!(decoder.params().elements(), config.parameters());
        decoder.params().to_bytes(StoreType::F32).unwrap()
    };
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1), bytes(2));
}
