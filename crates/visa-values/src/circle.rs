//! The circle: values that stand side by side agree, values across it conflict; four arcs have a name.
//!
//! The ten values are set at equal angles in the order of the theory. (Schwartz draws tradition outside conformity in
//! one wedge; equal angles keep his order and his oppositions and need no radius.)

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::{Value, ValueError, names};

impl Value {
    /// Degrees on the circle, 0 ≤ angle < 360: 36 × index.
    pub const fn angle(self) -> f32 {
        36.0 * self.index() as f32
    }

    /// The values before and after on the circle.
    pub const fn neighbours(self) -> [Value; 2] {
        let index = self.index();
        [Value::ALL[(index + 9) % 10], Value::ALL[(index + 1) % 10]]
    }

    /// The value across the circle: security for self-direction, conformity for stimulation, tradition for hedonism,
    /// benevolence for achievement, universalism for power, and back.
    pub const fn opposite(self) -> Value {
        Value::ALL[(self.index() + 5) % 10]
    }

    /// How far two values stand apart on the circle, in degrees, 0 to 180.
    pub fn separation(self, other: Value) -> f32 {
        let apart = (self.angle() - other.angle()).abs();
        apart.min(360.0 - apart)
    }

    /// Agreement the circle predicts: cosine of the separation, 1 for itself, −1 for the opposite.
    pub fn affinity(self, other: Value) -> f32 {
        self.separation(other).to_radians().cos()
    }
}

/// The four higher-order values: arcs of the circle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HigherOrder {
    /// Self-direction, stimulation and half of hedonism.
    OpennessToChange,
    /// Half of hedonism, achievement and power.
    SelfEnhancement,
    /// Security, conformity and tradition.
    Conservation,
    /// Benevolence and universalism.
    SelfTranscendence,
}

impl HigherOrder {
    /// All four, in circle order.
    pub const ALL: [HigherOrder; 4] = [
        HigherOrder::OpennessToChange,
        HigherOrder::SelfEnhancement,
        HigherOrder::Conservation,
        HigherOrder::SelfTranscendence,
    ];

    /// The name: `openness-to-change`, …
    pub const fn name(self) -> &'static str {
        match self {
            HigherOrder::OpennessToChange => "openness-to-change",
            HigherOrder::SelfEnhancement => "self-enhancement",
            HigherOrder::Conservation => "conservation",
            HigherOrder::SelfTranscendence => "self-transcendence",
        }
    }

    /// Members and their share in this arc; hedonism lies on a border and belongs to two by halves.
    pub const fn members(self) -> &'static [(Value, f32)] {
        use Value as V;
        match self {
            HigherOrder::OpennessToChange => &[
                (V::SelfDirection, 1.0),
                (V::Stimulation, 1.0),
                (V::Hedonism, 0.5),
            ],
            HigherOrder::SelfEnhancement => {
                &[(V::Hedonism, 0.5), (V::Achievement, 1.0), (V::Power, 1.0)]
            }
            HigherOrder::Conservation => &[
                (V::Security, 1.0),
                (V::Conformity, 1.0),
                (V::Tradition, 1.0),
            ],
            HigherOrder::SelfTranscendence => &[(V::Benevolence, 1.0), (V::Universalism, 1.0)],
        }
    }

    /// The arc across the circle.
    pub const fn opposite(self) -> HigherOrder {
        match self {
            HigherOrder::OpennessToChange => HigherOrder::Conservation,
            HigherOrder::Conservation => HigherOrder::OpennessToChange,
            HigherOrder::SelfEnhancement => HigherOrder::SelfTranscendence,
            HigherOrder::SelfTranscendence => HigherOrder::SelfEnhancement,
        }
    }

    /// Mean of the members' numbers weighted by their share, from an array in circle order.
    pub fn mean(self, values: &[f32; 10]) -> f32 {
        let members = self.members();
        let sum: f32 = members.iter().map(|(v, w)| w * values[v.index()]).sum();
        sum / members.iter().map(|(_, w)| w).sum::<f32>()
    }
}

impl fmt::Display for HigherOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for HigherOrder {
    type Err = ValueError;

    fn from_str(name: &str) -> Result<Self, ValueError> {
        names::find(
            "higher-order value",
            name,
            Self::ALL.iter().map(|h| h.name()),
        )
        .map(|index| Self::ALL[index])
    }
}

impl Serialize for HigherOrder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opposites_are_those_of_the_theory() {
        for (a, b) in [
            (Value::SelfDirection, Value::Security),
            (Value::Stimulation, Value::Conformity),
            (Value::Hedonism, Value::Tradition),
            (Value::Achievement, Value::Benevolence),
            (Value::Power, Value::Universalism),
        ] {
            assert_eq!(a.opposite(), b);
            assert_eq!(b.opposite(), a);
            assert_eq!(a.separation(b), 180.0);
            assert!((a.affinity(b) + 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn neighbours_are_mutual_and_nearest() {
        for value in Value::ALL {
            for neighbour in value.neighbours() {
                assert!(neighbour.neighbours().contains(&value));
                assert_eq!(value.separation(neighbour), 36.0);
            }
            assert_eq!(value.separation(value), 0.0);
            assert_eq!(value.affinity(value), 1.0);
        }
    }

    #[test]
    fn arcs_share_every_value_out_exactly_once() {
        let mut shares = [0.0; 10];
        for arc in HigherOrder::ALL {
            for (value, share) in arc.members() {
                shares[value.index()] += share;
            }
            assert_eq!(arc.opposite().opposite(), arc);
            assert_eq!(arc.name().parse(), Ok(arc));
            assert!((arc.mean(&[0.3; 10]) - 0.3).abs() < 1e-6);
        }
        assert_eq!(shares, [1.0; 10]);
    }
}
