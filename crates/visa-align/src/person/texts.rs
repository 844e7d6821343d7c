//! A person from their own texts: what is said, and what is answered.

use serde::{Deserialize, Serialize};
use visa_values::Profile;

use super::{NamedProfile, estimate};
use crate::detector::Text;
use crate::error::{AlignError, Result};

/// Half the width of the 95 % interval that every value should have, unless a record says otherwise.
pub const PRECISION: f32 = 0.1;

/// One person's texts.
#[derive(Clone, Debug, Deserialize)]
pub struct TextsInput {
    /// Each a string, or an object with its context.
    texts: Vec<OneText>,
    /// Half the width wanted of every interval.
    #[serde(default)]
    precision: Option<f32>,
}

/// A text alone, or with what it answers.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneText {
    Alone(String),
    Beside(Text),
}

impl TextsInput {
    /// Texts that were read elsewhere.
    pub fn new(texts: impl IntoIterator<Item = Text>) -> Self {
        Self {
            texts: texts.into_iter().map(OneText::Beside).collect(),
            precision: None,
        }
    }

    /// How many texts.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// The texts as the detector takes them.
    ///
    /// # Errors
    /// No text at all, or one without a word, named by its number.
    pub fn texts(&self) -> Result<Vec<Text>> {
        if self.texts.is_empty() {
            return Err(AlignError::Empty {
                what: "list of texts",
            });
        }
        let texts = self.texts.iter().map(|t| match t {
            OneText::Alone(text) => Text::new(text.clone()),
            OneText::Beside(text) => text.clone(),
        });
        texts
            .enumerate()
            .map(|(i, text)| match text.text.trim().is_empty() {
                true => Err(AlignError::EmptyText { number: i + 1 }),
                false => Ok(text),
            })
            .collect()
    }

    /// The person whose texts were read so, one reading a text; `precision` counts where the record has none.
    ///
    /// # Errors
    /// As of [`estimate()`].
    pub fn person(&self, readings: &[Profile], precision: f32) -> Result<TextsOutput> {
        let precision = self.precision.unwrap_or(precision);
        let found = estimate(readings, precision)?;
        let count = match found.texts {
            1 => "one text".to_string(),
            n => format!("{n} texts"),
        };
        let notice = match found.needed {
            None => {
                "One text says nothing of how sure this is; give several, better twenty.".into()
            }
            Some(needed) if needed <= found.texts => {
                format!("{count} are enough: every value is known to ±{precision:.2} or better.")
            }
            Some(needed) => format!(
                "{count} are not enough to know every value to ±{precision:.2}; about {needed} are needed."
            ),
        };
        Ok(TextsOutput {
            profile: NamedProfile {
                uncertainty: found.uncertainty,
                texts: u32::try_from(found.texts).ok(),
                ..NamedProfile::of(found.mean, format!("the mean of {count}"))
            },
            needed: found.needed,
            notice,
        })
    }
}

/// A person's profile from texts.
#[derive(Clone, Debug, Serialize)]
pub struct TextsOutput {
    /// The profile, as it is kept.
    #[serde(flatten)]
    pub profile: NamedProfile,
    /// Texts that bring every half width to the precision wanted; missing for a single text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed: Option<usize>,
    /// The same in words.
    pub notice: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_a_person_or_say_what_is_missing() {
        let check = |json: &str, expected: std::result::Result<&str, &str>| {
            let readings = |n: usize| -> Vec<Profile> {
                let power = |i: usize| Profile::parse(&format!("power={}", 0.2 + 0.2 * i as f32));
                (0..n).map(|i| power(i).expect("in range")).collect()
            };
            let found = serde_json::from_str::<TextsInput>(json)
                .map_err(|e| e.to_string())
                .and_then(|input| {
                    let n = input.texts().map_err(|e| e.to_string())?.len();
                    let made = input.person(&readings(n), PRECISION);
                    Ok(made.map_err(|e| e.to_string())?.notice)
                });
            match (&found, expected) {
                (Ok(found), Ok(part)) | (Err(found), Err(part)) => {
                    assert!(found.contains(part), "{json}: {found:?} lacks {part:?}");
                }
                _ => panic!("{json}: {found:?}"),
            }
        };
        check(
            r#"{"texts":["a",{"text":"b","context":"c"},"d"]}"#,
            Ok("about 18 are needed"),
        );
        check(
            r#"{"texts":["a","b","c"],"precision":0.5}"#,
            Ok("3 texts are enough"),
        );
        check(r#"{"texts":["a"]}"#, Ok("One text says nothing"));
        check(r#"{"texts":[]}"#, Err("list of texts is empty"));
        check(r#"{"texts":["a"," "]}"#, Err("text 2 is empty"));
        check(r#"{"texts":["a"],"precision":0}"#, Err("precision"));
        check(r#"{"texts":"a"}"#, Err("sequence"));
    }
}
