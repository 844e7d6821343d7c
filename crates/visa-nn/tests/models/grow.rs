//! Larger decoders out of trained ones.

use candle_core::Tensor;
use visa_nn::Decoder;

use crate::{CPU, assert_close, golden};

fn logits(decoder: &Decoder) -> Tensor {
    let ids = Tensor::from_slice(&[3u32, 17, 5, 40, 8, 2, 11], (1, 7), CPU).unwrap();
    decoder
        .logits(&decoder.forward(&ids, None).unwrap())
        .unwrap()
}

#[test]
fn twice_the_width_computes_the_same_and_its_copies_learn_different_things() {
    for name in ["llama-tied", "llama-untied"] {
        let small = Decoder::load(&golden(name), CPU).unwrap();
        let wide = small.widened(3).unwrap();
        let (config, before) = (wide.config(), small.config());
        assert_eq!(config.hidden_size, 2 * before.hidden_size);
        assert_eq!(config.head_dim, before.head_dim);
        assert_close(&logits(&wide), &logits(&small), 2e-4);
        let loss = logits(&wide).sqr().unwrap().mean_all().unwrap();
        let grads = loss.backward().unwrap();
        for (name, var) in wide.vars() {
            // What stands last sees copies alone until those differ: one gradient, on weights that differ already.
            if name == "model.norm.weight" || name == "lm_head.weight" {
                continue;
            }
            let grad = grads.get(&var).unwrap();
            let (axis, n) = match name.as_str() {
                "model.embed_tokens.weight" => (1, before.hidden_size),
                _ => (0, var.dim(0).unwrap() / 2),
            };
            let half = |at: usize| grad.narrow(axis, at * n, n).unwrap().contiguous().unwrap();
            let apart = (half(0) - half(1)).unwrap().abs().unwrap();
            let apart = apart.max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(apart > 1e-7, "the copies of {name} have one gradient");
        }
    }
}

#[test]
fn more_layers_are_the_same_ones_again() {
    let small = Decoder::load(&golden("llama-untied"), CPU).unwrap();
    let depth = small.config().num_hidden_layers;
    let deep = small.stacked(2 * depth + 1).unwrap();
    assert_eq!(deep.config().num_hidden_layers, 2 * depth + 1);
    let weight = |decoder: &Decoder, layer: usize| {
        let name = format!("model.layers.{layer}.mlp.gate_proj.weight");
        decoder.params().get(&name).unwrap().clone()
    };
    for layer in 0..=2 * depth {
        assert_close(&weight(&deep, layer), &weight(&small, layer % depth), 0.0);
    }
    assert_close(
        &logits(&small.stacked(depth).unwrap()),
        &logits(&small),
        0.0,
    );
    let message = small.stacked(depth - 1).unwrap_err().to_string();
    assert!(message.contains("cannot be stacked"), "{message}");
}
