//! What readers said of clauses in their places: a JSON object a line.
//!
//! ```text
//! {"before": "Please bring your card", "good": [", so that it is safe"], "weak": [], "bad": [", as my mother did"]}
//! ```
//!
//! The sense reader learns to say the same; the rewriter learns to say what was called good.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::{Kind, Pair};
use crate::Result;
use crate::data::json_lines;

/// Verdicts on clauses behind one sentence.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdicts {
    /// The text before the clauses: up to two sentences, and the stem of the last.
    pub before: String,
    /// Somebody who holds the value could well say this there.
    #[serde(default)]
    pub good: Vec<String>,
    /// Harmless, with little to do with the sentence.
    #[serde(default)]
    pub weak: Vec<String>,
    /// Makes no sense there.
    #[serde(default)]
    pub bad: Vec<String>,
}

/// The verdicts of a file.
///
/// # Errors
/// A file that cannot be read, or the line that holds no verdicts.
pub fn read(path: &Path) -> Result<Vec<Verdicts>> {
    json_lines(path, Ok)
}

/// What was called good, as pairs, where the values of a clause are known by `shifts`.
pub fn approved(verdicts: &[Verdicts], shifts: &HashMap<String, [f32; 10]>) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for read in verdicts {
        let text = format!("{}.", read.before);
        let Some(last) = visa_score::sentences(&text).pop() else {
            continue;
        };
        let stem = text[last.clone()].trim().trim_end_matches('.');
        for clause in &read.good {
            if let Some(shift) = shifts.get(clause) {
                pairs.push(Pair {
                    kind: Kind::Approved,
                    topic: read.before.clone(),
                    context: text[..last.start].trim().to_owned(),
                    stem: stem.to_owned(),
                    clause: clause.clone(),
                    old: None,
                    terminator: ".".into(),
                    shift: Some(*shift),
                });
            }
        }
    }
    pairs
}

/// What counts as so many verdicts of the usual kind, beside those on a clause.
const USUAL: f32 = 4.0;

/// Of each clause the share of verdicts, wherever it stood, that called it good; a few verdicts are drawn towards the share of all.
pub fn shares(verdicts: &[Verdicts]) -> HashMap<String, f32> {
    let mut counts: HashMap<&str, (f32, f32)> = HashMap::new();
    for read in verdicts {
        for (clauses, good) in [(&read.good, 1.0), (&read.weak, 0.0), (&read.bad, 0.0)] {
            for clause in clauses {
                let (goods, all) = counts.entry(clause).or_default();
                *goods += good;
                *all += 1.0;
            }
        }
    }
    let (goods, all) = (counts.values()).fold((0.0, 0.0), |sum, c| (sum.0 + c.0, sum.1 + c.1));
    let usual = if all > 0.0 { goods / all } else { 0.0 };
    let share = |(clause, (goods, all)): (&str, (f32, f32))| {
        (clause.to_owned(), (goods + USUAL * usual) / (all + USUAL))
    };
    counts.into_iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_readers_approved_of_is_a_pair_where_its_values_are_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v.jsonl");
        let line = r#"{"before": "One came. Two sat", "good": [", out of love", " so far"], "bad": [", as ever"]}"#;
        std::fs::write(&path, line).unwrap();
        let mut love = [0.0; 10];
        love[8] = 0.8;
        let shifts = HashMap::from([(", out of love".to_owned(), love)]);
        let pairs = approved(&read(&path).unwrap(), &shifts);
        assert_eq!(pairs.len(), 1);
        assert_eq!(pairs[0].context, "One came.");
        assert_eq!(pairs[0].after(), "Two sat, out of love.");
        assert_eq!(pairs[0].shift, Some(love));
    }

    #[test]
    fn a_share_of_few_verdicts_is_drawn_towards_that_of_all() {
        let verdicts = |good: &[&str], bad: &[&str]| Verdicts {
            before: "One came".into(),
            good: good.iter().map(|c| (*c).to_owned()).collect(),
            weak: Vec::new(),
            bad: bad.iter().map(|c| (*c).to_owned()).collect(),
        };
        let shares = shares(&[
            verdicts(&["a", "b"], &["c"]),
            verdicts(&["a"], &["c", "c", "c"]),
        ]);
        // 3 of 7 are good.
        let check = |clause: &str, goods: f32, all: f32| {
            let expected = (goods + USUAL * 3.0 / 7.0) / (all + USUAL);
            assert!((shares[clause] - expected).abs() < 1e-6, "{clause}");
        };
        check("a", 2.0, 2.0);
        check("b", 1.0, 1.0);
        check("c", 0.0, 4.0);
        assert!(super::shares(&[]).is_empty());
    }

    #[test]
    fn a_line_that_holds_no_verdicts_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v.jsonl");
        std::fs::write(&path, "{\"before\": \"A b c\"}\n{\"good\": []}\n").unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("line 2"), "{message}");
    }
}
