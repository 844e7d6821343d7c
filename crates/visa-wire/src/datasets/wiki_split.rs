//! WikiSplit: a sentence, and the two sentences that say the same.

use super::{Format, Result};

/// Reads `{tune,validation,test}.tsv`: (the sentence, its halves).
///
/// # Errors
/// The line without both columns.
pub fn splits(text: &str) -> Result<Vec<(String, Vec<String>)>> {
    let format = Format::tsv("wiki-split");
    format.bare(text, |record, line| match (record.get(0), record.get(1)) {
        (Some(whole), Some(parts)) => Ok((
            whole.trim().to_owned(),
            parts
                .split("<::::>")
                .map(|p| p.trim().to_owned())
                .filter(|p| !p.is_empty())
                .collect(),
        )),
        _ => Err(format.error(line, "not two columns")),
    })
}
