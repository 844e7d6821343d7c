//! Every trainable tensor receives a gradient, and the right one.

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};
use visa_nn::ops::Mask;
use visa_nn::sample::{Allowed, Choices, Constraint};
use visa_nn::{Batch, Decoder, DecoderConfig, Encoder, EncoderConfig, Group, Lora, mean_pool};

use crate::{CPU, assert_close, golden, ids, tiny};

/// A gradient exists for every variable and is not all zero; but for those that
/// the mathematics makes zero (`flat`).
fn check_reached(vars: &[(String, Var)], grads: &GradStore, flat: &str) {
    assert!(!vars.is_empty());
    for (name, var) in vars {
        let grad = grads
            .get(var)
            .unwrap_or_else(|| panic!("{name} has no gradient"));
        let size = grad
            .abs()
            .unwrap()
            .max_all()
            .unwrap()
            .to_scalar::<f32>()
            .unwrap();
        assert!(size.is_finite(), "{name}: {size}");
        if !name.ends_with(flat) {
            assert!(size > 1e-8, "the gradient of {name} is zero");
        }
    }
}

/// Directional derivatives against central differences, along a direction that
/// is half the gradient's own and half a fixed pattern.
fn check_differences(vars: &[(String, Var)], loss: impl Fn() -> Tensor) {
    let grads = loss().backward().unwrap();
    let value = || f64::from(loss().to_scalar::<f32>().unwrap());
    let step = 2e-3;
    for (name, var) in vars {
        let grad = grads
            .get(var)
            .unwrap_or_else(|| panic!("{name} has no gradient"));
        let unit = |t: &Tensor| -> Tensor {
            let norm = t
                .sqr()
                .unwrap()
                .sum_all()
                .unwrap()
                .to_scalar::<f32>()
                .unwrap()
                .sqrt();
            (t / f64::from(norm.max(1e-12))).unwrap()
        };
        let count = var.elem_count();
        let pattern: Vec<f32> = (0..count)
            .map(|i| ((i * 7919 + 13) % 31) as f32 - 15.0)
            .collect();
        let pattern = Tensor::from_vec(pattern, var.dims(), CPU).unwrap();
        let direction = (unit(grad) + unit(&pattern)).unwrap();
        let slope = (grad * &direction).unwrap().sum_all().unwrap();
        let slope = f64::from(slope.to_scalar::<f32>().unwrap());
        let start = var.as_tensor().copy().unwrap();
        let at = |h: f64| {
            var.set(&(&start + (&direction * h).unwrap()).unwrap())
                .unwrap();
            value()
        };
        let difference = (at(step) - at(-step)) / (2.0 * step);
        var.set(&start).unwrap();
        let tolerance = 2e-3 + 0.02 * slope.abs();
        assert!(
            (slope - difference).abs() < tolerance,
            "{name}: gradient says {slope}, differences say {difference}"
        );
    }
}

fn decoder_loss(decoder: &Decoder) -> Tensor {
    let inputs = ids(&[&[5, 9, 200, 7, 7, 31], &[8, 100, 3, 4, 4, 4]]);
    let targets = ids(&[&[9, 200, 7, 7, 31, 1], &[100, 3, 4, 4, 4, 4]]);
    // The last three of the second row are padding.
    let weights = [1f32, 1., 0.5, 1., 1., 1., 1., 1., 2., 0., 0., 0.];
    let weights = Tensor::from_slice(&weights, (2, 6), CPU).unwrap();
    let (sum, weight) = decoder
        .loss_sum(&inputs, &targets, &weights, Some(&[6, 3]))
        .unwrap();
    (sum / weight).unwrap()
}

fn encoder_loss(encoder: &Encoder) -> Tensor {
    let batch = Batch {
        ids: ids(&[&[5, 9, 200, 7, 7], &[8, 100, 3, 4, 4]]),
        type_ids: Some(ids(&[&[0, 0, 1, 1, 1], &[0, 0, 0, 0, 0]])),
        lens: vec![5, 3],
    };
    let pooled = mean_pool(&encoder.forward(&batch).unwrap(), &batch.lens).unwrap();
    let aim: Vec<f32> = (0..pooled.elem_count())
        .map(|i| (i % 5) as f32 - 2.0)
        .collect();
    let aim = Tensor::from_vec(aim, pooled.dims(), CPU).unwrap();
    (pooled - aim).unwrap().sqr().unwrap().mean_all().unwrap()
}

fn tiny_encoder() -> Encoder {
    Encoder::load(&golden("bert"), CPU).unwrap()
}

