//! Profiles, shifts, targets, metrics and theories: examples at the borders and properties everywhere.

use proptest::prelude::*;
use visa_values::metrics::{self, Size};
use visa_values::{Category, NAMES, Profile, Shift, Target, Theory, Value, ValueError, fold};

fn near(a: f32, b: f32) {
    assert!((a - b).abs() < 1e-5, "{a} is not {b}");
}

#[test]
fn shifts_from_words() {
    let check = |text: &str, expected: &[(Value, f32)]| {
        let shift = Shift::parse(text).unwrap();
        let mut wanted = [0.0; 10];
        for (value, v) in expected {
            wanted[value.index()] = *v;
        }
        assert_eq!(shift.as_array(), &wanted, "{text}");
    };
    check(
        "tradition=+0.8, power=-0.5",
        &[(Value::Tradition, 0.8), (Value::Power, -0.5)],
    );
    check(
        "Self Direction: 1; hedonism=2",
        &[(Value::SelfDirection, 1.0), (Value::Hedonism, 2.0)],
    );
    check(
        "power=\u{2212}0.5\nsecurity=.25,",
        &[(Value::Power, -0.5), (Value::Security, 0.25)],
    );
}

#[test]
fn refused_shifts() {
    let check = |text: &str, expected: &str| {
        assert_eq!(
            Shift::parse(text).unwrap_err().to_string(),
            expected,
            "{text}"
        );
    };
    let syntax = |part: &str| {
        format!(
            "cannot read \"{part}\" as name=number; write for example tradition=+0.8, power=-0.5"
        )
    };
    check("", &syntax(""));
    check(" , ", &syntax(","));
    check("more tradition", &syntax("more tradition"));
    check("tradition=much", &syntax("tradition=much"));
    check(
        "tradtion=1",
        "unknown value \"tradtion\"; did you mean \"tradition\"?",
    );
    check(
        "power=1, power=1",
        "\"power\" is given twice in one shift; give it once",
    );
    check(
        "power=2.5",
        "shift of \"power\" is 2.5; give a number between -2 and 2",
    );
    check(
        "power=NaN",
        "shift of \"power\" is not a finite number; give one between -2 and 2",
    );
    check(
        "power=1e99",
        "shift of \"power\" is not a finite number; give one between -2 and 2",
    );
    assert!(
        Shift::parse(&"x".repeat(1_000_000))
            .unwrap_err()
            .to_string()
            .len()
            < 300
    );
}

