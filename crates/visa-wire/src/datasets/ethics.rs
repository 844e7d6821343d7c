//! ETHICS: short scenarios from five ethical theories.

use super::{Format, Result};

const CSV: Format = Format::csv("ethics");
const FLAGS: [(&str, bool); 2] = [("0", false), ("1", true)];

/// A scenario that is acceptable or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The scenario.
    pub text: String,
    /// What is added to it: the excuse (deontology) or the trait (virtue); none for the others.
    pub second: Option<String>,
    /// The label as in the file: 1 means reasonable (justice, deontology), fitting (virtue) or **wrong** (commonsense).
    pub label: bool,
}

/// Reads `justice_*.csv`.
///
/// # Errors
/// The line that is not a scenario.
pub fn justice(text: &str) -> Result<Vec<Scenario>> {
    CSV.table(text, |row| {
        Ok(Scenario {
            text: row.text("scenario")?,
            second: None,
            label: row.one_of("label", &FLAGS)?,
        })
    })
}

/// Reads `deontology_*.csv`: a request or role, and an excuse or duty.
///
/// # Errors
/// The line that is not a scenario.
pub fn deontology(text: &str) -> Result<Vec<Scenario>> {
    CSV.table(text, |row| {
        Ok(Scenario {
            text: row.text("scenario")?,
            second: Some(row.text("excuse")?),
            label: row.one_of("label", &FLAGS)?,
        })
    })
}

/// Reads `virtue_*.csv`: `scenario [SEP] trait`.
///
/// # Errors
/// The line that is not a scenario.
pub fn virtue(text: &str) -> Result<Vec<Scenario>> {
    CSV.table(text, |row| {
        let cell = row.text("scenario")?;
        let (scenario, quality) = cell
            .split_once("[SEP]")
            .ok_or_else(|| row.error("no [SEP] between scenario and trait"))?;
        Ok(Scenario {
            text: scenario.trim().to_owned(),
            second: Some(quality.trim().to_owned()),
            label: row.one_of("label", &FLAGS)?,
        })
    })
}

/// Reads `cm_*.csv` (label 1 = morally wrong).
///
/// # Errors
/// The line that is not a scenario.
pub fn commonsense(text: &str) -> Result<Vec<Scenario>> {
    CSV.table(text, |row| {
        Ok(Scenario {
            text: row.text("input")?,
            second: None,
            label: row.one_of("label", &FLAGS)?,
        })
    })
}

/// Reads `util_*.csv`, which has no header: (the more pleasant scenario, the less pleasant one).
///
/// # Errors
/// The line with fewer than two cells.
pub fn utilitarianism(text: &str) -> Result<Vec<(String, String)>> {
    CSV.bare(text, |record, line| match (record.get(0), record.get(1)) {
        (Some(more), Some(less)) => Ok((more.trim().to_owned(), less.trim().to_owned())),
        _ => Err(CSV.error(line, "fewer than two cells")),
    })
}
