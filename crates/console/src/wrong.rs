//! How "no" and "broken" look: a page that says what to do. What is not yours looks like what is
//! not there.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use comity_app::Failure;
use comity_app::limits::TooOften;
use comity_domain::refusal::{Class, Refusal};

use crate::assets;

/// Why there is no page.
#[derive(Debug)]
pub enum Wrong {
    /// Nobody is signed in.
    SignIn {
        /// Where to go on afterwards.
        back: String,
    },
    /// The browser came from elsewhere and left its cookie at home.
    OnceMore {
        /// The same address.
        back: String,
    },
    /// This needs a sign-in of the last five minutes, or a stronger one.
    Fresh {
        /// Where to go on afterwards.
        back: String,
    },
    /// A rule says no.
    Refused(Refusal),
    /// The form is not one of this sign-in's pages.
    ForeignForm,
    /// The form cannot be read.
    Form(String),
    /// Too often.
    TooOften {
        /// When to come again.
        seconds: u64,
    },
    /// This node cannot confirm that it is current.
    NotCurrent,
    /// Nothing happened; try again.
    Unavailable,
    /// It happened, or not.
    Unknown,
    /// The operator has to resolve a restore.
    Guarded,
    /// Something is broken.
    Broken(String),
}

impl Wrong {
    /// Nothing here.
    pub fn not_found() -> Self {
        Self::Refused(Refusal::NotFound)
    }

    /// A sign-in that is too old leads to the page that renews it, and back to `back`.
    pub fn or_fresh(self, back: impl Into<String>) -> Self {
        match self {
            Self::Refused(Refusal::FreshSignIn | Refusal::StrongerSignIn) => {
                Self::Fresh { back: back.into() }
            }
            other => other,
        }
    }