#[test]
fn json() {
    let profile: Profile = serde_json::from_str(r#"{"tradition": 0.8, "power": -0.5}"#).unwrap();
    assert_eq!(
        profile,
        Profile::parse("tradition=0.8, power=-0.5").unwrap()
    );
    assert_eq!(
        serde_json::to_string(&profile).unwrap(),
        r#"{"self-direction":0.0,"stimulation":0.0,"hedonism":0.0,"achievement":0.0,"power":-0.5,"security":0.0,"conformity":0.0,"tradition":0.8,"benevolence":0.0,"universalism":0.0}"#
    );
    assert_eq!(
        serde_json::from_str::<Profile>("{}").unwrap(),
        Profile::zero()
    );
    for (text, words) in [
        (r#"{"tradtion": 0.8}"#, "did you mean \"tradition\"?"),
        (
            r#"{"power": 1.5}"#,
            "profile of \"power\" is 1.5; give a number between -1 and 1",
        ),
        (
            r#"{"power": 1e99}"#,
            "profile of \"power\" is not a finite number",
        ),
        (r#"{"power": null}"#, "invalid type: null"),
        (r#"{"power": 0.1, "Power": 0.1}"#, "given twice"),
        (
            "[0,0,0,0,0,0,0,0,0,0]",
            "an object of value names and numbers",
        ),
        (r#"{"power": 0.1"#, "EOF"),
    ] {
        let error = serde_json::from_str::<Profile>(text)
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
    assert!(serde_json::from_str::<Shift>(r#"{"power": 1.5}"#).is_ok());
    assert!(serde_json::from_str::<Target>(r#"{"power": 1.5}"#).is_err());
}

#[test]
fn cosine_at_zero() {
    assert_eq!(metrics::cosine(&[0.0; 3], &[0.0; 3]), 1.0);
    assert_eq!(metrics::cosine(&[0.0; 3], &[1.0, 0.0, 0.0]), 0.0);
    assert_eq!(metrics::cosine(&[1.0, 0.0, 0.0], &[0.0; 3]), 0.0);
    assert_eq!(metrics::cosine(&[], &[]), 1.0);
}

#[test]
fn progress_and_movement_at_the_borders() {
    let (b, t) = ([0.0, 0.0], [1.0, 0.0]);
    near(metrics::progress(&b, &b, &t), 0.0);
    near(metrics::progress(&b, &t, &t), 1.0);
    near(metrics::progress(&b, &[-1.0, 0.0], &t), -1.0);
    near(metrics::progress(&t, &t, &t), 0.0);
    near(metrics::progress(&t, &[0.5, 0.0], &t), -0.5);
    near(metrics::movement_cosine(&b, &b, &t), 0.0);
    near(metrics::movement_cosine(&b, &[0.3, 0.0], &t), 1.0);
    near(metrics::movement_cosine(&b, &[0.0, 0.3], &t), 0.0);
    near(metrics::movement_cosine(&b, &b, &[0.0, 0.0]), 1.0);
}

#[test]
fn leakage_counts_only_what_should_rest() {
    let shift = [0.0, 1.0, 0.0];
    near(metrics::leakage(&[0.0; 3], &[0.2, 0.9, -0.4], &shift), 0.3);
    near(
        metrics::leakage(&[0.0; 3], &[0.2, 0.9, -0.4], &[1.0; 3]),
        0.0,
    );
    assert_eq!(
        metrics::unmoved(&[0.0; 3], &[0.2, 0.9, -0.4], &shift, 0.25),
        Some(0.5)
    );
    assert_eq!(
        metrics::unmoved(&[0.0; 3], &[0.2, 0.9, -0.4], &[1.0; 3], 0.25),
        None
    );
}

#[test]
fn joint_success_is_strict_on_both_borders() {
    for (l2, consistency, expected) in [
        (0.79, 0.31, true),
        (0.8, 0.31, false),
        (0.79, 0.3, false),
        (f32::NAN, 0.9, false),
    ] {
        assert_eq!(metrics::joint_success(l2, consistency), expected);
    }
    assert_eq!(metrics::jsr([]), None);
    assert_eq!(
        metrics::jsr([(0.5, 0.9), (0.9, 0.9), (0.5, 0.1), (0.1, 0.9)]),
        Some(0.5)
    );
}

#[test]
fn sizes() {
    for (norm, expected) in [
        (0.0, Size::Light),
        (0.79, Size::Light),
        (0.8, Size::Medium),
        (1.49, Size::Medium),
        (1.5, Size::Radical),
    ] {
        assert_eq!(Size::of(&[norm, 0.0]), expected, "{norm}");
    }
}

#[test]
fn the_shipped_theory_is_the_compiled_one() {
    let theory = Theory::schwartz();
    assert_eq!(theory.names(), NAMES);
    assert_eq!(theory.len(), 10);
    for value in Value::ALL {
        assert_eq!(theory.angles().unwrap()[value.index()], value.angle());
        assert_eq!(
            theory.opposite(value.index()),
            Some(value.opposite().index())
        );
        assert!(theory.definitions()[value.index()].len() > 20);
    }
}

#[test]
fn a_foreign_theory_works_in_place() {
    let theory = Theory::from_toml(
        "name = \"virtues\"\n[[value]]\nname = \"courage\"\ndefinition = \"facing danger\"\n\
         [[value]]\nname = \"mercy\"\ndefinition = \"forgiving\"\n",
    )
    .unwrap();
    assert_eq!(
        (theory.name(), theory.angles(), theory.opposite(0)),
        ("virtues", None, None)
    );
    let before = theory.profile([("courage", 0.5)]).unwrap();
    let shift = theory.shift([("mercy", 0.5), ("courage", 1.5)]).unwrap();
    let target = theory.target(&before, &shift).unwrap();
    assert_eq!(target.as_slice(), [1.0, 0.5]);
    near(
        metrics::progress(before.as_slice(), target.as_slice(), target.as_slice()),
        1.0,
    );
    let error = theory.profile([("corage", 0.5)]).unwrap_err().to_string();
    assert_eq!(error, "unknown value \"corage\"; did you mean \"courage\"?");
    assert!(matches!(
        theory.profile([("mercy", 1.5)]),
        Err(ValueError::OutOfRange { .. })
    ));
    assert!(matches!(
        theory.profile([("mercy", 0.5), ("mercy", 0.5)]),
        Err(ValueError::Twice { .. })
    ));
    let other = Theory::schwartz().profile([]).unwrap();
    assert!(matches!(
        theory.target(&other, &shift),
        Err(ValueError::Length {
            got: 10,
            wanted: 2,
            ..
        })
    ));
}

#[test]
fn refused_theories() {
    let value = |name: &str, rest: &str| {
        format!("[[value]]\nname = \"{name}\"\ndefinition = \"d\"\n{rest}\n")
    };
    for (text, words) in [
        ("".to_owned(), "missing field `name`"),
        ("name = \"x\"".to_owned(), "it has 0 values"),
        (
            "name = \"X y\"\n".to_owned() + &value("a", ""),
            "the theory needs a name",
        ),
        (
            "name = \"x\"\nfoo = 1\n".to_owned() + &value("a", ""),
            "unknown field `foo`",
        ),
        (
            "name = \"x\"\n".to_owned() + &value("A b", ""),
            "value 1 is named \"A b\"",
        ),
        (
            "name = \"x\"\n".to_owned() + &value("a", "") + &value("a", ""),
            "\"a\" is given twice in one theory",
        ),
        (
            "name = \"x\"\n".to_owned() + &value("a", "angle = 10") + &value("b", ""),
            "1 of 2 values have an angle",
        ),
        (
            "name = \"x\"\n".to_owned() + &value("a", "angle = 360"),
            "below 360 degrees",
        ),
        (
            "name = \"x\"\n".to_owned() + &value("a", "angle = nan"),
            "below 360 degrees",
        ),
        (
            "name = \"x\"\n[[value]]\nname = \"a\"\ndefinition = \" \"".to_owned(),
            "has no definition",
        ),
    ] {
        let error = Theory::from_toml(&text).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
    let many: String = (0..300).map(|i| value(&format!("v{i}"), "")).collect();
    assert!(
        Theory::from_toml(&format!("name = \"x\"\n{many}"))
            .unwrap_err()
            .to_string()
            .contains("300 values")
    );
}

fn profiles() -> impl Strategy<Value = Profile> {
    prop::array::uniform10(-1.0_f32..=1.0).prop_map(|v| Profile::new(v).unwrap())
}

fn shifts() -> impl Strategy<Value = Shift> {
    prop::array::uniform10(prop_oneof![Just(0.0_f32), -2.0_f32..=2.0])
        .prop_map(|v| Shift::new(v).unwrap())
}

fn vectors() -> impl Strategy<Value = (Vec<f32>, Vec<f32>, Vec<f32>)> {
    (0_usize..20).prop_flat_map(|n| {
        let one = || prop::collection::vec(-2.0_f32..=2.0, n);
        (one(), one(), one())
    })
}

proptest! {
    #[test]
    fn json_round_trips(profile in profiles(), shift in shifts()) {
        let json = serde_json::to_string(&profile).unwrap();
        prop_assert_eq!(serde_json::from_str::<Profile>(&json).unwrap(), profile.clone());
        let target = serde_json::to_string(&Target::new(profile.clone())).unwrap();
        prop_assert_eq!(&target, &json);
        let json = serde_json::to_string(&shift).unwrap();
        prop_assert_eq!(serde_json::from_str::<Shift>(&json).unwrap(), shift);
    }

    #[test]
    fn text_round_trips(shift in shifts()) {
        let text: Vec<String> = shift.iter().map(|(v, d)| format!("{v}={d:+}")).collect();
        prop_assert_eq!(Shift::parse(&text.join(", ")).unwrap(), shift);
    }

    #[test]
    fn parsing_never_panics(text in "[a-z =+:,;.0-9-]{0,60}") {
        if let Ok(shift) = Shift::parse(&text) {
            prop_assert!(shift.as_array().iter().all(|d| d.abs() <= 2.0));
        }
    }

    #[test]
    fn only_numbers_in_range_are_profiles(values in prop::array::uniform10(prop::num::f32::ANY)) {
        let valid = values.iter().all(|v| v.is_finite() && v.abs() <= 1.0);
        prop_assert_eq!(Profile::new(values).is_ok(), valid);
        let valid = values.iter().all(|v| v.is_finite() && v.abs() <= 2.0);
        prop_assert_eq!(Shift::new(values).is_ok(), valid);
    }

    #[test]
    fn targets_are_clipped_profiles(profile in profiles(), shift in shifts()) {
        let target = Target::from_shift(&profile, &shift);
        for (value, t) in target.profile().iter() {
            let free = profile.get(value) + shift.get(value);
            prop_assert!(t.abs() <= 1.0);
            let clipped = if free.abs() <= 1.0 { free } else { free.signum() };
            prop_assert_eq!(t, clipped);
        }
        prop_assert_eq!(Target::from_shift(&profile, &Shift::zero()), Target::new(profile.clone()));
        let back = profile.shift_to(target.profile());
        prop_assert!(back.norm() <= shift.norm() + 1e-5);
    }

    #[test]
    fn cosine_is_a_cosine((a, b, _) in vectors(), scale in 0.1_f32..10.0) {
        let c = metrics::cosine(&a, &b);
        prop_assert!((-1.0..=1.0).contains(&c));
        prop_assert_eq!(c, metrics::cosine(&b, &a));
        let scaled: Vec<f32> = a.iter().map(|x| x * scale).collect();
        prop_assert!((metrics::cosine(&scaled, &b) - c).abs() < 1e-4);
        prop_assert!((metrics::cosine(&a, &a) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn l2_is_a_distance((a, b, c) in vectors()) {
        prop_assert_eq!(metrics::l2(&a, &a), 0.0);
        prop_assert_eq!(metrics::l2(&a, &b), metrics::l2(&b, &a));
        prop_assert!(metrics::l2(&a, &c) <= metrics::l2(&a, &b) + metrics::l2(&b, &c) + 1e-5);
    }

    #[test]
    fn progress_of_a_copy_is_zero_and_of_the_target_one((b, t, x) in vectors()) {
        prop_assume!(metrics::l2(&b, &t) > 1e-3);
        prop_assert_eq!(metrics::progress(&b, &b, &t), 0.0);
        prop_assert_eq!(metrics::progress(&b, &t, &t), 1.0);
        let p = metrics::progress(&b, &x, &t);
        prop_assert!(p.is_finite() && p <= 1.0);
    }

    #[test]
    fn movement_along_the_shift_is_one((b, s, _) in vectors(), share in 0.1_f32..1.0) {
        prop_assume!(metrics::norm(&s) > 1e-2);
        let after: Vec<f32> = b.iter().zip(&s).map(|(b, s)| b + share * s).collect();
        prop_assert!((metrics::movement_cosine(&b, &after, &s) - 1.0).abs() < 1e-3);
        prop_assert_eq!(metrics::movement_cosine(&b, &b, &s), 0.0);
    }

    #[test]
    fn leakage_is_blind_to_what_should_move(profile in profiles(), after in profiles(), shift in shifts()) {
        let mixed: Vec<f32> = Value::ALL.iter().map(|&v| if shift.get(v) == 0.0 { profile.get(v) } else { after.get(v) }).collect();
        prop_assert_eq!(metrics::leakage(profile.as_array(), &mixed, shift.as_array()), 0.0);
        prop_assert!(metrics::leakage(profile.as_array(), after.as_array(), shift.as_array()) <= 2.0);
    }

    #[test]
    fn folding_keeps_the_range_and_the_sign(p in prop::array::uniform20(-1.0_f32..=1.0)) {
        let folded = fold(&p);
        prop_assert!(folded.iter().all(|v| v.abs() <= 1.0));
        prop_assert_eq!(fold(&p.map(|x| -x)), folded.map(|x| -x));
        for category in Category::ALL {
            for (value, weight) in category.values() {
                prop_assert!(folded[value.index()].abs() >= (weight * p[category.index()]).abs());
            }
        }
    }

    #[test]
    fn names_are_read_or_refused(name in "\\PC{0,40}") {
        match name.parse::<Value>() {
            Ok(value) => prop_assert_eq!(name.trim().to_lowercase().replace([' ', '_', '\u{2010}', '\u{2011}'], "-"), value.name()),
            Err(error) => prop_assert!(error.to_string().starts_with("unknown value")),
        }
    }
}
