//! A short questionnaire: twenty statements of our own, two a value, answered from 1 to 6.
//!
//! Scored as Schwartz scores his: a person's mean over all answers is taken from the mean of each value, because some
//! people agree with everything, and what matters is which values go before which. What is left lies between −4.5 and
//! 4.5; one half of the scale's width, 2.5, is made 1, and more is clipped.

use std::sync::OnceLock;

use serde::Deserialize;
use visa_values::{Profile, Value};

use crate::error::{AlignError, Result};

/// A statement and the value it asks about.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// The value.
    pub value: Value,
    /// The statement, in the first person.
    pub text: String,
}

/// Answers go from 1 to this.
pub const HIGHEST: u8 = 6;

/// What each answer means, from 1 to 6.
pub const ANSWERS: [&str; HIGHEST as usize] = [
    "not like me at all",
    "not like me",
    "a little like me",
    "somewhat like me",
    "like me",
    "very much like me",
];

/// The centred score that becomes 1.
const FULL: f32 = 2.5;

/// The statements in the order in which they are asked.
pub fn items() -> &'static [Item] {
    #[derive(Deserialize)]
    struct File {
        item: Vec<Item>,
    }
    static ITEMS: OnceLock<Vec<Item>> = OnceLock::new();
    ITEMS.get_or_init(|| {
        let text = include_str!("../../data/questionnaire.toml");
        toml::from_str::<File>(text)
            .expect("the questionnaire is part of the program and tested")
            .item
    })
}

/// The profile that answers in the order of [`items`] describe.
///
/// # Errors
/// [`AlignError::Option`] for another number of answers, or one that is not 1 to 6.
pub fn profile(answers: &[u8]) -> Result<Profile> {
    let items = items();
    let wrong = |given: String| AlignError::Option {
        option: "answers",
        given,
        wanted: "twenty numbers from 1 to 6, one a statement",
    };
    if answers.len() != items.len() {
        return Err(wrong(format!("{} numbers", answers.len())));
    }
    if let Some(i) = answers.iter().position(|a| !(1..=HIGHEST).contains(a)) {
        return Err(wrong(format!("{} at place {}", answers[i], i + 1)));
    }
    let mean = |of: &dyn Fn(&Item) -> bool| {
        let (sum, count) = (items.iter().zip(answers))
            .filter(|(item, _)| of(item))
            .fold((0.0, 0.0), |(s, n), (_, a)| (s + f32::from(*a), n + 1.0));
        sum / count
    };
    let all = mean(&|_| true);
    let centred = Value::ALL.map(|v| mean(&|item| item.value == v) - all);
    Ok(Profile::new(centred.map(|x| (x / FULL).clamp(-1.0, 1.0)))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_asked_about_twice_and_never_twice_in_a_row() {
        for value in Value::ALL {
            assert_eq!(
                items().iter().filter(|i| i.value == value).count(),
                2,
                "{value}"
            );
        }
        for pair in items().windows(2) {
            assert_ne!(pair[0].value, pair[1].value);
        }
    }

    #[test]
    fn answers_are_centred() {
        let check = |answers: &dyn Fn(Value) -> u8, expected: &[(Value, f32)]| {
            let answers: Vec<u8> = items().iter().map(|i| answers(i.value)).collect();
            let found = profile(&answers).expect("twenty answers");
            for (value, x) in expected {
                assert!(
                    (found.get(*value) - x).abs() < 1e-6,
                    "{value}: {}",
                    found.get(*value)
                );
            }
        };
        // Who agrees with everything puts no value before another.
        check(&|_| 6, &[(Value::Power, 0.0), (Value::Tradition, 0.0)]);
        // Mean 1.5: tradition 4.5 above it is clipped, the others are 0.5 below.
        let only = |v| if v == Value::Tradition { 6 } else { 1 };
        check(&only, &[(Value::Tradition, 1.0), (Value::Power, -0.2)]);
        // The same preference said in milder words is milder: mean 3.1, tradition 0.9 above it.
        let mild = |v| if v == Value::Tradition { 4 } else { 3 };
        check(&mild, &[(Value::Tradition, 0.36), (Value::Power, -0.04)]);
    }

    #[test]
    fn wrong_answers_are_named() {
        let check = |answers: &[u8], part: &str| {
            let error = profile(answers).expect_err("wrong").to_string();
            assert!(error.contains(part), "{error}");
        };
        check(&[3; 19], "19 numbers");
        check(&[0; 20], "0 at place 1");
        let mut one = [3; 20];
        one[6] = 7;
        check(&one, "7 at place 7");
    }

    #[test]
    fn the_page_asks_the_same() {
        let page = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../web/app/data/questionnaire.json"
        );
        let text = std::fs::read_to_string(page).expect("the page is in the repository");
        let found: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let expected: Vec<_> = items()
            .iter()
            .map(|i| serde_json::json!({"value": i.value, "text": i.text}))
            .collect();
        assert_eq!(found["items"], serde_json::json!(expected));
        assert_eq!(found["answers"], serde_json::json!(ANSWERS));
    }
}
