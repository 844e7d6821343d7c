//! Parsers of the public data sets that training and tests read.
//!
//! Each function takes the whole text of one file and answers with its rows, or with the line that does not fit. Values
//! are read as they stand: nothing is dropped, mapped to other labels or cleaned here, and nothing does I/O.

pub mod cad_nli;
pub mod ethics;
pub mod kpa;
pub mod moralchoice;
pub mod persona;
pub mod perspectrum;
pub mod social_chemistry;
pub mod touche;
pub mod valuebench;
pub mod wiki_split;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

/// A data set's file that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{dataset}, line {line}: {problem}; fetch the file again or compare it with the data set's documentation"
)]
pub struct DatasetError {
    /// The data set's name, such as `touche23`.
    pub dataset: &'static str,
    /// Line of the file, from 1.
    pub line: u64,
    /// What is wrong there.
    pub problem: String,
}

/// The result of a parser.
pub type Result<T> = std::result::Result<T, DatasetError>;

/// How a table of a data set is written.
#[derive(Clone, Copy)]
pub(crate) struct Format {
    pub(crate) dataset: &'static str,
    pub(crate) delimiter: u8,
    pub(crate) quoting: bool,
    /// Rows may have other lengths than the header: missing cells are empty.
    pub(crate) flexible: bool,
}

impl Format {
    pub(crate) const fn csv(dataset: &'static str) -> Self {
        Self {
            dataset,
            delimiter: b',',
            quoting: true,
            flexible: false,
        }
    }

    /// Tabs, with quotation marks as plain text.
    pub(crate) const fn tsv(dataset: &'static str) -> Self {
        Self {
            dataset,
            delimiter: b'\t',
            quoting: false,
            flexible: false,
        }
    }

    pub(crate) fn error(self, line: u64, problem: impl Into<String>) -> DatasetError {
        DatasetError {
            dataset: self.dataset,
            line,
            problem: problem.into(),
        }
    }

    fn reader(self, text: &str, headers: bool) -> csv::Reader<&[u8]> {
        csv::ReaderBuilder::new()
            .delimiter(self.delimiter)
            .quoting(self.quoting)
            .flexible(self.flexible)
            .has_headers(headers)
            .from_reader(text.trim_start_matches('\u{feff}').as_bytes())
    }

    fn failed(self, error: &csv::Error) -> DatasetError {
        self.error(
            error.position().map_or(0, csv::Position::line),
            error.to_string(),
        )
    }

    /// Reads a table with a header line, calling `row` for each record.
    pub(crate) fn table<T>(
        self,
        text: &str,
        mut row: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut reader = self.reader(text, true);
        let header = reader.headers().map_err(|e| self.failed(&e))?.clone();
        let columns: HashMap<&str, usize> = header
            .iter()
            .enumerate()
            .map(|(i, name)| (name.trim(), i))
            .collect();
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|e| self.failed(&e))?;
            rows.push(row(&Row {
                format: self,
                columns: &columns,
                record: &record,
            })?);
        }
        Ok(rows)
    }

    /// Reads a table without a header line, calling `row` with the cells and the line.
    pub(crate) fn bare<T>(
        self,
        text: &str,
        mut row: impl FnMut(&csv::StringRecord, u64) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut rows = Vec::new();
        for record in self.reader(text, false).records() {
            let record = record.map_err(|e| self.failed(&e))?;
            let line = record.position().map_or(0, csv::Position::line);
            rows.push(row(&record, line)?);
        }
        Ok(rows)
    }
}

/// One record of a table with a header.
pub(crate) struct Row<'a> {
    format: Format,
    columns: &'a HashMap<&'a str, usize>,
    record: &'a csv::StringRecord,
}

impl Row<'_> {
    pub(crate) fn line(&self) -> u64 {
        self.record.position().map_or(0, csv::Position::line)
    }

    pub(crate) fn error(&self, problem: impl Into<String>) -> DatasetError {
        self.format.error(self.line(), problem)
    }

    /// The cell of a column, as it stands.
    pub(crate) fn get(&self, column: &str) -> Result<&str> {
        let index = self
            .columns
            .get(column)
            .ok_or_else(|| self.format.error(1, format!("no column {column:?}")))?;
        Ok(self.record.get(*index).unwrap_or(""))
    }

    /// The cell of a column without the white space around it; an empty one is an error.
    pub(crate) fn text(&self, column: &str) -> Result<String> {
        let text = self.get(column)?.trim();
        if text.is_empty() {
            return Err(self.error(format!("{column} is empty")));
        }
        Ok(text.to_owned())
    }

    /// A cell that must be one of some spellings.
    pub(crate) fn one_of<T: Copy>(&self, column: &str, choices: &[(&str, T)]) -> Result<T> {
        let cell = self.get(column)?.trim();
        choices
            .iter()
            .find(|(name, _)| *name == cell)
            .map(|(_, value)| *value)
            .ok_or_else(|| {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                self.error(format!(
                    "{column} is {cell:?}, expected {}",
                    names.join(" or ")
                ))
            })
    }
}

/// Lines of a JSON Lines file with their numbers; blank lines are skipped.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (u64, &str)> {
    (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty())
}
