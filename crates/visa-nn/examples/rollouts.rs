//! Speed of generation by the model of the benchmarks (12 layers, d 384):
//! `cargo run --release -p visa-nn --example rollouts`.
#![allow(clippy::print_stdout, missing_docs)]

use std::time::Instant;

use candle_core::Device;
use visa_nn::sample::{Generator, SampleOptions};
use visa_nn::{Decoder, DecoderConfig, Engine, WeightType};

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
        max_position_embeddings: 1024,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        tie_word_embeddings: false,
        attention_bias: false,
        mlp_bias: false,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
        pad_token_id: None,
    };
    let decoder = Decoder::new_random(&config, 1, &Device::Cpu)?;
    for stored in [WeightType::F32, WeightType::Bf16] {
        let mut engine = Engine::new(&decoder, stored)?;
        let start = Instant::now();
        engine.refresh(&decoder)?;
        println!(
            "{stored:?}: refresh {:.1} ms",
            start.elapsed().as_secs_f64() * 1e3
        );
        for (prompts, each) in [(1, 1), (32, 1), (4, 8)] {
            let texts: Vec<Vec<u32>> = (0..prompts)
                .map(|p| (0..128).map(|i| (i * 31 + p * 997 + 5) % 8192).collect())
                .collect();
            let run = |max_tokens| -> Result<f64, Box<dyn std::error::Error>> {
                let options = SampleOptions {
                    max_tokens,
                    ..SampleOptions::default()
                };
                let mut best = f64::INFINITY;
                for _ in 0..5 {
                    let start = Instant::now();
                    Generator::over(&engine).groups(&texts, each, &options, &mut [])?;
                    best = best.min(start.elapsed().as_secs_f64());
                }
                Ok(best)
            };
            let (prefill, whole) = (run(1)?, run(64)?);
            let rows = prompts as usize * each;
            println!(
                "  {prompts} × {each}: prefill {:.0} tokens/s, decode {:.0} tokens/s, both {:.0} tokens/s",
                f64::from(prompts * 128) / prefill,
                (rows * 63) as f64 / (whole - prefill),
                (rows * 64) as f64 / whole,
            );
        }
    }
    Ok(())
}
