//! Training of the small models that share one encoder: detector, translator, consistency checker and sense reader.
//!
//! Each is a LoRA adapter over the frozen trunk and a head in the format of [`visa_align::head`]. A task turns its
//! sources into [`Example`]s — tokens and, for each output of the head, targets with weights — and [`fit()`] trains them
//! with one loop: length-bucketed batches, AdamW, an average of the weights, a checkpoint an epoch, `metrics.jsonl`.
//! Stopping and thresholds are chosen on data held out of the *training* files; test files are only read for the
//! report at the end. The language model has its own loop; nothing here generates text.

pub mod apart;
pub mod batch;
pub mod calibrate;
pub mod detector;
pub mod fit;
pub mod loss;
pub mod low_rank;
pub mod measure;
pub mod model;
pub mod nli;
pub mod recipe;
pub mod sense;
pub mod signed;
pub mod soup;
pub mod sources;
pub mod translator;
pub mod written;

#[cfg(test)]
mod tests;

pub use batch::{Example, Target};
pub use fit::{Fitted, fit};
pub use model::{Model, Trained};
pub use recipe::Recipe;
