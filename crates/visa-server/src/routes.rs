//! Which paths there are. The one table makes the router, and the test of the OpenAPI document reads it.

use axum::Router;
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};

use crate::app::Shared;
use crate::error::ApiError;
use crate::{assets, guard, native, plug, proxy, runs};

/// One method of one path.
pub(crate) struct Route {
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "the handler knows it; the document is checked by it"
        )
    )]
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) handler: MethodRouter<Shared>,
}

/// Every route of the API, in the order of the document.
pub(crate) fn table() -> Vec<Route> {
    let route = |method: Method, path, handler| Route {
        method,
        path,
        handler,
    };
    vec![
        route(Method::GET, "/health", get(native::health)),
        route(Method::GET, "/ready", get(native::ready)),
        route(Method::GET, "/metrics", get(native::metrics)),
        route(Method::GET, "/openapi.json", get(openapi)),
        route(Method::POST, "/v1/detect", post(native::detect)),
        route(Method::POST, "/v1/translate", post(native::translate)),
        route(Method::POST, "/v1/estimate", post(native::estimate)),
        route(Method::POST, "/v1/score", post(native::score)),
        route(Method::POST, "/v1/rewrite", post(native::rewrite)),
        route(Method::GET, "/v1/models", get(native::models)),
        route(Method::GET, "/v1/profiles", get(native::profiles)),
        route(Method::GET, "/v1/profiles/{name}", get(native::profile)),
        route(Method::PUT, "/v1/profiles/{name}", put(native::put_profile)),
        route(
            Method::DELETE,
            "/v1/profiles/{name}",
            delete(native::delete_profile),
        ),
        route(Method::GET, "/v1/runs", get(runs::list)),
        route(Method::GET, "/v1/runs/{name}", get(runs::one)),
        route(Method::POST, "/v1/chat/completions", post(proxy::chat)),
        route(Method::POST, "/v1/completions", post(proxy::text)),
        route(
            Method::POST,
            "/p/{profile}/v1/chat/completions",
            post(proxy::chat_to),
        ),
        route(
            Method::POST,
            "/p/{profile}/v1/completions",
            post(proxy::text_to),
        ),
        route(
            Method::POST,
            "/beta/litellm_basic_guardrail_api",
            post(plug::guardrail),
        ),
        route(Method::POST, "/get_reward", post(plug::get_reward)),
        route(Method::POST, "/reward", post(plug::reward)),
        route(Method::POST, "/predict", post(plug::predict)),
        route(Method::POST, "/classify", post(plug::classify)),
        route(Method::POST, "/mcp", post(plug::mcp)),
    ]
}

/// The whole service: the routes of [`table`], the page's files for every other path, and the guard around all of it.
pub(crate) fn router(app: &Shared) -> Router {
    let mut router = Router::new();
    for Route { path, handler, .. } in table() {
        router = router.route(path, handler);
    }
    router
        .fallback(assets::file)
        .method_not_allowed_fallback(async || {
            ApiError::new(
                axum::http::StatusCode::METHOD_NOT_ALLOWED,
                "invalid_request",
                "this path takes another method; GET /openapi.json says which",
            )
        })
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(panicked))
        .layer(axum::middleware::from_fn_with_state(
            app.clone(),
            guard::guard,
        ))
        .with_state(app.clone())
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    // The panic's words went to the log by the hook; they may hold a text, so the client is not told them.
    ApiError::internal("the server failed on this request; its log says more").into_response()
}

/// The document, as it stands in the repository.
pub(crate) const OPENAPI: &str = include_str!("openapi.json");

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The document and the table name the same methods of the same paths; what needs no key is said by both.
    #[test]
    fn the_document_lists_the_routes() {
        let document: serde_json::Value = serde_json::from_str(OPENAPI).expect("JSON");
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let mut documented = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().expect("paths") {
            for (method, operation) in methods.as_object().expect("methods") {
                documented.insert(format!("{} {path}", method.to_uppercase()));
                let open = operation["security"] == serde_json::json!([]);
                assert_eq!(open, guard::is_open(Some(path)), "{path}");
            }
        }
        let routed: BTreeSet<String> = table()
            .iter()
            .map(|r| format!("{} {}", r.method, r.path))
            .collect();
        assert_eq!(documented, routed);
    }
}
