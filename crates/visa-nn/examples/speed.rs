//! How fast the models run here: `cargo run --release -p visa-nn --example speed`.
//!
//! The encoder on texts of 24 tokens, and a random decoder of the embedded
//! rewriter's size: prefill, forced stretches and sampling. Prints one line a
//! measurement; figures belong in commit messages.
#![allow(clippy::print_stdout, missing_docs)]

use std::path::Path;
use std::time::Instant;

use candle_core::Device;
use visa_nn::ops::{Precision, set_precision};
use visa_nn::sample::{SampleOptions, generate_batch};
use visa_nn::{
    Batch, Decoder, DecoderConfig, Encoder, EncoderEngine, Tokenizer, WeightType, mean_pool,
};

fn time<T>(what: &str, units: usize, mut run: impl FnMut() -> T) {
    run();
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!(
        "{what}: {:.1} ms, {:.0} a second",
        best * 1e3,
        units as f64 / best
    );
}

fn main() -> visa_nn::Result<()> {
    let cpu = Device::Cpu;
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/encoder");
    let start = Instant::now();
    let encoder = Encoder::load(&dir, &cpu)?;
    let tokenizer = Tokenizer::load(&dir)?;
    println!(
        "encoder and tokenizer loaded: {:.0} ms",
        start.elapsed().as_secs_f64() * 1e3
    );
    let text = "the old people in our village should be cared for by their own families, as it has always been done here";
    let texts = vec![text; 64];
    let config = DecoderConfig {
        vocab_size: 8192,
        hidden_size: 384,
        intermediate_size: 1024,
        num_hidden_layers: 8,
        num_attention_heads: 6,
        num_key_value_heads: 2,
        head_dim: 64,
        max_position_embeddings: 512,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        tie_word_embeddings: true,
        attention_bias: false,
        mlp_bias: false,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
        pad_token_id: None,
    };
    let mut decoder = Decoder::new_random(&config, 1, &cpu)?;
    decoder.set_trainable(|_| false)?;
    println!("decoder of {} weights", config.parameters());
    for precision in [Precision::F32, Precision::Bf16] {
        set_precision(precision);
        println!("{precision:?}");
        time("  tokenize 64 texts", 64, || {
            tokenizer.encode_batch(&texts).map(|e| e.len())
        });
        let encodings = tokenizer.encode_batch(&texts)?;
        let batch = Batch::new(&encodings.iter().collect::<Vec<_>>(), 0, &cpu)?;
        println!("  {} tokens a text", batch.lens[0]);
        time("  encode 64 texts", 64, || {
            mean_pool(&encoder.forward(&batch)?, &batch.lens)
        });
        for stored in [WeightType::F32, WeightType::Bf16, WeightType::Int8] {
            let engine = EncoderEngine::new(&encoder, stored)?;
            time(&format!("  encode 64 texts, {stored:?}"), 64, || {
                mean_pool(&engine.forward(&batch)?, &batch.lens)
            });
        }
        let options = |max_tokens, top_p| SampleOptions {
            max_tokens,
            top_p,
            ..SampleOptions::default()
        };
        for rows in [1, 8] {
            let prompts = vec![(0..80).collect::<Vec<u32>>(); rows];
            time(
                &format!("  prefill 80 tokens and draw 1, {rows} rows"),
                80,
                || generate_batch(&decoder, &prompts, &options(1, 1.0), &mut []),
            );
            time(&format!("  draw 33 tokens, {rows} rows"), 33 * rows, || {
                generate_batch(&decoder, &prompts, &options(33, 1.0), &mut [])
            });
            time(
                &format!("  draw 33 tokens with top-p, {rows} rows"),
                33 * rows,
                || generate_batch(&decoder, &prompts, &options(33, 0.9), &mut []),
            );
        }
    }
    Ok(())
}
