//! Where a route names an object: every placeholder of its path by itself, and the places in query
//! and body that are listed here.

use serde_json::{Value, json};

use super::yard::{Variant, Yard};
use crate::may_routes::Call;

/// One place.
pub struct Slot {
    /// As the table shows it.
    pub name: String,
    /// What kind of object stands there.
    pub kind: String,
    at: At,
}

enum At {
    /// The segment of the path with this number.
    Path(usize),
    /// This parameter of the query.
    Query(&'static str),
    /// This field of the body, alone.
    Field(&'static str),
    /// This pointer into the body.
    Pointer(&'static str),
    /// This field of the body, as a list of one.
    List(&'static str),
}

impl Slot {
    pub fn in_path(&self) -> bool {
        matches!(self.at, At::Path(_))
    }

    /// Puts another object there; says what was put.
    pub fn put(&self, yard: &Yard, call: &mut Call, variant: Variant) -> Option<String> {
        let value = yard.value(&self.kind, variant)?;
        match &self.at {
            At::Path(at) => {
                let (path, query) = call.path.split_once('?').unwrap_or((&call.path, ""));
                let mut parts: Vec<&str> = path.split('/').collect();
                parts[*at] = &value;
                let mut path = parts.join("/");
                if !query.is_empty() {
                    path = format!("{path}?{query}");
                }
                call.path = path;
            }
            At::Query(name) => {
                let path = call.path.split('?').next().unwrap_or_default();
                call.path = format!("{path}?{name}={value}");
            }
            At::Field(name) => call.body = Some(json!({ *name: value })),
            At::Pointer(pointer) => {
                let body = call.body.as_mut().expect("a body");
                *body.pointer_mut(pointer).expect("a field") = Value::String(value.clone());
            }
            At::List(name) => {
                let body = call.body.as_mut().expect("a body");
                body[*name] = json!([value]);
            }
        }
        Some(value)
    }
}

/// Every slot of a route.
pub fn of(call: &Call) -> Vec<Slot> {
    let mut out = Vec::new();
    let parts: Vec<&str> = call.route.split('/').collect();
    for (at, part) in parts.iter().enumerate() {
        let Some(name) = part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) else {
            continue;
        };
        // The builder's identifiers and codes are of the noun before them.
        let kind = if ["id", "code"].contains(&name) { parts[at - 1] } else { name };
        out.push(Slot { name: part.to_string(), kind: kind.into(), at: At::Path(at) });
    }
    for (method, route, name, kind, at) in beside() {
        if (method, route) == (call.method, call.route) {
            out.push(Slot { name: name.into(), kind: kind.into(), at });
        }
    }
    out
}

#[rustfmt::skip]
fn beside() -> Vec<(&'static str, &'static str, &'static str, &'static str, At)> {
    use At::{Field, List, Pointer, Query};
    let (org, person) = ("organisation_id", "person");
    vec![
        ("GET", "/v1/events", "?organisation=", "organisation", Query("organisation")),
        ("GET", "/v1/audit/checkpoints", "?organisation=", "organisation", Query("organisation")),
        ("GET", "/v1/audit/checkpoints/latest", "?organisation=", "organisation", Query("organisation")),
        ("GET", "/v1/organisations/{organisation}/sessions", "?partner=", org, Query("partner")),
        ("GET", "/v1/organisations/{organisation}/sessions", "?person=", person, Query("person")),
        ("POST", "/v1/organisations/{organisation}/locks", "body organisation", org, Field("organisation")),
        ("POST", "/v1/organisations/{organisation}/locks", "body person", person, Field("person")),
        ("POST", "/v1/organisations/{organisation}/grants/confirm", "body grants", "grant", List("grants")),
        ("PUT", "/v1/organisations/{organisation}/settings", "body blocked_partners", org, List("blocked_partners")),
        ("POST", "/v1/erasures", "body organisation", org, Field("organisation")),
        ("POST", "/v1/erasures", "body person", person, Field("person")),
        ("POST", "/v1/erasures", "body request", "request", Field("request")),
        ("POST", "/v1/erasures", "body session", "session", Field("session")),
        ("POST", "/v1/requests/{request}/summary", "body roles", "roles", List("roles")),
        ("POST", "/v1/requests/{request}/summary", "body accounts", "accounts", List("accounts")),
        ("POST", "/v1/organisations/{organisation}/offers/summary", "body partner", org, Pointer("/partner")),
        ("POST", "/v1/organisations/{organisation}/offers/summary", "body roles", "roles", Pointer("/terms/roles/0")),
        ("POST", "/v1/organisations/{organisation}/offers", "body partner", org, Pointer("/partner")),
        ("POST", "/v1/grants/{grant}/amend/summary", "body roles", "roles", List("roles")),
        ("POST", "/v1/grants/{grant}/amend/summary", "body accounts", "accounts", List("accounts")),
        ("PUT", "/v1/grants/{grant}/assignments", "body person", person, Pointer("/people/0/person")),
        ("PUT", "/v1/grants/{grant}/assignments", "body roles", "roles", Pointer("/people/0/roles/0")),
        ("POST", "/v1/grants/{grant}/assignments/preview", "body person", person, Pointer("/people/0/person")),
        ("POST", "/v1/grants/{grant}/assignments/preview", "body roles", "roles", Pointer("/people/0/roles/0")),
        ("PUT", "/v1/grants/{grant}/assignments/{person}", "body roles", "roles", List("roles")),
        ("PUT", "/v1/grants/{grant}/assignments/{person}", "body accounts", "accounts", List("accounts")),
        ("POST", "/v1/grants/{grant}/invitations", "body roles", "roles", List("roles")),
        ("PUT", "/v1/grants/{grant}/invitations/{invitation}", "body accounts", "accounts", List("accounts")),
        ("POST", "/v1/grants/{grant}/candidates", "body accounts", "accounts", List("accounts")),
        ("POST", "/v1/grants/{grant}/bulk/summary", "body people", person, List("people")),
        ("POST", "/v1/grants/{grant}/bulk/summary", "body roles", "roles", List("roles")),
        ("POST", "/v1/grants/{grant}/bulk/summary", "body accounts", "accounts", List("accounts")),
        ("GET", "/ssf/stream", "?stream_id=", "stream", Query("stream_id")),
        ("PATCH", "/ssf/stream", "body stream_id", "stream", Pointer("/stream_id")),
        ("PUT", "/ssf/stream", "body stream_id", "stream", Pointer("/stream_id")),
        ("DELETE", "/ssf/stream", "?stream_id=", "stream", Query("stream_id")),
        ("GET", "/ssf/status", "?stream_id=", "stream", Query("stream_id")),
        ("POST", "/ssf/status", "body stream_id", "stream", Pointer("/stream_id")),
        ("POST", "/ssf/verify", "body stream_id", "stream", Pointer("/stream_id")),
        ("POST", "/access/v1/evaluation", "body subject.id", "token", Pointer("/subject/id")),
        ("POST", "/access/v1/evaluation", "body resource.id", "accounts", Pointer("/resource/id")),
    ]
}
