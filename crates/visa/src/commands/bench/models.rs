//! Whole models at work: a training step, prefill, decoding, rollouts, a step of GRPO, the encoder.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use visa_nn::ops::{Precision, set_precision};
use visa_nn::sample::{Generator, SampleOptions};
use visa_nn::{
    Batch, Decoder, DecoderConfig, Encoder, EncoderEngine, Engine, WeightType, mean_pool,
};
use visa_train::grpo::{Completion, Grpo, GrpoConfig, Judged, Prompt, Reward, Rollout};
use visa_train::objective::advantage::Term;
use visa_train::objective::policy::PolicyConfig;
use visa_train::optim::{AdamW, AdamWConfig};

use super::measure::{Case, seconds};
use super::peaks::Peak;
use super::sizes::{Sizes, decoder_flops, encoder_flops, multiplied};

/// Seed of all weights.
const SEED: u64 = 1;

/// A model in training, with a batch that it is given again and again: what is learned does not matter here.
pub(super) struct Training {
    decoder: Decoder,
    adam: AdamW,
    ids: Tensor,
    targets: Tensor,
    weights: Tensor,
}

impl Training {
    /// `shape`: sequences and tokens of each.
    pub(super) fn new(config: &DecoderConfig, shape: (usize, usize)) -> Result<Self> {
        let decoder = Decoder::new_random(config, SEED, &Device::Cpu)?;
        let adam = AdamW::new(decoder.vars(), AdamWConfig::default(), |_| 1.0)?;
        let (ids, targets, weights) = batch(config, shape)?;
        Ok(Self {
            decoder,
            adam,
            ids,
            targets,
            weights,
        })
    }

    /// Puts another batch in the place of the present one.
    pub(super) fn reshape(&mut self, shape: (usize, usize)) -> Result<()> {
        (self.ids, self.targets, self.weights) = batch(self.decoder.config(), shape)?;
        Ok(())
    }

    /// Forward, backward, clipping and update.
    pub(super) fn step(&mut self) -> Result<()> {
        let loss = self.decoder.loss(&self.ids, &self.targets, &self.weights)?;
        let mut grads = loss.backward()?;
        let grads: Vec<_> = self.adam.vars().map(|(_, var)| grads.remove(var)).collect();
        self.adam.step(&grads, 1.0, 1e-4)?;
        Ok(())
    }
}

fn batch(
    config: &DecoderConfig,
    (rows, length): (usize, usize),
) -> Result<(Tensor, Tensor, Tensor)> {
    let ids = tokens(config.vocab_size, rows * (length + 1), 7);
    let part = |from: usize| {
        let part: Vec<u32> = ids
            .chunks_exact(length + 1)
            .flat_map(|row| row[from..from + length].iter().copied())
            .collect();
        Tensor::from_vec(part, (rows, length), &Device::Cpu)
    };
    let weights = Tensor::ones((rows, length), DType::F32, &Device::Cpu)?;
    Ok((part(0)?, part(1)?, weights))
}

/// Random tokens, the same for the same seed.
fn tokens(vocabulary: usize, count: usize, seed: u64) -> Vec<u32> {
    let mut state = seed;
    (0..count)
        .map(|_| {
            // The generator of Knuth's MMIX; its upper half is random enough for this.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % vocabulary as u64) as u32
        })
        .collect()
}

/// Operations of a training step on each token: the backward pass costs two forward passes.
pub(super) fn training_flops(config: &DecoderConfig, length: usize) -> f64 {
    3.0 * decoder_flops(config, length as f64 / 2.0)
}

