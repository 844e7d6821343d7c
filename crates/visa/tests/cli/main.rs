//! The built binary as a user runs it: one journey a command, and every bad input of the contract.
//!
//! Models are tiny and random, made by [`fixture`]; what they say means nothing, and every promise about form, order,
//! exit codes and messages must hold all the same.

mod bench;
mod contract;
mod data;
mod detect;
mod doctor;
mod eval;
mod fixture;
mod lm;
mod models;
mod profile;
#[cfg(unix)]
mod resume;
mod rewrite;
mod run;
mod score;
mod search;
mod serve;
mod train;
mod training;
mod translate;
