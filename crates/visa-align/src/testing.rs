//! Tiny random models on disk, for the tests of this crate and of those above it.
//!
//! Not part of the interface: hidden from the documentation, and no other code calls it, so that the linker leaves it
//! out of every program. What these models say means nothing; they take a hundred kilobytes and milliseconds to make.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use visa_nn::{Decoder, DecoderConfig, Encoder, EncoderConfig, Lora, StoreType, Tokenizer};
use visa_values::{Category, NAMES};

use crate::format;
use crate::head::{FORMAT, Head, HeadConfig, HeadKind, Output, Pooling};
use crate::models::Part;

/// Text that both tokenizers are trained on.
const CORPUS: &str = "You should wear a helmet because it keeps your children safe. We share what we have, so that nobody \
    goes hungry. Out of respect for the old ways they keep the fire burning. Freedom to choose is what I want most of all.";

/// Writes a whole models folder.
pub fn models(root: &Path) {
    encoder(&root.join("encoder"));
    let heads = [Part::Detector, Part::Translator, Part::Nli, Part::Sense];
    for part in heads.into_iter().chain(Part::JUDGE) {
        head(&root.join(part.folder()), part);
    }
    rewriter(&root.join("rewriter"));
}

const HIDDEN: usize = 16;

/// Writes the trunk: two layers of width 16, 128 positions.
pub fn encoder(dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    let tokenizer =
        Tokenizer::train_bpe([CORPUS].iter(), 400, &["[PAD]", "[CLS]", "[SEP]"]).unwrap();
    tokenizer.save(dir).unwrap();
    let config = format!(
        r#"{{"model_type":"bert","vocab_size":{},"hidden_size":{HIDDEN},"num_hidden_layers":2,"num_attention_heads":2,
            "intermediate_size":32,"max_position_embeddings":128,"type_vocab_size":2,"layer_norm_eps":1e-12,"hidden_act":"gelu"}}"#,
        tokenizer.vocab_size()
    );
    let config = EncoderConfig::parse(&config, dir).unwrap();
    Encoder::new_random(&config, 1, &Device::Cpu)
        .unwrap()
        .save(dir, StoreType::F32)
        .unwrap();
}

/// Writes a random head over the trunk in the sibling folder `encoder`.
fn head(dir: &Path, part: Part) {
    std::fs::create_dir_all(dir).unwrap();
    let categories: Vec<&str> = Category::ALL.iter().map(|c| c.name()).collect();
    let (kind, pooling, outputs) = match part {
        Part::Detector | Part::JudgeDetector => (
            HeadKind::Detector,
            Pooling::Mean,
            vec![
                Output::new("presence", &categories, &[]),
                Output::new("sign", &NAMES, &["rejects", "silent", "embraces"]),
            ],
        ),
        Part::Translator => (
            HeadKind::Translator,
            Pooling::Mean,
            vec![
                Output::new("direction", &NAMES, &["down", "none", "up"]),
                Output::new("strength", &NAMES, &[]),
            ],
        ),
        Part::Sense => (HeadKind::Sense, Pooling::Segments, crate::sense::outputs()),
        _ => (
            HeadKind::Nli,
            Pooling::Segments,
            vec![Output::new(
                "relation",
                &["relation"],
                &["entailment", "neutral", "contradiction"],
            )],
        ),
    };
    let config = HeadConfig {
        format: FORMAT,
        kind,
        base: "../encoder".into(),
        base_sha256: String::new(),
        hidden: HIDDEN,
        pooling,
        inner: 0,
        max_tokens: 48,
        outputs,
        presence_share: 0.0,
        about: BTreeMap::new(),
    };
    // The judge is another model, not another copy.
    let mut rng = ChaCha8Rng::seed_from_u64(if Part::JUDGE.contains(&part) { 8 } else { 7 });
    let tensors = Head::shapes(&config)
        .into_iter()
        .map(|(name, shape)| {
            let data: Vec<f32> = (0..shape.iter().product())
                .map(|_| rng.random_range(-2.0..2.0))
                .collect();
            (name, Tensor::from_vec(data, shape, &Device::Cpu).unwrap())
        })
        .collect();
    Head::from_tensors(config, tensors)
        .unwrap()
        .save(dir, DType::F32)
        .unwrap();
    let encoder = Encoder::load(&dir.join("../encoder"), &Device::Cpu).unwrap();
    let lora = Lora::new(2, 4.0, &["query", "value"]);
    encoder
        .with_lora(&lora, 3)
        .unwrap()
        .save_adapter(dir, StoreType::F32)
        .unwrap();
}

/// Writes the decoder: two layers of width 16, 256 positions, the marks and value tokens of [`mod@format`].
pub fn rewriter(dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    let specials = format::specials();
    let names: Vec<&str> = specials.iter().map(String::as_str).collect();
    let tokenizer = Tokenizer::train_bpe([CORPUS].iter(), 400, &names).unwrap();
    tokenizer.save(dir).unwrap();
    let config = format!(
        r#"{{"model_type":"llama","vocab_size":{},"hidden_size":16,"intermediate_size":32,"num_hidden_layers":2,
            "num_attention_heads":2,"num_key_value_heads":1,"head_dim":8,"max_position_embeddings":256,"rms_norm_eps":1e-5,
            "rope_theta":10000.0,"tie_word_embeddings":true,"hidden_act":"silu"}}"#,
        tokenizer.vocab_size()
    );
    let config = DecoderConfig::parse(&config, dir).unwrap();
    Decoder::new_random(&config, 5, &Device::Cpu)
        .unwrap()
        .save(dir, StoreType::F32)
        .unwrap();
}