pub(super) fn train(sizes: &Sizes) -> Result<Vec<Case>> {
    let case = |name: &str, precision, peak| -> Result<Case> {
        let mut training = Training::new(&sizes.decoder, sizes.train)?;
        let tokens = (sizes.train.0 * sizes.train.1) as f64;
        let run = move || {
            set_precision(precision);
            seconds(|| training.step())
        };
        let flops = tokens * training_flops(&sizes.decoder, sizes.train.1);
        Ok(Case::rate(name, "tokens/s", tokens, run).work(flops, peak))
    };
    Ok(vec![
        case("train_tokens_per_s", Precision::Bf16, Peak::Bf16)?,
        case("train_f32_tokens_per_s", Precision::F32, Peak::F32)?,
    ])
}

/// Weights ready for inference.
fn engine(config: &DecoderConfig, stored: WeightType) -> Result<Engine> {
    let decoder = Decoder::new_random(config, SEED, &Device::Cpu)?;
    Ok(Engine::new(&decoder, stored)?)
}

pub(super) fn prefill(sizes: &Sizes) -> Result<Vec<Case>> {
    let engine = engine(&sizes.decoder, WeightType::Bf16)?;
    let n = sizes.prompt;
    let prompt = tokens(sizes.decoder.vocab_size, n, 11);
    // The head sees the last token only.
    let head = 2.0 * (sizes.decoder.vocab_size * sizes.decoder.hidden_size) as f64;
    let flops = n as f64 * (decoder_flops(&sizes.decoder, n as f64 / 2.0) - head) + head;
    let run = move || {
        seconds(|| {
            let mut cache = engine.cache();
            let row = cache.add();
            let hidden = engine.step(&mut cache, &[(row, &prompt)])?;
            Ok(engine.logits(&hidden))
        })
    };
    Ok(vec![
        Case::rate("prefill_tokens_per_s", "tokens/s", n as f64, run).work(flops, Peak::Bf16),
    ])
}

/// The likeliest tokens of one sequence; `bytes` are those of a weight.
pub(super) fn decode(
    sizes: &Sizes,
    name: &str,
    stored: WeightType,
    bytes: f64,
) -> Result<Vec<Case>> {
    let engine = engine(&sizes.decoder, stored)?;
    let steps = sizes.completion - 1;
    let prompt = tokens(sizes.decoder.vocab_size, sizes.prompt, 11);
    let read = bytes * multiplied(&sizes.decoder) as f64 * steps as f64;
    let run = move || {
        let mut cache = engine.cache();
        let row = cache.add();
        let mut hidden = engine.step(&mut cache, &[(row, &prompt)])?;
        seconds(|| {
            for _ in 0..steps {
                let token = likeliest(&engine.logits(&hidden));
                hidden = engine.step(&mut cache, &[(row, &[token])])?;
            }
            Ok(())
        })
    };
    Ok(vec![
        Case::rate(name, "tokens/s", steps as f64, run).work(read, Peak::Memory),
    ])
}

fn likeliest(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (i, x) in logits.iter().enumerate() {
        if *x > logits[best] {
            best = i;
        }
    }
    best as u32
}

/// Prompts of the rollouts.
fn prompts(sizes: &Sizes) -> Vec<Vec<u32>> {
    (0..sizes.prompts as u64)
        .map(|seed| tokens(sizes.decoder.vocab_size, sizes.prompt, 100 + seed))
        .collect()
}

/// Operations of a pass over every token that rollouts feed: each prompt once, each drawn token once.
fn rollout_flops(sizes: &Sizes) -> f64 {
    let (n, m) = (sizes.prompt as f64, sizes.completion as f64);
    let drawn = (sizes.prompts * sizes.group) as f64 * m;
    sizes.prompts as f64 * n * decoder_flops(&sizes.decoder, n / 2.0)
        + drawn * decoder_flops(&sizes.decoder, n + m / 2.0)
}

