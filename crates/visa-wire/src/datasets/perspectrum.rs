//! Perspectrum: claims, and perspectives for and against them in clusters of equal meaning.

use serde::Deserialize;

use super::{DatasetError, Result};

/// A claim with its clusters of perspectives.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Claim {
    /// Its number.
    #[serde(rename = "cId")]
    pub id: u64,
    /// The claim.
    pub text: String,
    /// The clusters.
    pub perspectives: Vec<Cluster>,
}

/// Perspectives that say the same.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Cluster {
    /// Numbers of the perspectives in the pool.
    pub pids: Vec<u64>,
    /// Their side.
    #[serde(rename = "stance_label_3")]
    pub stance: Stance,
}

/// The side of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Stance {
    /// For the claim.
    #[serde(rename = "SUPPORT")]
    Support,
    /// Against it.
    #[serde(rename = "UNDERMINE")]
    Undermine,
    /// The annotators did not agree.
    #[serde(rename = "not-a-perspective", other)]
    Unclear,
}

/// A perspective of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Perspective {
    /// Its number.
    #[serde(rename = "pId")]
    pub id: u64,
    /// What is said.
    pub text: String,
}

fn json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| DatasetError {
        dataset: "perspectrum",
        line: e.line() as u64,
        problem: e.to_string(),
    })
}

/// Reads `perspectrum_with_answers_v1.0.json`.
///
/// # Errors
/// The line where the JSON breaks off or has another shape.
pub fn claims(text: &str) -> Result<Vec<Claim>> {
    json(text)
}

/// Reads `perspective_pool_v1.0.json`.
///
/// # Errors
/// The line where the JSON breaks off or has another shape.
pub fn perspectives(text: &str) -> Result<Vec<Perspective>> {
    json(text)
}
