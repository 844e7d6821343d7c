//! Adapters: nothing at first, merged equals unmerged, PEFT's files.

use std::path::Path;

use visa_nn::{Batch, Encoder, Lora, Params, StoreType};

use crate::{CPU, assert_close, expected, golden, ids, tiny};

#[test]
fn a_fresh_adapter_changes_nothing() {
    let text = ids(&[&[5, 9, 200, 7]]);
    let base = tiny("llama-tied");
    let adapted = base
        .clone()
        .with_lora(&Lora::new(4, 8.0, &["q_proj", "up_proj"]), 1)
        .unwrap();
    let want = base.forward(&text, None).unwrap();
    assert_close(&adapted.forward(&text, None).unwrap(), &want, 0.0);
}

#[test]
fn merged_equals_unmerged_and_leaves_the_base_alone() {
    let base = tiny("llama-tied");
    let text = &expected()["llama-tied.ids"];
    let before = base.forward(text, None).unwrap();
    let adapted = base.clone().with_adapter(&golden("llama-lora")).unwrap();
    let unmerged = adapted.forward(text, None).unwrap();
    let merged = adapted.clone().merged().unwrap();
    assert!(merged.adapter().is_none());
    assert_close(&merged.forward(text, None).unwrap(), &unmerged, 1e-4);
    assert_close(&base.forward(text, None).unwrap(), &before, 0.0);
    let dropped = adapted.without_adapter().unwrap();
    assert_close(&dropped.forward(text, None).unwrap(), &before, 0.0);
    let moved = (unmerged - before)
        .unwrap()
        .abs()
        .unwrap()
        .max_all()
        .unwrap();
    assert!(moved.to_scalar::<f32>().unwrap() > 0.1);
}

#[test]
fn files_of_peft_are_read_and_written_alike() {
    let dir = tempfile::tempdir().unwrap();
    let mut adapted = tiny("llama-tied")
        .with_adapter(&golden("llama-lora"))
        .unwrap();
    adapted.save_adapter(dir.path(), StoreType::F32).unwrap();
    let ours = Params::load_file(&dir.path().join("adapter_model.safetensors"), CPU).unwrap();
    let peft = golden("llama-lora").join("adapter_model.safetensors");
    let peft = Params::load_file(&peft, CPU).unwrap();
    assert_eq!(
        ours.to_bytes(StoreType::F32).unwrap(),
        peft.to_bytes(StoreType::F32).unwrap()
    );
    assert_eq!(
        Lora::load(dir.path()).unwrap(),
        Lora::load(&golden("llama-lora")).unwrap()
    );

    // Training goes on where it stood.
    assert!(adapted.vars().is_empty());
    adapted.train_adapter().unwrap();
    assert_eq!(adapted.vars().len(), 8);
}

#[test]
fn an_encoder_adapter_survives_its_files_under_either_name() {
    let dir = tempfile::tempdir().unwrap();
    let base = Encoder::load(&golden("bert"), CPU).unwrap();
    let lora = Lora::new(3, 6.0, &["query", "intermediate.dense"]);
    let adapted = base.clone().with_lora(&lora, 5).unwrap();
    for (_, var) in adapted.vars() {
        var.set(&(var.ones_like().unwrap() * 0.01).unwrap())
            .unwrap();
    }
    let batch = Batch {
        ids: ids(&[&[5, 9, 200, 7]]),
        type_ids: None,
        lens: vec![4],
    };
    let want = adapted.forward(&batch).unwrap();
    adapted.save_adapter(dir.path(), StoreType::F32).unwrap();
    let read = base.clone().with_adapter(dir.path()).unwrap();
    assert_close(&read.forward(&batch).unwrap(), &want, 0.0);

    // As PEFT writes it for a model that holds the encoder as `bert`.
    let path = dir.path().join("adapter_model.safetensors");
    let mut params = Params::load_file(&path, CPU).unwrap();
    params.rename(|name| name.replace("base_model.model.", "base_model.model.bert."));
    params.save_file(&path, StoreType::F32).unwrap();
    let read = base.with_adapter(dir.path()).unwrap();
    assert_close(&read.forward(&batch).unwrap(), &want, 0.0);
}

#[test]
fn adapters_that_do_not_fit_are_refused() {
    let check = |dir: &Path, expected: &str| {
        let error = tiny("llama-tied")
            .with_adapter(dir)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(Path::new("nowhere"), "adapter_config.json");
    let dir = tempfile::tempdir().unwrap();
    let config = std::fs::read_to_string(golden("llama-lora").join("adapter_config.json")).unwrap();
    let weights = std::fs::read(golden("llama-lora").join("adapter_model.safetensors")).unwrap();
    std::fs::write(dir.path().join("adapter_model.safetensors"), &weights).unwrap();
    let with = |from: &str, to: &str, expected: &str| {
        assert!(config.contains(from), "{from}");
        std::fs::write(
            dir.path().join("adapter_config.json"),
            config.replace(from, to),
        )
        .unwrap();
        check(dir.path(), expected);
    };
    with("\"use_dora\": false", "\"use_dora\": true", "use_dora");
    with("\"bias\": \"none\"", "\"bias\": \"all\"", "bias");
    with("\"LORA\"", "\"IA3\"", "peft_type");
    with("\"r\": 2", "\"r\": 3", "has shape");
    with("\"r\": 2", "\"r\": 0", "`r`");
    with("\"q_proj\"", "\"query\"", "`query` does not exist");
    with("\"q_proj\"", "\"k_proj\"", "is missing");
    with(
        "\"q_proj\"",
        "\"down_proj\"",
        "belongs to no adapted module",
    );
    with("\"peft_version\"", "peft_version", "not valid JSON");
    std::fs::write(dir.path().join("adapter_config.json"), &config).unwrap();
    std::fs::write(
        dir.path().join("adapter_model.safetensors"),
        &weights[..weights.len() - 9],
    )
    .unwrap();
    check(dir.path(), "not a whole safetensors file");
}
