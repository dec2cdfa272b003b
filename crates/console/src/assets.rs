//! The stylesheet and the modules. Their names hold the hash of their content, so that a browser may
//! keep them for ever and a new version is a new name.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use comity_domain::ids::Digest32;

struct Asset {
    /// Its name with the hash, as it stands in addresses.
    name: String,
    kind: &'static str,
    content: &'static str,
}

/// Names without their hash, kinds and contents. Modules name each other nowhere: each page's module
/// stands alone, so that a hash never has to be known inside another file.
const FILES: [(&str, &str, &str); 3] = [
    ("console.css", "text/css; charset=utf-8", include_str!("../assets/console.css")),
    ("console.js", "text/javascript; charset=utf-8", include_str!("../assets/console.js")),
    ("icon.svg", "image/svg+xml", include_str!("../assets/icon.svg")),
];

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let hashed = |name: &str, content: &str| {
        let digest = Digest32::of(content.as_bytes()).to_string();
        let hash: String = digest.chars().filter(char::is_ascii_hexdigit).take(12).collect();
        let (stem, end) = name.split_once('.').unwrap_or((name, ""));
        format!("{stem}.{hash}.{end}")
    };
    let asset = |&(name, kind, content)| Asset { name: hashed(name, content), kind, content };
    FILES.iter().map(asset).collect()
});

/// Where a file is found.
pub fn address(name: &str) -> String {
    let known = FILES.iter().position(|(n, ..)| *n == name).and_then(|at| ASSETS.get(at));
    format!("/console/assets/{}", known.map_or(name, |a| a.name.as_str()))
}

/// A file.
pub async fn file(Path(name): Path<String>) -> Response {
    let Some(asset) = ASSETS.iter().find(|a| a.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
    let kind = HeaderValue::from_static(asset.kind);
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, kept)], asset.content).into_response()
}
