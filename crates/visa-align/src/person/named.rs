//! The one form in which a person's values are kept, in a TOML file or in the server's store.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use visa_values::{Profile, Shift};

use crate::error::{AlignError, Result};
use crate::record;
use crate::rewrite::Goal;

/// Longest name, in bytes.
pub const NAME_BYTES: usize = 64;

/// A named goal: whose values a text is to speak, where that comes from, and who uses it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedProfile {
    /// The name, as [`is_name`] allows it; empty where nobody has named it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where it comes from, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// The goal as words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persona: Option<String>,
    /// The goal as ten values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Profile>,
    /// The goal as a movement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift: Option<Shift>,
    /// Half the width of each value's 95 % interval, where the target was estimated; 1 says that nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncertainty: Option<Profile>,
    /// Texts it was estimated from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texts: Option<u32>,
    /// Users whose requests use it when they say nothing else.
    #[serde(default)]
    pub users: Vec<String>,
    /// Teams, likewise; a user's own choice goes before the team's.
    #[serde(default)]
    pub teams: Vec<String>,
    /// When the store last wrote it, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<u64>,
}

impl NamedProfile {
    /// A target with a word on where it comes from.
    pub fn of(target: Profile, about: impl Into<String>) -> Self {
        Self {
            about: about.into(),
            target: Some(target),
            ..Self::default()
        }
    }

    /// Where it sends a text.
    ///
    /// # Errors
    /// [`AlignError::Record`] when it names no goal or several, [`AlignError::Empty`] for a persona without a word.
    pub fn goal(&self) -> Result<Goal> {
        record::goal(
            self.persona.as_deref(),
            self.target.as_ref(),
            self.shift.as_ref(),
        )?
        .ok_or(AlignError::Record {
            problem: "the profile says nothing; give \"persona\", \"target\" or \"shift\"",
        })
    }

    /// Reads a profile file.
    ///
    /// # Errors
    /// [`AlignError::ProfileText`] with the line and the cause; a goal that [`Self::goal`] refuses.
    pub fn from_toml(text: &str) -> Result<Self> {
        let wrong = |problem: String| AlignError::ProfileText { problem };
        let named: Self =
            toml::from_str(text).map_err(|e| wrong(e.to_string().trim().to_string()))?;
        named.goal()?;
        if !named.name.is_empty() && !is_name(&named.name) {
            return Err(wrong(format!(
                "{:?} is no profile name; use up to {NAME_BYTES} letters, digits, dots, hyphens and underscores",
                named.name
            )));
        }
        if let Some(half) = &named.uncertainty
            && let Some((value, x)) = half.iter().find(|(_, x)| *x < 0.0)
        {
            return Err(wrong(format!(
                "uncertainty of {value} is {x}; it is half the width of an interval, from 0 to 1"
            )));
        }
        Ok(named)
    }

    /// The profile as a file, values in circle order to thousandths: finer is noise.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        let quoted = |text: &str| toml::Value::String(text.into()).to_string();
        let lines = [
            ("name", Some(&self.name).filter(|t| !t.is_empty())),
            ("about", Some(&self.about).filter(|t| !t.is_empty())),
            ("persona", self.persona.as_ref()),
        ];
        for (key, text) in lines {
            if let Some(text) = text {
                let _ = writeln!(out, "{key} = {}", quoted(text));
            }
        }
        if let Some(texts) = self.texts {
            let _ = writeln!(out, "texts = {texts}");
        }
        for (key, list) in [("users", &self.users), ("teams", &self.teams)] {
            if !list.is_empty() {
                let all: Vec<String> = list.iter().map(|t| quoted(t)).collect();
                let _ = writeln!(out, "{key} = [{}]", all.join(", "));
            }
        }
        if let Some(updated) = self.updated {
            let _ = writeln!(out, "updated = {updated}");
        }
        let tables = [
            ("target", self.target.as_ref().map(Profile::as_array)),
            ("shift", self.shift.as_ref().map(Shift::as_array)),
            (
                "uncertainty",
                self.uncertainty.as_ref().map(Profile::as_array),
            ),
        ];
        for (title, numbers) in tables {
            let Some(numbers) = numbers else { continue };
            let gap = if out.is_empty() { "" } else { "\n" };
            let _ = writeln!(out, "{gap}[{title}]");
            for (name, x) in visa_values::NAMES.iter().zip(numbers) {
                // Adding 0 makes a zero of either sign the plain one.
                let x = (f64::from(*x) * 1e3).round() / 1e3 + 0.0;
                let _ = writeln!(out, "{name} = {x:?}");
            }
        }
        out
    }
}

/// Whether a text can name a profile: up to [`NAME_BYTES`] letters, digits, dots, hyphens and underscores, no dot in front.
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES
        && !name.starts_with('.')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_back_as_it_was_written() {
        let check = |named: NamedProfile| {
            let text = named.to_toml();
            assert_eq!(
                NamedProfile::from_toml(&text).expect(&text),
                named,
                "{text}"
            );
        };
        let target = Profile::parse("tradition=0.8, power=-0.125").expect("a profile");
        check(NamedProfile::of(target.clone(), "by \"hand\"\n\u{1b}[31m"));
        check(NamedProfile {
            persona: Some("someone kind".into()),
            ..NamedProfile::default()
        });
        check(NamedProfile {
            name: "ines.2".into(),
            uncertainty: Some(Profile::parse("power=0.25").expect("a profile")),
            texts: Some(14),
            users: vec!["u'1".into(), "u2".into()],
            teams: vec!["t".into()],
            updated: Some(7),
            ..NamedProfile::of(target, "14 texts")
        });
    }

    #[test]
    fn the_store_and_the_file_hold_the_same() {
        let named = NamedProfile {
            name: "ines".into(),
            texts: Some(3),
            ..NamedProfile::of(Profile::parse("power=-0.5").expect("a profile"), "texts")
        };
        let json = serde_json::to_string(&named).expect("written");
        let from_store: NamedProfile = serde_json::from_str(&json).expect("read");
        assert_eq!(from_store.to_toml(), named.to_toml());
    }

    #[test]
    fn wrong_files_say_what_is_wrong() {
        let check = |text: &str, part: &str| {
            let error = NamedProfile::from_toml(text).expect_err(text).to_string();
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        };
        check("", "says nothing");
        check("about = \"x\"", "says nothing");
        check("[target]\ntradtion = 0.8", "did you mean \"tradition\"");
        check("[target]\ntradition = 1.8", "between -1 and 1");
        check("[target]\ntradition = nan", "finite");
        check("persona = \"x\"\n[target]\npower = 1", "more than one");
        check("persona = \" \"", "persona is empty");
        check("name = \"../x\"\n[target]\npower = 1", "no profile name");
        check("nmae = \"x\"\n[target]\npower = 1", "nmae");
        check(
            "[target]\npower = 1\n[uncertainty]\npower = -0.1",
            "uncertainty of power",
        );
        check("[target", "line 1");
    }
}
