//! What a caller says and is told, one object in and one object out: the same on the command line and over HTTP.
//!
//! Types and their checks only. Reading lines, answering requests and running models are done elsewhere.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use visa_score::{Consistency, Score, Weights, guards, score};
use visa_values::{Category, Profile, Shift, Target};

use crate::detector::{Detection, Span};
use crate::error::{AlignError, Result};
use crate::rewrite::{Goal, RewriteRequest};
use crate::translator::Translation;

/// An answer beside the id of its record.
#[derive(Clone, Debug, Serialize)]
pub struct WithId<'a, R> {
    /// The caller's id, or the record's number where there is none.
    pub id: &'a serde_json::Value,
    /// The answer's own members.
    #[serde(flatten)]
    pub result: &'a R,
}

/// What stands in the place of an answer that failed.
#[derive(Clone, Debug, Serialize)]
pub struct WithError<'a> {
    /// As in [`WithId`].
    pub id: &'a serde_json::Value,
    /// What went wrong, and the remedy.
    pub error: &'a str,
}

/// The answer of `detect`.
#[derive(Clone, Debug, Serialize)]
pub struct DetectOutput {
    /// Ten values, −1…1.
    pub values: Profile,
    /// Twenty presence probabilities, calibrated so that 0.5 is the decision boundary.
    pub categories: Categories,
    /// Stretches that speak a value, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spans: Option<Vec<Span>>,
}

impl DetectOutput {
    /// A detection as it is told; spans only where they were asked for.
    pub fn new(detection: Detection, spans: bool) -> Self {
        Self {
            values: detection.profile,
            categories: Categories(detection.categories),
            spans: spans.then_some(detection.spans),
        }
    }
}

/// Twenty probabilities as an object of category names.
#[derive(Clone, Debug, PartialEq)]
pub struct Categories(pub [f32; 20]);

impl Serialize for Categories {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(20))?;
        for category in Category::ALL {
            map.serialize_entry(category.name(), &self.0[category.index()])?;
        }
        map.end()
    }
}

/// A record of `translate`.
#[derive(Clone, Debug, Deserialize)]
pub struct TranslateInput {
    /// The instruction or persona, or `value=±x`.
    pub instruction: String,
    /// The profile to shift from; that of a text that speaks no value when missing.
    #[serde(default)]
    pub from: Option<Profile>,
}

/// The answer of `translate`.
#[derive(Clone, Debug, Serialize)]
pub struct TranslateOutput {
    /// What the words ask for.
    pub shift: Shift,
    /// The shift applied and clipped.
    pub target: Target,
    /// What the caller should know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
}

impl TranslateOutput {
    /// A translation seen from a profile.
    pub fn new(translation: Translation, from: &Profile) -> Self {
        Self {
            target: Target::from_shift(from, &translation.shift),
            shift: translation.shift,
            notice: translation.notice.map(|n| n.to_string()),
        }
    }
}

/// A record of `score`.
#[derive(Clone, Debug, Deserialize)]
pub struct ScoreInput {
    /// The original.
    pub original: String,
    /// The rewrite.
    pub candidate: String,
    /// What the text answers.
    #[serde(default)]
    pub query: Option<String>,
    /// The profile wanted.
    #[serde(default)]
    pub target: Option<Profile>,
    /// Or the shift wanted.
    #[serde(default)]
    pub shift: Option<Shift>,
}

/// Where the values were to go, known or relative to what the original speaks.
#[derive(Clone, Debug)]
pub enum Aim {
    /// A profile.
    Target(Target),
    /// A movement.
    Shift(Shift),
}

impl ScoreInput {
    /// Refuses empty texts and a record that says nothing, or two things, about where to.
    ///
    /// # Errors
    /// [`AlignError::Empty`], [`AlignError::Record`].
    pub fn check(&self, default: Option<&Aim>) -> Result<()> {
        not_empty("original", &self.original)?;
        not_empty("candidate", &self.candidate)?;
        self.aim(default).map(drop)
    }

    /// Where the values were to go, by this record or by `default`.
    ///
    /// # Errors
    /// [`AlignError::Record`] when both or neither say.
    pub fn aim(&self, default: Option<&Aim>) -> Result<Aim> {
        match (&self.target, &self.shift) {
            (Some(_), Some(_)) => Err(AlignError::Record {
                problem: "\"target\" and \"shift\" are both given; give one of them",
            }),
            (Some(target), None) => Ok(Aim::Target(Target::new(target.clone()))),
            (None, Some(shift)) => Ok(Aim::Shift(shift.clone())),
            (None, None) => default.cloned().ok_or(AlignError::Record {
                problem: "nothing says where the values were to go; give \"target\" or \"shift\"",
            }),
        }
    }

