//! Rollouts of a policy in bf16: what drawing reports is what training computes.
//!
//! A program of its own, since the precision is set for the whole process.

use candle_core::{Device, Tensor};
use visa_nn::ops::{Precision, set_precision};
use visa_nn::sample::{Allowed, Choices, Constraint, Finish, Generated, Generator, SampleOptions};
use visa_nn::{Decoder, DecoderConfig, Engine, Group, Lora, WeightType};

const CPU: &Device = &Device::Cpu;

fn config() -> DecoderConfig {
    DecoderConfig {
        vocab_size: 500,
        hidden_size: 96,
        intermediate_size: 160,
        num_hidden_layers: 6,
        num_attention_heads: 6,
        num_key_value_heads: 2,
        head_dim: 16,
        max_position_embeddings: 128,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        tie_word_embeddings: false,
        attention_bias: true,
        mlp_bias: false,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
        pad_token_id: None,
    }
}

/// A random decoder whose weights are large enough for probabilities that
/// differ, as after training.
fn policy() -> Decoder {
    let decoder = Decoder::new_random(&config(), 7, CPU).unwrap();
    for (_, var) in decoder.vars() {
        if var.dims().len() == 2 {
            var.set(&(var.as_tensor() * 3.0).unwrap()).unwrap();
        }
    }
    decoder
}

fn options() -> SampleOptions {
    SampleOptions {
        max_tokens: 24,
        seed: 5,
        ..SampleOptions::default()
    }
}

fn prompts() -> Vec<Vec<u32>> {
    vec![(3..40).collect(), vec![7, 7, 9], (100..160).rev().collect()]
}

/// Log-probabilities of the output by the training forward.
fn trained(decoder: &Decoder, prompt: &[u32], out: &Generated) -> Vec<f32> {
    let text = [prompt, &out.ids].concat();
    let row = |ids: &[u32]| Tensor::from_slice(ids, (1, ids.len()), CPU).unwrap();
    let (from, to) = (&text[..text.len() - 1], &text[1..]);
    let losses = decoder.token_losses(&row(from), &row(to), None).unwrap();
    let losses = losses.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    losses[prompt.len() - 1..]
        .iter()
        .map(|loss| -loss)
        .collect()
}

#[track_caller]
fn check(decoder: &Decoder, groups: &[Vec<Generated>], tolerance: f32) {
    let mut spread = 0f32;
    for (group, prompt) in groups.iter().zip(prompts()) {
        for out in group {
            assert_eq!(out.finish, Finish::Length);
            let want = trained(decoder, &prompt, out);
            assert_eq!(want.len(), out.logprobs.len());
            for (got, want) in out.logprobs.iter().zip(want) {
                assert!((got - want).abs() < tolerance, "{got} {want}");
                spread = spread.max((want + 500f32.ln()).abs());
            }
        }
    }
    // A model that knows nothing would pass whatever is compared.
    assert!(spread > 0.5, "{spread}");
}

/// Every third token has its own rule: a third of the vocabulary, everything, a token that is forced.
#[derive(Clone)]
struct Thirds(usize, Vec<u32>);

impl Constraint for Thirds {
    fn allowed(&self, _: &[u32]) -> Allowed<'_> {
        match self.0 % 3 {
            0 => Allowed::Only(&self.1),
            1 => Allowed::All,
            _ => Allowed::Force(7),
        }
    }

    fn advance(&mut self, _: u32) {
        self.0 += 1;
    }

    fn done(&self) -> bool {
        self.0 >= 24
    }
}

