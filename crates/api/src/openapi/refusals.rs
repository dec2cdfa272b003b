//! Every code with its status and meaning, and which routes can say it.

use serde_json::{Map, Value, json};

/// A stable code.
pub struct Code {
    /// As it is written.
    pub code: &'static str,
    /// The status that it comes with.
    pub status: u16,
    /// What it means.
    pub meaning: &'static str,
}

const fn code(code: &'static str, status: u16, meaning: &'static str) -> Code {
    Code { code, status, meaning }
}

/// Every code, by status.
pub const CODES: &[Code] = &[
    code("bad_json", 400, "the body is not JSON"),
    code("bad_path", 400, "the path is not in its normal form"),
    code("bad_request", 400, "the body could not be read"),
    code("unauthenticated", 401, "no secret in force was sent"),
    code("caller_revoked", 401, "the sign-in or key was withdrawn"),
    code("fresh_sign_in_required", 401, "the sign-in is older than five minutes"),
    code("stronger_sign_in_required", 401, "sign in again with your second factor"),
    code("sign_in_failed", 401, "the address, the password, the code or the passkey is wrong"),
    code("second_factor_needed", 401, "the password is right: go on with `ticket` and a code"),
    code("forbidden", 403, "for somebody else; `detail` says for whom"),
    code("partner_session_refused", 403, "use your own sign-in"),
    code("four_eyes", 403, "you are, or were, on the partner's side"),
    code("no_access", 403, "there is no grant by which you may enter"),
    code("not_found", 404, "not there, or not yours"),
    code("method_not_allowed", 405, "this path does not take that method"),
    code("too_slow", 408, "the body came too slowly"),
    code("wrong_state", 409, "no longer in a state for this"),
    code("stale_summary", 409, "what would be given has changed: read the new summary"),
    code("widening", 409, "only narrowing is possible here"),
    code("already_pending", 409, "one request of this partner is waiting"),
    code("asked_too_often", 409, "three denials within thirty days"),
    code(
        "too_many_offers",
        409,
        "two hundred offers wait for an answer, or fifty were made to this partner within a day",
    ),
    code("external_not_allowed", 409, "the customer lets nobody from outside in by this grant"),
    code("already_invited", 409, "the address is invited to this grant already"),
    code(
        "too_many_invitations",
        409,
        "fifty within a day, one address five times within a day, or one sent again three times",
    ),
    code("linked_accounts", 409, "other accounts are linked to these, and were not taken along"),
    code("last_user", 409, "nobody would be left on the grant"),
    code(
        "auto_assign_enabled",
        409,
        "all members are on the grant automatically: turn that off before anybody is added, changed or removed alone",
    ),
    code("last_admin", 409, "no Admin would be left"),
    code("locked", 409, "only the customer unlocks; what the checker halted, only the operator"),
    code("not_active", 409, "suspended or closed"),
    code("mode_not_granted", 409, "not in this mode"),
    code("jwt_not_granted", 409, "no signed tokens under this grant"),
    code("unconfirmed", 409, "put back by a restore; the customer has to confirm it"),
    code("session_exists", 409, "as many sessions as are allowed"),
    code("taken", 409, "belongs to another"),
    code("in_use", 409, "not over yet, so not to be erased"),
    code("evidence", 409, "a lock keeps it from being erased"),
    code("already_done", 409, "done the first time; its secret is shown once"),
    code("version_conflict", 412, "somebody changed it since: read it again"),
    code("too_large", 413, "the body has more than 256 KiB"),
    code("unsupported_media_type", 415, "the body is of another type"),
    code("invalid", 422, "`field` says what is wrong"),
    code("grant_required", 422, "several grants fit: choose one of `grants`"),
    code("idempotency_key_reused", 422, "the key was sent with something else"),
    code("same_organisation", 422, "an organisation cannot let itself in"),
    code("if_match_required", 428, "send `If-Match` with the `ETag`"),
    code("rate_limited", 429, "too often: `Retry-After` says how long to wait"),
    code("broken", 500, "a fault of ours, in the operator's log"),
    code("unavailable", 503, "nothing was done: try again"),
    code("stale", 503, "this node cannot say that it is current: try again"),
    code("busy", 503, "the call cannot be counted at the moment: try again"),
    code("timeout", 503, "it took too long; what became of it is unknown"),
    code("unknown_outcome", 503, "it was carried out or not: read it again first"),
    code(
        "restore_unresolved",
        503,
        "an older database was put back: nothing is changed until the operator has resolved it",
    ),
];

/// What every form of OAuth's can meet.
const OF_OAUTH: [(&str, &str); 4] = [
    ("429", "Too often: wait."),
    ("413", "The form is too large."),
    ("500", "A fault of ours."),
    ("503", "Not now: try again."),
];

