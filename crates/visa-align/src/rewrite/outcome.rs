//! What comes out of the loop, and in which words it says why.

use serde::Serialize;
use visa_score::{Acceptance, GuardViolation, Score};
use visa_values::{Profile, Target};

/// How a rewrite ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeKind {
    /// An accepted candidate.
    Rewritten,
    /// There was nothing to change.
    Unchanged,
    /// No candidate was accepted.
    KeptOriginal,
}

/// A rewrite, or the original and the reason; serialises as the command line's output object.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The text given.
    pub original: String,
    /// The accepted candidate, or the original.
    pub rewritten: String,
    /// Which of the two.
    pub outcome: OutcomeKind,
    /// Why, in words.
    pub reason: String,
    /// What the original speaks.
    pub before: Profile,
    /// What was wanted.
    pub target: Target,
    /// What `rewritten` speaks.
    pub after: Profile,
    /// The score of `rewritten`.
    pub score: Score,
    /// Rounds used.
    pub rounds: usize,
    /// Candidates proposed in all rounds.
    pub candidates: usize,
}

/// Counts of why candidates were not accepted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) proposed: usize,
    pub(super) empty: usize,
    pub(super) copies: usize,
    pub(super) too_long: usize,
    guarded: usize,
    first_guard: Option<String>,
    inconsistent: usize,
    best_consistency: f32,
    short: usize,
    best_progress: f32,
}

impl Tally {
    pub(super) fn guarded(&mut self, violations: &[GuardViolation]) {
        self.guarded += 1;
        if self.first_guard.is_none() {
            self.first_guard = violations.first().map(|v| v.detail.clone());
        }
    }

    /// Counts a refused candidate; whether it kept the meaning.
    pub(super) fn refused(&mut self, score: &Score, acceptance: &Acceptance) -> bool {
        let consistency = score.consistency.mean();
        let consistent = consistency > acceptance.consistency;
        let (count, best, value) = if consistent {
            (
                &mut self.short,
                &mut self.best_progress,
                score.value.progress,
            )
        } else {
            (
                &mut self.inconsistent,
                &mut self.best_consistency,
                consistency,
            )
        };
        *best = if *count == 0 { value } else { best.max(value) };
        *count += 1;
        consistent
    }

    /// Why the original was kept.
    pub(super) fn reason(&self, rounds: usize, acceptance: &Acceptance) -> String {
        let rounds = if rounds == 1 {
            "one round".into()
        } else {
            format!("{rounds} rounds")
        };
        if self.proposed == 0 {
            return format!("the rewriter found nothing it could change in {rounds}");
        }
        let mut parts = Vec::new();
        let mut part = |count: usize, words: String| {
            if count > 0 {
                parts.push(format!("{count} {words}"));
            }
        };
        part(
            self.guarded,
            format!(
                "lost or changed something that must stay ({})",
                self.first_guard.as_deref().unwrap_or("a guard")
            ),
        );
        part(
            self.inconsistent,
            format!(
                "changed the meaning too much (best consistency {:.2}, wanted above {:.2})",
                self.best_consistency, acceptance.consistency
            ),
        );
        part(
            self.short,
            format!(
                "moved too little toward the target (best progress {:.2}, wanted {:.2})",
                self.best_progress, acceptance.progress
            ),
        );
        part(self.copies, "repeated the text or each other".into());
        part(self.too_long, "were too long".into());
        part(self.empty, "were empty".into());
        format!(
            "none of {} candidates in {rounds} was accepted: {}",
            self.proposed,
            parts.join("; ")
        )
    }
}
