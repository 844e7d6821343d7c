//! Training: data, objectives, optimiser, schedules, checkpoints, run log, one recipe per model.
//!
//! | module | what |
//! | --- | --- |
//! | [`trainer`] | the loop that models share; a [`trainer::Task`] supplies losses |
//! | [`optim`], [`schedule`] | AdamW with a state that can be saved; learning-rate curves |
//! | [`checkpoint`], [`runlog`] | complete-or-absent checkpoints; metrics as lines and for TensorBoard, recipe, progress |
//! | [`data`], [`tokenizer`] | text streams, token caches, packing, mixing; the byte-level BPE |
//! | [`lm`] | the decoder from scratch on plain text |
//! | [`encoder`] | detector, translator and consistency checker: adapters and heads on one trunk |
//! | [`pairs`], [`sft`] | "take the reason out, put it back": examples, and training on them |
//! | [`grpo`] | a step of group-relative policy optimisation over any reward |
//! | [`rewriter`] | the rewriter's prompts and its reward; GRPO, DPO and SimPO on them |
//! | [`judges`] | the models that judge texts, for data and rewards |
//! | [`objective`] | losses of reinforcement learning and preferences on log-probabilities |
//! | [`generate`] | data that we write ourselves |
//!
//! Nothing here serves requests, and no model is read from a network.

pub mod checkpoint;
mod committed;
pub mod data;
pub mod encoder;
mod error;
mod events;
pub mod generate;
pub mod grpo;
pub mod judges;
pub mod lm;
pub mod objective;
pub mod optim;
pub mod pairs;
pub mod rewriter;
pub mod runlog;
pub mod schedule;
pub mod sft;
pub mod tokenizer;
pub mod trainer;

pub use error::{Error, Result};
pub use runlog::RunContext;
pub use trainer::{Loss, Metrics, Task, TrainerConfig};
