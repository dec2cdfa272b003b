//! What surrounds every page: headers that allow only our own files, and forms only from our own
//! pages (T9).

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::wrong::Wrong;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types comity";

/// What a browser is told about each answer.
const HEADERS: [(&str, &str); 8] = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    // `no-referrer` would make browsers send `Origin: null` with our own forms.
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
    ("strict-transport-security", "max-age=63072000; includeSubDomains"),
];

/// The one origin beside ours to which a form of this answer may be sent. It comes from
/// [`comity_domain::application::Application::launch_origin`], which holds nothing else.
#[derive(Debug, Clone)]
pub struct FormTo(pub String);

/// Refuses what no page of ours can have sent, and sets the headers.
pub async fn guard(request: Request, next: Next) -> Response {
    let unsafe_method = !matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = if unsafe_method && !is_from_here(request.headers()) {
        Wrong::ForeignForm.into_response_plain()
    } else {
        next.run(request).await
    };
    let to = response.extensions_mut().remove::<FormTo>();
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if let Some(FormTo(origin)) = to
        && let Ok(policy) = HeaderValue::from_str(
            &POLICY.replace("form-action 'self'", &format!("form-action 'self' {origin}")),
        )
    {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        // The other side has to see that it comes from here; `same-origin` would make it `null`.
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("strict-origin"));
    }
    let own = headers.contains_key(header::CACHE_CONTROL);
    if !own {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Whether a browser says that one of our own pages sent it. Each browser of the last years sends
/// at least `Origin` with a form; who sends neither is none.
fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    if text("sec-fetch-site").is_some_and(|site| site != "same-origin") {
        return false;
    }
    let host = text("host");
    let origin = text("origin").and_then(|o| o.split_once("://"));
    origin.is_some_and(|(_, origin)| Some(origin) == host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(headers: &[(&'static str, &'static str)]) -> bool {
        let pairs =
            headers.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
        is_from_here(&pairs.collect())
    }

    #[test]
    fn t9_a_form_is_taken_from_our_own_pages_only() {
        let host = ("host", "comity.example");
        let here = ("origin", "https://comity.example");
        assert!(sent(&[host, here, ("sec-fetch-site", "same-origin")]));
        assert!(sent(&[host, here]));
        assert!(!sent(&[host, here, ("sec-fetch-site", "cross-site")]));
        assert!(!sent(&[host, here, ("sec-fetch-site", "same-site")]));
        assert!(!sent(&[host, ("origin", "https://evil.example")]));
        assert!(!sent(&[host, ("origin", "null")]));
        assert!(!sent(&[host, ("sec-fetch-site", "same-origin")]), "nobody says where from");
        assert!(!sent(&[host]));
        assert!(!sent(&[here]));
    }
}
