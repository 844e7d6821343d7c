//! Why a suite could not be run.

use std::path::PathBuf;

/// A suite fails as a whole or reports; it never counts a failure as a figure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The suite reads a data set and none was given.
    #[error(
        "suite {suite} reads {needs}; pass --data DIR, or set VISA_DATA to the folder that holds it"
    )]
    NoData {
        /// The suite.
        suite: &'static str,
        /// The folder it looks for below the data folder.
        needs: &'static str,
    },
    /// A file of a data set cannot be read.
    #[error("{}: {source}; pass the folder that holds the data sets by --data DIR", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// There is nothing to compute a figure from.
    #[error(
        "suite {suite} found no {what} among {of} cases, so its figures do not exist; raise --limit or check the models with visa doctor"
    )]
    Nothing {
        /// The suite.
        suite: &'static str,
        /// What is missing.
        what: &'static str,
        /// How many cases there were.
        of: usize,
    },
    /// Examples could not be written.
    #[error("{}: {source}; name a folder that can be written by --examples DIR", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file of a data set is not what it should be.
    #[error("{}: {problem}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        problem: String,
    },
    /// A system asks an endpoint, and none is configured.
    #[error(
        "a system asks an endpoint and none is configured; name one by --endpoint URL and --endpoint-model NAME"
    )]
    NoEndpoint,
    /// A model failed.
    #[error(transparent)]
    Align(#[from] visa_align::AlignError),
    /// A profile or shift out of range.
    #[error(transparent)]
    Value(#[from] visa_values::ValueError),
}