/// Under a constraint both sides have the probabilities of what is allowed.
#[track_caller]
fn constrained(decoder: &Decoder, engine: &Engine, tolerance: f32) {
    let fresh = Thirds(0, (0..500).filter(|id| id % 3 == 1).collect());
    let mut constraints: Vec<Box<dyn Constraint>> = (0..15)
        .map(|_| Box::new(fresh.clone()) as Box<dyn Constraint>)
        .collect();
    let generator = Generator::over(engine);
    let drawn = generator
        .groups(&prompts(), 5, &options(), &mut constraints)
        .unwrap();
    let mut choices = Choices::new(500);
    let (prompts, mut groups) = (prompts(), Vec::new());
    for (prompt, outputs) in prompts.iter().zip(&drawn) {
        for out in outputs {
            choices.record(&out.ids, &mut fresh.clone()).unwrap();
        }
        let completions = outputs.iter().map(|out| out.ids.as_slice()).collect();
        groups.push(Group {
            prompt,
            completions,
        });
    }
    let trained = decoder
        .group_logprobs_among(&groups, choices.all())
        .unwrap();
    let free = decoder
        .group_logprobs(&groups)
        .unwrap()
        .to_vec1::<f32>()
        .unwrap();
    let reported = drawn.iter().flatten().flat_map(|out| &out.logprobs);
    let mut apart = 0f32;
    for ((got, want), free) in reported.zip(trained.to_vec1::<f32>().unwrap()).zip(free) {
        assert!((got - want).abs() < tolerance, "{got} {want}");
        apart = apart.max((want - free).abs());
    }
    assert!(apart > 1.0, "the constraint makes no difference: {apart}");
}

#[test]
fn log_probabilities_are_the_trainers() {
    set_precision(Precision::Bf16);
    let mut decoder = policy();
    let mut engine = Engine::new(&decoder, WeightType::Bf16).unwrap();
    let roll = |engine: &Engine, slots: usize| {
        let generator = Generator::over(engine).slots(slots);
        generator
            .groups(&prompts(), 5, &options(), &mut [])
            .unwrap()
    };
    let groups = roll(&engine, 64);
    assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [5, 5, 5]);
    assert_ne!(groups[0][0].ids, groups[0][1].ids);
    check(&decoder, &groups, 1e-2);
    constrained(&decoder, &engine, 1e-2);

    // Sequences that wait for a slot come out the same.
    for slots in [1, 4] {
        for (a, b) in roll(&engine, slots)
            .iter()
            .flatten()
            .zip(groups.iter().flatten())
        {
            assert_eq!(a.ids[..2], b.ids[..2]);
        }
    }

    // After an update the engine speaks as the new weights do.
    for (name, var) in decoder.vars() {
        if name.contains("down_proj") {
            var.set(&(var.as_tensor() * -1.0).unwrap()).unwrap();
        }
    }
    engine.refresh(&decoder).unwrap();
    check(&decoder, &roll(&engine, 64), 1e-2);

    // And an adapter is merged on the way: rounded once, where training rounds
    // base and update each by itself.
    let lora = Lora::new(4, 8.0, &["q_proj", "up_proj"]);
    decoder = decoder.with_lora(&lora, 3).unwrap();
    for (_, var) in decoder.vars() {
        let shift = Tensor::full(0.02f32, var.shape(), CPU).unwrap();
        var.set(&(var.as_tensor() + shift).unwrap()).unwrap();
    }
    engine.refresh(&decoder).unwrap();
    check(&decoder, &roll(&engine, 64), 3e-2);

    constrained(&decoder, &engine, 3e-2);

    // Bytes round more, and say so.
    let bytes = Engine::new(&decoder, WeightType::Int8).unwrap();
    check(&decoder, &roll(&bytes, 64), 0.2);

    // Exact weights take no part in the rounding.
    set_precision(Precision::F32);
    let engine = Engine::new(&decoder, WeightType::F32).unwrap();
    check(&decoder, &roll(&engine, 7), 1e-4);
    let other = DecoderConfig {
        num_hidden_layers: 1,
        ..config()
    };
    let other = Decoder::new_random(&other, 1, CPU).unwrap();
    let mut engine = engine;
    assert!(engine.refresh(&other).is_err());
}