/// Adapters begin at zero, where `A` has no gradient: move them off it.
fn stir(vars: &[(String, Var)]) {
    for (name, var) in vars {
        if name.contains("lora_B") {
            let count = var.elem_count();
            let values: Vec<f32> = (0..count).map(|i| ((i % 7) as f32 - 3.0) * 0.1).collect();
            var.set(&Tensor::from_vec(values, var.dims(), CPU).unwrap())
                .unwrap();
        }
    }
}

#[test]
fn reach_every_tensor_of_a_decoder() {
    for name in ["llama-tied", "llama-untied"] {
        let mut decoder = tiny(name);
        assert!(decoder.vars().is_empty());
        decoder.set_trainable(|_| true).unwrap();
        assert_eq!(decoder.vars().len(), decoder.params().len());
        let grads = decoder_loss(&decoder).backward().unwrap();
        check_reached(&decoder.vars(), &grads, "none");
    }
}

#[test]
fn reach_every_tensor_of_a_decoder_with_biases() {
    let text = r#"{"model_type": "llama", "vocab_size": 300, "hidden_size": 12, "intermediate_size": 20,
        "num_hidden_layers": 2, "num_attention_heads": 2, "attention_bias": true, "mlp_bias": true}"#;
    let config = DecoderConfig::parse(text, "config.json".as_ref()).unwrap();
    let decoder = Decoder::new_random(&config, 4, CPU).unwrap();
    assert_eq!(decoder.params().elements(), config.parameters());
    let grads = decoder_loss(&decoder).backward().unwrap();
    // A bias of the keys adds the same to all scores of a query without rotary
    // positions; with them it has a gradient, if a small one.
    check_reached(&decoder.vars(), &grads, "k_proj.bias");
}

#[test]
fn reach_every_tensor_of_an_encoder() {
    let mut encoder = tiny_encoder();
    encoder.set_trainable(|_| true).unwrap();
    let grads = encoder_loss(&encoder).backward().unwrap();
    // The softmax does not see a bias of the keys.
    check_reached(&encoder.vars(), &grads, "key.bias");

    let config = EncoderConfig {
        num_hidden_layers: 1,
        ..encoder.config().clone()
    };
    let random = Encoder::new_random(&config, 3, CPU).unwrap();
    let grads = encoder_loss(&random).backward().unwrap();
    check_reached(&random.vars(), &grads, "key.bias");
}

#[test]
fn reach_adapters_and_nothing_frozen() {
    let lora = Lora::new(2, 4.0, &["all-linear"]);
    let decoder = tiny("llama-tied").with_lora(&lora, 1).unwrap();
    assert_eq!(decoder.vars().len(), 2 * 7 * 2);
    stir(&decoder.vars());
    let grads = decoder_loss(&decoder).backward().unwrap();
    check_reached(&decoder.vars(), &grads, "none");
    for (name, tensor) in decoder.params().iter() {
        assert!(
            grads.get(tensor).is_none(),
            "{name} is frozen, but has a gradient"
        );
    }

    let encoder = tiny_encoder()
        .with_lora(&Lora::new(2, 4.0, &["query", "output.dense"]), 1)
        .unwrap();
    assert_eq!(encoder.vars().len(), 2 * 3 * 2);
    stir(&encoder.vars());
    let grads = encoder_loss(&encoder).backward().unwrap();
    check_reached(&encoder.vars(), &grads, "none");
}

#[test]
fn agree_with_differences_through_a_decoder() {
    for name in ["llama-tied", "llama-untied"] {
        let mut decoder = tiny(name);
        decoder.set_trainable(|_| true).unwrap();
        check_differences(&decoder.vars(), || decoder_loss(&decoder));
    }
}

#[test]
fn agree_with_differences_through_an_encoder_and_adapters() {
    let mut encoder = tiny_encoder();
    encoder.set_trainable(|_| true).unwrap();
    check_differences(&encoder.vars(), || encoder_loss(&encoder));

    let lora = Lora::new(2, 4.0, &["all-linear"]);
    let decoder = tiny("llama-tied").with_lora(&lora, 1).unwrap();
    stir(&decoder.vars());
    check_differences(&decoder.vars(), || decoder_loss(&decoder));
}

#[test]
fn freezing_and_thawing_is_exact() {
    let mut decoder = tiny("llama-untied");
    decoder
        .set_trainable(|name| name.contains("layers.1"))
        .unwrap();
    let vars = decoder.vars();
    assert!(vars.iter().all(|(name, _)| name.contains("layers.1")));
    assert!(vars.is_sorted_by(|a, b| a.0 < b.0));
    // A step on a variable is seen by the layers.
    let before = decoder_loss(&decoder).to_scalar::<f32>().unwrap();
    let (_, var) = &vars[0];
    var.set(&var.zeros_like().unwrap()).unwrap();
    let after = decoder_loss(&decoder).to_scalar::<f32>().unwrap();
    assert_ne!(before, after);
    // Frozen again, a variable that is still held changes nothing.
    decoder.set_trainable(|_| false).unwrap();
    assert!(decoder.vars().is_empty());
    var.set(&var.ones_like().unwrap()).unwrap();
    assert_eq!(decoder_loss(&decoder).to_scalar::<f32>().unwrap(), after);
}

