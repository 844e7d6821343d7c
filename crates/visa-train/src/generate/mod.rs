//! Generated training data: instructions for the translator, value-bearing clauses for the
//! rewriter, and sentence pairs for the consistency checker.
//!
//! The wording lives in `data/*.toml`, written by hand; the code only inflects and combines it.
//! Everything is deterministic: the same seed and count give the same examples, in the same order.
//! What this module does not do: it reads no file at run time, runs no model, and never looks at
//! an evaluation set. Real sentences come in through iterators that the caller supplies.

pub mod clauses;
pub mod instructions;
pub mod nli;

mod frame;
mod inflect;
mod noise;
mod phrases;
mod stem;
mod wishes;

pub use clauses::{ClauseExample, Clauses};
pub use instructions::{InstructionExample, InstructionKind, instructions};
pub use nli::{NliExample, NliLabel, nli};
pub use wishes::wishes;

/// A shift over the ten values in circle order, each in −1..=1.
pub type ShiftArray = [f32; 10];
