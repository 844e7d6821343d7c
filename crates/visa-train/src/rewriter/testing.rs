//! Judges without a model, and a little data, for the tests of this crate.

use std::path::{Path, PathBuf};

use visa_align::embedded::Asker;
use visa_align::{AlignError, Consistent, Text, Values};
use visa_nn::{Decoder, Tokenizer};
use visa_score::Consistency;
use visa_values::{Profile, Shift};

use crate::pairs::row::{self, Kind, Row, Split};

/// Sees security in the word "safe".
pub(crate) struct Safe;

impl Values for Safe {
    fn profiles(&self, texts: &[Text]) -> visa_align::Result<Vec<Profile>> {
        let see = |text: &Text| {
            let mut values = [0.0; 10];
            values[5] = if text.text.contains("safe") { 0.4 } else { 0.1 };
            Profile::new(values).unwrap()
        };
        Ok(texts.iter().map(see).collect())
    }
}

/// Speaks a value by how often a letter occurs: different for different clauses.
pub(crate) struct Letters;

impl Values for Letters {
    fn profiles(&self, texts: &[Text]) -> visa_align::Result<Vec<Profile>> {
        let letters = ['a', 'e', 'i', 'o', 'u', 'n', 's', 't', 'r', 'h'];
        let see = |text: &Text| {
            let share = |c| 4.0 * text.text.matches(c).count() as f32 / text.text.len() as f32;
            Profile::new(letters.map(|c| share(c).min(1.0))).unwrap()
        };
        Ok(texts.iter().map(see).collect())
    }
}

/// Reads as [`Letters`] does, but not what holds this word.
pub(crate) struct Squeamish(pub(crate) &'static str);

impl Values for Squeamish {
    fn profiles(&self, texts: &[Text]) -> visa_align::Result<Vec<Profile>> {
        if texts.iter().any(|text| text.text.contains(self.0)) {
            return Err(AlignError::Empty { what: "text" });
        }
        Letters.profiles(texts)
    }
}

/// Says of every pair that this much is kept.
pub(crate) struct Same(pub(crate) f32);

impl Consistent for Same {
    fn consistency(&self, pairs: &[(&str, &str)]) -> visa_align::Result<Vec<Consistency>> {
        let same = Consistency {
            forward: self.0,
            backward: self.0,
        };
        Ok(vec![same; pairs.len()])
    }
}

/// Keeps less the longer the candidate, and cannot read what holds this word.
pub(crate) struct Picky(pub(crate) &'static str);

impl Consistent for Picky {
    fn consistency(&self, pairs: &[(&str, &str)]) -> visa_align::Result<Vec<Consistency>> {
        if !self.0.is_empty() && pairs.iter().any(|(original, _)| original.contains(self.0)) {
            return Err(AlignError::Empty { what: "candidate" });
        }
        let judge = |(original, candidate): &(&str, &str)| Consistency {
            forward: (original.len() as f32 / candidate.len().max(1) as f32).min(1.0),
            backward: 0.95,
        };
        Ok(pairs.iter().map(judge).collect())
    }
}

/// The parts of a tiny random rewriter, whose folder is made in `dir`.
pub(crate) fn asker(dir: &Path) -> Asker {
    visa_align::testing::rewriter(dir);
    let decoder = Decoder::load(dir, &candle_core::Device::Cpu).unwrap();
    Asker::new(Tokenizer::load(dir).unwrap(), decoder.config()).unwrap()
}

/// The folder of a tiny random rewriter, and a file of pairs; both made in `dir`.
pub(crate) fn policy_and_pairs(dir: &Path) -> (PathBuf, PathBuf) {
    let (policy, pairs) = (dir.join("rewriter"), dir.join("pairs.jsonl"));
    visa_align::testing::rewriter(&policy);
    row::write(&pairs, &rows(30)).unwrap();
    (policy, pairs)
}

/// Rows about so many things, a fifth of them for looking.
pub(crate) fn rows(count: usize) -> Vec<Row> {
    (0..count)
        .map(|i| {
            let word = ["red", "blue", "old", "new", "wide", "small"][i % 6];
            let stem = format!("You should keep the {word} door of house {i} open");
            Row {
                kind: [Kind::Mined, Kind::Kept, Kind::Written][i % 3],
                topic: stem.clone(),
                split: if i % 5 == 4 {
                    Split::Valid
                } else {
                    Split::Train
                },
                context: ["", "It rains."][i % 2].into(),
                source: format!("{stem}."),
                target: format!("{stem} because it keeps us safe."),
                clause: Some(" because it keeps us safe".into()),
                terminator: ".".into(),
                shift: Some(Shift::parse("security=0.8").unwrap()),
                before: None,
                after: None,
                consistency: None,
                guards: 0,
            }
        })
        .collect()
}

/// The bytes of the model that a run left.
pub(crate) fn weights(out: &Path) -> Vec<u8> {
    std::fs::read(out.join("model/model.safetensors")).unwrap()
}

/// Weighs what a random model can differ in.
pub(crate) fn lenient() -> super::reward::RewardRecipe {
    super::reward::RewardRecipe {
        gate: 0.0,
        sense: 0.0,
        ..super::reward::RewardRecipe::default()
    }
}

impl Letters {
    /// The profiles of plain texts.
    pub(crate) fn profiles_of(&self, texts: &[&str]) -> Vec<Profile> {
        let texts: Vec<Text> = texts.iter().map(|t| Text::new(*t)).collect();
        self.profiles(&texts).unwrap()
    }
}