#[test]
fn a_loss_without_weight_is_an_error() {
    let decoder = tiny("llama-tied");
    let inputs = ids(&[&[5, 9]]);
    let zeros = Tensor::zeros((1, 2), DType::F32, CPU).unwrap();
    let error = decoder
        .loss(&inputs, &inputs, &zeros)
        .unwrap_err()
        .to_string();
    assert!(error.contains("sum to 0"), "{error}");
}

/// One pass over groups, and one over each sequence by itself.
#[test]
fn groups_equal_their_sequences() {
    let mut decoder = tiny("llama-tied");
    decoder.set_trainable(|_| true).unwrap();
    let groups = [
        Group {
            prompt: &[5, 90, 200, 7, 31],
            completions: vec![&[8, 9, 10], &[100], &[3, 2, 3, 4, 5, 6, 7]],
        },
        Group {
            prompt: &[4],
            completions: vec![&[8, 8], &[8, 8]],
        },
    ];
    let weights: Vec<f32> = (0..15).map(|i| (i % 4) as f32 - 1.2).collect();
    let weights = Tensor::from_vec(weights, 15, CPU).unwrap();
    let packed = decoder.group_logprobs(&groups).unwrap();
    let mut singles = Vec::new();
    for group in &groups {
        for completion in &group.completions {
            let text = [group.prompt, completion].concat();
            let (from, to) = (ids(&[&text[..text.len() - 1]]), ids(&[&text[1..]]));
            let losses = decoder.token_losses(&from, &to, None).unwrap();
            let losses = losses.get(0).unwrap().neg().unwrap();
            let start = group.prompt.len() - 1;
            singles.push(losses.narrow(0, start, completion.len()).unwrap());
        }
    }
    let singles = Tensor::cat(&singles, 0).unwrap();
    assert_close(&packed, &singles, 1e-5);
    let backward = |logprobs: &Tensor| {
        let loss = (logprobs * &weights).unwrap().sum_all().unwrap();
        loss.backward().unwrap()
    };
    let (got, want) = (backward(&packed), backward(&singles));
    for (name, var) in decoder.vars() {
        let (got, want) = (got.get(&var).unwrap(), want.get(&var).unwrap());
        let top = want.abs().unwrap().max_all().unwrap();
        let top = top.to_scalar::<f32>().unwrap();
        assert!(top > 0.0, "{name}");
        assert_close(got, want, 1e-4 * top.max(1e-2));
    }
    for (groups, expected) in [
        (vec![], "no group"),
        (
            vec![Group {
                prompt: &[],
                completions: vec![&[1]],
            }],
            "group 0",
        ),
        (
            vec![Group {
                prompt: &[5; 40],
                completions: vec![&[1; 9]],
            }],
            "48 positions",
        ),
    ] {
        let error = decoder.group_logprobs(&groups).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// Allows the same sets in turn.
struct Turns(usize);

const SETS: [&[u32]; 3] = [&[9, 3, 40, 8], &[100, 2, 3, 4, 10, 5], &[7, 6]];

impl Constraint for Turns {
    fn allowed(&self, _: &[u32]) -> Allowed<'_> {
        match self.0 {
            0..3 => Allowed::Only(SETS[self.0]),
            3 => Allowed::Force(4),
            _ => Allowed::All,
        }
    }

    fn advance(&mut self, _: u32) {
        self.0 += 1;
    }
}

/// Log-probabilities among sets against logits whose forbidden ones are cut away.
#[test]
fn choices_are_renormalised_with_their_gradients() {
    let mut decoder = tiny("llama-tied");
    decoder.set_trainable(|_| true).unwrap();
    let completions: [&[u32]; 3] = [&[8, 10, 6, 4, 9], &[40, 2], &[9]];
    let groups = [
        Group {
            prompt: &[5, 90, 200],
            completions: completions[..2].to_vec(),
        },
        Group {
            prompt: &[4],
            completions: completions[2..].to_vec(),
        },
    ];
    let mut choices = Choices::new(decoder.config().vocab_size);
    for ids in completions {
        choices.record(ids, &mut Turns(0)).unwrap();
    }
    let found = decoder
        .group_logprobs_among(&groups, choices.all())
        .unwrap();
    let mut wanted = Vec::new();
    for (prompt, ids) in [
        (&[5, 90, 200][..], completions[0]),
        (&[5, 90, 200], completions[1]),
        (&[4], completions[2]),
    ] {
        let text = [prompt, ids].concat();
        let hidden = decoder
            .forward(&self::ids(&[&text[..text.len() - 1]]), None)
            .unwrap();
        let logits = decoder.logits(&hidden).unwrap().get(0).unwrap();
        for (at, id) in ids.iter().enumerate() {
            let row = logits.get(prompt.len() - 1 + at).unwrap();
            let (set, place) = match at {
                0..3 => (
                    SETS[at].to_vec(),
                    SETS[at].iter().position(|x| x == id).unwrap(),
                ),
                3 => (vec![*id], 0),
                _ => ((0..row.dims()[0] as u32).collect(), *id as usize),
            };
            let count = set.len();
            let set = Tensor::from_vec(set, count, CPU).unwrap();
            let row = row.index_select(&set, 0).unwrap().unsqueeze(0).unwrap();
            let row = visa_nn::ops::log_softmax_last(&row)
                .unwrap()
                .get(0)
                .unwrap();
            wanted.push(row.narrow(0, place, 1).unwrap());
        }
    }
    let wanted = Tensor::cat(&wanted, 0).unwrap();
    assert_close(&found, &wanted, 1e-5);
    let forced = found.to_vec1::<f32>().unwrap()[3];
    assert_eq!(forced, 0.0);
    let weights = Tensor::new(&[1f32, -0.5, 2.0, 3.0, 0.25, -1.0, 0.5, 1.5], CPU).unwrap();
    let backward = |x: &Tensor| {
        (x * &weights)
            .unwrap()
            .sum_all()
            .unwrap()
            .backward()
            .unwrap()
    };
    let (got, want) = (backward(&found), backward(&wanted));
    for (name, var) in decoder.vars() {
        let (got, want) = (got.get(&var).unwrap(), want.get(&var).unwrap());
        let top = want
            .abs()
            .unwrap()
            .max_all()
            .unwrap()
            .to_scalar::<f32>()
            .unwrap();
        assert!(top > 0.0, "{name}");
        assert_close(got, want, 1e-4 * top.max(1e-2));
    }
    let error = decoder
        .group_logprobs_among(&groups[1..], choices.all())
        .unwrap_err();
    assert!(error.to_string().contains("8 tokens"), "{error}");
}

/// The layer as one op against the layer op by op, which an explicit mask
/// forces, and against itself with its activations computed again.
#[test]
fn whole_layers_equal_their_ops() {
    let lora = Lora::new(3, 6.0, &["q_proj", "o_proj", "gate_proj", "down_proj"]);
    let mut whole = tiny("llama-tied");
    whole.set_trainable(|_| true).unwrap();
    let adapted = tiny("llama-untied").with_lora(&lora, 5).unwrap();
    for (name, var) in adapted.vars() {
        // An adapter that does nothing would hide half of its gradient.
        if name.contains("lora_B") {
            let some = Tensor::full(0.03f32, var.shape(), CPU).unwrap();
            var.set(&some).unwrap();
        }
    }
    for mut decoder in [whole, adapted] {
        let text = ids(&[&[5, 9, 200, 7, 31, 8], &[8, 100, 3, 2, 2, 2]]);
        let positions = ids(&[&[0, 1, 2, 3, 4, 5], &[0, 1, 2, 3, 4, 5]]);
        let causal: Vec<u8> = (0..36).map(|i| u8::from(i % 6 <= i / 6)).collect();
        let explicit = Tensor::from_vec(causal, (1, 1, 6, 6), CPU).unwrap();
        let weights = Tensor::ones((2, 6), DType::F32, CPU).unwrap();
        let run = |decoder: &Decoder, mask: &Mask| {
            let hidden = decoder
                .forward_masked(&text, &positions, mask, None)
                .unwrap();
            let (loss, _) = decoder.hidden_loss_sum(&hidden, &text, &weights).unwrap();
            (hidden, loss.backward().unwrap())
        };
        let (want, want_grads) = run(&decoder, &Mask::Explicit(explicit));
        for checkpointing in [false, true] {
            decoder.set_checkpointing(checkpointing);
            let (got, grads) = run(&decoder, &Mask::causal());
            assert_close(&got, &want, 1e-5);
            for (name, var) in decoder.vars() {
                let (got, want) = (grads.get(&var).unwrap(), want_grads.get(&var).unwrap());
                let top = want.abs().unwrap().max_all().unwrap();
                let top = top.to_scalar::<f32>().unwrap();
                assert!(top > 0.0, "{name}");
                assert_close(got, want, 1e-4 * top.max(1e-2));
            }
        }
    }
}
