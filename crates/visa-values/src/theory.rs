//! Another value theory in place of Schwartz's, read from TOML: names, definitions, optional angles.
//!
//! The ten values are types because most of the project speaks of them; a foreign theory is known at run time only, so
//! its profiles are checked against it when they are made. All [`metrics`](crate::metrics) work on both.

use serde::Deserialize;

use crate::{ValueError, names, profile::check_number};

/// More values than any theory in use, and few enough to print.
const MOST: usize = 256;

/// The Schwartz theory as shipped.
const SCHWARTZ: &str = include_str!("../theories/schwartz.toml");

/// A theory: named values with definitions, and where they stand on a circle if it has one.
#[derive(Clone, Debug, PartialEq)]
pub struct Theory {
    name: String,
    names: Vec<String>,
    definitions: Vec<String>,
    angles: Option<Vec<f32>>,
}

/// Numbers for the values of one theory, in its order, each within −1..=1 (profiles) or −2..=2 (shifts).
#[derive(Clone, Debug, PartialEq)]
pub struct TheoryProfile(Vec<f32>);

impl TheoryProfile {
    /// The numbers, one a value, in the theory's order.
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }
}

impl Theory {
    /// Schwartz's ten values, as shipped in `theories/schwartz.toml`.
    ///
    /// # Panics
    /// Never: a test reads the shipped file.
    pub fn schwartz() -> Self {
        Theory::from_toml(SCHWARTZ).expect("the shipped theory is tested")
    }

    /// Reads a theory; `theories/schwartz.toml` shows the shape.
    ///
    /// # Errors
    /// TOML that cannot be read or has unknown keys; no values or more than 256; a name that is empty, repeated, or not in
    /// lower-case letters, digits and hyphens; an empty definition; angles for some values only, or outside 0 to 360.
    pub fn from_toml(text: &str) -> Result<Self, ValueError> {
        let file: File = toml::from_str(text).map_err(|e| ValueError::Toml {
            message: e.to_string().trim().to_owned(),
        })?;
        let theory = file.name.clone();
        let wrong = |problem: String| ValueError::Theory {
            theory: theory.clone(),
            problem,
        };
        if !plain(&file.name) {
            return Err(wrong(
                "the theory needs a name in lower-case letters, digits and hyphens".into(),
            ));
        }
        if file.value.is_empty() || file.value.len() > MOST {
            return Err(wrong(format!(
                "it has {} values; give 1 to {MOST} [[value]] tables",
                file.value.len()
            )));
        }
        let with_angle = file.value.iter().filter(|v| v.angle.is_some()).count();
        if with_angle != 0 && with_angle != file.value.len() {
            return Err(wrong(format!(
                "{with_angle} of {} values have an angle; give one to all or to none",
                file.value.len()
            )));
        }
        for (index, value) in file.value.iter().enumerate() {
            let name = names::shown(&value.name);
            if !plain(&value.name) {
                return Err(wrong(format!(
                    "value {} is named \"{name}\"; use lower-case letters, digits and hyphens",
                    index + 1
                )));
            }
            if value.definition.trim().is_empty() {
                return Err(wrong(format!(
                    "value \"{name}\" has no definition; write one line"
                )));
            }
            if file.value[..index].iter().any(|v| v.name == value.name) {
                return Err(ValueError::Twice {
                    what: "theory",
                    name,
                });
            }
            if value.angle.is_some_and(|a| !(0.0..360.0).contains(&a)) {
                return Err(wrong(format!(
                    "the angle of \"{name}\" must be at least 0 and below 360 degrees"
                )));
            }
        }
        Ok(Theory {
            angles: file.value.iter().map(|v| v.angle).collect(),
            definitions: file
                .value
                .iter()
                .map(|v| v.definition.trim().to_owned())
                .collect(),
            names: file.value.into_iter().map(|v| v.name).collect(),
            name: file.name,
        })
    }

    /// The theory's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of values, at least 1.
    #[allow(clippy::len_without_is_empty)] // never empty
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Names of the values, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Definitions, in order.
    pub fn definitions(&self) -> &[String] {
        &self.definitions
    }

    /// Angles in degrees, in order, if the theory has a circle.
    pub fn angles(&self) -> Option<&[f32]> {
        self.angles.as_deref()
    }

    /// Place of a value.
    ///
    /// # Errors
    /// An unknown name, with the nearest known one.
    pub fn index(&self, name: &str) -> Result<usize, ValueError> {
        names::find("value", name, self.names.iter().map(String::as_str))
    }

    /// The value that stands most nearly opposite, if the theory has a circle of at least two values.
    ///
    /// # Panics
    /// If `index` is not below [`Theory::len`].
    pub fn opposite(&self, index: usize) -> Option<usize> {
        let angles = self.angles()?;
        let across = (angles[index] + 180.0) % 360.0;
        let apart = |a: f32| (a - across).abs().min(360.0 - (a - across).abs());
        (0..self.len())
            .filter(|&i| i != index)
            .min_by(|&a, &b| apart(angles[a]).total_cmp(&apart(angles[b])))
    }

    /// A profile from named numbers; values not named are 0.
    ///
    /// # Errors
    /// An unknown or repeated name, a number that is not finite or not in −1..=1.
    pub fn profile<'a>(
        &self,
        named: impl IntoIterator<Item = (&'a str, f32)>,
    ) -> Result<TheoryProfile, ValueError> {
        self.gather("profile", 1.0, named)
    }

    /// A shift from named numbers; values not named are 0.
    ///
    /// # Errors
    /// As [`Theory::profile`], with the range −2..=2.
    pub fn shift<'a>(
        &self,
        named: impl IntoIterator<Item = (&'a str, f32)>,
    ) -> Result<TheoryProfile, ValueError> {
        self.gather("shift", 2.0, named)
    }

    /// clip(profile + shift) to −1..=1.
    ///
    /// # Errors
    /// A profile or shift of another theory (another number of values).
    pub fn target(
        &self,
        profile: &TheoryProfile,
        shift: &TheoryProfile,
    ) -> Result<TheoryProfile, ValueError> {
        for (what, numbers) in [("profile", profile), ("shift", shift)] {
            if numbers.0.len() != self.len() {
                return Err(ValueError::Length {
                    what,
                    theory: self.name.clone(),
                    got: numbers.0.len(),
                    wanted: self.len(),
                });
            }
        }
        let sum = profile.0.iter().zip(&shift.0);
        Ok(TheoryProfile(
            sum.map(|(p, s)| (p + s).clamp(-1.0, 1.0)).collect(),
        ))
    }

    fn gather<'a>(
        &self,
        what: &'static str,
        limit: f32,
        named: impl IntoIterator<Item = (&'a str, f32)>,
    ) -> Result<TheoryProfile, ValueError> {
        let mut values = vec![None; self.len()];
        for (name, number) in named {
            let index = self.index(name)?;
            let name = &self.names[index];
            check_number(what, name, number, limit)?;
            if values[index].replace(number).is_some() {
                return Err(ValueError::Twice {
                    what,
                    name: name.clone(),
                });
            }
        }
        Ok(TheoryProfile(
            values.into_iter().map(Option::unwrap_or_default).collect(),
        ))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default)]
    value: Vec<FileValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileValue {
    name: String,
    definition: String,
    angle: Option<f32>,
}

fn plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}
