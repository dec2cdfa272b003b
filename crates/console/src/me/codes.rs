//! Codes of an app (TOTP, RFC 6238) and the recovery codes that stand in for them. A secret is drawn
//! once, on the page that begins; a page that comes after a mistake does not show it again.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use comity_app::app::factors::{RecoveryCodes, TotpSetup};
use comity_domain::command::Command;
use comity_domain::refusal::Refusal;
use qrcode::{EcLevel, QrCode};
use serde::Deserialize;

use super::{HERE, manages, on_the_form, wrong_in};
use crate::dialog::{Dialog, no_dialog};
use crate::parts::{Banner, Field, Tone, banner};
use crate::routes::Console;
use crate::shell::{self, Section, Shell};
use crate::sign_in::Bare;
use crate::visitor::{Sent, Visitor};
use crate::wrong::Wrong;

const OWN: &str = "/console/me/codes";

/// A QR code as the path of its dark squares, each of side 1.
struct Drawn {
    /// How many squares a side has, with the quiet zone of four.
    side: usize,
    path: String,
}

fn drawn(text: &str) -> Option<Drawn> {
    const QUIET: usize = 4;
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let width = code.width();
    let dark = code.to_colors().into_iter().enumerate().filter(|(_, c)| *c == qrcode::Color::Dark);
    let path =
        dark.map(|(at, _)| format!("M{} {}h1v1h-1z", at % width + QUIET, at / width + QUIET));
    Some(Drawn { side: width + 2 * QUIET, path: path.collect() })
}

/// What an app is given: shown once.
struct Secret {
    picture: Option<Drawn>,
    /// In groups of four.
    text: String,
}

#[derive(Template)]
#[template(path = "me_codes.html")]
struct SetUp {
    shell: Shell,
    banner: Option<Banner>,
    secret: Option<Secret>,
    setup: String,
    code: Field,
}

fn set_up(
    console: &Console,
    who: &Visitor,
    begun: Result<&TotpSetup, (&str, &Wrong)>,
) -> Result<Html<String>, Wrong> {
    let (wrong, above) = match begun {
        Ok(_) => (None, None),
        Err((_, no)) => wrong_in(no, &["code"]),
    };
    let page = SetUp {
        shell: Shell::personal(console, who, Section::Me, "Set up codes"),
        banner: above.map(|text| banner(Tone::Bad, text)),
        secret: begun
            .ok()
            .map(|begun| Secret { picture: drawn(&begun.uri), text: grouped(&begun.secret) }),
        setup: match begun {
            Ok(begun) => begun.setup.reveal().to_owned(),
            Err((setup, _)) => setup.to_owned(),
        },
        code: Field::new("code", "Code")
            .hint("The six digits that the app shows now.")
            .auto("one-time-code")
            .most(10)
            .wrong(wrong.as_ref()),
    };
    Ok(Html(page.render()?))
}

fn grouped(secret: &str) -> String {
    let letters: Vec<char> = secret.chars().collect();
    letters.chunks(4).map(|four| four.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}

/// Begins to set up an app.
pub async fn begin(State(console): State<Console>, who: Visitor) -> Result<Response, Wrong> {
    manages(&console, &who, OWN)?;
    match console.app.begin_totp(&who.caller).map_err(Wrong::from) {
        Ok(begun) => Ok(set_up(&console, &who, Ok(&begun))?.into_response()),
        Err(Wrong::Refused(no @ Refusal::WrongState(_))) => {
            let shell = Shell::personal(&console, &who, Section::Me, "Set up codes");
            no_dialog(shell, "Codes are set up already", &no, HERE)
        }
        Err(other) => Err(other.or_fresh(OWN)),
    }
}

/// A first code.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct First {
    setup: String,
    code: String,
}

