//! A step on tiny random decoders.

use candle_core::Device;
use visa_nn::DecoderConfig;

use super::*;

fn decoder(trainable: bool) -> Decoder {
    let config = DecoderConfig {
        vocab_size: 12,
        hidden_size: 32,
        intermediate_size: 48,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        num_key_value_heads: 1,
        head_dim: 16,
        max_position_embeddings: 32,
        rms_norm_eps: 1e-5,
        rope_theta: 1e4,
        tie_word_embeddings: false,
        attention_bias: false,
        mlp_bias: false,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
        pad_token_id: None,
    };
    let mut decoder = Decoder::new_random(&config, 5, &Device::Cpu).unwrap();
    decoder.set_trainable(|_| trainable).unwrap();
    decoder
}

fn config() -> GrpoConfig {
    GrpoConfig {
        group: 6,
        max_tokens: 5,
        stop_ids: vec![0],
        ..GrpoConfig::default()
    }
}

const PROMPTS: usize = 3;

fn prompts() -> Vec<Prompt> {
    (0..PROMPTS as u32)
        .map(|i| vec![1 + i, 2, 3].into())
        .collect()
}

/// The share of odd tokens.
struct Odd;

impl Reward for Odd {
    fn score(&mut self, rollouts: &[Rollout<'_>]) -> Result<Vec<Judged>> {
        let share = |c: &Completion| {
            let ids = &c.generated.ids;
            ids.iter().filter(|id| *id % 2 == 1).count() as f64 / ids.len() as f64
        };
        let term = |r: &Rollout<'_>| {
            Ok(vec![Term {
                name: "odd".into(),
                weight: 1.0,
                values: r.completions.iter().map(share).collect(),
            }])
        };
        Ok(rollouts.iter().map(term).collect())
    }
}

fn metric(metrics: &Metrics, name: &str) -> f64 {
    metrics
        .iter()
        .find(|(n, _)| n == name)
        .unwrap_or_else(|| panic!("no metric {name}"))
        .1
}

fn bits(decoder: &Decoder) -> Vec<u32> {
    let vars = decoder.vars();
    let values = vars
        .iter()
        .flat_map(|(_, v)| v.flatten_all().unwrap().to_vec1::<f32>().unwrap());
    values.map(f32::to_bits).collect()
}

fn train(config: GrpoConfig, steps: u64) -> (Grpo, Vec<Metrics>) {
    let mut grpo = Grpo::new(decoder(true), Some(decoder(false)), config).unwrap();
    let run = |seed| grpo.step(&prompts(), &mut Odd, 5e-3, seed).unwrap();
    let metrics = (0..steps).map(run).collect();
    (grpo, metrics)
}

#[test]
fn the_reward_rises_and_the_engine_follows_the_trainer() {
    let (_, metrics) = train(config(), 40);
    let mean = |range: std::ops::Range<usize>| {
        let n = range.len() as f64;
        metrics[range]
            .iter()
            .map(|m| metric(m, "reward"))
            .sum::<f64>()
            / n
    };
    let (before, after) = (mean(0..5), mean(35..40));
    assert!(after > before + 0.2, "{before} → {after}");
    for m in &metrics {
        assert!(metric(m, "sampling/sampling_logp_difference/mean") < 1e-4);
    }
    assert!(metric(&metrics[0], "kl").abs() < 1e-6 && metric(&metrics[39], "kl") > 1e-3);
}

#[test]
fn the_same_seed_gives_the_same_bytes_in_parts_or_not() {
    let run = |micro_prompts| {
        let config = GrpoConfig {
            micro_prompts,
            ..config()
        };
        train(config, 3)
    };
    let (whole, again, parts) = (run(0), run(0), run(2));
    assert_eq!(bits(whole.0.decoder()), bits(again.0.decoder()));
    for (whole, parts) in whole.1.iter().zip(&parts.1) {
        for name in ["reward", "loss", "grad_norm", "kl", "entropy"] {
            let (a, b) = (metric(whole, name), metric(parts, name));
            assert!((a - b).abs() < 1e-3 * a.abs().max(1e-3), "{name}: {a} {b}");
        }
    }
}

#[test]
fn several_updates_move_away_from_what_was_drawn() {
    let config = GrpoConfig {
        iterations: 3,
        ..config()
    };
    let (grpo, metrics) = train(config, 1);
    assert_eq!(grpo.adam.steps(), 3);
    // The metrics are those of fresh completions.
    assert_eq!(metric(&metrics[0], "clip_ratio/region_mean"), 0.0);
}

