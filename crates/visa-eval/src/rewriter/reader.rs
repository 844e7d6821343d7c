//! Who reads values and consistency: the models that rewriters are trained and steered by, and the judge.

use visa_align::{Consistent, Text, Values};
use visa_values::Profile;

use super::items::Item;
use super::measure::Reading;
use crate::EvalError;

/// Texts read at once: one call of the models, which batch by themselves.
const CHUNK: usize = 64;

/// A detector and a consistency checker under one name.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub name: &'static str,
    pub values: &'a dyn Values,
    pub checker: &'a dyn Consistent,
}

impl Reader<'_> {
    /// Profiles of texts.
    pub(super) fn profiles(&self, texts: &[&str]) -> Result<Vec<Profile>, EvalError> {
        let mut all = Vec::with_capacity(texts.len());
        for chunk in texts.chunks(CHUNK) {
            let chunk: Vec<Text> = chunk.iter().map(|t| Text::new(*t)).collect();
            all.extend(self.values.profiles(&chunk)?);
        }
        Ok(all)
    }

    /// One reading an item, with the profiles of the rewrites.
    pub(super) fn read(
        &self,
        items: &[Item],
        before: &[Profile],
        rewrites: &[String],
    ) -> Result<(Vec<Reading>, Vec<Profile>), EvalError> {
        let texts: Vec<&str> = rewrites.iter().map(String::as_str).collect();
        let after = self.profiles(&texts)?;
        let mut readings = Vec::with_capacity(items.len());
        for start in (0..items.len()).step_by(CHUNK) {
            let range = start..items.len().min(start + CHUNK);
            let pairs: Vec<(&str, &str)> = (items[range.clone()].iter())
                .zip(&rewrites[range.clone()])
                .map(|(item, rewrite)| (item.text.as_str(), rewrite.as_str()))
                .collect();
            let same = self.checker.consistency(&pairs)?;
            readings.extend(
                range
                    .zip(same)
                    .map(|(i, same)| Reading::new(&before[i], &after[i], &items[i].shift, same)),
            );
        }
        Ok((readings, after))
    }
}
