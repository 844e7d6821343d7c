//! By hand, by finite differences, and by taking a batch apart. Parity with TRL is in `tests/objectives.rs`.

use super::*;

const PLAIN: PolicyConfig = PolicyConfig {
    clip_low: 0.2,
    clip_high: 0.3,
    kl_weight: 0.0,
    divergence: Divergence::K3,
    kl_importance: false,
    normalisation: Normalisation::Token,
};

/// Of one token: loss and slope.
#[track_caller]
fn check_token(ratio: f64, advantage: f64, expected: (f64, f64)) {
    let found = token(ratio.ln(), 0.0, None, advantage, &PLAIN);
    let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
    assert!(
        near(found.loss, expected.0) && near(found.slope, expected.1),
        "ρ {ratio}, A {advantage}: {found:?}, expected {expected:?}"
    );
}

#[test]
fn the_clip_holds_gains_and_never_losses() {
    check_token(1.0, 2.0, (-2.0, -2.0));
    check_token(1.2, 2.0, (-2.4, -2.4));
    // Beyond the clip a gain is a constant …
    check_token(1.5, 2.0, (-2.6, 0.0));
    check_token(0.5, -2.0, (1.6, 0.0));
    // … and a loss is not.
    check_token(0.5, 2.0, (-1.0, -1.0));
    check_token(1.5, -2.0, (3.0, 3.0));
    check_token(1.5, 0.0, (0.0, 0.0));
}

