//! LiteLLM's generic guardrail: texts of an answer come back in the values wished.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use visa_align::{OutcomeKind, RewriteRequest};
use visa_wire::guardrail::{Action, Direction, GuardrailRequest, GuardrailResponse};

use crate::app::{App, Shared};
use crate::body::JsonBytes;
use crate::error::ApiError;
use crate::native;
use crate::options::{Mode, OnError};
use crate::proxy::{Control, query_of, wish};

const PASS: GuardrailResponse = GuardrailResponse {
    action: Action::None,
    blocked_reason: None,
    texts: None,
};

pub(crate) async fn guardrail(
    State(app): State<Shared>,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    let request: GuardrailRequest = body.parse()?;
    let answer = answer(&app, &headers, request).await?;
    Ok(axum::Json(answer).into_response())
}

async fn answer(
    app: &App,
    headers: &HeaderMap,
    request: GuardrailRequest,
) -> Result<GuardrailResponse, ApiError> {
    let texts = request.texts.clone().unwrap_or_default();
    let most = app.options.limits.rewrites;
    if texts.len() > most {
        return Err(ApiError::too_large(format!(
            "{} texts were sent and the limit is {most}",
            texts.len()
        )));
    }
    let calls = match &request.tool_calls {
        None | Some(serde_json::Value::Null) => false,
        Some(serde_json::Value::Array(list)) => !list.is_empty(),
        Some(_) => true,
    };
    // What goes to the model is the person's own; tool calls are for programs.
    if request.input_type == Direction::Request || calls || texts.is_empty() {
        return Ok(PASS);
    }
    let control = match &request.additional_provider_specific_params {
        None | Some(serde_json::Value::Null) => Control::default(),
        Some(params) => serde_json::from_value(params.clone())
            .map_err(|e| ApiError::bad(format!("additional_provider_specific_params: {e}")))?,
    };
    let control = control.or_member(
        request
            .of_request("user_api_key_end_user_id")
            .or_else(|| request.of_request("user_api_key_user_id")),
        request.of_request("user_api_key_team_id"),
    );
    let wish = wish(app, control, headers, None, None).await?;
    let (Mode::Hold, Some(goal)) = (wish.mode, wish.goal) else {
        return Ok(PASS);
    };
    let query = query_of(request.structured_messages.as_deref().unwrap_or_default());
    let mut out = Vec::with_capacity(texts.len());
    let mut changed = false;
    for text in texts {
        if text.trim().is_empty() {
            out.push(text);
            continue;
        }
        let asked = RewriteRequest {
            text: text.clone(),
            query: query.clone(),
            goal: goal.clone(),
        };
        let accepted = !out.is_empty();
        let options = app.options.rewrite.clone();
        match app.engine.rewrite(asked, options, None, accepted).await {
            Ok(outcome) => {
                native::count(app, &outcome);
                changed |= outcome.outcome == OutcomeKind::Rewritten;
                out.push(outcome.rewritten);
            }
            Err(error) if wish.on_error == OnError::Original => {
                tracing::warn!(%error, "a guardrail's text passes as it came");
                app.metrics.outcome("failed");
                out.push(text);
            }
            Err(error) => return Err(error.into()),
        }
    }
    if !changed {
        return Ok(PASS);
    }
    Ok(GuardrailResponse {
        action: Action::Intervened,
        blocked_reason: None,
        texts: Some(out),
    })
}
