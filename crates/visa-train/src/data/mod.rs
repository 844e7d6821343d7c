//! Text for language models: where documents come from, how they become tokens, and how sequences
//! are drawn from them. It knows nothing of losses or of values.

pub mod mix;
pub mod sources;
pub mod tokens;

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::{Error, Result};

pub use mix::{Mixer, Stream};
pub use sources::{Kind, Source};
pub use tokens::{TokenCache, cache};

/// What the lines of a file of JSON objects hold, each made of its object by `read`, which may say what is wrong with it.
///
/// # Errors
/// A file that cannot be read; the line, and what is wrong.
pub(crate) fn json_lines<T: DeserializeOwned, R>(
    path: &Path,
    read: impl Fn(T) -> std::result::Result<R, String>,
) -> Result<Vec<R>> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    (text.lines().enumerate())
        .map(|(number, line)| {
            let object = serde_json::from_str(line).map_err(|e| e.to_string());
            (object.and_then(&read))
                .map_err(|e| Error::data(path, format!("line {}: {e}", number + 1)))
        })
        .collect()
}
