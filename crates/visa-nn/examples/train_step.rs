//! Time of a training step of a small decoder, forward and backward:
//! `cargo run --release -p visa-nn --example train_step`.
//!
//! Prints wall time and, where Linux tells it, processor time, which means
//! something on a busy machine too.
#![allow(clippy::print_stdout, missing_docs)]

use std::time::Instant;

use candle_core::{Device, Tensor};
use visa_nn::ops::{Precision, set_precision};
use visa_nn::{Decoder, DecoderConfig};

/// Processor seconds of all threads so far: fields 14 and 15, in hundredths.
fn processor() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let ticks: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((ticks + system) / 100.0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    visa_kernels::startup::prepare()?;
    let config = DecoderConfig {
        vocab_size: 8192,
        hidden_size: 384,
        intermediate_size: 1024,
        num_hidden_layers: 12,
        num_attention_heads: 6,
        num_key_value_heads: 6,
        head_dim: 64,
        max_position_embeddings: 512,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        tie_word_embeddings: false,
        attention_bias: false,
        mlp_bias: false,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
        pad_token_id: None,
    };
    let device = Device::Cpu;
    let decoder = Decoder::new_random(&config, 1, &device)?;
    let weights: usize = decoder.vars().iter().map(|(_, v)| v.elem_count()).sum();
    let (rows, length) = (16usize, 256usize);
    let ids: Vec<u32> = (0..rows * length).map(|i| (i * 31 % 8192) as u32).collect();
    let ids = Tensor::from_vec(ids, (rows, length), &device)?;
    let ones = Tensor::ones((rows, length), candle_core::DType::F32, &device)?;
    println!("{weights} weights, {} tokens a step", rows * length);
    let mut decoder = decoder;
    for (precision, checkpointing) in [
        (Precision::Bf16, true),
        (Precision::Bf16, false),
        (Precision::F32, false),
    ] {
        set_precision(precision);
        decoder.set_checkpointing(checkpointing);
        let mut best = f64::INFINITY;
        let steps = 2;
        let step = || -> Result<(f64, f64), Box<dyn std::error::Error>> {
            let start = Instant::now();
            let loss = decoder.loss(&ids, &ids, &ones)?;
            let forward = start.elapsed().as_secs_f64();
            loss.backward()?;
            Ok((forward, start.elapsed().as_secs_f64()))
        };
        step()?;
        let before = processor();
        let mut forward = f64::INFINITY;
        for _ in 0..steps {
            let (first, whole) = step()?;
            best = best.min(whole);
            forward = forward.min(first);
        }
        let note = if checkpointing { ", checkpointing" } else { "" };
        print!(
            "{precision:?}{note}: {:.0} ms a step, {:.0} of them forward",
            best * 1e3,
            forward * 1e3
        );
        if let (Some(before), Some(after)) = (before, processor()) {
            let used = (after - before) / f64::from(steps);
            print!(", {:.0} ms of processor time", used * 1e3);
        }
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let peak = status.lines().find(|line| line.starts_with("VmHWM"));
        println!(", so far {}", peak.unwrap_or_default());
    }
    Ok(())
}
