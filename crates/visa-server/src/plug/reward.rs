//! Rewards for trainers.
//!
//! A completion's reward is (1 + cos(v, t)) / 2, v its profile and t the target: 1 where it speaks exactly the wished
//! values, 0 where it speaks against them, ½ where it speaks none, which is also what an empty completion gets. With an
//! original beside it, the completion is a rewrite and its reward the Score's total, 0 for an empty one: everything is
//! lost. A failure is an error and never a number: it would be trained on.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use visa_align::record::ScoreInput;
use visa_align::{Goal, Text};
use visa_values::{Profile, Target, metrics};
use visa_wire::rewards::{RemoteReward, RemoteRewards, RewardRequest, answer_of};

use crate::app::{App, Shared};
use crate::body::JsonBytes;
use crate::error::ApiError;
use crate::native;

/// A completion to be rewarded.
struct Item {
    completion: String,
    prompt: Option<String>,
    original: Option<String>,
    goal: Goal,
}

/// OpenRLHF's remote reward model.
pub(crate) async fn get_reward(
    State(app): State<Shared>,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    let request: RemoteReward = body.parse()?;
    let n = request.query.len();
    limit(&app, n)?;
    let prompts = column("prompts", request.prompts, n)?;
    let labels = column("labels", request.labels, n)?;
    let mut items = Vec::with_capacity(n);
    for ((query, prompt), label) in request.query.iter().zip(prompts).zip(labels) {
        items.push(Item {
            completion: answer_of(query, prompt.as_deref()),
            prompt,
            original: None,
            goal: goal(&app, label.as_ref(), None).await?,
        });
    }
    let rewards = rewards(&app, items).await?;
    Ok(axum::Json(RemoteRewards {
        scores: rewards.clone(),
        rewards,
    })
    .into_response())
}

/// Ours, for TRL and verl, and LlamaFactory's.
pub(crate) async fn reward(
    State(app): State<Shared>,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    let request: RewardRequest = body.parse()?;
    let (completions, prompts) = match (request.completions, request.messages) {
        (Some(completions), None) => (completions, request.prompts),
        // Whole texts: the last turn of each, if its marks still stand.
        (None, Some(messages)) => {
            let answers = messages.iter().map(|m| answer_of(m, None));
            (answers.collect(), None)
        }
        _ => {
            return Err(ApiError::bad(
                "give \"completions\", or \"messages\" as LlamaFactory sends them",
            ));
        }
    };
    let n = completions.len();
    limit(&app, n)?;
    let prompts = column("prompts", prompts, n)?;
    let originals = column("originals", request.originals, n)?;
    let labels = column("labels", request.labels, n)?;
    let mut items = Vec::with_capacity(n);
    let rows = completions
        .into_iter()
        .zip(prompts)
        .zip(originals)
        .zip(labels);
    for (((completion, prompt), original), label) in rows {
        items.push(Item {
            completion,
            prompt,
            original,
            goal: goal(&app, label.as_ref(), request.profile.as_deref()).await?,
        });
    }
    let rewards = rewards(&app, items).await?;
    Ok(axum::Json(json!({"rewards": rewards, "scores": rewards})).into_response())
}

fn limit(app: &App, n: usize) -> Result<(), ApiError> {
    let most = app.options.limits.records;
    if n > most {
        return Err(ApiError::too_large(format!(
            "{n} items were sent and the limit is {most}; send them in parts"
        )));
    }
    Ok(())
}

/// One entry an item; a missing or empty list is none for each.
fn column<T>(name: &str, list: Option<Vec<T>>, n: usize) -> Result<Vec<Option<T>>, ApiError> {
    let list = list.unwrap_or_default();
    if list.is_empty() {
        return Ok((0..n).map(|_| None).collect());
    }
    if list.len() != n {
        return Err(ApiError::bad(format!(
            "{name} has {} entries for {n} texts; send one each, or none",
            list.len()
        )));
    }
    Ok(list.into_iter().map(Some).collect())
}

