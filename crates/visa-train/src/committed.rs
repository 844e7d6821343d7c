//! Texts that we wrote and compile in: JSON Lines, one `T` a line.

use serde::de::DeserializeOwned;

/// The lines of `file`, which is committed under `name`.
///
/// # Panics
/// On a line that is no `T`: a defect of the repository, which the tests of each file find.
pub(crate) fn lines<T: DeserializeOwned>(
    name: &'static str,
    file: &'static str,
) -> impl Iterator<Item = T> {
    file.lines().enumerate().map(move |(i, line)| {
        serde_json::from_str(line).unwrap_or_else(|e| panic!("{name}, line {}: {e}", i + 1))
    })
}
