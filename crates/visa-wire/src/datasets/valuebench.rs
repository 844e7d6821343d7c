//! ValueBench: questionnaire items with signed agreement, and definitions of values.

use super::{Format, Result};

const ITEMS: Format = Format::csv("valuebench");

/// One item of an inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The inventory, such as `PVQ40`.
    pub questionnaire: String,
    /// The statement.
    pub item: String,
    /// The construct it measures, in the inventory's own words.
    pub value: String,
    /// Whether agreeing speaks for the construct (`true`) or against it.
    pub agrees: bool,
}

/// Reads `value_orientation.csv` or `extracted_data/value_items.csv`.
///
/// # Errors
/// The line that is not an item.
pub fn items(text: &str) -> Result<Vec<Item>> {
    ITEMS.table(text, |row| {
        Ok(Item {
            questionnaire: row.text("questionnaire")?,
            item: row.text("item")?,
            value: row.text("value")?,
            agrees: row.one_of("agreement", &[("1", true), ("-1", false)])?,
        })
    })
}

/// A definition of a construct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The inventory.
    pub questionnaire: String,
    /// The construct.
    pub value: String,
    /// What it means.
    pub definition: String,
}

/// Reads `extracted_data/value_definition.csv`.
///
/// The file's commas inside a definition are written `\,` and unquoted, so the cells after the second are joined again.
///
/// # Errors
/// The line with fewer than three cells.
pub fn definitions(text: &str) -> Result<Vec<Definition>> {
    let format = Format {
        flexible: true,
        quoting: true,
        ..ITEMS
    };
    let mut rows = format.bare(text, |record, line| {
        let cell = |i: usize| record.get(i).map_or("", str::trim);
        if record.len() < 3 {
            return Err(format.error(line, "fewer than three cells"));
        }
        let parts: Vec<&str> = record
            .iter()
            .skip(2)
            .filter(|c| !c.trim().is_empty())
            .collect();
        Ok(Definition {
            questionnaire: cell(0).to_owned(),
            value: cell(1).to_owned(),
            definition: parts
                .join(",")
                .replace("\\,", ",")
                .trim_end_matches('\\')
                .trim()
                .to_owned(),
        })
    })?;
    if !rows.is_empty() {
        rows.remove(0);
    }
    Ok(rows)
}
