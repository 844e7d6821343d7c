//! Whether a scored rewrite is good enough, and why in plain words.

use std::fmt;

use serde::{Deserialize, Serialize};
use visa_values::metrics;

use crate::Score;

/// What an accepted rewrite must reach.
///
/// By default: no guard violated; mean consistency above 0.3 (the paper's joint success); and either so much progress
/// that it cannot be a copy (≥ 0.2 of the way), or an end inside the success radius (L2 < 0.8) after at least some
/// progress (≥ 0.05). The small second bound is what keeps a copy out: its progress is 0 however near it stood at the
/// start, so a copy is accepted only when there was nothing to do (the start already at the target, |Δv| = 0).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Acceptance {
    /// The mean consistency must be above this.
    pub consistency: f32,
    /// Nearer to the target than this, a rewrite needs little progress.
    pub l2: f32,
    /// Progress that suffices wherever the rewrite ends.
    pub progress: f32,
    /// Progress needed by a rewrite that ends nearer than `l2`.
    pub progress_near: f32,
}

impl Default for Acceptance {
    fn default() -> Self {
        Acceptance {
            consistency: metrics::JOINT_CONSISTENCY,
            l2: metrics::JOINT_L2,
            progress: 0.2,
            progress_near: 0.05,
        }
    }
}

/// The outcome of [`Score::accepted`], with what decided it.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Good enough.
    Accepted {
        /// Why, in plain words.
        reason: String,
    },
    /// Not good enough; the first condition that failed.
    Refused {
        /// Why, in plain words.
        reason: String,
    },
}

impl Verdict {
    /// Whether the rewrite may be shown.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Verdict::Accepted { .. })
    }

    /// Why, in plain words.
    pub fn reason(&self) -> &str {
        match self {
            Verdict::Accepted { reason } | Verdict::Refused { reason } => reason,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_accepted() {
            "accepted"
        } else {
            "refused"
        };
        write!(f, "{word}: {}", self.reason())
    }
}

impl Score {
    /// Whether this rewrite meets `wanted`, and why. Guards are asked first, then meaning, then values.
    pub fn accepted(&self, wanted: &Acceptance) -> Verdict {
        let refused = |reason| Verdict::Refused { reason };
        let accepted = |reason| Verdict::Accepted { reason };
        if let Some(first) = self.guards.first() {
            let more = match self.guards.len() - 1 {
                0 => String::new(),
                n => format!(" (and {n} more)"),
            };
            return refused(format!("{}{more}", first.detail));
        }
        let mean = self.consistency.mean();
        if mean.partial_cmp(&wanted.consistency) != Some(std::cmp::Ordering::Greater) {
            return refused(format!(
                "the meaning changed too much: consistency {mean:.2}, wanted above {:.2}",
                wanted.consistency
            ));
        }
        let value = &self.value;
        // At the target, which only a rewrite can be that had nowhere to go or went all the way.
        if value.l2 == 0.0 {
            return accepted("it speaks the target's values exactly".into());
        }
        if value.progress >= wanted.progress {
            return accepted(format!(
                "it covers {:.0} % of the distance to the target with consistency {mean:.2}",
                100.0 * value.progress
            ));
        }
        if value.l2 < wanted.l2 && value.progress >= wanted.progress_near {
            return accepted(format!(
                "it ends {:.2} from the target, covering {:.0} % of the distance, with consistency {mean:.2}",
                value.l2,
                100.0 * value.progress
            ));
        }
        if value.progress <= 0.0 {
            return refused(format!(
                "its values are no nearer to the target than the original's: distance {:.2}",
                value.l2
            ));
        }
        refused(format!(
            "it moved too little toward the target: {:.0} % of the distance, wanted {:.0} %",
            100.0 * value.progress,
            100.0
                * if value.l2 < wanted.l2 {
                    wanted.progress_near
                } else {
                    wanted.progress
                },
        ))
    }
}
