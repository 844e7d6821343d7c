//! The models that say what a text speaks and whether two texts say the same, for data and rewards.

use std::sync::Arc;

use visa_align::{AlignError, Consistent, Sensible, Text, Values};
use visa_score::Consistency;
use visa_values::Profile;

use crate::{Error, Result};

/// Detector, checker and sense reader, or what stands for them in a test.
#[derive(Clone, Copy)]
pub struct Judges<'a> {
    /// Reads values.
    pub values: &'a dyn Values,
    /// Judges consistency.
    pub checker: &'a dyn Consistent,
    /// Judges what sentences do and whether clauses belong where they stand, for those who ask.
    pub sense: Option<&'a Arc<dyn Sensible>>,
}

impl Judges<'_> {
    /// One profile a text, in order.
    ///
    /// # Errors
    /// A model failure, an unusable text, a judge that leaves one out.
    pub fn profiles(&self, texts: &[Text]) -> Result<Vec<Profile>> {
        complete(self.values.profiles(texts), texts.len(), "detector")
    }

    /// One judgement a pair (original, candidate), in order.
    ///
    /// # Errors
    /// As [`Judges::profiles`].
    pub fn consistency(&self, pairs: &[(&str, &str)]) -> Result<Vec<Consistency>> {
        complete(self.checker.consistency(pairs), pairs.len(), "checker")
    }

    /// Log-odds that each clause belongs behind its text, in order.
    ///
    /// # Errors
    /// As [`Judges::profiles`]; that there is no sense reader.
    pub fn sense(&self, pairs: &[(&str, &str)]) -> Result<Vec<f32>> {
        let Some(sense) = self.sense else {
            return Err(Error::Input(
                "there is no sense reader; give one or set its weight to 0".into(),
            ));
        };
        complete(sense.sense(pairs), pairs.len(), "sense reader")
    }
}

fn complete<T>(
    answers: visa_align::Result<Vec<T>>,
    asked: usize,
    judge: &'static str,
) -> Result<Vec<T>> {
    let answers = answers.map_err(|e: AlignError| Error::Input(e.to_string()))?;
    if answers.len() != asked {
        return Err(Error::Input(format!(
            "the {judge} answered {} of {asked} questions; it must answer every one or fail",
            answers.len()
        )));
    }
    Ok(answers)
}
