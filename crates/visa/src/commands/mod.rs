//! One file a subcommand: its arguments, its records, and what it calls.

pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod data;
pub(crate) mod detect;
pub(crate) mod doctor;
pub(crate) mod eval;
mod goal;
pub(crate) mod lm;
pub(crate) mod profile;
pub(crate) mod rewrite;
pub(crate) mod score;
pub(crate) mod search;
pub(crate) mod serve;
pub(crate) mod train;
pub(crate) mod translate;

use anyhow::bail;

/// Refuses a text without a word; `what` names it.
fn not_empty(what: &str, text: &str) -> anyhow::Result<()> {
    if text.trim().is_empty() {
        bail!("the {what} is empty; give at least one word");
    }
    Ok(())
}
