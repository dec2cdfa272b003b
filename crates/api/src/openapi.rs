//! `GET /openapi.json`: the API as OpenAPI 3.1, made of what stands beside each handler.
//!
//! A handler says what is its own: what it takes and gives, and by `x-refusals` with which codes it
//! says no. What all routes of a kind have in common, a code's status and meaning, and what a
//! segment of a path names, is said once and put into the document here.

pub mod refusals;
pub mod values;

use std::sync::LazyLock;

use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};

use crate::{
    access, amendments, authzen, auto, bulk, candidates, checkpoints, confirm, docs, doors,
    erasures, factors, feed, grants, halts, imports, invitations, levels, locks, me, members,
    notices, oauth, offers, organisations, platform, problem, requests, roles, sessions, settings,
    sign_in, signing_keys, ssf, staged, webhooks,
};

/// What stands beside the handlers.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Comity",
        description = "Partner access in multi-tenant products. The reference for people is docs/reference/api.md; for \
            every code it says what to do.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT"),
    ),
    servers((url = "/", description = "The installation that serves this document.")),
    tags(
        (name = "Health", description = "Is it there, and does it answer?"),
        (name = "Platform", description = "The operator: applications, keys, policy, levels, halts."),
        (name = "Provisioning", description = "Organisations, units, accounts, roles and members, as the builder keeps them."),
        (name = "People", description = "A person's own doors."),
        (name = "Customer", description = "A customer's own affairs with partners."),
        (name = "Partner", description = "What an organisation is called by those who may let it in."),
        (name = "Requests", description = "The question \"may we come in?\", and its answer."),
        (name = "Grants", description = "The customer's yes, and who is on it."),
        (name = "Invitations", description = "People from outside: inviting them, and answering."),
        (name = "Sessions", description = "Stays of partner users: the history, coming home, ending."),
        (name = "Events", description = "What happened, and what the log has committed itself to."),
        (name = "Webhooks", description = "Endpoints that are told what happened, and what became of it."),
        (name = "Standards", description = "Doors whose form others have defined: OAuth 2.0, AuthZEN, Shared Signals."),
    ),
    paths(
        platform::health, platform::ready,
        platform::applications, platform::put_application, platform::keys, platform::make_key, platform::retire_key,
        platform::policy, platform::set_policy, levels::levels, levels::put_level, halts::halts, halts::lift_halt,
        organisations::set_standing, organisations::one, organisations::put,
        organisations::units, organisations::put_unit,
        organisations::accounts, organisations::put_account, organisations::link_account, organisations::remove_account,
        roles::roles, roles::put_role, roles::delete_role,
        members::members, members::put_member, members::remove_member, members::make_enrolment, members::restore, doors::doors, factors::reset,
        access::read, access::end,
        erasures::erase,
        sign_in::sign_in, sign_in::second_factor, sign_in::begin_passkey, sign_in::finish_passkey,
        sign_in::step_up, sign_in::change_password, sign_in::sign_ins, sign_in::end_sign_in,
        factors::factors, factors::begin_totp, factors::confirm_totp, factors::remove_totp, factors::make_recovery_codes,
        factors::passkeys, factors::begin_passkey, factors::add_passkey, factors::rename_passkey, factors::remove_passkey,
        me::sign_out, me::enrol, me::me, me::tenants,
        settings::customer_id, settings::rotate, settings::settings, settings::change_settings,
        locks::list, locks::lock, locks::unlock,
        notices::list, notices::read,
        requests::list, requests::ask, requests::one, requests::summary, requests::approve, requests::deny, requests::cancel,
        offers::partner_id, offers::rotate, offers::summary, offers::offer, offers::accept, offers::decline,
        amendments::summary, amendments::amend,
        grants::list, grants::one, grants::revoke, grants::narrow, grants::give_up,
        confirm::one, confirm::several,
        grants::assignments, grants::set_assignments, staged::preview, grants::assign, grants::unassign,
        candidates::find, bulk::summary, bulk::bulk,
        auto::read, auto::preview, auto::set,
        invitations::list, invitations::invite, invitations::change, invitations::cancel, invitations::resend, invitations::approve,
        invitations::look, invitations::accept, invitations::decline, invitations::register, invitations::stop,
        sessions::history, sessions::one, sessions::close, sessions::end,
        feed::events, checkpoints::list, checkpoints::latest,
        oauth::exchange::token, oauth::introspect::introspect, oauth::revoke::revoke,
        oauth::metadata::jwks, oauth::metadata::server, oauth::metadata::resource, authzen::evaluation,
        authzen::batch::evaluations, authzen::search::subjects, authzen::search::resources, authzen::search::actions,
        authzen::metadata::configuration,
        signing_keys::list, signing_keys::rotate, signing_keys::compromise, signing_keys::set_client_keys,
        webhooks::platform::list, webhooks::platform::make, webhooks::platform::one, webhooks::platform::change, webhooks::platform::remove,
        webhooks::platform::rotate, webhooks::platform::test, webhooks::platform::deliveries, webhooks::platform::redeliver,
        webhooks::organisation::list, webhooks::organisation::make, webhooks::organisation::one, webhooks::organisation::change, webhooks::organisation::remove,
        webhooks::organisation::rotate, webhooks::organisation::test, webhooks::organisation::deliveries, webhooks::organisation::redeliver,
        ssf::metadata::configuration, ssf::streams::read, ssf::streams::make, ssf::streams::change, ssf::streams::replace, ssf::streams::remove,
        ssf::status::read, ssf::status::set, ssf::status::verify, ssf::poll::poll,
        imports::import, imports::list, imports::one, imports::refusals,
        document, docs::page, docs::file,
    ),
    components(schemas(problem::Problem, values::Mode)),
)]
struct Written;

