//! Cases by which the guards are measured: sentences in, changed sentences and true paraphrases out.
//!
//! Pure and deterministic: the same sentences and seed give the same cases. The generators decide by patterns of their own
//! what is a number, a name or a negation, so that they do not ask of the guards only what the guards already know. They
//! read plain and tokenised text (`did n't`).

mod changes;
mod paraphrases;

pub use changes::{changed_names, changed_negations, changed_numbers};
pub use paraphrases::{added_clauses, paraphrases};

/// About sixty sentences of our own with numbers, names and negations, one a line.
pub const SENTENCES: &str = include_str!("../data/sentences.txt");

/// An original and what was made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The sentence given.
    pub original: String,
    /// The sentence changed.
    pub candidate: String,
    /// What was done, in a word or two: `number`, `name`, `dropped not`, `contraction`, …
    pub what: &'static str,
}

/// A small generator of random numbers (SplitMix64), since nothing here needs more.
struct Random(u64);

impl Random {
    /// Independent streams for neighbouring seeds and indices.
    fn new(seed: u64, index: usize) -> Self {
        let mut random = Random(seed ^ (index as u64).wrapping_mul(0xd134_2543_de82_ef95));
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() {
            None
        } else {
            Some(&from[self.below(from.len())])
        }
    }
}

/// `text` with the byte range replaced.
fn replaced(text: &str, range: std::ops::Range<usize>, by: &str) -> String {
    format!("{}{by}{}", &text[..range.start], &text[range.end..])
}

fn case(original: &str, candidate: String, what: &'static str) -> Case {
    Case {
        original: original.to_owned(),
        candidate,
        what,
    }
}
