//! MoralChoice: dilemmas with two actions each, and which rules each action breaks.

use super::{Format, Result};

/// The ten rules that an action may break, in the file's order and spelling.
pub const RULES: [&str; 10] = [
    "death",
    "pain",
    "disable",
    "freedom",
    "pleasure",
    "deceive",
    "cheat",
    "break_promise",
    "break_law",
    "duty",
];

/// One dilemma.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dilemma {
    /// Such as `C_001`.
    pub id: String,
    /// The situation.
    pub context: String,
    /// Both actions, in the first person.
    pub actions: [String; 2],
    /// For each action and rule of [`RULES`]: whether the annotators agreed that it is broken; none without agreement.
    pub breaks: [[Option<bool>; 10]; 2],
}

/// Reads `moralchoice_*_ambiguity.csv`.
///
/// # Errors
/// The line that is not a dilemma.
pub fn dilemmas(text: &str) -> Result<Vec<Dilemma>> {
    Format::csv("moralchoice").table(text, |row| {
        let mut breaks = [[None; 10]; 2];
        for (action, flags) in breaks.iter_mut().enumerate() {
            for (flag, rule) in flags.iter_mut().zip(RULES) {
                *flag = match row.get(&format!("a{}_{rule}", action + 1))?.trim() {
                    "Yes" => Some(true),
                    "No" => Some(false),
                    _ => None,
                };
            }
        }
        Ok(Dilemma {
            id: row.text("scenario_id")?,
            context: row.text("context")?,
            actions: [row.text("action1")?, row.text("action2")?],
            breaks,
        })
    })
}