#[test]
fn slopes_are_derivatives() {
    let h = 1e-5;
    for divergence in [Divergence::K1, Divergence::K2, Divergence::K3] {
        for kl_importance in [true, false] {
            let config = PolicyConfig {
                kl_weight: 0.7,
                divergence,
                kl_importance,
                ..PLAIN
            };
            for now in [-2.0, -1.1, -0.9, -0.3] {
                for advantage in [-1.5, 0.0, 0.8] {
                    let at = |now| token(now, -1.0, Some(-1.3), advantage, &config);
                    let expected = (at(now + h).loss - at(now - h).loss) / (2.0 * h);
                    let found = at(now).slope;
                    assert!(
                        (found - expected).abs() < 1e-8,
                        "{divergence:?} {kl_importance} {now} {advantage}: {found} {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn estimators_agree_where_the_models_are_near() {
    let k = |divergence, now| {
        let config = PolicyConfig {
            kl_weight: 1.0,
            divergence,
            ..PLAIN
        };
        token(now, now, Some(-1.0), 0.0, &config).divergence
    };
    // Fresh tokens of a coin with p = .51 now and .5 under the reference, by expectation over its sides.
    let (p, q) = (0.51f64, 0.5f64);
    let exact = p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln();
    for divergence in [Divergence::K1, Divergence::K2, Divergence::K3] {
        let side = |p: f64| p * k(divergence, p.ln() - q.ln() - 1.0);
        let expected = side(p) + side(1.0 - p);
        assert!(
            (expected - exact).abs() < 2e-6,
            "{divergence:?} {expected} {exact}"
        );
    }
    assert!(k(Divergence::K3, -3.0) > 0.0 && k(Divergence::K3, 0.0) > 0.0);
}

/// Three completions of 1, 3 and 2 tokens.
struct Batch {
    lens: Vec<usize>,
    logprobs: Vec<f32>,
    old: Vec<f32>,
    reference: Vec<f32>,
    advantages: Vec<f64>,
}

fn batch() -> Batch {
    Batch {
        lens: vec![1, 3, 2],
        logprobs: vec![-1.0, -0.5, -2.0, -1.5, -0.25, -3.0],
        old: vec![-1.0, -0.75, -1.5, -1.5, -0.5, -2.5],
        reference: vec![-1.25, -0.5, -2.0, -1.0, -0.25, -3.5],
        advantages: vec![1.0, -0.5, 0.75],
    }
}

impl Batch {
    fn part(&self, which: std::ops::Range<usize>) -> Completions<'_> {
        let start: usize = self.lens[..which.start].iter().sum();
        let len: usize = self.lens[which.clone()].iter().sum();
        let tokens = start..start + len;
        Completions {
            lens: &self.lens[which.clone()],
            logprobs: &self.logprobs[tokens.clone()],
            old: Some(&self.old[tokens.clone()]),
            reference: Some(&self.reference[tokens]),
            advantages: &self.advantages[which],
            kept: None,
        }
    }
}

const NORMALISATIONS: [Normalisation; 3] = [
    Normalisation::Token,
    Normalisation::Sequence,
    Normalisation::Constant,
];

#[test]
fn normalisations_by_hand() {
    let lens = [1, 3];
    let logprobs = [-1.0f32; 4];
    let completions = Completions {
        lens: &lens,
        logprobs: &logprobs,
        old: None,
        reference: None,
        advantages: &[6.0, -2.0],
        kept: None,
    };
    // ρ = 1 throughout: the losses are −6, and 2 three times.
    for (normalisation, expected, slopes) in [
        (Normalisation::Token, 0.0, [-1.5, 0.5]),
        (Normalisation::Sequence, -2.0, [-3.0, 1.0 / 3.0]),
        (Normalisation::Constant, 0.0, [-0.6, 0.2]),
    ] {
        let config = PolicyConfig {
            normalisation,
            ..PLAIN
        };
        let found = loss(&completions, &Whole::new(&lens, None, 5), &config).unwrap();
        assert!(
            (found.loss - expected).abs() < 1e-12,
            "{normalisation:?} {}",
            found.loss
        );
        assert!((f64::from(found.gradient[0]) - slopes[0]).abs() < 1e-7);
        assert!((f64::from(found.gradient[3]) - slopes[1]).abs() < 1e-7);
    }
}

#[test]
fn the_gradient_is_the_loss_by_each_log_probability() {
    for normalisation in NORMALISATIONS {
        let config = PolicyConfig {
            kl_weight: 0.1,
            kl_importance: true,
            normalisation,
            ..PLAIN
        };
        let whole = Whole::new(&[1, 3, 2], None, 4);
        let value = |batch: &Batch| loss(&batch.part(0..3), &whole, &config).unwrap();
        let gradient = value(&batch()).gradient;
        // A power of two, so that the shifted numbers are exact.
        let h = 1.0 / 512.0;
        for (t, found) in gradient.into_iter().enumerate() {
            let shifted = |by: f32| {
                let mut batch = batch();
                batch.logprobs[t] += by;
                value(&batch).loss
            };
            let expected = (shifted(h) - shifted(-h)) / (2.0 * f64::from(h));
            let found = f64::from(found);
            assert!(
                (found - expected).abs() < 1e-5,
                "{normalisation:?} token {t}: {found} {expected}"
            );
        }
    }
}

#[test]
fn parts_add_up_to_the_whole() {
    for normalisation in NORMALISATIONS {
        let config = PolicyConfig {
            kl_weight: 0.1,
            normalisation,
            ..PLAIN
        };
        let batch = batch();
        let whole = Whole::new(&batch.lens, None, 3);
        let run = |which| loss(&batch.part(which), &whole, &config).unwrap();
        let (all, first, rest) = (run(0..3), run(0..1), run(1..3));
        assert!((all.loss - first.loss - rest.loss).abs() < 1e-12);
        assert_eq!(all.gradient, [first.gradient, rest.gradient].concat());
    }
}

#[test]
fn what_is_left_out_has_no_gradient_and_no_tokens() {
    let batch = batch();
    let kept = [true, false, true];
    let completions = Completions {
        kept: Some(&kept),
        ..batch.part(0..3)
    };
    let whole = Whole::new(&batch.lens, Some(&kept), 3);
    assert_eq!((whole.tokens, whole.completions), (3, 3));
    let found = loss(&completions, &whole, &PLAIN).unwrap();
    assert_eq!(found.gradient[1..4], [0.0; 3]);
    // The same tokens without the completion between them.
    let rest = Completions {
        lens: &[1, 2],
        logprobs: &[-1.0, -0.25, -3.0],
        old: Some(&[-1.0, -0.5, -2.5]),
        reference: None,
        advantages: &[1.0, 0.75],
        kept: None,
    };
    let expected = loss(&rest, &Whole::new(&[1, 2], None, 3), &PLAIN).unwrap();
    assert_eq!(found.loss, expected.loss);
    assert_eq!(found.metrics, expected.metrics);
}

#[test]
fn metrics_have_the_names_users_know() {
    let config = PolicyConfig {
        kl_weight: 0.1,
        ..PLAIN
    };
    let batch = batch();
    let found = loss(
        &batch.part(0..3),
        &Whole::new(&batch.lens, None, 3),
        &config,
    )
    .unwrap();
    let metric = |name: &str| found.metrics.iter().find(|(n, _)| n == name).unwrap().1;
    assert!((metric("entropy") - 8.25 / 6.0).abs() < 1e-12);
    // ρ of the six: 1, e^.25, e^−.5, 1, e^.25, e^−.5; the second part has a negative advantage.
    assert!((metric("clip_ratio/low_mean") - 1.0 / 6.0).abs() < 1e-12);
    assert_eq!(metric("clip_ratio/high_mean"), 0.0);
    assert!(metric("kl") > 0.0);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refused =
        |completions: &Completions<'_>, whole: Whole, config: &PolicyConfig, part: &str| {
            let error = loss(completions, &whole, config).unwrap_err().to_string();
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        };
    let batch = batch();
    let all = batch.part(0..3);
    let whole = Whole::new(&batch.lens, None, 3);
    let short = Completions {
        logprobs: &batch.logprobs[1..],
        ..all
    };
    refused(&short, whole, &PLAIN, "5 numbers for 6 tokens");
    let broken = [-1.0, -0.5, f32::NAN, -1.5, -0.25, -3.0];
    refused(
        &Completions {
            logprobs: &broken,
            ..all
        },
        whole,
        &PLAIN,
        "NaN at token 2",
    );
    refused(
        &Completions {
            advantages: &[1.0],
            ..all
        },
        whole,
        &PLAIN,
        "advantage",
    );
    let kl = PolicyConfig {
        kl_weight: 0.1,
        ..PLAIN
    };
    refused(
        &Completions {
            reference: None,
            ..all
        },
        whole,
        &kl,
        "no log-probabilities of a reference",
    );
    refused(
        &all,
        Whole { tokens: 5, ..whole },
        &PLAIN,
        "no part of the batch",
    );
    refused(
        &all,
        Whole { limit: 2, ..whole },
        &PLAIN,
        "no part of the batch",
    );
    refused(
        &Completions {
            lens: &[1, 3, 2, 0],
            ..all
        },
        whole,
        &PLAIN,
        "sequence 3 has no token",
    );
    let k1 = PolicyConfig {
        divergence: Divergence::K1,
        ..kl
    };
    refused(&all, whole, &k1, "k1");
    refused(
        &all,
        whole,
        &PolicyConfig {
            clip_low: 0.0,
            ..PLAIN
        },
        "clip_low",
    );
    refused(
        &all,
        whole,
        &PolicyConfig {
            clip_high: f64::NAN,
            ..PLAIN
        },
        "clip_high",
    );
}
