//! Training in bf16 learns what training in f32 learns.
//!
//! A program of its own, since the precision is set for the whole process.

use candle_core::{DType, Device, Tensor, Var};
use visa_kernels::adamw;
use visa_nn::ops::{Precision, set_precision};
use visa_nn::{Decoder, DecoderConfig};

const CPU: &Device = &Device::Cpu;
const WIDTH: usize = 128;
const ROWS: usize = 12;

fn config() -> DecoderConfig {
    DecoderConfig {
        vocab_size: 256,
        hidden_size: 128,
        intermediate_size: 352,
        num_hidden_layers: 4,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 32,
        max_position_embeddings: WIDTH,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        tie_word_embeddings: true,
        attention_bias: false,
        mlp_bias: false,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
        pad_token_id: None,
    }
}

/// A trainable tensor with its moments.
struct Slot {
    var: Var,
    m: Vec<f32>,
    v: Vec<f32>,
}

/// Mean loss in nats a byte over the last tenth of `steps` steps on `text`.
fn train(text: &[u8], precision: Precision, seed: u64, steps: usize) -> f64 {
    set_precision(precision);
    let decoder = Decoder::new_random(&config(), seed, CPU).unwrap();
    let slot = |(_, var): (String, Var)| {
        let zeros = vec![0.0; var.elem_count()];
        Slot {
            m: zeros.clone(),
            v: zeros,
            var,
        }
    };
    let mut slots: Vec<Slot> = decoder.vars().into_iter().map(slot).collect();
    let ones = Tensor::ones((ROWS, WIDTH), DType::F32, CPU).unwrap();
    let (mut sum, mut count) = (0.0, 0);
    for step in 0..steps {
        // Rows from all over the text, the same ones for both precisions.
        let row = |i: usize| {
            let at = (steps * seed as usize + step) * ROWS + i;
            at.wrapping_mul(7919 * 31) % (text.len() - WIDTH - 1)
        };
        let batch = |shift: usize| {
            let bytes = (0..ROWS).flat_map(|i| &text[row(i) + shift..][..WIDTH]);
            let ids: Vec<u32> = bytes.map(|byte| u32::from(*byte)).collect();
            Tensor::from_vec(ids, (ROWS, WIDTH), CPU).unwrap()
        };
        let loss = decoder.loss(&batch(0), &batch(1), &ones).unwrap();
        if step >= steps - steps / 10 {
            sum += f64::from(loss.to_scalar::<f32>().unwrap());
            count += 1;
        }
        let grads = loss.backward().unwrap();
        let rate = (2e-3 * ((step + 1) as f32 / 30.0)).min(2e-3);
        for slot in &mut slots {
            let grad = grads.get(&slot.var).unwrap();
            let grad = grad.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let mut p = slot.var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let step = adamw::Step {
                lr: rate,
                beta1: 0.9,
                beta2: 0.95,
                eps: 1e-8,
                weight_decay: 0.01,
                step: step as u64 + 1,
                grad_scale: 1.0,
            };
            adamw::step(&mut p, &grad, &mut slot.m, &mut slot.v, &step);
            let p = Tensor::from_vec(p, slot.var.shape(), CPU).unwrap();
            slot.var.set(&p).unwrap();
        }
    }
    sum / f64::from(count)
}

/// The prose of this repository, byte by byte: about four minutes on two idle cores. `VISA_STEPS` and `VISA_SEEDS` say
/// how many steps, and how many trainings of each kind. A single pair says little: any rounding sends a training on
/// another way, and two ways of f32 differ by as much.
#[test]
#[ignore = "trainings of its own; run it after a change of kernels or of the layer's op"]
fn bf16_reaches_the_loss_of_f32() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let files = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/evaluate.md",
        "docs/serve.md",
        "docs/serve-figures.md",
        "docs/speed.md",
    ];
    let read = |name: &&str| std::fs::read(format!("{root}/{name}")).unwrap();
    let text: Vec<u8> = files.iter().flat_map(read).collect();
    let number = |name, usual| std::env::var(name).map_or(usual, |n| n.parse().unwrap());
    let (steps, seeds) = (number("VISA_STEPS", 500), number("VISA_SEEDS", 4));
    let mut sums = [0.0; 2];
    for seed in 1..=seeds as u64 {
        let losses = [Precision::F32, Precision::Bf16].map(|p| train(&text, p, seed, steps));
        eprintln!(
            "seed {seed}: f32 {:.4}, bf16 {:.4} nats a byte",
            losses[0], losses[1]
        );
        for (sum, loss) in sums.iter_mut().zip(losses) {
            *sum += loss / seeds as f64;
        }
    }
    let [exact, rounded] = sums;
    eprintln!("{steps} steps, mean of {seeds}: f32 {exact:.4}, bf16 {rounded:.4} nats a byte");
    // Bytes at random have 5.55; who knows their frequencies alone, about 3.4.
    assert!(exact < 3.0, "{exact}");
    let far = (rounded / exact - 1.0).abs();
    assert!(far < 0.01, "f32 {exact:.4}, bf16 {rounded:.4}");
}