/// Who can call: what stands in `Authorization`.
const SCHEMES: [(&str, &str); 3] = [
    (
        "signIn",
        "A person's own sign-in, `cmt_signin_…`, from `POST /v1/sign-in`; good for eight hours.",
    ),
    (
        "key",
        "A key, `cmt_key_…`, for `operate`, `provision` or `decide`; each operation says which.",
    ),
    (
        "partnerSession",
        "The token of a partner session, `cmt_session_…`, from `POST /oauth/token`. Here it may only close itself.",
    ),
];

/// The document.
#[must_use]
pub fn document_value() -> Value {
    let mut written = Written::openapi();
    written.info.version = env!("CARGO_PKG_VERSION").into();
    let components = written.components.get_or_insert_default();
    for (name, meaning) in SCHEMES {
        let mut http = Http::new(HttpAuthScheme::Bearer);
        http.description = Some(meaning.into());
        components.add_security_scheme(name, SecurityScheme::Http(http));
    }
    let mut basic = Http::new(HttpAuthScheme::Basic);
    basic.description = Some(
        "An application by its code and one of its keys for `decide`, each form-encoded.".into(),
    );
    components.add_security_scheme("client", SecurityScheme::Http(basic));
    let mut basic = Http::new(HttpAuthScheme::Basic);
    basic.description = Some("An application by its code and one of its keys for `decide`.".into());
    components.add_security_scheme("basic", SecurityScheme::Http(basic));
    let mut document = serde_json::to_value(&written).unwrap_or_default();
    lists_name_what_they_hold(&mut document);
    let needs_nothing = schemas_that_need_nothing(&document);
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    for (path, operations) in paths.into_iter().flatten() {
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            segments(path, operation);
            headers(method, operation);
            refusals::declare(path, method, operation);
            bodies_that_need_nothing(&needs_nothing, operation);
        }
    }
    let written = document.to_string();
    let mut examples = refusals::examples();
    examples.retain(|code, _| written.contains(&format!("#/components/examples/{code}\"")));
    if let Some(components) = document.get_mut("components").and_then(Value::as_object_mut) {
        components.insert("examples".into(), examples.into());
    }
    document
}

