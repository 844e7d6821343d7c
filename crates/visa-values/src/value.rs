//! The ten basic values of Schwartz's theory, in the order of his circle.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{ValueError, names};

/// Names of the ten values as they are spelled everywhere: files, JSON, the command line. Circle order.
pub const NAMES: [&str; 10] = [
    "self-direction",
    "stimulation",
    "hedonism",
    "achievement",
    "power",
    "security",
    "conformity",
    "tradition",
    "benevolence",
    "universalism",
];

/// One of the ten basic values. The order is that of the circle, so the discriminant is the index in every array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// Thinking and choosing for oneself.
    SelfDirection,
    /// Novelty and challenge.
    Stimulation,
    /// Pleasure.
    Hedonism,
    /// Success by ability that others can see.
    Achievement,
    /// Control over people and means, and standing.
    Power,
    /// Safety and stability of self and society.
    Security,
    /// Restraint of what would upset or harm others, or break rules.
    Conformity,
    /// Customs and beliefs that have been handed down.
    Tradition,
    /// The good of those one is close to.
    Benevolence,
    /// The good of all people and of nature.
    Universalism,
}

impl Value {
    /// All ten, in circle order.
    pub const ALL: [Value; 10] = [
        Value::SelfDirection,
        Value::Stimulation,
        Value::Hedonism,
        Value::Achievement,
        Value::Power,
        Value::Security,
        Value::Conformity,
        Value::Tradition,
        Value::Benevolence,
        Value::Universalism,
    ];

    /// Place in [`Value::ALL`], [`NAMES`] and every array of ten.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name, as in [`NAMES`].
    pub const fn name(self) -> &'static str {
        NAMES[self as usize]
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Value {
    type Err = ValueError;

    /// Reads a name; case does not matter, and a space or `_` may stand for the hyphen.
    fn from_str(name: &str) -> Result<Self, ValueError> {
        names::find("value", name, NAMES.into_iter()).map(|index| Value::ALL[index])
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_indices_agree() {
        for (index, value) in Value::ALL.into_iter().enumerate() {
            assert_eq!(value.index(), index);
            assert_eq!(value.name(), NAMES[index]);
            assert_eq!(value.name().parse(), Ok(value));
            let json = serde_json::to_string(&value).unwrap();
            assert_eq!(json, format!("\"{value}\""));
            assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), value);
        }
    }

    #[test]
    fn spellings() {
        for (given, expected) in [
            ("Self Direction", Value::SelfDirection),
            ("self_direction", Value::SelfDirection),
            ("  POWER ", Value::Power),
        ] {
            assert_eq!(given.parse(), Ok(expected), "{given}");
        }
    }

    #[test]
    fn unknown_names_propose_the_nearest() {
        for (given, expected) in [
            (
                "tradtion",
                "unknown value \"tradtion\"; did you mean \"tradition\"?",
            ),
            ("Powr", "unknown value \"Powr\"; did you mean \"power\"?"),
            (
                "selfdirection",
                "unknown value \"selfdirection\"; did you mean \"self-direction\"?",
            ),
            (
                "univers",
                "unknown value \"univers\"; did you mean \"universalism\"?",
            ),
        ] {
            assert_eq!(given.parse::<Value>().unwrap_err().to_string(), expected);
        }
        for given in ["", "money", "xx", &"power".repeat(10_000)] {
            let message = given.parse::<Value>().unwrap_err().to_string();
            assert!(
                message.contains("known are self-direction, stimulation"),
                "{message}"
            );
            assert!(message.len() < 300, "{message}");
        }
    }
}
