//! The console's cookies: bound to this host, sent over TLS only (and to loopback), read by no
//! script, and never along with what another site began.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::Response;
use comity_domain::time::MINUTE;
use cookie::{Cookie, SameSite};

/// How long a cookie that opens something may go unused, in milliseconds.
pub const IDLE: i64 = 15 * MINUTE;

fn strict(name: &'static str, value: String) -> Cookie<'static> {
    let mut cookie = Cookie::new(name, value);
    cookie.set_path("/");
    cookie.set_secure(true);
    cookie.set_http_only(true);
    cookie.set_same_site(SameSite::Strict);
    cookie
}

fn append(response: &mut Response, cookie: &Cookie<'_>) {
    if let Ok(value) = HeaderValue::from_str(&cookie.to_string()) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

/// Gives the browser a cookie, until it is closed.
pub fn set(response: &mut Response, name: &'static str, value: String) {
    append(response, &strict(name, value));
}

/// Takes a cookie away.
pub fn remove(response: &mut Response, name: &'static str) {
    let mut cookie = strict(name, String::new());
    cookie.make_removal();
    append(response, &cookie);
}

/// The value of a cookie that was sent exactly once.
pub fn sent(headers: &HeaderMap, name: &str) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    let mut found = all
        .flat_map(Cookie::split_parse)
        .filter_map(Result::ok)
        .filter(|c| c.name() == name)
        .map(|c| c.value().to_owned());
    let first = found.next();
    first.filter(|_| found.next().is_none())
}

/// Whether the browser may have left this cookie at home because it came from elsewhere, such as a
/// link in a mail: asked once more from a page of ours, it brings it along.
pub fn left_at_home(parts: &Parts, name: &str) -> bool {
    let came = parts.headers.get("sec-fetch-site").and_then(|v| v.to_str().ok());
    parts.method == Method::GET
        && came == Some("cross-site")
        && sent(&parts.headers, name).is_none()
}
