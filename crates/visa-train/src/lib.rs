//! Training: data, objectives, optimiser, schedules, checkpoints, run log, one recipe per model.
//!
//! | module | what |
//! | --- | --- |
//! | [`trainer`] | the loop that models share; a [`trainer::Task`] supplies losses |
//! | [`optim`], [`schedule`] | AdamW with a state that can be saved; learning-rate curves |
//! | [`checkpoint`], [`runlog`] | complete-or-absent checkpoints; metrics, recipe, progress |
//! | [`data`], [`tokenizer`] | text streams, token caches, packing, mixing; the byte-level BPE |
//! | [`lm`] | the decoder from scratch on plain text |
//! | [`encoder`] | detector, translator and consistency checker: adapters and heads on one trunk |
//! | [`pairs`], [`sft`] | "take the reason out, put it back": examples, and training on them |
//! | [`grpo`] | a step of group-relative policy optimisation over any reward |
//! | [`objective`] | losses of reinforcement learning and preferences on log-probabilities |
//! | [`generate`] | data that we write ourselves |
//!
//! Nothing here serves requests, and no model is read from a network.

pub mod checkpoint;
mod committed;
pub mod data;
pub mod encoder;
mod error;
pub mod generate;
pub mod grpo;
pub mod lm;
pub mod objective;
pub mod optim;
pub mod pairs;
pub mod runlog;
pub mod schedule;
pub mod sft;
pub mod tokenizer;
pub mod trainer;

pub use error::{Error, Result};
pub use runlog::RunContext;
pub use trainer::{Loss, Metrics, Task, TrainerConfig};
