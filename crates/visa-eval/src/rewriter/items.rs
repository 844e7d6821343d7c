//! The held-out paragraphs with the shift that is wished of each.
//!
//! Our own mails, advice, reviews and news come first; a data folder adds film reviews and posts from test files, which no
//! recipe reads. (The news of the `rewrite` suite are left out: the language model read the same articles at another level.)
//! Personas and lengths of the shift run through the paragraphs in turn, so that every bin of |Δv| is filled.

use std::path::Path;

use serde::{Deserialize, Serialize};
use visa_align::Translator;
use visa_train::checkpoint::sha256;
use visa_values::Shift;
use visa_wire::datasets::ethics;

use crate::EvalError;
use crate::suites::{Setting, data, rewrite};

/// Lengths that the personas' shifts are brought to, one a run through the personas.
const LENGTHS: [f32; 4] = [1.0, 1.5, 1.0, 0.5];
/// Items of a full run with a data folder.
const ITEMS: usize = 200;

/// A paragraph and the shift wished of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    /// Where it is from, and its number.
    pub id: String,
    /// mail, advice, review, news or post.
    pub genre: String,
    /// The paragraph.
    pub text: String,
    /// The persona whose shift it is.
    pub persona: String,
    /// The wished shift.
    pub shift: Shift,
}

impl Item {
    /// What a stored rewrite belongs to: changes with the text and the wish.
    #[must_use]
    pub fn key(&self) -> String {
        let wish = self.shift.as_array().map(|d| format!("{d:.6}")).join(" ");
        sha256(format!("{}\n{wish}", self.text).as_bytes())[..16].to_owned()
    }
}

/// The items, at most `setting.limit`.
pub(super) fn items(setting: &Setting, translator: &Translator) -> Result<Vec<Item>, EvalError> {
    let mut cases = rewrite::own();
    if let Some(folder) = &setting.data {
        let reviews = rewrite::film_reviews(folder)?;
        let posts = posts(&folder.join("ethics/commonsense/cm_test.csv"))?;
        for (review, post) in reviews.into_iter().zip(posts) {
            cases.extend([review, post]);
        }
    }
    cases.truncate(setting.limit.unwrap_or(ITEMS));
    let personas = rewrite::personas();
    let shifts = (personas.iter())
        .map(|persona| Ok(translator.translate(persona)?.shift))
        .collect::<Result<Vec<_>, EvalError>>()?;
    let mut items = Vec::with_capacity(cases.len());
    for (i, case) in cases.into_iter().enumerate() {
        let which = i % personas.len();
        let length = LENGTHS[i / personas.len() % LENGTHS.len()];
        let shift = rewrite::lengthened(&shifts[which], length)?;
        // A persona that the translator finds no value in wishes nothing, so nothing can be measured on it.
        if shift.is_zero() {
            continue;
        }
        items.push(Item {
            id: case.id,
            genre: case.genre,
            text: case.text,
            persona: personas[which].to_owned(),
            shift,
        });
    }
    if items.is_empty() {
        return Err(EvalError::Nothing {
            suite: "rewriter",
            what: "persona that moves a value",
            of: personas.len(),
        });
    }
    Ok(items)
}

/// Paragraphs of the longer stories of the commonsense test file.
fn posts(path: &Path) -> Result<Vec<rewrite::RewriteCase>, EvalError> {
    let scenarios = data::parsed(path, ethics::commonsense)?;
    Ok((scenarios.iter())
        .filter_map(|scenario| rewrite::paragraph(&scenario.text))
        .enumerate()
        .map(|(i, text)| rewrite::RewriteCase {
            id: format!("post-{}", i + 1),
            genre: "post".into(),
            text,
            persona: String::new(),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_rewrite_belongs_to_its_text_and_its_wish() {
        let item = |text: &str, power: &str| Item {
            id: "a".into(),
            genre: "mail".into(),
            text: text.into(),
            persona: "p".into(),
            shift: Shift::parse(power).unwrap(),
        };
        let key = item("Hello.", "power=0.5").key();
        assert_eq!(key, item("Hello.", "power=0.5").key());
        assert_ne!(key, item("Hello!", "power=0.5").key());
        assert_ne!(key, item("Hello.", "power=0.6").key());
    }
}
