//! The Score object: its combination, its shape in JSON, and when it is accepted.

use proptest::prelude::*;
use visa_score::{
    Acceptance, Consistency, GuardKind, GuardViolation, Score, ScoreError, Weights, score,
};
use visa_values::{Profile, Shift, Target};

fn profile(text: &str) -> Profile {
    Profile::parse(text).unwrap()
}

fn violation() -> GuardViolation {
    GuardViolation {
        kind: GuardKind::Number,
        detail: "the number \"12\" is missing".into(),
    }
}

fn scored(before: &str, after: &str, target: &str, forward: f32, backward: f32) -> Score {
    let target = Target::parse(target).unwrap();
    let consistency = Consistency { forward, backward };
    score(
        &profile(before),
        &profile(after),
        &target,
        consistency,
        vec![],
        &Weights::default(),
    )
    .unwrap()
}

fn near(a: f32, b: f32) {
    assert!((a - b).abs() < 1e-6, "{a} is not {b}");
}

#[test]
fn totals() {
    // cosine 1 and consistency .9: .5 + .45
    near(
        scored("power=0.5", "tradition=0.5", "tradition=0.8", 1.0, 0.8).total,
        0.95,
    );
    // opposite: the value term is 0
    near(
        scored("power=0.5", "tradition=-0.5", "tradition=0.8", 1.0, 0.8).total,
        0.45,
    );
    // at the gate the value term does not count, above it does
    near(
        scored("power=0.5", "tradition=0.5", "tradition=0.8", 0.25, 0.35).total,
        0.15,
    );
    assert!(scored("power=0.5", "tradition=0.5", "tradition=0.8", 0.31, 0.31).total > 0.65);
}

#[test]
fn a_guard_violation_gates_the_total() {
    let target = Target::parse("tradition=0.8").unwrap();
    let consistency = Consistency {
        forward: 1.0,
        backward: 1.0,
    };
    let after = profile("tradition=0.8");
    let all = score(
        &Profile::zero(),
        &after,
        &target,
        consistency,
        vec![violation()],
        &Weights::default(),
    )
    .unwrap();
    assert_eq!(all.total, 0.0);
    near(all.value.cosine, 1.0);
    assert_eq!(
        all.accepted(&Acceptance::default()).reason(),
        "the number \"12\" is missing"
    );
}

#[test]
fn the_shape_of_the_contract() {
    let target = Target::parse("tradition=1").unwrap();
    let consistency = Consistency {
        forward: 0.75,
        backward: 0.25,
    };
    let score = score(
        &profile("tradition=0"),
        &profile("tradition=0.5"),
        &target,
        consistency,
        vec![violation()],
        &Weights::default(),
    )
    .unwrap();
    let json = serde_json::to_string(&score).unwrap();
    assert_eq!(
        json,
        r#"{"value":{"cosine":1.0,"l2":0.5,"progress":0.5,"movement":1.0},"consistency":{"forward":0.75,"backward":0.25,"mean":0.5},"guards":[{"kind":"number","detail":"the number \"12\" is missing"}],"total":0.0}"#
    );
    assert_eq!(serde_json::from_str::<Score>(&json).unwrap(), score);
}

#[test]
fn refused_input() {
    let run = |forward, weights: Weights| {
        let consistency = Consistency {
            forward,
            backward: 0.5,
        };
        score(
            &Profile::zero(),
            &Profile::zero(),
            &Target::default(),
            consistency,
            vec![],
            &weights,
        )
        .unwrap_err()
    };
    for bad in [f32::NAN, -0.1, 1.1, f32::INFINITY] {
        assert!(matches!(
            run(bad, Weights::default()),
            ScoreError::Consistency {
                direction: "forward",
                ..
            }
        ));
    }
    let weights = |value, consistency, gate| Weights {
        value,
        consistency,
        gate,
    };
    for bad in [
        weights(-1.0, 1.0, 0.3),
        weights(f32::NAN, 1.0, 0.3),
        weights(0.0, 0.0, 0.3),
        weights(1.0, 1.0, 2.0),
        weights(1.0, 1e9, 0.3),
    ] {
        let error = run(0.5, bad);
        assert!(matches!(error, ScoreError::Weight { .. }), "{error}");
    }
    assert_eq!(
        run(2.0, Weights::default()).to_string(),
        "forward consistency is 2; entailment probabilities lie between 0 and 1"
    );
}

