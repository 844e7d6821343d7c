//! A sentence → what it does; a sentence and a clause behind it → whether the clause belongs there.
//!
//! A small decoder writes good grammar and little sense. The sense reader was trained to tell clauses that were written for a
//! sentence from others, and what readers called good from the rest; its logit is the log-odds of the first, and samples are ranked by it.
//! What a text is about is told by the encoder as it was published. It was also taught which speech act a sentence performs, which decides what may be sampled at all.

use std::path::Path;
use std::sync::Arc;

use crate::acts::{self, Acts};
use crate::backend::Sensible;
use crate::error::Result;
use crate::head::{Input, Output, encode_input};
use crate::models::{Models, Part};
use crate::trunk::{Embedder, HeadModel, Trunk};

/// Log-odds beyond this are no more certain.
const CERTAIN: f32 = 8.0;
/// The class of what performs no act that a remark suits, behind those of [`acts::NAMES`].
pub const NO_ACT: &str = "none";
/// A sentence is left alone if it performs none with this probability.
const NONE: f32 = 0.5;
/// Beside the likeliest act a sentence may perform those that have this probability.
const LIKELY: f32 = 0.2;

/// The sense reader.
#[derive(Debug)]
pub struct Sense {
    model: HeadModel,
    embedder: Embedder,
    sense: usize,
    act: usize,
}

impl Sense {
    /// Loads the sense reader among `models` over a trunk that is shared.
    ///
    /// # Errors
    /// As [`Models::dir`]; [`ModelFile`](crate::AlignError::ModelFile) or [`Load`](crate::AlignError::Load), naming the file.
    pub fn find(models: &Models, trunk: &Trunk) -> Result<Self> {
        Self::load(&models.dir(Part::Sense)?, trunk)
    }

    /// Loads a folder (adapter and head) over a trunk.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn load(dir: &Path, trunk: &Trunk) -> Result<Self> {
        let model = HeadModel::load(dir, Part::Sense, Some(trunk))?;
        Ok(Self {
            sense: model.place("sense")?,
            act: model.place("act")?,
            embedder: Embedder::new(trunk)?,
            model,
        })
    }
}

/// What a sense reader answers: the logit of sense, and the class of the act.
pub fn outputs() -> Vec<Output> {
    let classes: Vec<&str> = acts::NAMES.into_iter().chain([NO_ACT]).collect();
    vec![
        Output::new("sense", &["sense"], &[]),
        Output::new("act", &["act"], &classes),
    ]
}

/// Of glad and sorry acts those count that are so much likelier together; if neither are, a sentence is left alone.
const CLEARLY: f32 = 1.3;

/// The acts behind which a remark may suit, from the probability of each and of none. A remark that suits praise is absurd behind blame.
fn likely(probabilities: &[f32]) -> Acts {
    let (acts, none) = probabilities.split_at(acts::NAMES.len());
    if none.iter().any(|p| *p >= NONE) {
        return Acts::NONE;
    }
    let most = acts.iter().copied().fold(0.0, f32::max);
    let likely = (acts.iter().enumerate())
        .filter(|(_, p)| **p >= most || **p >= LIKELY)
        .fold(Acts::NONE, |all, (i, _)| all | Acts::of(i));
    let (glad, sorry) = (likely & acts::GLAD, likely & acts::SORRY);
    if glad.is_empty() || sorry.is_empty() {
        return likely;
    }
    let total = |of: Acts| -> f32 { of.indices().map(|i| acts[i]).sum() };
    let [gladness, sorrow] = [acts::GLAD, acts::SORRY].map(total);
    if gladness >= CLEARLY * sorrow {
        likely.without(sorry)
    } else if sorrow >= CLEARLY * gladness {
        likely.without(glad)
    } else {
        Acts::NONE
    }
}

impl Sensible for Sense {
    /// What is too long for the reader loses its beginning.
    fn acts(&self, before: &[&str]) -> Result<Vec<Acts>> {
        let tokens = self.model.tokens(before)?;
        let most = self.model.head().config.max_tokens;
        let inputs: Vec<Input> = (tokens.iter())
            .map(|ids| {
                let ids = &ids[ids.len().saturating_sub(most - 2)..];
                encode_input(self.model.specials(), ids, None, most)
            })
            .collect();
        let answers = self.model.run(&inputs)?;
        Ok(answers
            .iter()
            .map(|answer| likely(&answer[self.act]))
            .collect())
    }

    /// What is too long for the reader loses its beginning.
    fn sense(&self, pairs: &[(&str, &str)]) -> Result<Vec<f32>> {
        let texts: Vec<&str> = pairs.iter().flat_map(|&(a, b)| [a, b]).collect();
        let tokens = self.model.tokens(&texts)?;
        let most = self.model.head().config.max_tokens;
        let inputs: Vec<Input> = (tokens.chunks_exact(2))
            .map(|pair| {
                let room = most.saturating_sub(3 + pair[1].len()).max(most / 2);
                let before = &pair[0][pair[0].len().saturating_sub(room)..];
                encode_input(self.model.specials(), before, Some(&pair[1]), most)
            })
            .collect();
        let odds = |answer: Vec<Vec<f32>>| {
            let p = answer[self.sense][0];
            (p / (1.0 - p)).ln().clamp(-CERTAIN, CERTAIN)
        };
        Ok(self.model.run(&inputs)?.into_iter().map(odds).collect())
    }

    fn about(&self, texts: &[&str]) -> Result<Vec<Arc<[f32]>>> {
        self.embedder.embed(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_performs_the_likeliest_act_and_those_nearly_as_likely() {
        let check = |set: &[(usize, f32)], expected: Acts| {
            let mut p = [0.0; acts::NAMES.len() + 1];
            set.iter().for_each(|&(i, x)| p[i] = x);
            assert_eq!(likely(&p), expected, "{set:?}");
        };
        check(&[(2, 0.7), (3, 0.25), (4, 0.05)], Acts::of(2) | Acts::of(3));
        check(&[(2, 0.15), (3, 0.1)], Acts::of(2));
        check(&[(2, 0.4), (40, 0.45)], Acts::of(2));
        check(&[(2, 0.4), (40, 0.55)], Acts::NONE);
        let at = |name: &str| acts::NAMES.iter().position(|n| *n == name).unwrap();
        let (praised, blamed) = (at("film-praised"), at("film-blamed"));
        check(&[(praised, 0.7), (blamed, 0.1)], Acts::of(praised));
        check(&[(praised, 0.35), (blamed, 0.3)], Acts::NONE);
        check(&[(praised, 0.6), (blamed, 0.25)], Acts::of(praised));
        check(
            &[(blamed, 0.6), (praised, 0.25), (2, 0.2)],
            Acts::of(blamed) | Acts::of(2),
        );
    }
}
