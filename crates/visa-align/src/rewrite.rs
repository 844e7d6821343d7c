//! The closed loop: detect, aim, propose, judge, accept or ask again.
//!
//! A caller sees wholly the original or wholly an accepted candidate, never something in between. The loop holds no
//! model and no prompt; those are behind [`Values`], [`Consistent`] and [`Backend`].

mod outcome;
mod request;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

pub use visa_score::Acceptance;
use visa_score::{Consistency, Original, Score, score};
use visa_values::{Profile, Shift, Target, metrics};

use crate::backend::{Backend, Consistent, Proposal, Values};
use crate::detector::Text;
use crate::error::{AlignError, Result};
use crate::translator::{Notice, Translator};

pub use outcome::{Outcome, OutcomeKind};
pub use request::{Cancel, Goal, MAX_TEXT, RewriteOptions, RewriteRequest};

use outcome::Tally;
pub(crate) use request::check_text;

/// A candidate that was judged.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The text.
    pub text: String,
    /// What it speaks.
    pub after: Profile,
    /// Its score.
    pub score: Score,
    /// The round it came from, from 0.
    pub round: usize,
}

/// What happens while a text is rewritten, for whoever waits.
#[derive(Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// The text was read and the target set.
    Aimed {
        /// What the text speaks.
        before: &'a Profile,
        /// What it is to speak.
        target: &'a Target,
    },
    /// A round begins.
    Asking {
        /// From 0.
        round: usize,
        /// Rounds at most.
        of: usize,
    },
    /// A round was judged.
    Judged {
        /// From 0.
        round: usize,
        /// Candidates judged in it.
        candidates: usize,
        /// The best of all rounds so far.
        best: Option<&'a Judged>,
        /// Whether that one is accepted.
        accepted: bool,
    },
}

/// The loop and the models it runs on.
pub struct Loop<'a> {
    /// Reads values.
    pub values: &'a dyn Values,
    /// Judges consistency.
    pub checker: &'a dyn Consistent,
    /// Reads instructions; only needed for [`Goal::Instruction`].
    pub translator: Option<&'a Translator>,
    /// Proposes.
    pub backend: &'a mut dyn Backend,
    /// How long to try and what to accept.
    pub options: RewriteOptions,
}

/// Everything known before the first round.
struct Aim<'a> {
    request: &'a RewriteRequest,
    before: Profile,
    target: Target,
    notice: Option<Notice>,
}

