//! Key-point analysis (`kpa`): arguments with stance, key points, and which argument makes which point.

use super::{Format, Result};

const CSV: Format = Format::csv("kpa");
const STANCES: [(&str, bool); 2] = [("1", true), ("-1", false)];
const FLAGS: [(&str, bool); 2] = [("0", false), ("1", true)];

/// An argument or a key point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Such as `arg_4_0` or `kp_4_0`.
    pub id: String,
    /// What is said.
    pub text: String,
    /// What it is about.
    pub topic: String,
    /// Whether it supports the topic.
    pub supports: bool,
}

fn claims(text: &str, id: &str, body: &str) -> Result<Vec<Claim>> {
    CSV.table(text, |row| {
        Ok(Claim {
            id: row.text(id)?,
            text: row.text(body)?,
            topic: row.text("topic")?,
            supports: row.one_of("stance", &STANCES)?,
        })
    })
}

/// Reads `arguments_*.csv`.
///
/// # Errors
/// The line that is not an argument.
pub fn arguments(text: &str) -> Result<Vec<Claim>> {
    claims(text, "arg_id", "argument")
}

/// Reads `key_points_*.csv`.
///
/// # Errors
/// The line that is not a key point.
pub fn key_points(text: &str) -> Result<Vec<Claim>> {
    claims(text, "key_point_id", "key_point")
}

/// One judgement of `labels_*.csv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The argument.
    pub argument: String,
    /// The key point.
    pub key_point: String,
    /// Whether the argument makes the point.
    pub matches: bool,
}

/// Reads `labels_*.csv`.
///
/// # Errors
/// The line that is not a judgement.
pub fn matches(text: &str) -> Result<Vec<Match>> {
    CSV.table(text, |row| {
        Ok(Match {
            argument: row.text("arg_id")?,
            key_point: row.text("key_point_id")?,
            matches: row.one_of("label", &FLAGS)?,
        })
    })
}