/// Where an item should go: by its label, by the request's profile, by the server's default.
async fn goal(app: &App, label: Option<&Value>, profile: Option<&str>) -> Result<Goal, ApiError> {
    match label {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) if text.trim().is_empty() => {}
        Some(Value::String(text)) if text.trim_start().starts_with('{') => {
            let target: Profile = serde_json::from_str(text)
                .map_err(|e| ApiError::bad(format!("the label {text:?}: {e}")))?;
            return Ok(Goal::Target(Target::new(target)));
        }
        Some(Value::String(text)) if text.contains('=') => {
            let target = Profile::parse(text)
                .map_err(|e| ApiError::bad(format!("the label {text:?}: {e}")))?;
            return Ok(Goal::Target(Target::new(target)));
        }
        Some(Value::String(name)) => return Ok(native::find(app, name).await?.goal()?),
        Some(object @ Value::Object(_)) => {
            let target =
                Profile::deserialize(object).map_err(|e| ApiError::bad(format!("a label: {e}")))?;
            return Ok(Goal::Target(Target::new(target)));
        }
        Some(other) => {
            return Err(ApiError::bad(format!(
                "the label {other} is neither a profile's name nor a profile"
            )));
        }
    }
    if let Some(name) = profile {
        return Ok(native::find(app, name).await?.goal()?);
    }
    app.options.proxy.goal.clone().ok_or_else(|| {
        ApiError::bad(
            "nothing says which values are wished; give labels or a profile, or start the server with --target",
        )
    })
}

async fn rewards(app: &App, items: Vec<Item>) -> Result<Vec<f32>, ApiError> {
    let goals = resolved(app, &items).await?;
    let mut rewards: Vec<Option<f32>> = vec![None; items.len()];
    let mut rewrites = Vec::new();
    let mut texts = Vec::new();
    for (i, (item, goal)) in items.iter().zip(&goals).enumerate() {
        let empty = item.completion.trim().is_empty();
        match &item.original {
            Some(_) if empty => rewards[i] = Some(0.0),
            Some(original) => {
                let (target, shift) = match goal {
                    Resolved::Target(target) => (Some(target.profile().clone()), None),
                    Resolved::Shift(shift) => (None, Some(shift.clone())),
                };
                let input = ScoreInput {
                    original: original.clone(),
                    candidate: item.completion.clone(),
                    query: item.prompt.clone(),
                    target,
                    shift,
                };
                rewrites.push((i, input));
            }
            None if empty => rewards[i] = Some(closeness(&Profile::default(), goal)),
            None => texts.push((
                i,
                Text {
                    text: item.completion.clone(),
                    context: item.prompt.clone().filter(|p| !p.trim().is_empty()),
                },
            )),
        }
    }
    let (places, texts): (Vec<usize>, Vec<Text>) = texts.into_iter().unzip();
    if !texts.is_empty() {
        for (i, detection) in places
            .into_iter()
            .zip(app.engine.detect(texts, false).await?)
        {
            rewards[i] = Some(closeness(&detection?.profile, &goals[i]));
        }
    }
    let (places, inputs): (Vec<usize>, Vec<ScoreInput>) = rewrites.into_iter().unzip();
    if !inputs.is_empty() {
        for (i, score) in places.into_iter().zip(native::judge(app, &inputs).await?) {
            rewards[i] = Some(score?.score.total);
        }
    }
    rewards
        .into_iter()
        .map(|reward| {
            reward
                .filter(|r| r.is_finite())
                .ok_or_else(|| ApiError::internal("a reward is not a finite number"))
        })
        .collect()
}

/// A goal without words.
enum Resolved {
    Target(Target),
    Shift(visa_values::Shift),
}

async fn resolved(app: &App, items: &[Item]) -> Result<Vec<Resolved>, ApiError> {
    // Many items wish the same, so each wording is translated once.
    let mut words: Vec<String> = items
        .iter()
        .filter_map(|item| match &item.goal {
            Goal::Instruction(words) => Some(words.clone()),
            _ => None,
        })
        .collect();
    words.sort();
    words.dedup();
    let mut shifts = std::collections::HashMap::new();
    if !words.is_empty() {
        let translations = app.engine.translate(words.clone()).await?;
        for (words, translation) in words.into_iter().zip(translations) {
            shifts.insert(words, translation?.shift);
        }
    }
    items
        .iter()
        .map(|item| match &item.goal {
            Goal::Target(target) => Ok(Resolved::Target(target.clone())),
            Goal::Shift(shift) => Ok(Resolved::Shift(shift.clone())),
            Goal::Instruction(words) => shifts
                .get(words)
                .cloned()
                .map(Resolved::Shift)
                .ok_or_else(|| ApiError::internal("an instruction was not translated")),
        })
        .collect()
}

/// (1 + cos) / 2 of a profile with the target; a shift is seen from a text that speaks no value.
fn closeness(profile: &Profile, goal: &Resolved) -> f32 {
    let target = match goal {
        Resolved::Target(target) => target.clone(),
        Resolved::Shift(shift) => Target::from_shift(&Profile::default(), shift),
    };
    (1.0 + metrics::cosine(profile.as_array(), target.as_array())) / 2.0
}
