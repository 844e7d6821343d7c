//! Instruction or persona → shift.

use std::path::Path;

use serde::Serialize;
use visa_values::Shift;

use crate::error::Result;

/// Something the caller should be told about a translation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Notice {
    /// The instruction says nothing about values; the shift is zero.
    NothingAboutValues,
    /// The instruction was longer than one window; the shift aggregates this many.
    Windows(usize),
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
pub struct Translator {}

impl Translator {
    /// Loads `dir` (adapter and head) over the trunk that the adapter names, by default `../encoder`.
    pub fn load(dir: &Path) -> Result<Self> {
        let _ = dir;
        todo!()
    }

    /// The shift that `instruction` asks for.
    pub fn translate(&self, instruction: &str) -> Result<Translation> {
        let _ = instruction;
        todo!()
    }
}
