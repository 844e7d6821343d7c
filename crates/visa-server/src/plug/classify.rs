//! The twenty value categories as classes, in the dialects of text-embeddings-inference and vLLM.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use visa_align::{Detection, Text};
use visa_values::Category;
use visa_wire::classify::{
    Classified, ClassifyRequest, PredictRequest, Prediction, predict_inputs,
};

use crate::app::{App, Shared, now};
use crate::body::JsonBytes;
use crate::error::ApiError;

/// TEI's `/predict`: classes by falling probability. The second text of a pair is what the first answers.
pub(crate) async fn predict(
    State(app): State<Shared>,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    let request: PredictRequest = body.parse()?;
    let (pairs, list) = predict_inputs(&request.inputs).map_err(ApiError::bad)?;
    let texts = pairs
        .into_iter()
        .map(|(text, context)| Text { text, context });
    let mut all = Vec::new();
    for detection in read(&app, texts.collect()).await? {
        let mut classes: Vec<Prediction> = Category::ALL
            .into_iter()
            .map(|c| Prediction {
                score: detection.categories[c.index()],
                label: c.name(),
            })
            .collect();
        classes.sort_by(|a, b| b.score.total_cmp(&a.score));
        all.push(classes);
    }
    Ok(match all.pop() {
        Some(one) if !list => axum::Json(one).into_response(),
        last => {
            all.extend(last);
            axum::Json(all).into_response()
        }
    })
}

/// vLLM's `/classify`.
pub(crate) async fn classify(
    State(app): State<Shared>,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    let request: ClassifyRequest = body.parse()?;
    let texts: Vec<Text> = request
        .input
        .into_list()
        .into_iter()
        .map(Text::new)
        .collect();
    let detections = read(&app, texts).await?;
    let data = detections.iter().enumerate().map(|(index, detection)| {
        let probs = detection.categories.to_vec();
        let best = Category::ALL
            .into_iter()
            .max_by(|a, b| probs[a.index()].total_cmp(&probs[b.index()]));
        Classified {
            index,
            label: best.map_or("", Category::name),
            num_classes: probs.len(),
            probs,
        }
    });
    let data: Vec<Classified> = data.collect();
    let answer = json!({
        "id": format!("classify-{}", now()),
        "object": "list",
        "created": now(),
        "model": request.model.as_deref().unwrap_or("visa-detector"),
        "data": data,
    });
    Ok(axum::Json(answer).into_response())
}

async fn read(app: &App, texts: Vec<Text>) -> Result<Vec<Detection>, ApiError> {
    let most = app.options.limits.records;
    if texts.len() > most {
        return Err(ApiError::too_large(format!(
            "{} texts were sent and the limit is {most}; send them in parts",
            texts.len()
        )));
    }
    let answers = app.engine.detect(texts, false).await?;
    Ok(answers.into_iter().collect::<Result<_, _>>()?)
}
