//! Texts that we wrote for the detector: statements in minimal contrasts, and answers to questions, each with the
//! strength of every value it touches.
//!
//! Public sources name a statement's trait and leave the other nine values open; these name all ten, so a value that
//! is not named is silent.

use serde::Deserialize;
use visa_values::Shift;

use super::Target;
use super::signed::Signed;

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
        include_str!("data/statements.jsonl"),
        include_str!("data/answers.jsonl"),
    ];
    (files.into_iter().flat_map(parse))
        .map(|text| Signed { rate, ..text })
        .collect()
}

fn parse(file: &str) -> impl Iterator<Item = Signed> {
    file.lines().enumerate().map(|(i, line)| {
        let line: Line = serde_json::from_str(line)
            .unwrap_or_else(|e| panic!("committed texts, line {}: {e}", i + 1));
        Signed {
            text: line.text,
            context: line.context,
            target: target(line.values.as_array()),
            rate: 1.0,
        }
    })
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
        let one = parse(line).next().unwrap();
        let v = visa_values::Value::Conformity.index();
        assert!((one.target.value[v] - 0.2).abs() < 1e-6 && one.target.weight[v] == 1.0);
        assert_eq!((one.target.value[0], one.target.weight[0]), (1.0, SILENT));
    }
}
