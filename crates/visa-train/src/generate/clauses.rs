//! Value-bearing clauses that follow an ordinary sentence, for the embedded rewriter.

use super::ShiftArray;

/// A sentence taken apart: what is kept, the clause that speaks a value, and the end mark.
#[derive(Clone, Debug, PartialEq)]
pub struct ClauseExample {
    /// Up to two preceding sentences; may be empty.
    pub context: String,
    /// The sentence without its final punctuation.
    pub stem: String,
    /// The clause with its leading "," or " ".
    pub clause: String,
    /// The final punctuation.
    pub terminator: String,
    /// The shift that the clause causes, circle order, each in −1..=1.
    pub shift: ShiftArray,
}

/// A source of clause examples over our own stems and, where given, the caller's.
pub struct Clauses {
    seed: u64,
    stems: Vec<(String, String)>,
}

impl Clauses {
    /// A generator over the committed stems.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            stems: Vec::new(),
        }
    }

    /// Adds external stems: pairs of (context, whole sentence with its final punctuation).
    /// Questions and sentences that cannot carry a clause are skipped.
    pub fn with_stems(mut self, stems: impl IntoIterator<Item = (String, String)>) -> Self {
        self.stems.extend(stems);
        self
    }

    /// `count` examples.
    pub fn generate(&self, count: usize) -> Vec<ClauseExample> {
        let _ = (self.seed, count, &self.stems);
        todo!()
    }
}
