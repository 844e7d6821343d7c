//! The whole loop on a tiny random encoder: it learns, every tensor is trained, and an interruption changes nothing.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::Device;
use visa_align::head::{HeadKind, Output};
use visa_nn::{Encoder, EncoderConfig, StoreType, Tokenizer};

use super::fit::Verdict;
use super::*;
use crate::{Error, RunContext};

/// A folder with an encoder of two layers and a byte tokenizer.
pub(super) fn trunk(dir: &Path) {
    let config = EncoderConfig {
        vocab_size: 260,
        hidden_size: 16,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 32,
        max_position_embeddings: 64,
        type_vocab_size: 2,
        layer_norm_eps: 1e-12,
        pad_token_id: 0,
    };
    Encoder::new_random(&config, 1, &Device::Cpu)
        .unwrap()
        .save(dir, StoreType::F32)
        .unwrap();
    let specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];
    Tokenizer::train_bpe(std::iter::once("good bad"), 260, &specials)
        .unwrap()
        .save(dir)
        .unwrap();
}

pub(super) fn recipe(dir: &Path) -> Recipe {
    let mut recipe = Recipe {
        encoder: dir.join("encoder"),
        ..Recipe::default()
    };
    recipe.adapter = recipe::Adapter {
        rank: 4,
        alpha: 8.0,
    };
    recipe.head.max_tokens = 32;
    recipe.optimisation = recipe::Optimisation {
        epochs: 4,
        batch: 8,
        lr: 5e-3,
        head_lr: 2e-2,
        bf16: false,
        ..recipe.optimisation
    };
    recipe
}

const TEXTS: [(&str, f32); 4] = [
    ("all is good", 0.0),
    ("so bad", 2.0),
    ("good, good", 0.0),
    ("it went bad", 2.0),
];

fn run(recipe: &Recipe, out: &Path, stop_at: Option<usize>) -> crate::Result<(Fitted, usize)> {
    let outputs = vec![Output::new(
        "relation",
        &["relation"],
        &["entailment", "neutral", "contradiction"],
    )];
    let model = Model::new(recipe, HeadKind::Nli, outputs)?;
    let texts: Vec<(&str, Option<&str>)> = TEXTS.iter().map(|t| (t.0, None)).collect();
    let tokens = model.encode(&texts)?;
    let examples: Vec<Example> = (0..120)
        .map(|i| Example {
            tokens: tokens[i % 4].clone(),
            other: None,
            targets: vec![Target::known(vec![TEXTS[i % 4].1])],
            rate: 0.9,
        })
        .collect();
    let stop = AtomicBool::new(false);
    let context = RunContext {
        data: out.into(),
        out: out.into(),
        stop: &stop,
        progress: false,
    };
    let judged = std::cell::Cell::new(0);
    let judge = |model: &Model| {
        judged.set(judged.get() + 1);
        if stop_at == Some(judged.get()) {
            stop.store(true, Ordering::Relaxed);
        }
        let said = model.predict(&tokens.iter().collect::<Vec<_>>())?;
        let right = said[0]
            .iter()
            .zip(TEXTS)
            .map(|(z, t)| measure::strongest(z) == t.1 as usize);
        let score = measure::share(right).0;
        Ok(Verdict {
            score,
            metrics: vec![("right".into(), score)],
            config: model.head.config.clone(),
        })
    };
    let fitted = fit(&model, recipe, &context, &examples, &[1.0], &judge)?;
    Ok((fitted, judged.get()))
}

#[test]
fn it_learns_and_the_files_say_what_the_model_said() {
    let dir = tempfile::tempdir().unwrap();
    trunk(&dir.path().join("encoder"));
    let recipe = recipe(dir.path());
    // The loop refuses tensors that get no gradient within a hundred steps; this run is shorter, so ask here.
    let (fitted, judged) = run(&recipe, &dir.path().join("run"), None).unwrap();
    assert!(fitted.score > 0.99 && judged >= 4, "{fitted:?} {judged}");
    let trained = Trained::load(&fitted.model, &recipe.encoder).unwrap();
    let texts: Vec<(&str, Option<&str>)> = TEXTS.iter().map(|t| (t.0, None)).collect();
    for (p, t) in trained.predict(&texts).unwrap()[0].iter().zip(TEXTS) {
        assert_eq!(measure::strongest(p), t.1 as usize);
        assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }
}

#[test]
fn every_trainable_tensor_receives_a_gradient() {
    let dir = tempfile::tempdir().unwrap();
    trunk(&dir.path().join("encoder"));
    let recipe = Recipe {
        head: recipe::HeadShape {
            inner: 8,
            pooling: visa_align::head::Pooling::Rich,
            max_tokens: 32,
        },
        ..recipe(dir.path())
    };
    let outputs = vec![Output::new(
        "relation",
        &["relation"],
        &["entailment", "neutral", "contradiction"],
    )];
    let model = Model::new(&recipe, HeadKind::Nli, outputs).unwrap();
    // The update starts at B = 0, where A has no gradient yet: move every tensor off its start.
    for (_, var) in model.vars() {
        var.set(&var.rand_like(0.01, 0.05).unwrap()).unwrap();
    }
    let tokens = model
        .encode(&[("good", Some("bad")), ("bad, bad", None)])
        .unwrap();
    let batch = visa_nn::Batch::new(&tokens.iter().collect::<Vec<_>>(), 0, &Device::Cpu).unwrap();
    let loss = model.logits(&batch).unwrap()[0]
        .sqr()
        .unwrap()
        .sum_all()
        .unwrap();
    let grads = loss.backward().unwrap();
    for (name, var) in model.vars() {
        let grad = grads
            .get(&var)
            .unwrap_or_else(|| panic!("{name} has no gradient"));
        let size = grad
            .sqr()
            .unwrap()
            .sum_all()
            .unwrap()
            .to_scalar::<f32>()
            .unwrap();
        assert!(size > 0.0, "{name}");
    }
}

#[test]
fn an_interrupted_run_ends_with_the_same_model() {
    let dir = tempfile::tempdir().unwrap();
    trunk(&dir.path().join("encoder"));
    let recipe = recipe(dir.path());
    let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
    run(&recipe, &whole, None).unwrap();
    let error = run(&recipe, &parts, Some(2)).unwrap_err();
    assert!(matches!(error, Error::Interrupted { .. }), "{error}");
    run(&recipe, &parts, None).unwrap();
    for name in [
        "model/adapter_model.safetensors",
        "model/head.safetensors",
        "average.safetensors",
    ] {
        let read = |run: &Path| std::fs::read(run.join(name)).unwrap();
        assert!(read(&whole) == read(&parts), "{name} differs");
    }
}