#[test]
fn verdicts() {
    let check = |score: Score, accepted: bool, words: &str| {
        let verdict = score.accepted(&Acceptance::default());
        assert_eq!(verdict.is_accepted(), accepted, "{verdict}");
        assert!(verdict.reason().contains(words), "{verdict}");
    };
    check(
        scored("power=0", "power=0.4", "power=1", 0.9, 0.9),
        true,
        "covers 40 % of the distance",
    );
    check(
        scored("power=0", "power=0.1", "power=1", 0.9, 0.9),
        false,
        "moved too little toward the target: 10 %",
    );
    check(
        scored("power=0.4", "power=0.45", "power=1", 0.9, 0.9),
        true,
        "ends 0.55 from the target",
    );
    check(
        scored("power=0", "power=0", "power=1", 1.0, 1.0),
        false,
        "no nearer to the target",
    );
    check(
        scored("power=0", "power=-0.4", "power=1", 1.0, 1.0),
        false,
        "no nearer to the target",
    );
    check(
        scored("power=0", "power=1", "power=1", 0.3, 0.3),
        false,
        "meaning changed too much: consistency 0.30",
    );
    check(
        scored("power=0", "power=1", "power=1", 0.9, 0.9),
        true,
        "exactly",
    );
}

fn profiles() -> impl Strategy<Value = Profile> {
    prop::array::uniform10(-1.0_f32..=1.0).prop_map(|v| Profile::new(v).unwrap())
}

proptest! {
    #[test]
    fn scores_are_finite_and_bounded(
        before in profiles(), after in profiles(), target in profiles(), forward in 0.0_f32..=1.0, backward in 0.0_f32..=1.0,
    ) {
        let consistency = Consistency { forward, backward };
        let s = score(&before, &after, &Target::new(target), consistency, vec![], &Weights::default()).unwrap();
        for number in [s.value.cosine, s.value.l2, s.value.progress, s.value.movement, s.total] {
            prop_assert!(number.is_finite());
        }
        prop_assert!((0.0..=1.0).contains(&s.total));
        prop_assert!((-1.0..=1.0).contains(&s.value.movement) && s.value.progress <= 1.0 && s.value.l2 >= 0.0);
    }

    #[test]
    fn a_copy_that_should_move_is_never_accepted(before in profiles(), shift in prop::array::uniform10(-2.0_f32..=2.0)) {
        let target = Target::from_shift(&before, &Shift::new(shift).unwrap());
        prop_assume!(visa_values::metrics::l2(before.as_array(), target.as_array()) > 1e-4);
        let consistency = Consistency { forward: 1.0, backward: 1.0 };
        let s = score(&before, &before, &target, consistency, vec![], &Weights::default()).unwrap();
        prop_assert!(!s.accepted(&Acceptance::default()).is_accepted());
        prop_assert_eq!(s.value.progress, 0.0);
        prop_assert_eq!(s.value.movement, 0.0);
    }

    #[test]
    fn the_target_with_its_meaning_kept_is_always_accepted(before in profiles(), target in profiles()) {
        let consistency = Consistency { forward: 1.0, backward: 1.0 };
        let s = score(&before, &target.clone(), &Target::new(target), consistency, vec![], &Weights::default()).unwrap();
        prop_assert!(s.accepted(&Acceptance::default()).is_accepted());
    }

    #[test]
    fn more_consistency_never_lowers_the_total(
        before in profiles(), after in profiles(), target in profiles(), c in 0.0_f32..=0.9, more in 0.0_f32..=0.1,
    ) {
        let of = |c: f32| {
            let consistency = Consistency { forward: c, backward: c };
            score(&before, &after, &Target::new(target.clone()), consistency, vec![], &Weights::default()).unwrap().total
        };
        prop_assert!(of(c + more) >= of(c));
    }
}