/// A list of a kind is written out by the macro; it shall point at the kind, so that a generator
/// makes one type of it.
fn lists_name_what_they_hold(document: &mut Value) {
    let schemas = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut);
    let Some(schemas) = schemas else { return };
    let names: Vec<String> = schemas.keys().cloned().collect();
    for (list, schema) in schemas.iter_mut() {
        let (of, field) = match list.split_once('_') {
            Some(("Items" | "Page", of)) => (Some(of), "/properties/items/items"),
            Some(("Results", of)) => (Some(of), "/properties/results/items"),
            _ => (None, ""),
        };
        let held = of.filter(|held| names.iter().any(|n| n == held));
        if let (Some(held), Some(items)) = (held, schema.pointer_mut(field)) {
            *items = json!({ "$ref": format!("#/components/schemas/{held}") });
        }
    }
}

/// What a segment of a path names, by its name and what stands before it.
fn meaning(path: &str, name: &str) -> (&'static str, &'static str, &'static str) {
    let noun = path.split(&format!("/{{{name}}}")).next().and_then(|p| p.rsplit('/').next());
    match (name, noun.unwrap_or_default()) {
        ("organisation", _) => {
            ("An organisation, by Comity's identifier or the builder's.", "", "marina")
        }
        ("id", "units") => ("A unit, by the builder's identifier.", "", "north-pier"),
        ("id", "accounts") => ("An account, by the builder's identifier.", "", "boat-1"),
        ("id", "roles") => ("A role, by its code.", "", "clerk"),
        ("id", "members") => ("A member, by the builder's identifier.", "", "nina"),
        ("code", "levels") => ("A level, by its code.", "", "surveyor"),
        ("code", _) => ("An application, by its code.", "", "boats"),
        ("person", _) => ("A person, by Comity's identifier or the builder's.", "", "hugo"),
        ("key", _) => ("A key.", "KeyId", "key_01kf4e9ab7c3x8m2v5r6t0w1yz"),
        ("halt", _) => ("A halt.", "HaltId", "halt_01kf4e9ab7c3x8m2v5r6t0w1yz"),
        ("lock", _) => ("A lock.", "LockId", "lock_01kf4e9ab7c3x8m2v5r6t0w1yz"),
        ("sign_in", _) => ("A sign-in of your own.", "SignInId", "sign_01kf4e9ab7c3x8m2v5r6t0w1yz"),
        ("passkey", _) => {
            ("A passkey of your own.", "PasskeyId", "pkey_01kf4e9ab7c3x8m2v5r6t0w1yz")
        }
        ("request", _) => ("An access request.", "RequestId", "req_01kf4e9ab7c3x8m2v5r6t0w1yz"),
        ("invitation", _) => ("An invitation.", "InvitationId", "inv_01kf4e9ab7c3x8m2v5r6t0w1yz"),
        ("grant", _) => ("A grant.", "GrantId", "grant_01kf4e9ab7c3x8m2v5r6t0w1yz"),
        ("session", _) => ("A session.", "SessionId", "sess_01kf4e9ab7c3x8m2v5r6t0w1yz"),
        ("webhook", _) => ("A webhook.", "WebhookId", "whk_01kf4e9ab7c3x8m2v5r6t0w1yz"),
        ("stream", _) => ("An event stream.", "StreamId", "strm_01kf4e9ab7c3x8m2v5r6t0w1yz"),
        ("kid", _) => {
            ("A signing key, by its thumbprint.", "", "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
        }
        ("file", _) => ("A file of the page.", "", "swagger-ui.css"),
        _ => ("", "", ""),
    }
}

/// Describes the segments of the path, unless the handler does.
fn segments(path: &str, operation: &mut Value) {
    let Some(operation) = operation.as_object_mut() else { return };
    let named = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let mut parameters: Vec<Value> = Vec::new();
    let given = operation.remove("parameters").and_then(|p| p.as_array().cloned());
    let given = given.unwrap_or_default();
    for name in named {
        if given
            .iter()
            .any(|p| p["in"] == "path" && p["name"] == name && p["description"].is_string())
        {
            continue;
        }
        let (says, schema, example) = meaning(path, name);
        let schema = match schema {
            "" => json!({ "type": "string", "minLength": 1 }),
            known => json!({ "$ref": format!("#/components/schemas/{known}") }),
        };
        parameters.push(json!({ "name": name, "in": "path", "required": true, "description": says,
            "schema": schema, "example": example }));
    }
    let described =
        |p: &Value| parameters.iter().any(|d| d["in"] == p["in"] && d["name"] == p["name"]);
    let rest: Vec<Value> = given.iter().filter(|p| !described(p)).cloned().collect();
    parameters.extend(rest);
    if !parameters.is_empty() {
        operation.insert("parameters".into(), parameters.into());
    }
}

/// What every command may carry: a key by which it is carried out once, and the version that its
/// editor saw.
fn headers(method: &str, operation: &mut Value) {
    let Some(operation) = operation.as_object_mut() else { return };
    let says = operation.get("x-refusals").and_then(Value::as_str).unwrap_or_default();
    let (edits, must) = (says.contains("version_conflict"), says.contains("if_match_required"));
    let public = operation.get("security").and_then(Value::as_array).is_some_and(Vec::is_empty);
    let oauth = operation.get("security").is_some_and(|s| s.to_string().contains("client"));
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    let Some(parameters) = parameters.as_array_mut() else { return };
    if method != "get" && !public && !oauth {
        parameters.push(json!({ "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "A key of your own for this command: sent again with it, it is carried out once.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 255 },
            "example": "\"8e03978e-40d5-43e8-bc93-6894a57f9324\"" }));
    }
    if edits && !parameters.iter().any(|p| p["name"] == "If-Match") {
        parameters.push(json!({ "name": "If-Match", "in": "header", "required": must,
            "description": "The `ETag` of what was read.", "schema": { "type": "string" }, "example": "\"1\"" }));
    }
    if parameters.is_empty() {
        operation.remove("parameters");
    }
}

