//! Signing in, and proving it anew, by a passkey. The script asks the authenticator and sends its
//! answer as a form of ours.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use comity_app::Failure;
use comity_app::app::Shown;
use comity_domain::command::Door;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::parts::{Tone, banner};
use crate::routes::Console;
use crate::sign_in::{sign_in_page, step_up_again};
use crate::visitor::{self, Counted, Open, Sent};
use crate::wrong::{Wrong, local};

/// What the authenticator is asked.
#[derive(Debug, Serialize)]
pub struct Asked {
    ceremony: String,
    options: Value,
}

/// Begins: for whoever it is, which the authenticator knows.
pub async fn begin(
    State(console): State<Console>,
    Counted(beside): Counted,
) -> Result<Json<Asked>, Wrong> {
    beside.limits.sign_in_step(beside.from)?;
    let begun = console.app.begin_passkey_sign_in()?;
    Ok(Json(Asked { ceremony: begun.ceremony.reveal().to_owned(), options: begun.options }))
}

/// What it answered.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    ceremony: String,
    /// The credential, as its `toJSON()` writes it (WebAuthn level 3).
    passkey: String,
    #[serde(default)]
    back: String,
}

const WRONG: &str = "That passkey is not known here, or it took too long. Try once more.";

/// Signs in. Whatever was wrong, it looks the same (T26).
pub async fn sign_in(
    State(console): State<Console>,
    Counted(beside): Counted,
    Open(form): Open<Answer>,
) -> Result<Response, Wrong> {
    beside.limits.sign_in_step(beside.from)?;
    let answer = serde_json::from_str(&form.passkey).unwrap_or(Value::Null);
    match console.app.finish_passkey_sign_in(Door::Console, &form.ceremony, answer).await {
        Ok(signed) => {
            let mut response = Redirect::to(&local(&form.back)).into_response();
            visitor::let_in(&console.app, &mut response, signed.token.reveal());
            Ok(response)
        }
        Err(Failure::Refused(_)) => {
            let page = sign_in_page(&console, &form.back, "", Some(banner(Tone::Bad, WRONG)))?;
            Ok((StatusCode::UNAUTHORIZED, Html(page)).into_response())
        }
        Err(other) => Err(other.into()),
    }
}

/// Proves it anew: a sign-in of now takes the place of the one that was (T22).
pub async fn step_up(
    State(console): State<Console>,
    Sent { who, form }: Sent<Answer>,
) -> Result<Response, Wrong> {
    let answer = serde_json::from_str(&form.passkey).unwrap_or(Value::Null);
    let shown = Shown::Passkey { ceremony: form.ceremony, answer };
    match console.app.step_up(&who.caller, shown).await {
        Ok(signed) => {
            let mut response = Redirect::to(&local(&form.back)).into_response();
            visitor::let_in(&console.app, &mut response, signed.token.reveal());
            Ok(response)
        }
        Err(Failure::Refused(_)) => {
            let page = step_up_again(&console, &who, &form.back, Some(WRONG))?;
            Ok((StatusCode::UNAUTHORIZED, page).into_response())
        }
        Err(other) => Err(other.into()),
    }
}
