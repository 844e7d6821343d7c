//! Rules of thumb of Social-Chemistry-101, as the table of `contrastive-moral-stories` holds them: what people say is
//! right or wrong, with the moral foundations that annotators saw in it.

use super::{Format, Result};

const CSV: Format = Format::csv("contrastive-moral-stories");

/// A moral foundation (Haidt's five).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foundation {
    /// Care against harm.
    Care,
    /// Fairness against cheating.
    Fairness,
    /// Loyalty against betrayal.
    Loyalty,
    /// Authority against subversion.
    Authority,
    /// Sanctity against degradation.
    Sanctity,
}

const FOUNDATIONS: [(&str, Foundation); 5] = [
    ("care-harm", Foundation::Care),
    ("fairness-cheating", Foundation::Fairness),
    ("loyalty-betrayal", Foundation::Loyalty),
    ("authority-subversion", Foundation::Authority),
    ("sanctity-degradation", Foundation::Sanctity),
];

/// A rule of thumb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What is said, such as "It's good to help your friends".
    pub text: String,
    /// The foundations it rests on; none where annotators saw none.
    pub foundations: Vec<Foundation>,
}

/// Reads `operator_mappings/*_sc101.csv`.
///
/// # Errors
/// The line that is not a rule, or names an unknown foundation.
pub fn rules(text: &str) -> Result<Vec<Rule>> {
    CSV.table(text, |row| {
        let foundations = (row.get("rot-moral-foundations")?.split('|'))
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(|name| {
                (FOUNDATIONS.iter())
                    .find(|(known, _)| *known == name)
                    .map(|(_, foundation)| *foundation)
                    .ok_or_else(|| row.error(format!("no moral foundation is named {name:?}")))
            })
            .collect::<Result<_>>()?;
        Ok(Rule {
            text: row.text("rot")?,
            foundations,
        })
    })
}
