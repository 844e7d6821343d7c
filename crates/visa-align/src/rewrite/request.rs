//! What a caller asks of the loop, and when the loop is satisfied.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use visa_score::{Score, Weights};
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
        return Err(AlignError::TooLong { what, size: text.len(), limit: MAX_TEXT });
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
            growth: 3.0,
        }
    }
}

impl RewriteOptions {
    pub(super) fn check(&self) -> Result<()> {
        let option = |option, given: String, wanted| Err(AlignError::Option { option, given, wanted });
        if self.candidates == 0 || self.candidates > 256 {
            return option("candidates", self.candidates.to_string(), "between 1 and 256");
        }
        if self.rounds == 0 || self.rounds > 100 {
            return option("rounds", self.rounds.to_string(), "between 1 and 100");
        }
        if !(self.near >= 0.0 && self.near.is_finite()) {
            return option("near", self.near.to_string(), "a number from 0");
        }
        if !(self.growth >= 1.0 && self.growth.is_finite()) {
            return option("growth", self.growth.to_string(), "a number from 1");
        }
        self.acceptance.check()
    }
}

/// When a candidate is good enough. All conditions hold at once; guards are not among them since they always hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Acceptance {
    /// Least consistency in the mean of both directions.
    pub consistency: f32,
    /// Least consistency in each direction.
    pub direction: f32,
    /// Least progress: the share of the distance to the target that is covered. A copy has 0, so a positive bound is
    /// what tells a rewrite from a copy.
    pub progress: f32,
    /// Least movement cosine: the movement must point at the target, not merely end nearer to it.
    pub movement: f32,
}

impl Default for Acceptance {
    /// The paper counts consistency above 0.3 a success; ours asks more of meaning, and a fifth of the way at least.
    fn default() -> Self {
        Self {
            consistency: 0.6,
            direction: 0.3,
            progress: 0.2,
            movement: 0.4,
        }
    }
}

/// The first condition a candidate fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Consistency,
    Progress,
    Movement,
}

impl Fault {
    /// Whether the next round may build on such a candidate.
    pub(super) fn keeps_meaning(self) -> bool {
        self != Fault::Consistency
    }
}

impl Acceptance {
    /// Whether a score is accepted. A score with guard violations never is.
    pub fn accepts(&self, score: &Score) -> bool {
        score.guards.is_empty() && self.fault(score).is_none()
    }

    pub(super) fn fault(&self, score: &Score) -> Option<Fault> {
        let consistency = &score.consistency;
        if consistency.mean() < self.consistency
            || consistency.forward.min(consistency.backward) < self.direction
        {
            Some(Fault::Consistency)
        } else if score.value.progress < self.progress {
            Some(Fault::Progress)
        } else if score.value.movement < self.movement {
            Some(Fault::Movement)
        } else {
            None
        }
    }

    fn check(&self) -> Result<()> {
        let ranges = [
            ("consistency", self.consistency, 0.0..=1.0, "between 0 and 1"),
            ("direction", self.direction, 0.0..=1.0, "between 0 and 1"),
            ("progress", self.progress, -1.0..=1.0, "between -1 and 1"),
            ("movement", self.movement, -1.0..=1.0, "between -1 and 1"),
        ];
        for (option, given, range, wanted) in ranges {
            if !range.contains(&given) {
                return Err(AlignError::Option { option, given: given.to_string(), wanted });
            }
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
        if self.is_cancelled() { Err(AlignError::Cancelled) } else { Ok(()) }
    }
}
