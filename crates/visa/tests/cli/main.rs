//! The built binary as a user runs it: one journey a command, and every bad input of the contract.
//!
//! Models are tiny and random, made by [`fixture`]; what they say means nothing, and every promise about form, order,
//! exit codes and messages must hold all the same.

mod contract;
mod detect;
mod doctor;
mod eval;
mod fixture;
mod lm;
mod models;
mod profile;
mod rewrite;
mod run;
mod score;
mod serve;
mod train;
mod translate;
