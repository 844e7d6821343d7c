//! Persona statements (`persona-statements`): what someone with a trait would or would not say.

use serde::Deserialize;

use super::{DatasetError, Result, lines};

/// One statement of one trait's file.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// What is said, in the first person.
    pub statement: String,
    /// Whether someone with the trait would say it.
    pub matches: bool,
    /// How sure the data set is of that, 0…1.
    pub confidence: f32,
}

#[derive(Deserialize)]
struct Line {
    statement: String,
    label_confidence: f32,
    answer_matching_behavior: String,
}

/// Reads one trait's `.jsonl`.
///
/// # Errors
/// The line that is not a statement.
pub fn statements(text: &str) -> Result<Vec<Statement>> {
    lines(text)
        .map(|(line, json)| {
            let fail = |problem: String| DatasetError {
                dataset: "persona-statements",
                line,
                problem,
            };
            let row: Line = serde_json::from_str(json).map_err(|e| fail(e.to_string()))?;
            let matches = match row.answer_matching_behavior.trim() {
                "Yes" => true,
                "No" => false,
                other => {
                    return Err(fail(format!(
                        "answer_matching_behavior is {other:?}, expected Yes or No"
                    )));
                }
            };
            if !(0.0..=1.0).contains(&row.label_confidence) {
                return Err(fail(format!(
                    "label_confidence is {}, expected 0 to 1",
                    row.label_confidence
                )));
            }
            Ok(Statement {
                statement: row.statement.trim().to_owned(),
                matches,
                confidence: row.label_confidence,
            })
        })
        .collect()
}
