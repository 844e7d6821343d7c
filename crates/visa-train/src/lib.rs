//! Training: data, objectives, optimiser, schedules, checkpoints, run log, one recipe per model

pub mod generate;
