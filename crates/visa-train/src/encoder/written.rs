//! Texts that we wrote for the detector: statements in minimal contrasts, and answers to questions, each with the
//! strength of every value it touches.
//!
//! Public sources name a statement's trait and leave the other nine values open; these name all ten, so a value that
//! is not named is silent. Sentences with and without an addition ([`crate::pairs::written`]) show above all how a value is
//! waved away in passing, which is easily taken for praise.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use visa_values::Shift;

use super::Target;
use super::recipe::Additions;
use super::signed::Signed;
use crate::pairs::row::in_context;
use crate::pairs::{Split, written};
use crate::{Result, committed};

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

/// One sentence in so many also stands as it is, and is silent.
const BARE: usize = 4;

/// Most sentences of other texts around one with an addition.
const AROUND: usize = 4;

/// Sentences of a folder with their additions, and some without: a third behind what goes before it, a third alone, a third in
/// the midst of other sentences, since a remark in passing is to be found in a long text too; as many as it says are drawn in an epoch.
/// Topics that rewriting pairs hold out by default are left out.
///
/// # Errors
/// As [`written::read`].
pub fn additions(from: &Additions) -> Result<Vec<Signed>> {
    let shares = crate::pairs::PairsRecipe::default();
    let held = |topic: &str| Split::of(topic, shares.valid_share, shares.test_share);
    let mut pairs = written::read(&from.folder)?.pairs();
    pairs.retain(|pair| held(&pair.topic) == Split::Train);
    let mut rng = ChaCha8Rng::seed_from_u64(0xADD);
    let mut texts = Vec::with_capacity(pairs.len());
    for (i, pair) in pairs.iter().enumerate() {
        let context = if i % 3 == 1 { "" } else { &pair.context };
        let around = if i % 3 == 2 {
            rng.random_range(1..=AROUND)
        } else {
            0
        };
        let others: Vec<String> = (0..around)
            .map(|_| pairs[rng.random_range(0..pairs.len())].before())
            .collect();
        let (ahead, behind) = others.split_at(rng.random_range(0..=around));
        let text = |sentence: String| {
            let text = in_context(context, &sentence);
            let parts = ahead.iter().chain([&text]).chain(behind);
            parts.map(String::as_str).collect::<Vec<_>>().join(" ")
        };
        let values = pair.shift.unwrap_or_default();
        texts.push((text(pair.after()), target(&values)));
        if i % BARE == 0 {
            texts.push((text(pair.before()), target(&[0.0; 10])));
        }
    }
    let rate = (from.drawn as f64 / texts.len().max(1) as f64).min(1.0);
    let signed = |(text, target)| Signed {
        text,
        context: None,
        target,
        rate,
    };
    Ok(texts.into_iter().map(signed).collect())
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
    fn sentences_stand_with_their_additions_and_without() {
        let dir = tempfile::tempdir().unwrap();
        let text = "P\nS One came.\nS Two sat.\n++be , out of love\n--be , and who cares\n++be , as friends\n";
        std::fs::write(dir.path().join("a.txt"), text).unwrap();
        let from = Additions {
            folder: dir.path().into(),
            drawn: 1,
        };
        let texts = additions(&from).unwrap();
        let found: Vec<(&str, f32)> = (texts.iter())
            .map(|t| (t.text.as_str(), t.target.value[8]))
            .collect();
        let expected = [
            ("One came. Two sat, out of love.", 1.8),
            ("One came. Two sat.", 1.0),
            ("Two sat, and who cares.", 0.2),
        ];
        let (long, class) = found[3];
        assert!(
            long.contains("One came. Two sat, as friends.") && long.len() > 30,
            "{long}"
        );
        assert!((class - 1.8).abs() < 1e-6);
        for ((text, class), (wanted, of)) in found.iter().zip(expected) {
            assert_eq!(*text, wanted);
            assert!((class - of).abs() < 1e-6, "{text}: {class}");
        }
        assert_eq!(found.len(), 4);
        assert!((texts[0].rate - 1.0 / 4.0).abs() < 1e-9);
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