    /// The score of this record's candidate, given what the models read.
    ///
    /// # Errors
    /// As [`Self::aim`] and [`visa_score::score()`].
    pub fn judged(
        &self,
        default: Option<&Aim>,
        before: &Profile,
        after: &Profile,
        consistency: Consistency,
    ) -> Result<ScoreOutput> {
        let target = match self.aim(default)? {
            Aim::Target(target) => target,
            Aim::Shift(shift) => Target::from_shift(before, &shift),
        };
        let violations = guards(&self.original, &self.candidate);
        let score = score(
            before,
            after,
            &target,
            consistency,
            violations,
            &Weights::default(),
        )?;
        Ok(ScoreOutput {
            score,
            before: before.clone(),
            after: after.clone(),
            target,
        })
    }
}

/// The answer of `score`: serialises as the Score object; the profiles are for whoever shows them.
#[derive(Clone, Debug)]
pub struct ScoreOutput {
    /// The score.
    pub score: Score,
    /// What the original speaks.
    pub before: Profile,
    /// What the candidate speaks.
    pub after: Profile,
    /// What was wanted.
    pub target: Target,
}

impl Serialize for ScoreOutput {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.score.serialize(serializer)
    }
}

/// A record of `rewrite`.
#[derive(Clone, Debug, Deserialize)]
pub struct RewriteInput {
    /// The text.
    pub text: String,
    /// What it answers.
    #[serde(default)]
    pub query: Option<String>,
    /// Whose values, in words.
    #[serde(default)]
    pub persona: Option<String>,
    /// Or the profile wanted.
    #[serde(default)]
    pub target: Option<Profile>,
    /// Or the shift wanted.
    #[serde(default)]
    pub shift: Option<Shift>,
}

impl RewriteInput {
    /// A text without a wish of its own.
    pub fn plain(text: String) -> Self {
        Self {
            text,
            query: None,
            persona: None,
            target: None,
            shift: None,
        }
    }

    /// The request that this record makes, with `default` where it names no goal and `query` where it names none.
    ///
    /// # Errors
    /// [`AlignError::Empty`], [`AlignError::Record`].
    pub fn request(&self, default: Option<&Goal>, query: Option<&str>) -> Result<RewriteRequest> {
        not_empty("text", &self.text)?;
        let own = goal(
            self.persona.as_deref(),
            self.target.as_ref(),
            self.shift.as_ref(),
        )?;
        let goal = own.or_else(|| default.cloned()).ok_or(AlignError::Record {
            problem: "nothing says where the values should go; give \"persona\", \"target\" or \"shift\"",
        })?;
        Ok(RewriteRequest {
            text: self.text.clone(),
            query: self.query.clone().or_else(|| query.map(str::to_string)),
            goal,
        })
    }
}

/// The goal that one of three ways of saying it names; `None` when none is given.
///
/// # Errors
/// [`AlignError::Record`] when more than one is given, [`AlignError::Empty`] for an empty persona.
pub fn goal(
    persona: Option<&str>,
    target: Option<&Profile>,
    shift: Option<&Shift>,
) -> Result<Option<Goal>> {
    let ways = [
        persona.map(|words| Goal::Instruction(words.to_string())),
        target.map(|t| Goal::Target(Target::new(t.clone()))),
        shift.map(|s| Goal::Shift(s.clone())),
    ];
    let mut ways = ways.into_iter().flatten();
    let first = ways.next();
    if ways.next().is_some() {
        return Err(AlignError::Record {
            problem: "more than one of \"persona\", \"target\" and \"shift\" is given; give one of them",
        });
    }
    if let Some(Goal::Instruction(words)) = &first {
        not_empty("persona", words)?;
    }
    Ok(first)
}

fn not_empty(what: &'static str, text: &str) -> Result<()> {
    if text.trim().is_empty() {
        return Err(AlignError::Empty { what });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_names_one_goal() {
        let check = |json: &str, expected: std::result::Result<&str, &str>| {
            let input: RewriteInput = serde_json::from_str(json).expect("the shape is right");
            let found = input.request(None, None).map(|r| match r.goal {
                Goal::Instruction(_) => "words",
                Goal::Target(_) => "target",
                Goal::Shift(_) => "shift",
            });
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{json}"),
                (Err(error), Err(part)) => {
                    assert!(error.to_string().contains(part), "{error} lacks {part:?}");
                }
                (found, _) => panic!("{json}: {found:?}"),
            }
        };
        check(r#"{"text":"a","persona":"b"}"#, Ok("words"));
        check(r#"{"text":"a","target":{"power":1}}"#, Ok("target"));
        check(r#"{"text":"a","shift":{"power":-2}}"#, Ok("shift"));
        check(r#"{"text":"a"}"#, Err("nothing says where"));
        check(
            r#"{"text":"a","persona":"b","shift":{}}"#,
            Err("more than one"),
        );
        check(r#"{"text":" ","persona":"b"}"#, Err("text is empty"));
        check(r#"{"text":"a","persona":" "}"#, Err("persona is empty"));
    }
}