pub(super) fn rollout(sizes: &Sizes) -> Result<Vec<Case>> {
    let engine = engine(&sizes.decoder, WeightType::Bf16)?;
    let prompts = prompts(sizes);
    let group = sizes.group;
    let options = SampleOptions {
        max_tokens: sizes.completion,
        ..SampleOptions::default()
    };
    let drawn = (prompts.len() * group * sizes.completion) as f64;
    let run = move || {
        seconds(|| Ok(Generator::over(&engine).groups(&prompts, group, &options, &mut [])?))
    };
    Ok(vec![
        Case::rate("rollout_tokens_per_s", "tokens/s", drawn, run)
            .work(rollout_flops(sizes), Peak::Bf16),
    ])
}

/// The share of odd tokens: a stand-in for a reward, here alone, that costs nothing and can be computed from the
/// tokens of a model that knows no language. The peer's step has the same one.
struct OddTokens;

impl Reward for OddTokens {
    fn score(&mut self, rollouts: &[Rollout<'_>]) -> visa_train::Result<Vec<Judged>> {
        let odd = |completion: &Completion| {
            let ids = &completion.generated.ids;
            ids.iter().filter(|id| *id % 2 == 1).count() as f64 / ids.len() as f64
        };
        let judge = |rollout: &Rollout<'_>| {
            Ok(vec![Term {
                name: "odd".into(),
                weight: 1.0,
                values: rollout.completions.iter().map(odd).collect(),
            }])
        };
        Ok(rollouts.iter().map(judge).collect())
    }
}

/// Rollouts, rewards, divergence from a reference, loss, backward pass, update, weights packed again.
pub(super) fn grpo(sizes: &Sizes) -> Result<Vec<Case>> {
    let config = GrpoConfig {
        group: sizes.group,
        max_tokens: sizes.completion,
        policy: PolicyConfig {
            kl_weight: 0.04,
            ..PolicyConfig::default()
        },
        ..GrpoConfig::default()
    };
    let decoder = Decoder::new_random(&sizes.decoder, SEED, &Device::Cpu)?;
    let mut reference = Decoder::new_random(&sizes.decoder, SEED, &Device::Cpu)?;
    reference.set_trainable(|_| false)?;
    set_precision(Precision::Bf16);
    let mut grpo = Grpo::new(decoder, Some(reference), config)?;
    let prompts: Vec<Prompt> = prompts(sizes).into_iter().map(Prompt::from).collect();
    let mut seed = 0;
    let run = move || {
        set_precision(Precision::Bf16);
        seed += 1;
        seconds(|| Ok(grpo.step(&prompts, &mut OddTokens, 1e-5, seed)?))
    };
    // Drawing, the reference, and a training step, which is worth three passes.
    let flops = 5.0 * rollout_flops(sizes);
    Ok(vec![
        Case::seconds("grpo_step_s", run).work(flops, Peak::Bf16),
    ])
}

/// Texts of one length, from token ids to one vector a text, by weights in bf16 and in bytes.
pub(super) fn encode(sizes: &Sizes, length: usize) -> Result<Vec<Case>> {
    let encoder = Encoder::new_random(&sizes.encoder, SEED, &Device::Cpu)?;
    let ids = tokens(sizes.encoder.vocab_size, sizes.texts * length, 13);
    let batch = Batch {
        ids: Tensor::from_vec(ids, (sizes.texts, length), &Device::Cpu)?,
        type_ids: None,
        lens: vec![length; sizes.texts],
    };
    let texts = sizes.texts as f64;
    let flops = texts * length as f64 * encoder_flops(&sizes.encoder, length as f64);
    let case = |kind: &str, stored| -> Result<Case> {
        let engine = EncoderEngine::new(&encoder, stored)?;
        let batch = batch.clone();
        let run = move || seconds(|| Ok(mean_pool(&engine.forward(&batch)?, &batch.lens)?));
        let name = format!("encoder{length}{kind}_texts_per_s");
        Ok(Case::rate(name, "texts/s", texts, run).work(flops, Peak::Bf16))
    };
    Ok(vec![
        case("", WeightType::Bf16)?,
        case("_int8", WeightType::Int8)?,
    ])
}
