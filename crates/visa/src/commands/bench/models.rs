//! Whole models at work: a training step, prefill, decoding, rollouts, the encoder.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use visa_nn::ops::{Precision, set_precision};
use visa_nn::sample::{SampleOptions, generate_batch};
use visa_nn::{Batch, Decoder, DecoderConfig, Encoder, KvCache, mean_pool};
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
        self.adam.step(&grads, 1e-4)?;
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

fn frozen(config: &DecoderConfig) -> Result<Decoder> {
    let mut decoder = Decoder::new_random(config, SEED, &Device::Cpu)?;
    decoder.set_trainable(|_| false)?;
    Ok(decoder)
}

pub(super) fn prefill(sizes: &Sizes) -> Result<Vec<Case>> {
    let decoder = frozen(&sizes.decoder)?;
    let n = sizes.prompt;
    let prompt = tokens(sizes.decoder.vocab_size, n, 11);
    // The head sees the last token only.
    let head = 2.0 * (sizes.decoder.vocab_size * sizes.decoder.hidden_size) as f64;
    let flops = n as f64 * (decoder_flops(&sizes.decoder, n as f64 / 2.0) - head) + head;
    let run = move || {
        set_precision(Precision::Bf16);
        seconds(|| {
            let mut cache = KvCache::new(decoder.config(), 1, n, &Device::Cpu)?;
            let hidden = decoder.step(&mut cache, &[&prompt])?;
            Ok(decoder.logits(&hidden)?)
        })
    };
    Ok(vec![
        Case::rate("prefill_tokens_per_s", "tokens/s", n as f64, run).work(flops, Peak::Bf16),
    ])
}

pub(super) fn decode(sizes: &Sizes) -> Result<Vec<Case>> {
    let decoder = frozen(&sizes.decoder)?;
    let (prompt, steps) = (sizes.prompt, sizes.completion - 1);
    let ids = tokens(sizes.decoder.vocab_size, prompt, 11);
    let bytes = 2.0 * multiplied(&sizes.decoder) as f64 * steps as f64;
    let run = move || {
        set_precision(Precision::Bf16);
        let mut cache = KvCache::new(decoder.config(), 1, prompt + steps, &Device::Cpu)?;
        let mut hidden = decoder.step(&mut cache, &[&ids])?;
        seconds(|| {
            for _ in 0..steps {
                let token = decoder.logits(&hidden)?.argmax(1)?.to_vec1::<u32>()?;
                hidden = decoder.step(&mut cache, &[&token])?;
            }
            Ok(())
        })
    };
    Ok(vec![
        Case::rate("decode1_bf16_tokens_per_s", "tokens/s", steps as f64, run)
            .work(bytes, Peak::Memory),
    ])
}

pub(super) fn rollout(sizes: &Sizes) -> Result<Vec<Case>> {
    let decoder = frozen(&sizes.decoder)?;
    let prompts: Vec<Vec<u32>> = (0..sizes.prompts * sizes.group)
        .map(|i| {
            let seed = 100 + (i / sizes.group) as u64;
            tokens(sizes.decoder.vocab_size, sizes.prompt, seed)
        })
        .collect();
    let options = SampleOptions {
        max_tokens: sizes.completion,
        ..SampleOptions::default()
    };
    let drawn = (prompts.len() * sizes.completion) as f64;
    // Each distinct prompt once, each drawn token but the last of a sequence once.
    let (n, m) = (sizes.prompt as f64, sizes.completion as f64);
    let flops = sizes.prompts as f64 * n * decoder_flops(&sizes.decoder, n / 2.0)
        + drawn * decoder_flops(&sizes.decoder, n + m / 2.0);
    let run = move || {
        set_precision(Precision::Bf16);
        seconds(|| Ok(generate_batch(&decoder, &prompts, &options, &mut [])?))
    };
    Ok(vec![
        Case::rate("rollout_tokens_per_s", "tokens/s", drawn, run).work(flops, Peak::Bf16),
    ])
}

/// Texts of one length; tokenizing is not part of it.
pub(super) fn encode(sizes: &Sizes, name: &str, length: usize) -> Result<Vec<Case>> {
    let mut encoder = Encoder::new_random(&sizes.encoder, SEED, &Device::Cpu)?;
    encoder.set_trainable(|_| false)?;
    let ids = tokens(sizes.encoder.vocab_size, sizes.texts * length, 13);
    let batch = Batch {
        ids: Tensor::from_vec(ids, (sizes.texts, length), &Device::Cpu)?,
        type_ids: None,
        lens: vec![length; sizes.texts],
    };
    let texts = sizes.texts as f64;
    let flops = texts * length as f64 * encoder_flops(&sizes.encoder, length as f64);
    let run = move || {
        set_precision(Precision::Bf16);
        seconds(|| Ok(mean_pool(&encoder.forward(&batch)?, &batch.lens)?))
    };
    Ok(vec![
        Case::rate(name, "texts/s", texts, run).work(flops, Peak::Bf16),
    ])
}
