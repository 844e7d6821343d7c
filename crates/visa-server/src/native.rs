//! The native API: the commands of the command line over HTTP, with the same bodies and answers.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use visa_align::person::{PRECISION, TextsInput};
use visa_align::record::{DetectOutput, RewriteInput, ScoreInput, TranslateInput, TranslateOutput};
use visa_align::{Outcome, RewriteOptions, RewriteRequest, Text, explicit};
use visa_values::Profile;

use crate::app::{App, Shared};
use crate::body::{JsonBytes, Records};
use crate::error::ApiError;
use crate::profiles::{Named, is_name};

/// Options of `detect`, as the flags of the command line.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DetectQuery {
    #[serde(default)]
    spans: bool,
}

/// A query string, refused in our words.
pub(crate) type Options<T> = Result<Query<T>, axum::extract::rejection::QueryRejection>;

pub(crate) fn options<T>(query: Options<T>) -> Result<T, ApiError> {
    query
        .map(|Query(options)| options)
        .map_err(|e| ApiError::bad(e.body_text()))
}

pub(crate) async fn detect(
    State(app): State<Shared>,
    query: Options<DetectQuery>,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    let DetectQuery { spans } = options(query)?;
    let records = Records::<Text>::parse(&body, app.options.limits.records)?;
    records
        .answer(&app, async |texts: Vec<Text>| {
            let answers = app.engine.detect(texts, spans).await?;
            Ok(answers
                .into_iter()
                .map(|d| Ok(DetectOutput::new(d?, spans)))
                .collect())
        })
        .await
}

pub(crate) async fn translate(
    State(app): State<Shared>,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    let records = Records::<TranslateInput>::parse(&body, app.options.limits.records)?;
    records
        .answer(&app, async |inputs: Vec<TranslateInput>| {
            let words = inputs.iter().map(|i| i.instruction.clone()).collect();
            let answers = app.engine.translate(words).await?;
            Ok(answers
                .into_iter()
                .zip(&inputs)
                .map(|(translation, input)| {
                    let from = input.from.clone().unwrap_or_default();
                    Ok(TranslateOutput::new(translation?, &from))
                })
                .collect())
        })
        .await
}

/// People from their own texts. The texts are read and forgotten; keeping the profile is another request.
pub(crate) async fn estimate(
    State(app): State<Shared>,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    let most = app.options.limits.records;
    let records = Records::<TextsInput>::parse(&body, most)?;
    records
        .answer(&app, async |inputs: Vec<TextsInput>| {
            let count: usize = inputs.iter().map(TextsInput::len).sum();
            if count > most {
                return Err(ApiError::too_large(format!(
                    "there are {count} texts and the limit is {most}; send fewer"
                )));
            }
            // Everybody's texts are read together.
            let lists: Vec<_> = inputs.iter().map(TextsInput::texts).collect();
            let texts = lists.iter().flatten().flatten().cloned().collect();
            let mut readings = app.engine.detect(texts, false).await?.into_iter();
            let people = inputs.iter().zip(lists).map(|(input, texts)| {
                let own: Result<Vec<Profile>, _> = readings
                    .by_ref()
                    .take(texts?.len())
                    .map(|d| d.map(|d| d.profile))
                    .collect();
                Ok(input.person(&own?, PRECISION)?)
            });
            Ok(people.collect())
        })
        .await
}

pub(crate) async fn score(
    State(app): State<Shared>,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    let records = Records::<ScoreInput>::parse(&body, app.options.limits.records)?;
    records
        .answer(&app, async |inputs: Vec<ScoreInput>| {
            judge(&app, &inputs).await
        })
        .await
}

