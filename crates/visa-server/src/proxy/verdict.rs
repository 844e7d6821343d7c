//! The verdict on one choice: rewritten, left, or why not; with the numbers that justify it.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use visa_align::{DetectOptions, Goal, Outcome, RewriteRequest, Text};
use visa_score::Score;
use visa_values::{Profile, Target};

use super::choice::Held;
use crate::app::{App, Shared};
use crate::engine::EngineError;
use crate::native;
use crate::options::Mode;

/// What the `visa` member tells of one choice.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) index: usize,
    pub(crate) outcome: &'static str,
    pub(crate) reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) values: Option<Profile>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) texts: Vec<Numbers>,
}

/// The numbers of one rewritten text; a choice has several when its content has several text parts.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Numbers {
    before: Profile,
    target: Target,
    after: Profile,
    score: Score,
    rounds: usize,
    candidates: usize,
}

/// What becomes of a choice.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    /// Accepted texts in the place of the original's; none leaves the original.
    pub(crate) texts: Option<Vec<String>>,
    pub(crate) report: Report,
}

impl Verdict {
    fn left(index: usize, outcome: &'static str, reason: impl ToString) -> Self {
        Self {
            texts: None,
            report: Report {
                index,
                outcome,
                reason: reason.to_string(),
                values: None,
                texts: Vec::new(),
            },
        }
    }

    /// Whether the judging itself failed.
    pub(crate) fn failed(&self) -> bool {
        self.report.outcome == FAILED
    }

    /// Nothing here may be touched.
    pub(crate) fn untouched(index: usize, why: &'static str) -> Self {
        Self::left(index, "untouched", why)
    }
}

/// The outcome of a choice whose judging failed.
pub(crate) const FAILED: &str = "failed";

/// Decides about choices.
pub(crate) trait Judge: Sync {
    /// The verdict on the texts of the choice at `index`.
    fn judge(&self, index: usize, held: Held) -> impl Future<Output = Verdict> + Send;
}

/// Rewrites by the engine.
pub(crate) struct Rewriting {
    pub(crate) app: Shared,
    pub(crate) goal: Goal,
    /// What the answer answers.
    pub(crate) query: Option<String>,
    /// The whole answer must stay as it is, and why.
    pub(crate) untouched: Option<&'static str>,
}

impl Judge for Rewriting {
    async fn judge(&self, index: usize, held: Held) -> Verdict {
        let verdict = match (self.untouched, held) {
            (Some(why), _) | (None, Held::Untouched(why)) => Verdict::untouched(index, why),
            (None, Held::Texts(texts)) => self.texts(index, texts).await,
        };
        self.app.metrics.outcome(verdict.report.outcome);
        verdict
    }
}

impl Rewriting {
    async fn texts(&self, index: usize, texts: Vec<String>) -> Verdict {
        let limit = self.app.options.proxy.verdict_timeout;
        let all = async {
            let mut outcomes = Vec::with_capacity(texts.len());
            for text in texts {
                let request = RewriteRequest {
                    text,
                    query: self.query.clone(),
                    goal: self.goal.clone(),
                };
                let options = self.app.options.rewrite.clone();
                outcomes.push(
                    self.app
                        .engine
                        .rewrite(request, options, None, true)
                        .await?,
                );
            }
            Ok(outcomes)
        };
        match bounded(limit, all).await {
            Ok(outcomes) => {
                for outcome in &outcomes {
                    self.app.metrics.score(&outcome.score);
                }
                together(index, outcomes)
            }
            Err(error) => {
                tracing::warn!(%error, "a verdict failed");
                Verdict::left(index, FAILED, crate::error::ApiError::from(error).message)
            }
        }
    }
}

async fn bounded<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(EngineError::Timeout(limit.as_secs())),
    }
}

/// The verdict from the outcomes of a choice's texts: a choice is wholly rewritten or wholly the original, so one text
/// that was kept keeps all.
fn together(index: usize, outcomes: Vec<Outcome>) -> Verdict {
    use visa_align::OutcomeKind::{KeptOriginal, Rewritten};
    let kept = outcomes.iter().find(|o| o.outcome == KeptOriginal);
    let any = outcomes.iter().find(|o| o.outcome == Rewritten);
    let (decides, replace) = match (kept, any) {
        (Some(kept), _) => (kept, false),
        (None, Some(rewritten)) => (rewritten, true),
        (None, None) => (&outcomes[0], false),
    };
    let report = Report {
        index,
        outcome: native::outcome_name(decides.outcome),
        reason: decides.reason.clone(),
        values: None,
        texts: outcomes
            .iter()
            .map(|o| Numbers {
                before: o.before.clone(),
                target: o.target.clone(),
                // What the client sees is the original when any text was kept.
                after: if replace {
                    o.after.clone()
                } else {
                    o.before.clone()
                },
                score: o.score.clone(),
                rounds: o.rounds,
                candidates: o.candidates,
            })
            .collect(),
    };
    Verdict {
        texts: replace.then(|| outcomes.into_iter().map(|o| o.rewritten).collect()),
        report,
    }
}

/// The measured profile of a choice that passes.
pub(crate) async fn measure(app: &App, index: usize, held: Held, query: Option<&str>) -> Report {
    let verdict = match held {
        Held::Untouched(why) => Verdict::untouched(index, why),
        Held::Texts(texts) => {
            let text = Text {
                text: texts.join("\n"),
                context: query.map(str::to_string),
            };
            let spans = DetectOptions::default().spans;
            let reading = async {
                let mut answers = app.engine.detect(vec![text], spans).await?;
                match answers.pop() {
                    Some(answer) => Ok(answer?),
                    None => Err(EngineError::Lost),
                }
            };
            match bounded(app.options.proxy.verdict_timeout, reading).await {
                Ok(detection) => {
                    let mut verdict = Verdict::left(index, "measured", "it passed as it came");
                    verdict.report.values = Some(detection.profile);
                    verdict
                }
                Err(error) => {
                    Verdict::left(index, FAILED, crate::error::ApiError::from(error).message)
                }
            }
        }
    };
    app.metrics.outcome(verdict.report.outcome);
    verdict.report
}

/// The `visa` member of an answer.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Told {
    pub(crate) request_id: String,
    pub(crate) mode: Mode,
    pub(crate) outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<String>,
    pub(crate) choices: Vec<Report>,
}

/// The one outcome of several choices: what the caller should know first.
pub(crate) fn outcome(reports: &[Report]) -> &'static str {
    const ORDER: [&str; 6] = [
        FAILED,
        "rewritten",
        "kept-original",
        "unchanged",
        "measured",
        "untouched",
    ];
    ORDER
        .into_iter()
        .find(|o| reports.iter().any(|r| r.outcome == *o))
        .unwrap_or("untouched")
}

/// The score that a header tells: the total of the first rewritten text.
pub(crate) fn total(reports: &[Report]) -> Option<f32> {
    let first = reports.iter().find_map(|r| r.texts.first())?;
    Some(first.score.total)
}

/// What the last message of the person says, for the models that read a text with what it answers.
pub(crate) fn query_of(messages: &[Value]) -> Option<String> {
    let last = messages
        .iter()
        .rev()
        .find(|m| m.get("role").and_then(Value::as_str) == Some("user"))?;
    let text = match last.get("content")? {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|p| p.get("text")?.as_str())
            .collect::<Vec<_>>()
            .join("\n"),
        _ => return None,
    };
    Some(text).filter(|t| !t.trim().is_empty())
}
