//! The twenty categories of ValueEval'23 and how they fold into the ten values.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::{Value, ValueError, names};

/// One of the twenty value categories of ValueEval'23 (Touché23), in the column order of its label files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // the names say it: `name()` spells them out
pub enum Category {
    SelfDirectionThought,
    SelfDirectionAction,
    Stimulation,
    Hedonism,
    Achievement,
    PowerDominance,
    PowerResources,
    Face,
    SecurityPersonal,
    SecuritySocietal,
    Tradition,
    ConformityRules,
    ConformityInterpersonal,
    Humility,
    BenevolenceCaring,
    BenevolenceDependability,
    UniversalismConcern,
    UniversalismNature,
    UniversalismTolerance,
    UniversalismObjectivity,
}

impl Category {
    /// All twenty, in label-file order.
    pub const ALL: [Category; 20] = [
        Category::SelfDirectionThought,
        Category::SelfDirectionAction,
        Category::Stimulation,
        Category::Hedonism,
        Category::Achievement,
        Category::PowerDominance,
        Category::PowerResources,
        Category::Face,
        Category::SecurityPersonal,
        Category::SecuritySocietal,
        Category::Tradition,
        Category::ConformityRules,
        Category::ConformityInterpersonal,
        Category::Humility,
        Category::BenevolenceCaring,
        Category::BenevolenceDependability,
        Category::UniversalismConcern,
        Category::UniversalismNature,
        Category::UniversalismTolerance,
        Category::UniversalismObjectivity,
    ];

    /// Place in [`Category::ALL`] and in every array of twenty.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name as the label files spell it: `Self-direction: thought`.
    pub const fn name(self) -> &'static str {
        match self {
            Category::SelfDirectionThought => "Self-direction: thought",
            Category::SelfDirectionAction => "Self-direction: action",
            Category::Stimulation => "Stimulation",
            Category::Hedonism => "Hedonism",
            Category::Achievement => "Achievement",
            Category::PowerDominance => "Power: dominance",
            Category::PowerResources => "Power: resources",
            Category::Face => "Face",
            Category::SecurityPersonal => "Security: personal",
            Category::SecuritySocietal => "Security: societal",
            Category::Tradition => "Tradition",
            Category::ConformityRules => "Conformity: rules",
            Category::ConformityInterpersonal => "Conformity: interpersonal",
            Category::Humility => "Humility",
            Category::BenevolenceCaring => "Benevolence: caring",
            Category::BenevolenceDependability => "Benevolence: dependability",
            Category::UniversalismConcern => "Universalism: concern",
            Category::UniversalismNature => "Universalism: nature",
            Category::UniversalismTolerance => "Universalism: tolerance",
            Category::UniversalismObjectivity => "Universalism: objectivity",
        }
    }

    /// The values it folds into, with weights that sum to 1. Face lies between power and security, humility between
    /// conformity and tradition: each folds by halves.
    pub const fn values(self) -> &'static [(Value, f32)] {
        use Value as V;
        match self {
            Category::SelfDirectionThought | Category::SelfDirectionAction => {
                &[(V::SelfDirection, 1.0)]
            }
            Category::Stimulation => &[(V::Stimulation, 1.0)],
            Category::Hedonism => &[(V::Hedonism, 1.0)],
            Category::Achievement => &[(V::Achievement, 1.0)],
            Category::PowerDominance | Category::PowerResources => &[(V::Power, 1.0)],
            Category::Face => &[(V::Power, 0.5), (V::Security, 0.5)],
            Category::SecurityPersonal | Category::SecuritySocietal => &[(V::Security, 1.0)],
            Category::Tradition => &[(V::Tradition, 1.0)],
            Category::ConformityRules | Category::ConformityInterpersonal => {
                &[(V::Conformity, 1.0)]
            }
            Category::Humility => &[(V::Conformity, 0.5), (V::Tradition, 0.5)],
            Category::BenevolenceCaring | Category::BenevolenceDependability => {
                &[(V::Benevolence, 1.0)]
            }
            Category::UniversalismConcern
            | Category::UniversalismNature
            | Category::UniversalismTolerance
            | Category::UniversalismObjectivity => &[(V::Universalism, 1.0)],
        }
    }
}

/// Folds numbers for the twenty categories (probabilities, or anything signed) into the ten values: the weighted
/// category number of largest magnitude.
///
/// The maximum and not the mean: a text that speaks universalism by nature alone speaks universalism wholly, and a
/// probability of one half stays the decision boundary. The range of the input is kept, and fold(−x) = −fold(x).
pub fn fold(categories: &[f32; 20]) -> [f32; 10] {
    let mut values = [0.0_f32; 10];
    for category in Category::ALL {
        for (value, weight) in category.values() {
            let part = weight * categories[category.index()];
            let slot = &mut values[value.index()];
            // NaN must not be lost in a comparison: a failure is never a number.
            if part.is_nan() || part.abs() > slot.abs() {
                *slot = part;
            }
        }
    }
    values
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Category {
    type Err = ValueError;

    fn from_str(name: &str) -> Result<Self, ValueError> {
        names::find("category", name, Category::ALL.iter().map(|c| c.name()))
            .map(|index| Category::ALL[index])
    }
}

impl Serialize for Category {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_indices_and_weights() {
        for (index, category) in Category::ALL.into_iter().enumerate() {
            assert_eq!(category.index(), index);
            assert_eq!(category.name().parse(), Ok(category));
            let total: f32 = category.values().iter().map(|(_, w)| w).sum();
            assert_eq!(total, 1.0, "{category}");
        }
        let error = "Self-direction: though".parse::<Category>().unwrap_err();
        assert!(
            error
                .to_string()
                .contains("did you mean \"Self-direction: thought\"")
        );
    }

    #[test]
    fn folding() {
        let check = |set: &[(Category, f32)], expected: &[(Value, f32)]| {
            let mut categories = [0.0; 20];
            for (category, p) in set {
                categories[category.index()] = *p;
            }
            let mut wanted = [0.0; 10];
            for (value, v) in expected {
                wanted[value.index()] = *v;
            }
            assert_eq!(fold(&categories), wanted, "{set:?}");
        };
        check(&[], &[]);
        check(
            &[(Category::UniversalismNature, 0.9)],
            &[(Value::Universalism, 0.9)],
        );
        check(
            &[(Category::Face, 0.8)],
            &[(Value::Power, 0.4), (Value::Security, 0.4)],
        );
        check(
            &[(Category::Face, 0.8), (Category::PowerDominance, 0.7)],
            &[(Value::Power, 0.7), (Value::Security, 0.4)],
        );
        check(
            &[(Category::Humility, -1.0), (Category::Tradition, 0.3)],
            &[(Value::Conformity, -0.5), (Value::Tradition, -0.5)],
        );
        assert!(fold(&[f32::NAN; 20]).iter().all(|v| v.is_nan()));
    }

    #[test]
    fn every_value_is_reached() {
        assert_eq!(fold(&[1.0; 20]), [1.0; 10]);
    }
}