impl Loop<'_> {
    /// Rewrites one text.
    ///
    /// # Errors
    /// Unusable input, a failing model or endpoint, or [`AlignError::Cancelled`]. A rewrite that is not accepted is an
    /// [`Outcome`], not an error.
    pub fn rewrite(
        &mut self,
        request: &RewriteRequest,
        cancel: &Cancel,
        progress: &mut dyn FnMut(&Progress<'_>),
    ) -> Result<Outcome> {
        self.options.check()?;
        request.check()?;
        let text = Text {
            text: request.text.clone(),
            context: request.query.clone(),
        };
        let before = single(self.values.profiles(std::slice::from_ref(&text))?)?;
        cancel.check()?;
        let (target, notice) = self.aim(&request.goal, &before)?;
        progress(&Progress::Aimed {
            before: &before,
            target: &target,
        });
        let aim = Aim {
            request,
            before,
            target,
            notice,
        };
        if let Some(reason) = self.nothing_to_do(&aim) {
            return self.original(aim, OutcomeKind::Unchanged, reason, 0, 0);
        }
        self.rounds(aim, cancel, progress)
    }

    fn rounds(
        &mut self,
        aim: Aim<'_>,
        cancel: &Cancel,
        progress: &mut dyn FnMut(&Progress<'_>),
    ) -> Result<Outcome> {
        let mut seen: HashSet<String> = HashSet::from([normal(&aim.request.text)]);
        let mut best: Option<Judged> = None;
        let mut winner: Option<Judged> = None;
        let mut tally = Tally::default();
        for round in 0..self.options.rounds {
            cancel.check()?;
            progress(&Progress::Asking {
                round,
                of: self.options.rounds,
            });
            let at = best.as_ref().map_or(&aim.before, |b| &b.after);
            let gap = std::array::from_fn(|i| aim.target.as_array()[i] - at.as_array()[i]);
            let proposed = self.backend.propose(&Proposal {
                text: &aim.request.text,
                query: aim.request.query.as_deref(),
                before: &aim.before,
                target: &aim.target,
                gap,
                best: best.as_ref().map(|b| b.text.as_str()),
                round,
                n: self.options.candidates,
                seed: round_seed(self.options.seed, round),
            })?;
            cancel.check()?;
            tally.proposed += proposed.len();
            let fresh = self.filter(&aim.request.text, proposed, &mut seen, &mut tally);
            let judged = self.judge(&aim, fresh, round, &mut tally)?;
            let count = judged.len();
            let (accepted, improved) = self.select(&aim, judged, best.as_ref(), &mut tally);
            let merit = winner.as_ref().map(|w| self.merit(&w.score));
            if let Some(better) =
                accepted.filter(|a| merit.is_none_or(|m| self.merit(&a.score) > m))
            {
                winner = Some(better);
            }
            best = winner.clone().or(improved).or(best);
            progress(&Progress::Judged {
                round,
                candidates: count,
                best: best.as_ref(),
                accepted: winner.is_some(),
            });
            // An accepted candidate that is still far from the target is built on while there are rounds, and kept if
            // nothing better comes of it.
            let near = |w: &Judged| w.score.value.l2 < self.options.enough;
            if winner.as_ref().is_some_and(near) {
                break;
            }
        }
        if let Some(winner) = winner {
            return Ok(self.accepted(aim, winner, &tally));
        }
        let reason = tally.reason(self.options.rounds, &self.options.acceptance);
        self.original(
            aim,
            OutcomeKind::KeptOriginal,
            reason,
            self.options.rounds,
            tally.proposed,
        )
    }

    fn aim(&self, goal: &Goal, before: &Profile) -> Result<(Target, Option<Notice>)> {
        let shifted = |shift: &Shift| Target::from_shift(before, shift);
        match goal {
            Goal::Target(target) => Ok((target.clone(), None)),
            Goal::Shift(shift) => Ok((shifted(shift), None)),
            Goal::Instruction(words) => {
                let translator = self.translator.ok_or(AlignError::NoTranslator)?;
                let translation = translator.translate(words)?;
                Ok((shifted(&translation.shift), translation.notice))
            }
        }
    }

    /// Why nothing needs doing, if so.
    fn nothing_to_do(&self, aim: &Aim<'_>) -> Option<String> {
        if aim.notice == Some(Notice::NothingAboutValues) {
            return Some("the instruction says nothing about values, so nothing is shifted".into());
        }
        if let Goal::Shift(shift) = &aim.request.goal
            && shift.is_zero()
        {
            return Some("the shift is zero".into());
        }
        let distance = metrics::l2(aim.before.as_array(), aim.target.as_array());
        (distance < self.options.near).then(|| {
            format!(
                "the text already speaks the target's values (distance {distance:.2}, below {:.2})",
                self.options.near
            )
        })
    }

    /// Drops what is empty, a copy, a repetition, or too long, and counts why.
    fn filter(
        &self,
        original: &str,
        proposed: Vec<String>,
        seen: &mut HashSet<String>,
        tally: &mut Tally,
    ) -> Vec<String> {
        let longest = (original.len() as f32 * self.options.growth) as usize + 200;
        let mut fresh = Vec::new();
        for candidate in proposed {
            if candidate.trim().is_empty() {
                tally.empty += 1;
            } else if candidate.len() > longest {
                tally.too_long += 1;
            } else if seen.insert(normal(&candidate)) {
                fresh.push(candidate);
            } else {
                tally.copies += 1;
            }
        }
        fresh
    }

    /// Scores candidates; those that violate a guard are counted and left out before any model sees them.
    fn judge(
        &self,
        aim: &Aim<'_>,
        candidates: Vec<String>,
        round: usize,
        tally: &mut Tally,
    ) -> Result<Vec<Judged>> {
        let original = aim.request.text.as_str();
        let guarded = Original::new(original);
        let mut kept = Vec::new();
        for candidate in candidates {
            let violations = guarded.guards(&candidate);
            if violations.is_empty() {
                kept.push(candidate);
            } else {
                tally.guarded(&violations);
            }
        }
        if kept.is_empty() {
            return Ok(Vec::new());
        }
        let texts: Vec<Text> = kept
            .iter()
            .map(|text| Text {
                text: text.clone(),
                context: aim.request.query.clone(),
            })
            .collect();
        let profiles = self.values.profiles(&texts)?;
        let pairs: Vec<(&str, &str)> = kept.iter().map(|c| (original, c.as_str())).collect();
        let consistencies = self.checker.consistency(&pairs)?;
        kept.into_iter()
            .zip(profiles)
            .zip(consistencies)
            .map(|((text, after), consistency)| {
                let score = score(
                    &aim.before,
                    &after,
                    &aim.target,
                    consistency,
                    Vec::new(),
                    &self.options.weights,
                )?;
                Ok(Judged {
                    text,
                    after,
                    score,
                    round,
                })
            })
            .collect()
    }

    /// The best accepted candidate, else the best consistent one if it beats the best so far.
    fn select(
        &self,
        aim: &Aim<'_>,
        judged: Vec<Judged>,
        best: Option<&Judged>,
        tally: &mut Tally,
    ) -> (Option<Judged>, Option<Judged>) {
        let copy = metrics::l2(aim.before.as_array(), aim.target.as_array());
        let mut accepted: Option<Judged> = None;
        let mut improved: Option<Judged> = None;
        for candidate in judged {
            let slot = if candidate
                .score
                .accepted(&self.options.acceptance)
                .is_accepted()
            {
                &mut accepted
            } else {
                let consistent = tally.refused(&candidate.score, &self.options.acceptance);
                // The next round builds on a candidate only if it keeps the meaning and comes nearer.
                let nearer = candidate.score.value.l2 < best.map_or(copy, |b| b.score.value.l2);
                if !(consistent && nearer) {
                    continue;
                }
                &mut improved
            };
            // Strictly greater: of equals the first stays, so that the order of proposals decides, not chance.
            if slot
                .as_ref()
                .is_none_or(|s| self.merit(&candidate.score) > self.merit(&s.score))
            {
                *slot = Some(candidate);
            }
        }
        (accepted, improved)
    }

    /// What ranks candidates: the total, and progress beside it, since the cosine inside the total does not see how far a
    /// candidate went.
    fn merit(&self, score: &Score) -> f32 {
        score.total + self.options.weights.value * score.value.progress.clamp(-1.0, 1.0)
    }

    fn accepted(&self, aim: Aim<'_>, winner: Judged, tally: &Tally) -> Outcome {
        let round = winner.round;
        let verdict = winner.score.accepted(&self.options.acceptance);
        let reason = format!(
            "accepted in round {} of {}: {}",
            round + 1,
            self.options.rounds,
            verdict.reason()
        );
        Outcome {
            original: aim.request.text.clone(),
            rewritten: winner.text,
            outcome: OutcomeKind::Rewritten,
            reason,
            before: aim.before,
            target: aim.target,
            after: winner.after,
            score: winner.score,
            rounds: round + 1,
            candidates: tally.proposed,
        }
    }

    fn original(
        &self,
        aim: Aim<'_>,
        outcome: OutcomeKind,
        reason: String,
        rounds: usize,
        candidates: usize,
    ) -> Result<Outcome> {
        let same = Consistency {
            forward: 1.0,
            backward: 1.0,
        };
        let score = score(
            &aim.before,
            &aim.before,
            &aim.target,
            same,
            Vec::new(),
            &self.options.weights,
        )?;
        Ok(Outcome {
            original: aim.request.text.clone(),
            rewritten: aim.request.text.clone(),
            outcome,
            reason,
            after: aim.before.clone(),
            before: aim.before,
            target: aim.target,
            score,
            rounds,
            candidates,
        })
    }
}

/// A copy that differs in white space only is a copy.
fn normal(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Rounds draw from distant seeds, so that no round repeats another's samples.
fn round_seed(seed: u64, round: usize) -> u64 {
    seed.wrapping_add((round as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn single(profiles: Vec<Profile>) -> Result<Profile> {
    profiles.into_iter().next().ok_or(AlignError::NotFinite {
        part: "detector",
        text: String::new(),
    })
}
