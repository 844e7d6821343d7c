//! The page and its files, part of the binary: it works offline and needs no folder beside it.
//!
//! Whatever lies in `web/app/` at the root of the repository is served under the same name; `/` is `index.html`. Files are
//! looked up in a fixed table, so no path can lead out of it.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use include_dir::{Dir, include_dir};

use crate::error::ApiError;

static WEB: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../web/app");

/// Any path that no route names.
pub(crate) async fn file(request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    let path = if path.is_empty() { "index.html" } else { path };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return missing();
    }
    let Some(file) = WEB.get_file(path) else {
        return missing();
    };
    let mut response = Response::new(Body::from(file.contents()));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(media_type(path)),
    );
    response
}

fn missing() -> Response {
    ApiError::not_found("there is nothing here; GET /openapi.json lists what there is")
        .into_response()
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, end)| end) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
