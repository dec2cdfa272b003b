//! `GET /docs`: the document as a page, from the binary, without the network.
//!
//! Nothing on it comes from the query or from people: the page is three files of Swagger UI and two
//! of ours, and reads `/openapi.json` only. It alone may run scripts, and only its own files (T42).

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};

use crate::input::Path;
use crate::problem::Problem;

/// Swagger UI sets style attributes; everything else comes from files of this page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Comity API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="page"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/page.js"></script>
</body>
</html>
"#;

/// Secrets that are typed in are forgotten with the page, and no address can make it read another
/// document.
const SCRIPT: &str = r##""use strict";
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#page",
  queryConfigEnabled: false,
  persistAuthorization: false,
  validatorUrl: null,
  deepLinking: true,
  docExpansion: "none",
});
"##;

/// The files of Swagger UI that the page needs.
const FILES: [&str; 3] = ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"];

fn headers(kind: &'static str) -> HeaderMap {
    HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300")),
    ])
}

/// The API as a page.
///
/// Who may: anybody. Works without the network.
#[utoipa::path(get, path = "/docs", operation_id = "getDocs", tag = "Health", security(),
    responses((status = 200, description = "The page.", body = String, content_type = "text/html")))]
pub async fn page() -> Response {
    (headers("text/html; charset=utf-8"), Html(PAGE)).into_response()
}

/// A file of the page.
///
/// Who may: anybody.
#[utoipa::path(get, path = "/docs/{file}", operation_id = "getDocsFile", tag = "Health", security(),
    responses((status = 200, description = "The file.", content(
        (String = "text/css"), (String = "text/javascript"), (Vec<u8> = "image/png")))))]
pub async fn file(Path(name): Path<String>) -> Result<Response, Problem> {
    if name == "page.js" {
        return Ok((headers("text/javascript"), SCRIPT).into_response());
    }
    let known = FILES.into_iter().find(|f| *f == name).ok_or_else(Problem::not_found)?;
    let kind = match known.rsplit('.').next() {
        Some("css") => "text/css",
        Some("js") => "text/javascript",
        _ => "image/png",
    };
    let config = std::sync::Arc::new(utoipa_swagger_ui::Config::from("/openapi.json"));
    let found = utoipa_swagger_ui::serve(known, config).ok().flatten();
    let found = found.ok_or_else(Problem::not_found)?;
    Ok((headers(kind), found.bytes.into_owned()).into_response())
}