    /// The refusal, if a rule said no.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::SignIn { .. } | Self::Fresh { .. } => StatusCode::SEE_OTHER,
            Self::OnceMore { .. } => StatusCode::OK,
            Self::Refused(refusal) => status(refusal),
            Self::ForeignForm => StatusCode::FORBIDDEN,
            Self::Form(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooOften { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NotCurrent | Self::Unavailable | Self::Unknown | Self::Guarded => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn words(&self) -> (&'static str, String) {
        match self {
            Self::SignIn { .. } | Self::Fresh { .. } | Self::OnceMore { .. } => {
                ("One moment", String::new())
            }
            Self::Refused(Refusal::NotFound) => (
                "There is nothing here",
                "Either there is no such page, or it is not yours to see.".into(),
            ),
            Self::Refused(refusal) => ("This cannot be done", refusal.sentence()),
            Self::ForeignForm => (
                "This form is out of date",
                "It was not sent from a page of your present sign-in, so nothing was done. Open the page again \
                 and send it once more."
                    .into(),
            ),
            Self::Form(why) => ("The form could not be read", format!("Nothing was done. {why}")),
            Self::TooOften { seconds } => (
                "Too many tries",
                format!("Nothing was done. Try again in {}.", wait(*seconds)),
            ),
            Self::NotCurrent => (
                "Comity cannot answer just now",
                "This server cannot confirm that what it knows is current, so it answers nothing. Nothing was \
                 done; try again in a moment."
                    .into(),
            ),
            Self::Unavailable => {
                ("Comity is busy", "Nothing was done; try again in a moment.".into())
            }
            Self::Unknown => (
                "Look before you try again",
                "The connection to the database broke at the wrong moment: it was done, or not. Open the page \
                 again to see which."
                    .into(),
            ),
            Self::Guarded => (
                "Closed after a restore",
                "The log is shorter than it was. Nothing is answered with yes until the operator has resolved \
                 it."
                    .into(),
            ),
            Self::Broken(_) => (
                "Something is broken",
                "It is in the server's log. Nothing that you see here was changed by it.".into(),
            ),
        }
    }

    /// As a page that knows nothing of who is looking.
    pub fn into_response_plain(self) -> Response {
        let status = self.status();
        let (title, text) = self.words();
        let again = match &self {
            Self::OnceMore { back } => Some(local(back)),
            _ => None,
        };
        let page = Page {
            title,
            text: &text,
            again: again.as_deref(),
            css: assets::address("console.css"),
        };
        let mut response =
            (status, Html(page.render().unwrap_or_else(|_| title.into()))).into_response();
        if let Self::TooOften { seconds } = self {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A wait as people say it, never too short.
fn wait(seconds: u64) -> String {
    match seconds {
        1 => "1 second".into(),
        ..=90 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.div_ceil(60)),
    }
}

/// The status for a refusal.
pub fn status(refusal: &Refusal) -> StatusCode {
    match refusal.class() {
        Class::Missing => StatusCode::NOT_FOUND,
        Class::Forbidden => StatusCode::FORBIDDEN,
        Class::Unauthenticated => StatusCode::UNAUTHORIZED,
        Class::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        Class::Conflict => StatusCode::CONFLICT,
        Class::Precondition => StatusCode::PRECONDITION_FAILED,
        Class::Unconditional => StatusCode::PRECONDITION_REQUIRED,
    }
}

/// The field that is wrong and a sentence about it, if it is one field of a form.
pub fn field(refusal: &Refusal) -> Option<(String, String)> {
    let Refusal::Invalid { field, why } = refusal else { return None };
    let said = if why.starts_with('"') || why.starts_with("at ") { "" } else { "It " };
    let said = format!("{said}{why}.");
    let mut letters = said.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    Some(((*field).to_owned(), first + letters.as_str()))
}

#[derive(Template)]
#[template(path = "wrong.html")]
struct Page<'p> {
    title: &'static str,
    text: &'p str,
    /// Where to go by itself.
    again: Option<&'p str>,
    css: String,
}

/// An address of the console, and nothing else: what came in a query never leads elsewhere.
pub fn local(back: &str) -> String {
    let plain = back.bytes().all(|b| (0x21..0x7f).contains(&b) && b != b'\\');
    let ours = back == "/console" || back.starts_with("/console/") || back.starts_with("/console?");
    // A browser goes up where a segment is `..`, also where its dots are encoded.
    let path = back.split('?').next().unwrap_or_default().to_ascii_lowercase().replace("%2e", ".");
    let stays = !back.contains("//") && !path.contains("/.");
    if plain && ours && stays { back.to_owned() } else { "/console".to_owned() }
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => Self::Refused(refusal),
            Failure::Unavailable(_) => Self::Unavailable,
            Failure::Unknown => Self::Unknown,
            Failure::Guarded => Self::Guarded,
            Failure::TooOften { seconds, .. } => Self::TooOften { seconds },
            Failure::Broken(why) => Self::Broken(why),
        }
    }
}

impl From<TooOften> for Wrong {
    fn from(no: TooOften) -> Self {
        Self::TooOften { seconds: no.seconds() }
    }
}

impl From<Refusal> for Wrong {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<askama::Error> for Wrong {
    fn from(error: askama::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

impl IntoResponse for Wrong {
    fn into_response(self) -> Response {
        let to = |page: &str, back: &str| {
            let query = serde_html_form::to_string([("back", local(back))]).unwrap_or_default();
            Redirect::to(&format!("/console/{page}?{query}")).into_response()
        };
        match self {
            Self::SignIn { back } => to("sign-in", &back),
            Self::Refused(Refusal::CallerRevoked) => to("sign-in", "/console"),
            Self::Fresh { back } => to("step-up", &back),
            Self::Refused(Refusal::FreshSignIn) => to("step-up", "/console"),
            other => {
                if let Self::Broken(why) = &other {
                    tracing::error!(why, "a page could not be made");
                }
                other.into_response_plain()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t9_a_way_back_never_leads_elsewhere() {
        assert_eq!(local("/console/o/org_x?tab=a&n=1"), "/console/o/org_x?tab=a&n=1");
        for bad in [
            "https://evil.example",
            "//evil.example",
            "/console//evil.example",
            "/console/../v1/me",
            "/console/%2E%2e/v1/me",
            "/console/o/.%2e/..",
            "/\\evil.example",
            "/console/\\evil",
            "/consolevil",
            "/v1/me",
            "javascript:alert(1)",
            "/console/\r\nset-cookie: a=b",
            "",
        ] {
            assert_eq!(local(bad), "/console", "{bad:?}");
        }
    }
}
