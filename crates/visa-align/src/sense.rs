//! A sentence and a clause behind it → whether the clause belongs there.
//!
//! A small decoder writes good grammar and little sense. The sense reader was trained to tell clauses that were written for a
//! sentence from those that the decoder puts there; its logit is the log-odds of the first, and samples are ranked by it.

use std::path::Path;

use crate::backend::Sensible;
use crate::error::Result;
use crate::head::{Input, encode_input};
use crate::models::{Models, Part};
use crate::trunk::{HeadModel, Trunk};

/// Log-odds beyond this are no more certain.
const CERTAIN: f32 = 8.0;

/// The sense reader.
#[derive(Debug)]
pub struct Sense {
    model: HeadModel,
    output: usize,
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
            output: model.place("sense")?,
            model,
        })
    }
}

impl Sensible for Sense {
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
            let p = answer[self.output][0];
            (p / (1.0 - p)).ln().clamp(-CERTAIN, CERTAIN)
        };
        Ok(self.model.run(&inputs)?.into_iter().map(odds).collect())
    }
}
