//! What a caller asks of the loop, and when the loop is satisfied.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use visa_score::{Acceptance, Weights};
use visa_values::{Shift, Target};

use crate::error::{AlignError, Result};

/// Most bytes of a text: a megabyte and a half, several novels' chapters; beyond that a caller wants a batch.
pub const MAX_TEXT: usize = 1_500_000;

/// A text and where its values are to go.
#[derive(Clone, Debug)]
pub struct RewriteRequest {
    /// The text.
    pub text: String,
    /// What the text answers, if known: read by detector and backend, never rewritten.
    pub query: Option<String>,
    /// Where to.
    pub goal: Goal,
}

impl RewriteRequest {
    pub(super) fn check(&self) -> Result<()> {
        check_text("text", &self.text)?;
        match &self.goal {
            Goal::Instruction(words) => check_text("persona", words),
            Goal::Target(_) | Goal::Shift(_) => Ok(()),
        }
    }
}

/// Refuses texts that are empty or beyond [`MAX_TEXT`].
pub(crate) fn check_text(what: &'static str, text: &str) -> Result<()> {
    if text.trim().is_empty() {
        return Err(AlignError::Empty { what });
    }
    if text.len() > MAX_TEXT {
        return Err(AlignError::TooLong {
            what,
            size: text.len(),
            limit: MAX_TEXT,
        });
    }
    Ok(())
}

/// Where the values of a text are to go.
#[derive(Clone, Debug)]
pub enum Goal {
    /// To this profile.
    Target(Target),
    /// By this much.
    Shift(Shift),
    /// As these words say: a persona, an instruction, or `tradition=+0.8`.
    Instruction(String),
}

/// How long to try, and what to accept.
#[derive(Clone, Debug)]
pub struct RewriteOptions {
    /// Candidates a round.
    pub candidates: usize,
    /// Rounds at most.
    pub rounds: usize,
    /// What to accept.
    pub acceptance: Acceptance,
    /// Weights of the total.
    pub weights: Weights,
    /// Seed of everything random.
    pub seed: u64,
    /// A text nearer than this to its target (L2) is left alone.
    pub near: f32,
    /// The first accepted candidate nearer than this to the target (L2) ends the search; others are built on while there are
    /// rounds.
    pub enough: f32,
    /// A candidate may be this many times as long as the original, plus 200 bytes.
    pub growth: f32,
}

impl Default for RewriteOptions {
    fn default() -> Self {
        Self {
            candidates: 8,
            rounds: 3,
            acceptance: Acceptance::default(),
            weights: Weights::default(),
            seed: 0,
            near: 0.05,
            enough: 0.5,
            growth: 3.0,
        }
    }
}

impl RewriteOptions {
    pub(super) fn check(&self) -> Result<()> {
        let option = |option, given: String, wanted| {
            Err(AlignError::Option {
                option,
                given,
                wanted,
            })
        };
        if self.candidates == 0 || self.candidates > 256 {
            return option(
                "candidates",
                self.candidates.to_string(),
                "between 1 and 256",
            );
        }
        if self.rounds == 0 || self.rounds > 100 {
            return option("rounds", self.rounds.to_string(), "between 1 and 100");
        }
        if !(self.near >= 0.0 && self.near.is_finite()) {
            return option("near", self.near.to_string(), "a number from 0");
        }
        if !(self.enough >= 0.0 && self.enough.is_finite()) {
            return option("enough", self.enough.to_string(), "a number from 0");
        }
        if !(self.growth >= 1.0 && self.growth.is_finite()) {
            return option("growth", self.growth.to_string(), "a number from 1");
        }
        let shares = [
            ("acceptance consistency", self.acceptance.consistency),
            ("acceptance progress", self.acceptance.progress),
            ("acceptance progress-near", self.acceptance.progress_near),
        ];
        for (name, given) in shares {
            if !(0.0..=1.0).contains(&given) {
                return option(name, given.to_string(), "between 0 and 1");
            }
        }
        if !(self.acceptance.l2 >= 0.0 && self.acceptance.l2.is_finite()) {
            return option(
                "acceptance l2",
                self.acceptance.l2.to_string(),
                "a number from 0",
            );
        }
        Ok(())
    }
}

/// A flag by which another thread stops the loop at its next step.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A flag that is not raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises the flag.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is raised.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            Err(AlignError::Cancelled)
        } else {
            Ok(())
        }
    }
}