/// Scores of pairs; a bad one costs no other.
pub(crate) async fn judge(
    app: &App,
    inputs: &[ScoreInput],
) -> Result<Vec<Result<visa_align::record::ScoreOutput, ApiError>>, ApiError> {
    let mut slots: Vec<Result<(), ApiError>> = inputs
        .iter()
        .map(|i| i.check(None).map_err(ApiError::from))
        .collect();
    let good: Vec<usize> = (0..inputs.len()).filter(|&i| slots[i].is_ok()).collect();
    let text = |input: &ScoreInput, text: &str| Text {
        text: text.to_string(),
        context: input.query.clone(),
    };
    let texts = good
        .iter()
        .flat_map(|&i| {
            let input = &inputs[i];
            [text(input, &input.original), text(input, &input.candidate)]
        })
        .collect();
    let pairs = good
        .iter()
        .map(|&i| (inputs[i].original.clone(), inputs[i].candidate.clone()))
        .collect();
    let detections = app.engine.detect(texts, false).await?;
    let mut detections = detections.into_iter();
    let mut consistencies = app.engine.consistency(pairs).await?.into_iter();
    let mut results = Vec::with_capacity(inputs.len());
    for (i, input) in inputs.iter().enumerate() {
        if let Err(error) = std::mem::replace(&mut slots[i], Ok(())) {
            results.push(Err(error));
            continue;
        }
        let (Some(before), Some(after), Some(consistency)) =
            (detections.next(), detections.next(), consistencies.next())
        else {
            return Err(ApiError::internal("the models gave too few answers"));
        };
        let judged = || input.judged(None, &before?.profile, &after?.profile, consistency?);
        results.push(judged().map_err(ApiError::from));
    }
    Ok(results)
}

/// Options of `rewrite`, as the flags of the command line.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RewriteQuery {
    candidates: Option<usize>,
    rounds: Option<usize>,
    min_consistency: Option<f32>,
    min_progress: Option<f32>,
    seed: Option<u64>,
}

/// Most candidates and rounds that a request may ask for.
const MOST_CANDIDATES: usize = 64;
const MOST_ROUNDS: usize = 12;

impl RewriteQuery {
    fn over(&self, defaults: &RewriteOptions) -> Result<RewriteOptions, ApiError> {
        let mut options = defaults.clone();
        let count = |name: &str, n: Option<usize>, most: usize, slot: &mut usize| match n {
            Some(n) if !(1..=most).contains(&n) => {
                Err(ApiError::bad(format!("{name} is {n}; give 1 to {most}")))
            }
            Some(n) => {
                *slot = n;
                Ok(())
            }
            None => Ok(()),
        };
        count(
            "candidates",
            self.candidates,
            MOST_CANDIDATES,
            &mut options.candidates,
        )?;
        count("rounds", self.rounds, MOST_ROUNDS, &mut options.rounds)?;
        let share = |name: &str, x: Option<f32>, slot: &mut f32| match x {
            Some(x) if !(0.0..=1.0).contains(&x) => Err(ApiError::bad(format!(
                "{name} is {x}; give a number from 0 to 1"
            ))),
            Some(x) => {
                *slot = x;
                Ok(())
            }
            None => Ok(()),
        };
        share(
            "min_consistency",
            self.min_consistency,
            &mut options.acceptance.consistency,
        )?;
        share(
            "min_progress",
            self.min_progress,
            &mut options.acceptance.progress,
        )?;
        options.seed = self.seed.unwrap_or(options.seed);
        Ok(options)
    }
}

pub(crate) async fn rewrite(
    State(app): State<Shared>,
    headers: HeaderMap,
    query: Options<RewriteQuery>,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    let options = options(query)?.over(&app.options.rewrite)?;
    let records = Records::<RewriteInput>::parse(&body, app.options.limits.rewrites)?;
    if wants_events(&headers) {
        return Ok(crate::events::rewrite(app, records, options));
    }
    records
        .answer(&app, async |inputs: Vec<RewriteInput>| {
            let mut results = Vec::with_capacity(inputs.len());
            for input in inputs {
                let accepted = !results.is_empty();
                let outcome = match request(&app, &input) {
                    Ok(request) => {
                        let running = app.engine.rewrite(request, options.clone(), None, accepted);
                        match running.await {
                            Ok(outcome) => Ok(outcome),
                            Err(error @ crate::engine::EngineError::Busy) => {
                                return Err(error.into());
                            }
                            Err(error) => Err(error.into()),
                        }
                    }
                    Err(error) => Err(error),
                };
                if let Ok(outcome) = &outcome {
                    count(&app, outcome);
                }
                results.push(outcome);
            }
            Ok(results)
        })
        .await
}

