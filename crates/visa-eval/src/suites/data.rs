//! Reading the files of a data set below the data folder.

use std::path::{Path, PathBuf};

use super::Setting;
use crate::EvalError;

/// The folder `needs` below the data folder.
pub(crate) fn folder(
    setting: &Setting,
    suite: &'static str,
    needs: &'static str,
) -> Result<PathBuf, EvalError> {
    match &setting.data {
        Some(data) => Ok(data.join(needs)),
        None => Err(EvalError::NoData { suite, needs }),
    }
}

/// A file parsed by `parse`, with the path in every error.
pub(crate) fn parsed<T, E: std::fmt::Display>(
    path: &Path,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, EvalError> {
    let text = std::fs::read_to_string(path).map_err(|source| EvalError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(&text).map_err(|problem| EvalError::Data {
        path: path.to_owned(),
        problem: problem.to_string(),
    })
}

/// Writes what a suite judged, a JSON object a line, when a folder for it was named.
pub(crate) fn examples(
    setting: &Setting,
    suite: &str,
    objects: impl Iterator<Item = serde_json::Value>,
) -> Result<(), EvalError> {
    let Some(folder) = &setting.examples else {
        return Ok(());
    };
    let path = folder.join(format!("{suite}.jsonl"));
    let text: String = objects.map(|object| format!("{object}\n")).collect();
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|source| EvalError::Write { path, source })
}

/// The first `limit` items, or all.
pub(crate) fn limited<T>(mut items: Vec<T>, limit: Option<usize>) -> Vec<T> {
    items.truncate(limit.unwrap_or(usize::MAX));
    items
}
