//! Text → values.

use std::path::Path;

use serde::{Deserialize, Serialize};
use visa_values::{Profile, Value};

use crate::error::Result;

/// A text, with what it answers or argues about when that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// The text.
    pub text: String,
    /// What it answers or argues about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
}

/// A stretch of the text that speaks a value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
    /// The value.
    pub value: Value,
    /// How far the profile moves without the stretch, signed like the profile.
    pub weight: f32,
}

/// What a text speaks.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// Ten values, −1…1: embraces minus rejects.
    pub profile: Profile,
    /// Twenty calibrated presence probabilities; 0.5 is the decision boundary.
    pub categories: [f32; 20],
    /// Stretches that speak a value, strongest first; empty unless asked for.
    pub spans: Vec<Span>,
}

/// How to detect.
#[derive(Clone, Debug)]
pub struct DetectOptions {
    /// Find spans too: about one more pass for each clause.
    pub spans: bool,
    /// Texts a batch.
    pub batch: usize,
}

impl Default for DetectOptions {
    fn default() -> Self {
        Self { spans: false, batch: 64 }
    }
}

/// The value detector.
pub struct Detector {}

impl Detector {
    /// Loads `dir` (adapter and head) over the trunk that the adapter names, by default `../encoder`.
    pub fn load(dir: &Path) -> Result<Self> {
        let _ = dir;
        todo!()
    }

    /// One detection a text, in order, without spans.
    pub fn detect(&self, texts: &[Text]) -> Result<Vec<Detection>> {
        self.detect_with(texts, &DetectOptions::default())
    }

    /// As [`Self::detect`], with options.
    pub fn detect_with(&self, texts: &[Text], options: &DetectOptions) -> Result<Vec<Detection>> {
        let _ = (texts, options);
        todo!()
    }
}
