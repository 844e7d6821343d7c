//! Instruction or persona → shift.
//!
//! Explicit syntax (`tradition=+0.8, power=-0.5`) is read as such and needs no model. Words go through the trained
//! translator. A persona longer than the model reads is cut into windows of whole sentences; each value's shift is then
//! the mean of the windows that ask for one, weighted by strength: Σ|dᵢ|dᵢ / Σ|dᵢ|. Windows that say nothing about a
//! value do not weaken it, windows that contradict each other cancel.

use std::fmt;
use std::path::Path;

use serde::Serialize;
use visa_values::{Shift, ValueError};

use crate::detector::strength_mean;
use crate::error::Result;
use crate::head::{encode_input, shift};
use crate::models::{Models, Part};
use crate::rewrite::check_text;
use crate::trunk::{HeadModel, Trunk};
use crate::windows::windows;

/// Something the caller should be told about a translation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Notice {
    /// The instruction says nothing about values; the shift is zero.
    NothingAboutValues,
    /// The instruction was longer than one window; the shift brings this many together.
    Windows(usize),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::NothingAboutValues => {
                f.write_str("the instruction says nothing about values, so nothing is shifted")
            }
            Notice::Windows(n) => write!(f, "the instruction is long and was read in {n} parts"),
        }
    }
}

/// An instruction as a shift.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Translation {
    /// The shift asked for.
    pub shift: Shift,
    /// What the caller should know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
}

/// The translator.
#[derive(Debug)]
pub struct Translator {
    model: HeadModel,
    direction: usize,
    strength: usize,
}

impl Translator {
    /// Loads `dir` (adapter and head) over the trunk that the head names, by default `../encoder`.
    ///
    /// # Errors
    /// [`ModelFile`](crate::AlignError::ModelFile) or [`Load`](crate::AlignError::Load), naming the file.
    pub fn load(dir: &Path) -> Result<Self> {
        Self::over(dir, None)
    }

    /// Loads the translator among `models` over a trunk that is shared.
    ///
    /// # Errors
    /// As [`Models::dir`] and [`Self::load`].
    pub fn find(models: &Models, trunk: &Trunk) -> Result<Self> {
        Self::over(&models.dir(Part::Translator)?, Some(trunk))
    }

    fn over(dir: &Path, trunk: Option<&Trunk>) -> Result<Self> {
        let model = HeadModel::load(dir, Part::Translator, trunk)?;
        Ok(Self {
            direction: model.place("direction")?,
            strength: model.place("strength")?,
            model,
        })
    }

    /// The shift that `instruction` asks for.
    ///
    /// # Errors
    /// An empty or overlong instruction; explicit syntax with an unknown value or a number out of range; a model
    /// failure.
    pub fn translate(&self, instruction: &str) -> Result<Translation> {
        check_text("instruction", instruction)?;
        if let Some(shift) = explicit(instruction)? {
            return Ok(Translation {
                shift,
                notice: None,
            });
        }
        let config = &self.model.head().config;
        let parts = windows(&self.model, instruction, config.max_tokens - 2)?;
        let inputs: Vec<_> = parts
            .iter()
            .map(|w| encode_input(self.model.specials(), &w.ids, None, config.max_tokens))
            .collect();
        let shifts: Vec<[f32; 10]> = self
            .model
            .run(&inputs)?
            .iter()
            .map(|answer| shift(&answer[self.direction], &answer[self.strength]))
            .collect();
        let shift = Shift::new(together(&shifts))?;
        let notice = if shift.is_zero() {
            Some(Notice::NothingAboutValues)
        } else {
            (parts.len() > 1).then_some(Notice::Windows(parts.len()))
        };
        Ok(Translation { shift, notice })
    }
}

/// The shift of explicit syntax; `None` when the text is something else.
///
/// # Errors
/// The text *is* explicit syntax, and a name or number in it is wrong.
pub fn explicit(text: &str) -> Result<Option<Shift>> {
    match Shift::parse(text) {
        Ok(shift) => Ok(Some(shift)),
        Err(ValueError::Syntax { .. }) => Ok(None),
        // "Note: 3" has the shape of the syntax and is none; `=` is what people write only when they mean it.
        Err(_) if !text.contains('=') => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn together(shifts: &[[f32; 10]]) -> [f32; 10] {
    if let [one] = shifts {
        return *one;
    }
    std::array::from_fn(|v| strength_mean(shifts.iter().map(|s| (s[v], s[v].abs()))))
}

#[cfg(test)]
mod tests {
    use visa_values::Value;

    use super::*;

    #[test]
    fn explicit_syntax_is_told_from_words() {
        let check = |text: &str, expected: Option<(Value, f32)>| {
            let found = explicit(text)
                .unwrap()
                .map(|s| s.get(expected.map_or(Value::Power, |e| e.0)));
            assert_eq!(found, expected.map(|e| e.1), "{text:?}");
        };
        check("tradition=+0.8, power=-0.5", Some((Value::Tradition, 0.8)));
        check("power: -0.5", Some((Value::Power, -0.5)));
        check("much more security", None);
        check("Note: fix the commas", None);
        check("Section: 3", None);
        for wrong in ["tradtion=0.5", "power=9", "power=NaN", "power=1, power=1"] {
            assert!(explicit(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn windows_that_ask_nothing_do_not_weaken() {
        let mut asks = [0.0; 10];
        asks[3] = 0.8;
        let mut against = [0.0; 10];
        against[3] = -0.8;
        assert_eq!(together(&[asks]), asks);
        assert!((together(&[asks, [0.0; 10], [0.0; 10]])[3] - 0.8).abs() < 1e-6);
        assert_eq!(together(&[asks, against])[3], 0.0);
    }
}
