//! Evaluation suites: what a model is measured by, and how the figure is reported.
//!
//! Every [`Figure`] carries its baseline, its sample size and a bootstrap interval, so that no number stands
//! alone. Suites read the models as a user would, through `visa-align`, and never change one.

mod error;
pub mod report;
pub mod rewriter;
pub mod suites;

pub use error::EvalError;
pub use report::{Figure, Report};