/// The request of a record, with the server's goal where it names none.
pub(crate) fn request(app: &App, input: &RewriteInput) -> Result<RewriteRequest, ApiError> {
    Ok(input.request(app.options.proxy.goal.as_ref(), None)?)
}

/// The name of an outcome, as it is printed.
pub(crate) fn outcome_name(outcome: visa_align::OutcomeKind) -> &'static str {
    use visa_align::OutcomeKind::{KeptOriginal, Rewritten, Unchanged};
    match outcome {
        Rewritten => "rewritten",
        Unchanged => "unchanged",
        KeptOriginal => "kept-original",
    }
}

/// Counts a finished rewrite.
pub(crate) fn count(app: &App, outcome: &Outcome) {
    app.metrics.outcome(outcome_name(outcome.outcome));
    app.metrics.score(&outcome.score);
}

fn wants_events(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    accept.is_some_and(|a| a.contains("text/event-stream"))
}

/// The models here, and those of the upstream, in the shape OpenAI's clients list.
pub(crate) async fn models(State(app): State<Shared>) -> Result<Response, ApiError> {
    let mut data = Vec::new();
    let mut upstream_error = None;
    match app.upstream.models(&app).await {
        Ok(theirs) => data.extend(theirs),
        Err(error) => upstream_error = Some(error.to_string()),
    }
    if let Some(name) = app.engine.local_name() {
        data.push(json!({"id": name, "object": "model", "created": app.started, "owned_by": "visa", "visa": {"part": "chat"}}));
    }
    for part in app.engine.parts() {
        data.push(json!({
            "id": format!("visa-{}", part.part.folder()),
            "object": "model",
            "created": app.started,
            "owned_by": "visa",
            "visa": {"part": part.part, "bytes": part.bytes},
        }));
    }
    let mut answer =
        json!({"object": "list", "data": data, "rewriter": app.engine.rewriter_name()});
    if let Some(error) = upstream_error {
        answer["upstream_error"] = error.into();
    }
    Ok(axum::Json(answer).into_response())
}

pub(crate) async fn profiles(State(app): State<Shared>) -> Result<Response, ApiError> {
    let all = app.profiles.all().await?;
    Ok(axum::Json(json!({"profiles": all})).into_response())
}

pub(crate) async fn profile(
    State(app): State<Shared>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    Ok(axum::Json(find(&app, &name).await?).into_response())
}

/// The profile of this name, or the error that says there is none.
pub(crate) async fn find(app: &App, name: &str) -> Result<Named, ApiError> {
    let missing = || {
        ApiError::not_found(format!(
            "no profile is named {name:?}; GET /v1/profiles lists them"
        ))
    };
    if !is_name(name) {
        return Err(missing());
    }
    app.profiles.get(name).await?.ok_or_else(missing)
}

pub(crate) async fn put_profile(
    State(app): State<Shared>,
    Path(name): Path<String>,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    let mut named: Named = body.parse()?;
    if !named.name.is_empty() && named.name != name {
        return Err(ApiError::bad(format!(
            "the path names {name:?} and the body {:?}",
            named.name
        )));
    }
    named.name = name;
    Ok(axum::Json(app.profiles.put(named).await?).into_response())
}

pub(crate) async fn delete_profile(
    State(app): State<Shared>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    find(&app, &name).await?;
    app.profiles.delete(&name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// It lives.
pub(crate) async fn health() -> Response {
    axum::Json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")})).into_response()
}

/// It has room: the models are loaded before the port answers, so only fullness can keep it from being ready.
pub(crate) async fn ready(State(app): State<Shared>) -> Response {
    if app.room.available_permits() == 0 {
        return ApiError::busy().into_response();
    }
    axum::Json(json!({"status": "ready"})).into_response()
}

pub(crate) async fn metrics(State(app): State<Shared>) -> Result<Response, ApiError> {
    let text = app
        .metrics
        .print(&app.engine.waiting())
        .map_err(ApiError::internal)?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}

/// Explicit syntax or words, as a goal.
pub(crate) fn shift_of(text: &str) -> Result<visa_values::Shift, ApiError> {
    explicit(text)?.ok_or_else(|| {
        ApiError::bad(format!(
            "{:?} is no shift; write value=±x, as tradition=+0.8, power=-0.5",
            text.chars().take(60).collect::<String>()
        ))
    })
}