/// What the routes of its kind can say, whatever they do.
fn common(path: &str, method: &str, operation: &Map<String, Value>) -> Vec<&'static str> {
    // What belongs to OAuth says no in OAuth's words, save before it is asked.
    if operation.get("requestBody").is_some() && path.starts_with("/oauth/") {
        return vec!["bad_path", "timeout", "rate_limited"];
    }
    let mut codes = vec!["bad_path", "broken", "timeout", "unavailable", "stale", "rate_limited"];
    let public = operation
        .get("security")
        .and_then(Value::as_array)
        .is_some_and(|s| s.iter().all(|s| s.as_object().is_none_or(Map::is_empty)));
    if !public {
        codes.extend(["unauthenticated", "caller_revoked", "partner_session_refused", "forbidden"]);
    }
    // Whoever belongs to an organisation may be suspended there, or it may be.
    if operation.get("security").is_some_and(|s| s.to_string().contains("signIn")) {
        codes.push("not_active");
    }
    if path.contains('{') {
        codes.push("not_found");
    }
    let parameters = operation.get("parameters").and_then(Value::as_array);
    let asks = parameters.is_some_and(|p| p.iter().any(|p| p["in"] != "path"));
    if asks {
        codes.push("invalid");
    }
    // Who names an organisation in the query may name one that is not theirs.
    if parameters.is_some_and(|p| p.iter().any(|p| p["name"] == "organisation")) {
        codes.push("not_found");
    }
    if operation.contains_key("requestBody") {
        codes.extend(["bad_request", "too_large"]);
        let json =
            operation.get("requestBody").and_then(|b| b.pointer("/content/application~1json"));
        if json.is_some() {
            codes.extend(["bad_json", "unsupported_media_type", "invalid"]);
        }
    }
    if method != "get" {
        codes.extend(["unknown_outcome", "restore_unresolved"]);
        if !public {
            codes.extend(["already_done", "idempotency_key_reused"]);
        }
    }
    if path == "/readyz" {
        codes.push("restore_unresolved");
    }
    codes
}

/// The refusals of one operation: its own of `x-refusals` and what its kind has in common. Each
/// status gets one answer that names its codes, in words and as `x-codes`.
pub fn declare(path: &str, method: &str, operation: &mut Value) {
    let Some(operation) = operation.as_object_mut() else { return };
    let own = operation.remove("x-refusals");
    let own: Vec<String> = own
        .as_ref()
        .and_then(Value::as_str)
        .map(|words| words.split_whitespace().map(str::to_owned).collect())
        .unwrap_or_default();
    let common = common(path, method, operation);
    let in_oauth = path.starts_with("/oauth/") && operation.contains_key("requestBody");
    let says = |c: &&Code| common.contains(&c.code) || own.iter().any(|o| o == c.code);
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else {
        return;
    };
    for (status, says) in OF_OAUTH.iter().filter(|_| in_oauth) {
        responses.entry(*status).or_insert_with(|| {
            let schema = json!({ "$ref": "#/components/schemas/OauthError" });
            json!({ "description": says, "content": { "application/json": { "schema": schema } } })
        });
    }
    let said: Vec<&Code> = CODES.iter().filter(says).collect();
    let mut statuses: Vec<u16> = said.iter().map(|c| c.status).collect();
    statuses.dedup();
    for status in statuses {
        let codes: Vec<&Code> = said.iter().copied().filter(|c| c.status == status).collect();
        let response = responses.entry(status.to_string()).or_insert_with(|| json!({}));
        answer(response, status, &codes);
    }
}

/// A problem with each code, for the answers to point at.
pub fn examples() -> Map<String, Value> {
    let example = |c: &Code| {
        let status = axum::http::StatusCode::from_u16(c.status).unwrap_or_default();
        let problem = json!({ "type": "about:blank", "title": status.canonical_reason(), "status": c.status,
            "code": c.code, "detail": format!("{}.", c.meaning) });
        (c.code.to_owned(), json!({ "summary": c.meaning, "value": problem }))
    };
    CODES.iter().map(example).collect()
}

fn answer(response: &mut Value, status: u16, codes: &[&Code]) {
    let Some(response) = response.as_object_mut() else { return };
    let listed: Vec<String> =
        codes.iter().map(|c| format!("`{}`: {}", c.code, c.meaning)).collect();
    let mut says = listed.join("; ") + ".";
    if let Some(own) = response.get("description").and_then(Value::as_str).filter(|d| !d.is_empty())
    {
        says = format!("{own} As a problem: {says}");
    }
    response.insert("description".into(), says.into());
    let mut names: Vec<Value> = codes.iter().map(|c| c.code.into()).collect();
    if let Some(Value::Array(more)) = response.remove("x-codes") {
        names.extend(more);
    }
    response.insert("x-codes".into(), names.into());
    let headers = match status {
        401 => Some(("WWW-Authenticate", "How to show who you are.", "Bearer")),
        429 => Some(("Retry-After", "After how many seconds to try again.", "7")),
        503 => Some(("Retry-After", "After how many seconds to try again.", "1")),
        _ => None,
    };
    if let Some((name, meaning, example)) = headers {
        let header =
            json!({ "description": meaning, "schema": { "type": "string" }, "example": example });
        let all = response.entry("headers").or_insert_with(|| json!({}));
        all.as_object_mut().map(|all| all.insert(name.into(), header));
    }
    let content = response.entry("content").or_insert_with(|| json!({}));
    let at = |c: &&Code| json!({ "$ref": format!("#/components/examples/{}", c.code) });
    let examples: Map<String, Value> = codes.iter().map(|c| (c.code.to_owned(), at(c))).collect();
    if let Some(content) = content.as_object_mut() {
        let problem =
            json!({ "schema": { "$ref": "#/components/schemas/Problem" }, "examples": examples });
        content.insert("application/problem+json".into(), problem);
    }
}
