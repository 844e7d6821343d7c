//! ValueEval'23 (`touche23`): arguments, the 20 category labels, and the description of the categories.

use super::{DatasetError, Format, Result};

const TSV: Format = Format::tsv("touche23");

/// Which side of the conclusion a premise takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// For the conclusion.
    InFavorOf,
    /// Against it.
    Against,
}

impl Stance {
    /// As the file spells it.
    pub fn name(self) -> &'static str {
        match self {
            Stance::InFavorOf => "in favor of",
            Stance::Against => "against",
        }
    }
}

/// One argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Such as `A01002`.
    pub id: String,
    /// What is argued about.
    pub conclusion: String,
    /// For or against the conclusion.
    pub stance: Stance,
    /// The reason given: the text whose values are labelled.
    pub premise: String,
}

impl Argument {
    /// The context given to the detector beside the premise: stance and conclusion.
    pub fn context(&self) -> String {
        format!("{} {}", self.stance.name(), self.conclusion)
    }
}

/// Reads `arguments-*.tsv`.
///
/// # Errors
/// The line that is not an argument.
pub fn arguments(text: &str) -> Result<Vec<Argument>> {
    // The Zhihu file writes "in favour of".
    let stances = [
        ("in favor of", Stance::InFavorOf),
        ("in favour of", Stance::InFavorOf),
        ("against", Stance::Against),
    ];
    TSV.table(text, |row| {
        Ok(Argument {
            id: row.text("Argument ID")?,
            conclusion: row.text("Conclusion")?,
            stance: row.one_of("Stance", &stances)?,
            premise: row.text("Premise")?,
        })
    })
}

/// A label file: which labels each argument carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// The labels' names, in the file's order.
    pub names: Vec<String>,
    /// Argument id and one flag a label.
    pub rows: Vec<(String, Vec<bool>)>,
}

/// Reads `labels-*.tsv` (20 categories) or `level1-labels-*.tsv` (54 values).
///
/// # Errors
/// The line that holds anything but an id, zeros and ones.
pub fn labels(text: &str) -> Result<Labels> {
    let mut lines = TSV.bare(text, |record, line| {
        let cells: Vec<String> = record.iter().map(|c| c.trim().to_owned()).collect();
        Ok((line, cells))
    })?;
    if lines.is_empty() {
        return Err(TSV.error(1, "the file is empty"));
    }
    let names = lines.remove(0).1.split_off(1);
    let mut rows = Vec::with_capacity(lines.len());
    for (line, cells) in lines {
        let flags: Option<Vec<bool>> = (cells[1..].iter())
            .map(|c| match c.as_str() {
                "0" => Some(false),
                "1" => Some(true),
                _ => None,
            })
            .collect();
        let flags = flags.ok_or_else(|| TSV.error(line, "a label is neither 0 nor 1"))?;
        rows.push((cells[0].clone(), flags));
    }
    Ok(Labels { names, rows })
}

/// An entry of `value-categories.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CategoryDescription {
    /// The category, such as `Self-direction: thought`.
    pub name: String,
    /// Its level-1 values, each with phrases of what speaks for it.
    pub values: Vec<(String, Vec<String>)>,
}

/// Reads `value-categories.json`, keeping its order.
///
/// # Errors
/// The line where the JSON breaks off or has another shape.
pub fn categories(text: &str) -> Result<Vec<CategoryDescription>> {
    let fail = |line: usize, problem: String| DatasetError {
        dataset: "touche23",
        line: line as u64,
        problem,
    };
    let root: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|e| fail(e.line(), e.to_string()))?;
    root.into_iter()
        .map(|(name, values)| {
            let values: serde_json::Map<String, serde_json::Value> =
                serde_json::from_value(values).map_err(|e| fail(1, format!("{name}: {e}")))?;
            let values = values
                .into_iter()
                .map(|(value, phrases)| Ok((value, serde_json::from_value(phrases)?)))
                .collect::<std::result::Result<_, serde_json::Error>>()
                .map_err(|e| fail(1, format!("{name}: {e}")))?;
            Ok(CategoryDescription { name, values })
        })
        .collect()
}
