//! Texts that we wrote for the detector: statements in minimal contrasts, and answers to questions, each with the
//! strength of every value it touches.
//!
//! Public sources name a statement's trait and leave the other nine values open; these name all ten, so a value that
//! is not named is silent.

use serde::Deserialize;
use visa_values::Shift;

use super::Target;
use super::signed::Signed;
use crate::committed;

/// Weight of silence on a value that a written text does not name.
const SILENT: f32 = 0.3;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default)]
    context: Option<String>,
    text: String,
    values: Shift,
}

/// `data/statements.jsonl` and `data/answers.jsonl`, each text drawn with a chance of `rate` in an epoch.
pub fn texts(rate: f64) -> Vec<Signed> {
    let files = [
        ("statements.jsonl", include_str!("data/statements.jsonl")),
        ("answers.jsonl", include_str!("data/answers.jsonl")),
    ];
    let lines = files.map(|(name, file)| committed::lines::<Line>(name, file));
    (lines.into_iter().flatten())
        .map(|line| line.signed(rate))
        .collect()
}

impl Line {
    fn signed(self, rate: f64) -> Signed {
        Signed {
            target: target(self.values.as_array()),
            text: self.text,
            context: self.context,
            rate,
        }
    }
}

/// Strength v is the class 1 + v, a mixture of "silent" and "embraces" or "rejects".
fn target(values: &[f32; 10]) -> Target {
    Target {
        value: values.iter().map(|v| 1.0 + v).collect(),
        weight: values
            .iter()
            .map(|&v| if v == 0.0 { SILENT } else { 1.0 })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_parse_and_speak_every_value_both_ways() {
        let texts = texts(1.0);
        assert!(texts.len() > 1000, "{}", texts.len());
        for v in 0..10 {
            for (sign, side) in [(1.0, "embrace"), (-1.0, "reject")] {
                let n = (texts.iter())
                    .filter(|t| (t.target.value[v] - 1.0) * sign > 0.25)
                    .count();
                assert!(n >= 40, "{n} texts {side} value {v}");
            }
        }
        assert!(texts.iter().any(|t| t.context.is_some()));
    }

    #[test]
    fn strengths_become_mixtures() {
        let line = r#"{"text": "Never mind them.", "values": {"conformity": -0.8}}"#;
        let one = serde_json::from_str::<Line>(line).unwrap().signed(1.0);
        let v = visa_values::Value::Conformity.index();
        assert!((one.target.value[v] - 0.2).abs() < 1e-6 && one.target.weight[v] == 1.0);
        assert_eq!((one.target.value[0], one.target.weight[0]), (1.0, SILENT));
    }
}