fn schemas_that_need_nothing(document: &Value) -> Vec<String> {
    let schemas = document.pointer("/components/schemas").and_then(Value::as_object);
    let needs =
        |s: &Value| s.get("required").and_then(Value::as_array).is_some_and(|r| !r.is_empty());
    schemas.into_iter().flatten().filter(|(_, s)| !needs(s)).map(|(name, _)| name.clone()).collect()
}

/// A body without a field that must be there may be left out.
fn bodies_that_need_nothing(schemas: &[String], operation: &mut Value) {
    let body = operation.get_mut("requestBody").and_then(Value::as_object_mut);
    let Some(body) = body else { return };
    let named = body.get("content").and_then(|c| c.pointer("/application~1json/schema/$ref"));
    let named = named.and_then(Value::as_str).and_then(|r| r.rsplit('/').next());
    if named.is_some_and(|n| schemas.iter().any(|s| s == n)) {
        body.insert("required".into(), false.into());
    }
}

static DOCUMENT: LazyLock<String> = LazyLock::new(|| document_value().to_string());

/// This document.
///
/// Who may: anybody.
#[utoipa::path(get, path = "/openapi.json", operation_id = "getDocument", tag = "Health", security(),
    responses((status = 200, description = "The API as OpenAPI 3.1.", body = values::Open)))]
pub async fn document() -> impl IntoResponse {
    let kind = HeaderValue::from_static("application/json");
    let keep = HeaderValue::from_static("public, max-age=300");
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, keep)], DOCUMENT.as_str())
}