#[test]
fn long_completions_are_treated_as_asked() {
    let (_, metrics) = train(
        GrpoConfig {
            overlong: Overlong::Penalty { buffer: 2 },
            ..config()
        },
        1,
    );
    assert!(metric(&metrics[0], "rewards/overlong/mean") < 0.0);
    // Without an end every completion is cut off.
    let endless = GrpoConfig {
        overlong: Overlong::Mask,
        stop_ids: Vec::new(),
        ..config()
    };
    let mut grpo = Grpo::new(decoder(true), Some(decoder(false)), endless).unwrap();
    let error = grpo.step(&prompts(), &mut Odd, 1e-3, 0).unwrap_err();
    assert!(error.to_string().contains("max_tokens"), "{error}");
}

/// Cannot judge the groups of these numbers.
struct Blind(Vec<usize>);

impl Reward for Blind {
    fn score(&mut self, rollouts: &[Rollout<'_>]) -> Result<Vec<Judged>> {
        let mut judged = Odd.score(rollouts)?;
        for &i in &self.0 {
            judged[i] = Err("the judge is gone".into());
        }
        Ok(judged)
    }
}

#[test]
fn a_group_that_cannot_be_judged_is_dropped_counted_and_changes_nothing() {
    let run = |dropped: Vec<usize>, prompts: &[Prompt]| {
        let mut grpo = Grpo::new(decoder(true), Some(decoder(false)), config()).unwrap();
        let metrics = grpo.step(prompts, &mut Blind(dropped), 1e-2, 0).unwrap();
        (
            bits(grpo.decoder()),
            metric(&metrics, "groups_dropped"),
            grpo.tally,
        )
    };
    // Streams of random numbers go by place, so the last group is dropped.
    let (with, count, tally) = run(vec![2], &prompts());
    let (without, none, _) = run(Vec::new(), &prompts()[..2]);
    assert_eq!(with, without);
    assert_eq!((count, none), (1.0, 0.0));
    assert_eq!((tally.groups, tally.dropped), (3, 1));

    let config = GrpoConfig {
        max_dropped: 0.3,
        ..config()
    };
    let mut grpo = Grpo::new(decoder(true), Some(decoder(false)), config).unwrap();
    let mut steps = 0;
    let error = loop {
        match grpo.step(&prompts(), &mut Blind(vec![1]), 1e-3, steps) {
            Ok(_) => steps += 1,
            Err(error) => break error.to_string(),
        }
    };
    assert_eq!(steps, 6);
    assert!(
        error.contains("7 of 21 groups") && error.contains("judge is gone"),
        "{error}"
    );
}

/// Under a shield the two sides still agree, and only clauses are written.
#[test]
fn shielded_rollouts_are_what_training_sees() {
    let texts = [
        ",", " ", "a", " b", ", c", "d", "-", "'", "I", " I", ".", "9",
    ];
    let pieces = (0u32..).zip(texts.map(str::to_owned));
    let vocab = std::sync::Arc::new(visa_align::shield::ClauseVocab::from_pieces(pieces).unwrap());
    let shielded: Vec<Prompt> = prompts()
        .into_iter()
        .map(|prompt| Prompt {
            shield: ClauseShield::new(&vocab, &[10, 11], 3),
            ..prompt
        })
        .collect();
    let config = GrpoConfig {
        max_tokens: 12,
        stop_ids: Vec::new(),
        ..config()
    };
    let mut grpo = Grpo::new(decoder(true), Some(decoder(false)), config).unwrap();
    let drawn = grpo.draw(&shielded, 6, 3).unwrap();
    let all: Vec<&Completion> = drawn.iter().flatten().collect();
    for completion in &all {
        assert!(completion.generated.ids.ends_with(&[10, 11]));
        assert_eq!(completion.generated.logprobs.last(), Some(&0.0));
    }
    assert!(all.iter().any(|c| c.cut_off) && all.iter().any(|c| !c.cut_off));
    for seed in 0..4 {
        let metrics = grpo.step(&shielded, &mut Odd, 1e-2, seed).unwrap();
        assert!(metric(&metrics, "sampling/sampling_logp_difference/mean") < 1e-4);
    }
}

#[test]
fn what_cannot_be_done_is_said_and_changes_nothing() {
    let refused = |policy: Decoder, reference, config, part: &str| {
        let error = Grpo::new(policy, reference, config)
            .err()
            .expect("an error")
            .to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(decoder(true), None, config(), "no reference");
    refused(decoder(false), Some(decoder(false)), config(), "trainable");
    refused(
        decoder(true),
        None,
        GrpoConfig {
            group: 0,
            ..config()
        },
        "group is 0",
    );
    let mut grpo = Grpo::new(decoder(true), Some(decoder(false)), config()).unwrap();
    let before = bits(grpo.decoder());
    let all = Blind((0..PROMPTS).collect());
    let error = grpo.step(&prompts(), &mut { all }, 1e-3, 0).unwrap_err();
    assert!(error.to_string().contains("the judge is gone"));
    assert_eq!(bits(grpo.decoder()), before);
}
