//! The objectives against TRL's own functions on the same log-probabilities: `golden/make.py` says how they were made.

use serde::Deserialize;
use visa_train::objective::advantage::{AdvantageConfig, Aggregation, Scale, Term, advantages};
use visa_train::objective::policy::{self, Completions, Normalisation, PolicyConfig, Whole};
use visa_train::objective::preference::{self, Pairs, Preference};

#[derive(Deserialize)]
struct Golden {
    grpo: Vec<Policy>,
    preferences: Vec<Pair>,
    advantages: Vec<Rewards>,
}

#[derive(Deserialize)]
struct Policy {
    normalisation: Normalisation,
    kl_weight: f64,
    kl_importance: bool,
    limit: usize,
    lens: Vec<usize>,
    logprobs: Vec<f32>,
    old: Option<Vec<f32>>,
    reference: Vec<f32>,
    advantages: Vec<f64>,
    loss: f64,
    gradient: Vec<f64>,
    metrics: std::collections::BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Pair {
    beta: f64,
    gamma: Option<f64>,
    lens: Vec<usize>,
    logprobs: Vec<f32>,
    reference: Vec<f32>,
    loss: f64,
    gradient: Vec<f64>,
}

#[derive(Deserialize)]
struct Rewards {
    scale: Scale,
    aggregation: Aggregation,
    terms: Vec<Vec<f64>>,
    weights: Vec<f64>,
    groups: Vec<usize>,
    advantages: Vec<f64>,
    metrics: std::collections::BTreeMap<String, f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/objectives.json")).expect("the golden file is whole")
}

#[track_caller]
fn near(what: &str, found: f64, expected: f64, tolerance: f64) {
    let error = (found - expected).abs();
    assert!(
        error <= tolerance * expected.abs().max(1.0),
        "{what}: {found}, TRL has {expected}"
    );
}

#[track_caller]
fn check(found: &visa_train::objective::Objective, loss: f64, gradient: &[f64]) {
    near("the loss", found.loss, loss, 1e-9);
    assert_eq!(found.gradient.len(), gradient.len());
    for (found, expected) in found.gradient.iter().zip(gradient) {
        // Gradients are handed on as f32.
        near("a derivative", f64::from(*found), *expected, 1e-6);
    }
}

#[test]
fn grpo_is_trls() {
    let cases = golden().grpo;
    assert_eq!(cases.len(), 18);
    for case in cases {
        let config = PolicyConfig {
            clip_low: 0.2,
            clip_high: 0.28,
            kl_weight: case.kl_weight,
            kl_importance: case.kl_importance,
            normalisation: case.normalisation,
            ..PolicyConfig::default()
        };
        let completions = Completions {
            lens: &case.lens,
            logprobs: &case.logprobs,
            old: case.old.as_deref(),
            reference: Some(&case.reference),
            advantages: &case.advantages,
            kept: None,
        };
        let whole = Whole::new(&case.lens, None, case.limit);
        let found = policy::loss(&completions, &whole, &config).expect("a loss");
        check(&found, case.loss, &case.gradient);
        for (name, expected) in &case.metrics {
            let metric = found.metrics.iter().find(|(n, _)| n == name);
            near(
                name,
                metric.expect("a metric of this name").1,
                *expected,
                1e-6,
            );
        }
    }
}

#[test]
fn dpo_and_simpo_are_trls() {
    let cases = golden().preferences;
    assert_eq!(cases.len(), 4);
    for case in cases {
        let beta = case.beta;
        let preference = match case.gamma {
            None => Preference::Dpo { beta },
            Some(gamma) => Preference::Simpo { beta, gamma },
        };
        let pairs = Pairs {
            lens: &case.lens,
            logprobs: &case.logprobs,
            reference: Some(&case.reference),
        };
        let found = preference::loss(&pairs, case.lens.len() / 2, preference).expect("a loss");
        check(&found, case.loss, &case.gradient);
    }
}

#[test]
fn advantages_are_trls() {
    let cases = golden().advantages;
    assert_eq!(cases.len(), 4);
    for case in cases {
        let terms: Vec<Term> = case
            .terms
            .into_iter()
            .zip(case.weights)
            .map(|(values, weight)| Term {
                name: "r".into(),
                weight,
                values,
            })
            .collect();
        let config = AdvantageConfig {
            scale: case.scale,
            aggregation: case.aggregation,
            ..AdvantageConfig::default()
        };
        let found = advantages(&terms, &case.groups, &config).expect("advantages");
        // TRL computes rewards in f32.
        for (found, expected) in found.values.iter().zip(&case.advantages) {
            near("an advantage", *found, *expected, 1e-5);
        }
        for (name, expected) in &case.metrics {
            let metric = found.metrics.iter().find(|(n, _)| n == name);
            near(
                name,
                metric.expect("a metric of this name").1,
                *expected,
                1e-5,
            );
        }
    }
}