/// Completes it.
pub async fn complete(
    State(console): State<Console>,
    Sent { who, form }: Sent<First>,
) -> Result<Response, Wrong> {
    let prepared = console.app.prepare_totp(&who.caller, &form.setup, &form.code);
    let done = match prepared {
        Ok(prepared) => who.run(&console.app, prepared.command).await.map(|_| prepared.shown),
        Err(no) => Err(no.into()),
    };
    match done {
        Ok(codes) => Ok(shown_once(&console, &who, "Codes are set up", &codes)?.into_response()),
        Err(no) if on_the_form(&no) => {
            let page = set_up(&console, &who, Err((&form.setup, &no)))?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
        Err(no) => Err(no.or_fresh(OWN)),
    }
}

#[derive(Template)]
#[template(path = "me_recovery.html")]
struct Recovery<'c> {
    shell: Shell,
    title: &'c str,
    codes: &'c [String],
}

fn shown_once(
    console: &Console,
    who: &Visitor,
    title: &str,
    codes: &RecoveryCodes,
) -> Result<Html<String>, Wrong> {
    let shell = Shell::personal(console, who, Section::Me, title);
    Ok(Html(Recovery { shell, title, codes: &codes.0 }.render()?))
}

fn asks(
    console: &Console,
    who: &Visitor,
    title: &str,
    will: &[&str],
    to: &str,
    button: (&'static str, &'static str),
) -> Result<Html<String>, Wrong> {
    let dialog = Dialog {
        shell: Shell::personal(console, who, Section::Me, title),
        title: title.to_owned(),
        banner: None,
        will: will.iter().map(|line| (*line).to_owned()).collect(),
        hidden: Vec::new(),
        fields: Vec::new(),
        to: to.to_owned(),
        button: button.0,
        tone: button.1,
        back: HERE.into(),
    };
    dialog.page()
}

const REMOVE: &str = "/console/me/codes/remove";
const RECOVERY: &str = "/console/me/recovery-codes";

/// Asks before codes are taken away.
pub async fn remove_page(
    State(console): State<Console>,
    who: Visitor,
) -> Result<Html<String>, Wrong> {
    manages(&console, &who, REMOVE)?;
    let will = [
        "From then on the password alone signs you in.",
        "The recovery codes open nothing any more.",
    ];
    asks(&console, &who, "Sign in without codes?", &will, REMOVE, ("Remove codes", "danger"))
}

/// Takes codes away.
pub async fn remove(
    State(console): State<Console>,
    Sent { who, .. }: Sent<Bare>,
) -> Result<Response, Wrong> {
    let done = who.run(&console.app, Command::RemoveTotp).await;
    done.map_err(|no| no.or_fresh(REMOVE))?;
    Ok(shell::done(HERE, "Codes are removed. The password alone signs you in."))
}

/// Asks before the old recovery codes go.
pub async fn recovery_page(
    State(console): State<Console>,
    who: Visitor,
) -> Result<Html<String>, Wrong> {
    manages(&console, &who, RECOVERY)?;
    let will = ["You are shown ten new codes, once.", "The old ones open nothing any more."];
    asks(&console, &who, "Make new recovery codes?", &will, RECOVERY, ("Make new codes", "primary"))
}

/// Makes new recovery codes and shows them, once.
pub async fn recovery(
    State(console): State<Console>,
    Sent { who, .. }: Sent<Bare>,
) -> Result<Html<String>, Wrong> {
    let prepared = console.app.prepare_recovery_codes(&who.caller).map_err(Wrong::from);
    let prepared = prepared.map_err(|no| no.or_fresh(RECOVERY))?;
    let done = who.run(&console.app, prepared.command).await;
    done.map_err(|no| no.or_fresh(RECOVERY))?;
    shown_once(&console, &who, "Your new recovery codes", &prepared.shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_drawn_with_its_quiet_zone_and_shown_in_groups() {
        let drawn =
            drawn("otpauth://totp/Comity:ana%40marina.example?secret=GEZDGNBVGY3TQOJQ").unwrap();
        assert!(drawn.path.starts_with("M4 4h1v1h-1z"), "the corner of the first finder");
        assert!((29 + 8..=45 + 8).contains(&drawn.side), "{}", drawn.side);
        assert_eq!(grouped("GEZDGNBVGY"), "GEZD GNBV GY");
    }
}
