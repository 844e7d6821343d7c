//! The file of rewriting data: one pair of texts a line, with what is known of it.
//!
//! Everything that learns to rewrite reads this format, whoever wrote it: supervised training, the prompts of
//! reinforcement learning, and other programs. A kind that the clause-writing rewriter cannot use (whole sentences
//! rewritten) has no `clause`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use visa_score::Consistency;
use visa_values::{Profile, Shift};

use crate::checkpoint::{sha256, write_atomically};
use crate::{Error, Result};

/// What a pair teaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A reason put back into a sentence of running text.
    Mined,
    /// A claim, and the claim with a premise.
    Argument,
    /// The same conclusion with a premise that speaks other values.
    Swap,
    /// A sentence that stays as it is.
    Kept,
    /// A clause put together by our generator.
    Generated,
    /// The same opening with a clause that turns a value down, and with one that embraces it.
    Contrast,
    /// A clause written by us, for its sentence.
    Written,
    /// A clause of ours that readers called good behind a sentence that it was not written for.
    Approved,
    /// A text edited by a person until it said the opposite, with as few changes as possible.
    Counterfactual,
    /// A rude text said politely.
    Detoxified,
    /// A sentence, and two that say the same.
    Split,
    /// A sentence in simpler words.
    Simplified,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 12] = [
        Kind::Mined,
        Kind::Argument,
        Kind::Swap,
        Kind::Kept,
        Kind::Generated,
        Kind::Contrast,
        Kind::Written,
        Kind::Approved,
        Kind::Counterfactual,
        Kind::Detoxified,
        Kind::Split,
        Kind::Simplified,
    ];

    /// The name in files and recipes.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Mined => "mined",
            Kind::Argument => "argument",
            Kind::Swap => "swap",
            Kind::Kept => "kept",
            Kind::Generated => "generated",
            Kind::Contrast => "contrast",
            Kind::Written => "written",
            Kind::Approved => "approved",
            Kind::Counterfactual => "counterfactual",
            Kind::Detoxified => "detoxified",
            Kind::Split => "split",
            Kind::Simplified => "simplified",
        }
    }
}

/// To which part of the data a topic belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// Learned from.
    #[default]
    Train,
    /// Looked at while learning.
    Valid,
    /// Not looked at before everything is decided.
    Test,
}

impl Split {
    /// The split of a topic: its own hash decides, so that it stays where it is whatever else the data holds.
    pub fn of(topic: &str, valid: f64, test: f64) -> Self {
        let topic = topic.trim().trim_end_matches(['.', '!']).to_lowercase();
        let digest = sha256(topic.as_bytes());
        let place = u32::from_str_radix(&digest[..8], 16).map_or(0.0, f64::from) / 2f64.powi(32);
        match place {
            p if p < test => Self::Test,
            p if p < test + valid => Self::Valid,
            _ => Self::Train,
        }
    }
}

/// One pair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// What it teaches.
    pub kind: Kind,
    /// What it is about: pairs of one topic are in one split.
    pub topic: String,
    /// The split.
    pub split: Split,
    /// Up to two preceding sentences.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub context: String,
    /// What is rewritten, without its context.
    pub source: String,
    /// What it becomes.
    pub target: String,
    /// The clause that makes the target of its stem, with its leading "," or " "; may be empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clause: Option<String>,
    /// The final punctuation behind the clause.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub terminator: String,
    /// The shift that it teaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift: Option<Shift>,
    /// What the detector reads in the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Profile>,
    /// What it reads in the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Profile>,
    /// How well the meaning is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<Kept>,
    /// Guards that the target violates.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub guards: usize,
}

/// Entailment in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Falls when the target invents.
    pub forward: f32,
    /// Falls when it drops.
    pub backward: f32,
}

impl From<Consistency> for Kept {
    fn from(c: Consistency) -> Self {
        Self {
            forward: c.forward,
            backward: c.backward,
        }
    }
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl Row {
    /// The sentence in front of its clause, for pairs that have one.
    pub fn stem(&self) -> Option<&str> {
        let clause = self.clause.as_deref()?;
        let body = self.target.strip_suffix(self.terminator.as_str())?;
        body.strip_suffix(clause)
    }

    /// The source with its context, as a text.
    pub fn text(&self) -> String {
        in_context(&self.context, &self.source)
    }

    fn check(&self) -> Result<(), String> {
        if self.source.trim().is_empty() || self.target.trim().is_empty() {
            return Err("source or target is empty".into());
        }
        if self.clause.is_some() && self.stem().is_none() {
            return Err("the target does not end in the clause and the terminator".into());
        }
        Ok(())
    }
}

/// A sentence behind what goes before it, if anything does.
pub fn in_context(context: &str, sentence: &str) -> String {
    match context {
        "" => sentence.to_owned(),
        context => format!("{context} {sentence}"),
    }
}

/// Reads a file of pairs.
///
/// # Errors
/// The line that is no pair; a file without any.
pub fn read(path: &Path) -> Result<Vec<Row>> {
    let text = fs::read_to_string(path).map_err(Error::io(path))?;
    let mut rows = Vec::new();
    for (i, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let bad = |detail: String| {
            let help = "make the file again by `visa data pairs`";
            Error::data(path, format!("line {}: {detail}; {help}", i + 1))
        };
        let row: Row = serde_json::from_str(line).map_err(|e| bad(e.to_string()))?;
        row.check().map_err(bad)?;
        rows.push(row);
    }
    if rows.is_empty() {
        return Err(Error::data(
            path,
            "holds no pair; make it by `visa data pairs`",
        ));
    }
    Ok(rows)
}

/// Writes a file of pairs, whole or not at all.
///
/// # Errors
/// What the file system reports.
pub fn write(path: &Path, rows: &[Row]) -> Result<()> {
    let mut text = String::new();
    for row in rows {
        let line = serde_json::to_string(row).expect("plain data serialises");
        writeln!(text, "{line}").expect("strings take everything");
    }
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(Error::io(parent))?;
    }
    write_atomically(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(clause: &str) -> Row {
        Row {
            kind: Kind::Written,
            topic: "We walk".into(),
            split: Split::Train,
            context: "It rains.".into(),
            source: "We walk.".into(),
            target: "We walk, since it is near.".into(),
            clause: Some(clause.into()),
            terminator: ".".into(),
            shift: Some(Shift::parse("security=0.4").unwrap()),
            before: None,
            after: None,
            consistency: None,
            guards: 0,
        }
    }

    #[test]
    fn rows_come_back_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/pairs.jsonl");
        let rows = [row(", since it is near")];
        write(&path, &rows).unwrap();
        let found = read(&path).unwrap();
        assert_eq!(found, rows);
        assert_eq!(found[0].stem(), Some("We walk"));
        assert_eq!(found[0].text(), "It rains. We walk.");
        write(&path, &[row(", as ever")]).unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(
            message.contains("line 1") && message.contains("clause"),
            "{message}"
        );
        write(&path, &[]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("no pair"));
    }

    #[test]
    fn names_are_those_of_the_files() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }

    #[test]
    fn topics_are_split_in_their_shares_and_stay() {
        let all: Vec<Split> = (0..4000)
            .map(|i| Split::of(&format!("topic {i}"), 0.1, 0.2))
            .collect();
        let share = |split| all.iter().filter(|s| **s == split).count() as f64 / 4000.0;
        assert!((share(Split::Valid) - 0.1).abs() < 0.02);
        assert!((share(Split::Test) - 0.2).abs() < 0.02);
        assert_eq!(
            Split::of("We walk. ", 0.3, 0.3),
            Split::of("we walk", 0.3, 0.3)
        );
    }
}
