//! How an application proves itself: by one of its secrets, or by a key of its own.
//!
//! `client_secret_basic` and `client_secret_post` (RFC 6749, section 2.3.1): `client_id` is the
//! application's code, the secret one of its keys for decide. `private_key_jwt` (RFC 7523): a
//! statement that one of its registered keys signed.

use axum::body::Bytes;
use axum::http::header;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use comity_app::App;
use comity_app::tokens::{self, Kind};
use comity_domain::application::KeyUse;
use comity_domain::command::{Caller, Door, Principal};
use comity_domain::ids::ApplicationId;
use comity_domain::may;

use super::Wrong;
use super::form::{Form, pairs};

const STATEMENT: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Nobody said.
    Nobody,
    /// Somebody who gave a name and no proof.
    Named(ApplicationId),
    /// An application that has proven itself.
    Proven(ApplicationId),
}

impl Client {
    /// The application that proved itself.
    pub fn proven(self) -> Result<ApplicationId, Wrong> {
        match self {
            Self::Proven(application) => Ok(application),
            Self::Nobody | Self::Named(_) => Err(Wrong::client()),
        }
    }
}

/// Finds out who asks at the route `path`. What was shown has to be right, also where nothing has
/// to be shown.
pub async fn client(app: &App, form: &Form, path: &str) -> Result<Client, Wrong> {
    let found = prove(app, form, path).await;
    if found.as_ref().is_err_and(Wrong::is_of_the_client) {
        form.stranger()?;
    }
    found
}

async fn prove(app: &App, form: &Form, path: &str) -> Result<Client, Wrong> {
    let basic = basic(form).await?;
    let secret = form.get("client_secret");
    let statement = form.get("client_assertion");
    let shown = [basic.is_some(), secret.is_some(), statement.is_some()];
    if shown.iter().filter(|s| **s).count() > 1 {
        return Err(Wrong::request("The client proves itself in two ways; choose one."));
    }
    let named = form.get("client_id");
    if let Some((name, secret)) = basic {
        if named.is_some_and(|named| named != name) {
            return Err(Wrong::client());
        }
        return by_secret(app, &name, &secret).map(Client::Proven);
    }
    if let Some(secret) = secret {
        let name = named.ok_or_else(Wrong::client)?;
        return by_secret(app, name, secret).map(Client::Proven);
    }
    if let Some(statement) = statement {
        if form.get("client_assertion_type") != Some(STATEMENT) {
            return Err(Wrong::request(format!("client_assertion_type must be {STATEMENT}.")));
        }
        form.may_be_heard()?;
        let (issuer, here) = (app.issuer(), format!("{}{path}", app.issuer()));
        let endpoint = format!("{issuer}/oauth/token");
        let proven = app.assertions().prove(
            &app.state(),
            app.now(),
            statement,
            named,
            &[issuer, &endpoint, &here],
        );
        return proven.map(Client::Proven).map_err(|why| {
            tracing::debug!(%why, "a client's statement was refused");
            Wrong::client()
        });
    }
    match named {
        None => Ok(Client::Nobody),
        Some(name) => {
            let state = app.state();
            let found = state.applications.iter().find(|(_, a)| *a.code == *name);
            found.map(|(id, _)| Client::Named(id)).ok_or_else(Wrong::client)
        }
    }
}

/// Name and secret of `Authorization: Basic`, each form-encoded before they were joined.
async fn basic(form: &Form) -> Result<Option<(String, String)>, Wrong> {
    let mut all = form.headers.get_all(header::AUTHORIZATION).iter();
    let Some(first) = all.next() else {
        return Ok(None);
    };
    if all.next().is_some() {
        return Err(Wrong::client());
    }
    let text = first.to_str().unwrap_or_default();
    let (scheme, code) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("basic") {
        return Ok(None); // another scheme proves no client
    }
    let plain = STANDARD.decode(code.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let joined = plain.ok_or_else(Wrong::client)?;
    let (name, secret) = joined.split_once(':').ok_or_else(Wrong::client)?;
    if [name, secret].iter().any(|part| part.contains(['&', '='])) {
        return Err(Wrong::client());
    }
    let read = pairs(Bytes::from(format!("name={name}&secret={secret}"))).await?;
    match <[(String, String); 2]>::try_from(read) {
        Ok([(_, name), (_, secret)]) => Ok(Some((name, secret))),
        Err(_) => Err(Wrong::client()),
    }
}

fn by_secret(app: &App, name: &str, secret: &str) -> Result<ApplicationId, Wrong> {
    let state = app.state();
    let found = || {
        let (kind, digest) = tokens::parse(secret)?;
        let key = state.key_by_digest(digest).filter(|_| kind == Kind::Key)?;
        let known = state.keys.get(key).filter(|k| k.usage == KeyUse::Decide)?;
        let application = known.application?;
        let fits = *state.applications.get(application)?.code == *name;
        let caller = Caller { principal: Principal::Key(key), door: Door::Token };
        let counts = may::authentic(&state, &caller, app.now()).is_ok();
        (fits && counts).then_some(application)
    };
    found().ok_or_else(Wrong::client)
}
