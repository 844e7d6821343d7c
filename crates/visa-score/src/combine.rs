//! The Score object and how its total is made.
//!
//! total = w_v·(1 + cos)/2 + w_c·(forward + backward)/2 (methods §1), where cos is that of the rewrite's profile with the
//! target. The value term counts only if the mean consistency is above the gate (0.3), and a rewrite that violates any
//! guard has total 0: what a rule can prove wrong, no fluency buys back.

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use visa_values::{Profile, Target, metrics};

use crate::{GuardViolation, ScoreError};

/// Entailment probabilities between an original and its rewrite.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Consistency {
    /// P(original entails rewrite), 0 to 1: falls when the rewrite invents.
    pub forward: f32,
    /// P(rewrite entails original), 0 to 1: falls when the rewrite drops.
    pub backward: f32,
}

impl Consistency {
    /// Mean of both directions.
    pub fn mean(&self) -> f32 {
        (self.forward + self.backward) / 2.0
    }
}

impl Serialize for Consistency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Consistency", 3)?;
        object.serialize_field("forward", &self.forward)?;
        object.serialize_field("backward", &self.backward)?;
        object.serialize_field("mean", &self.mean())?;
        object.end()
    }
}

/// How near a rewrite came to the target profile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValueScore {
    /// Cosine of the rewrite's profile with the target, −1 to 1.
    pub cosine: f32,
    /// Distance of the rewrite's profile from the target.
    pub l2: f32,
    /// Share of the distance to the target that was covered; 0 for a copy, 1 at the target.
    pub progress: f32,
    /// Cosine of the movement with the wanted one; 0 for a copy that was to move.
    pub movement: f32,
}

/// The Score object of the command line: `{"value": …, "consistency": …, "guards": […], "total": …}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Value precision.
    pub value: ValueScore,
    /// Consistency of meaning.
    pub consistency: Consistency,
    /// What the rules found wrong; empty for an acceptable rewrite.
    pub guards: Vec<GuardViolation>,
    /// The combination, 0 to w_v + w_c (1 by default).
    pub total: f32,
}

/// Weights of the total.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    /// Weight of the value term, w_v ≥ 0.
    pub value: f32,
    /// Weight of the consistency term, w_c ≥ 0; not both 0.
    pub consistency: f32,
    /// The value term counts only if the mean consistency is above this.
    pub gate: f32,
}

impl Default for Weights {
    /// Equal halves, so that a total lies between 0 and 1, and the gate of the paper's joint success.
    fn default() -> Self {
        Weights {
            value: 0.5,
            consistency: 0.5,
            gate: metrics::JOINT_CONSISTENCY,
        }
    }
}

impl Weights {
    fn check(&self) -> Result<(), ScoreError> {
        // The upper bound keeps every total finite.
        const MOST: f32 = 1e6;
        let wanted = "a number from 0 to 1000000, not 0 for both";
        let both = self.value + self.consistency;
        for (name, got) in [
            ("weight value", self.value),
            ("weight consistency", self.consistency),
        ] {
            if !(0.0..=MOST).contains(&got) || both == 0.0 {
                return Err(ScoreError::Weight { name, got, wanted });
            }
        }
        if !(0.0..=1.0).contains(&self.gate) {
            return Err(ScoreError::Weight {
                name: "gate",
                got: self.gate,
                wanted: "a number from 0 to 1",
            });
        }
        Ok(())
    }
}

/// (1 + cos)/2 where the mean consistency is above the gate, else 0.
fn value_term(cosine: f32, consistency: f32, gate: f32) -> f32 {
    if consistency > gate {
        (1.0 + cosine) / 2.0
    } else {
        0.0
    }
}

impl Score {
    /// The value term of the total, 0 to 1, before its weight.
    pub fn value_term(&self, weights: &Weights) -> f32 {
        if self.guards.is_empty() {
            value_term(self.value.cosine, self.consistency.mean(), weights.gate)
        } else {
            0.0
        }
    }

    /// The consistency term of the total, 0 to 1, before its weight.
    pub fn consistency_term(&self) -> f32 {
        if self.guards.is_empty() {
            self.consistency.mean()
        } else {
            0.0
        }
    }
}

/// Scores a rewrite: `before` and `after` are the detected profiles of original and rewrite, `guards` what
/// [`guards`](crate::guards()) found. Pure; the same input gives the same bits.
///
/// # Errors
/// A consistency outside 0 to 1 or NaN, or unusable weights. (Profiles are valid by construction.)
pub fn score(
    before: &Profile,
    after: &Profile,
    target: &Target,
    consistency: Consistency,
    guards: Vec<GuardViolation>,
    weights: &Weights,
) -> Result<Score, ScoreError> {
    weights.check()?;
    for (direction, got) in [
        ("forward", consistency.forward),
        ("backward", consistency.backward),
    ] {
        if !(0.0..=1.0).contains(&got) {
            return Err(ScoreError::Consistency { direction, got });
        }
    }
    let (b, a, t) = (before.as_array(), after.as_array(), target.as_array());
    let wanted = before.shift_to(target.profile());
    let value = ValueScore {
        cosine: metrics::cosine(a, t),
        l2: metrics::l2(a, t),
        progress: metrics::progress(b, a, t),
        movement: metrics::movement_cosine(b, a, wanted.as_array()),
    };
    let mean = consistency.mean();
    let total = if !guards.is_empty() {
        0.0
    } else {
        weights.value * value_term(value.cosine, mean, weights.gate) + weights.consistency * mean
    };
    Ok(Score {
        value,
        consistency,
        guards,
        total,
    })
}
