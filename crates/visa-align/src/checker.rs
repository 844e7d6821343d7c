//! Two texts → consistency both ways.

use std::path::Path;

use visa_score::Consistency;

use crate::error::Result;

/// The consistency checker.
pub struct Checker {}

impl Checker {
    /// Loads `dir` (adapter and head) over the trunk that the adapter names, by default `../encoder`.
    pub fn load(dir: &Path) -> Result<Self> {
        let _ = dir;
        todo!()
    }

    /// One judgement a pair (original, candidate), in order.
    pub fn consistency(&self, pairs: &[(&str, &str)]) -> Result<Vec<Consistency>> {
        let _ = pairs;
        todo!()
    }
}
