//! Webhooks: endpoints of the platform or of an organisation that are told what happened.
//!
//! A webhook is told what its owner may read of the log, and nothing else. Its address and its
//! description are words. It has one secret, and for a day after a rotation the one before too.
//! That it was made, changed, stopped or removed is on record for its owner, so nobody turns a
//! notice off unseen (T57).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::command::{Caller, FreshSecret, WebhookSpec};
use crate::draft::{Draft, SideWrite};
use crate::event::{Event, W};
use crate::event_name;
use crate::ids::{Digest32, OrganisationId, WebhookId};
use crate::may::{self, Action, Thing};
use crate::organisation::Standing;
use crate::refusal::Refusal;
use crate::state::State;
use crate::text::{self, Subject, WordId};
use crate::time::{DAY, Instant};

/// How many an owner has at most.
pub const MOST: usize = 10;
/// How long the secret before the last rotation still signs.
pub const OLD_SECRET_SIGNS: i64 = DAY;
/// The longest address, in characters.
const MOST_URL: usize = 1_000;

/// An endpoint that is told what happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Whose it is; the platform's without one.
    pub owner: Option<OrganisationId>,
    /// Where it is.
    pub url: WordId,
    /// What it is for.
    pub description: Option<WordId>,
    /// The names of the events that it is told of; all that its owner reads without any.
    pub kinds: Option<Vec<Arc<str>>>,
    /// Whether it is told.
    pub standing: Telling,
    /// The digest of the secret that signs.
    pub secret: Digest32,
    /// The one before, and until when it signs too.
    pub old_secret: Option<(Digest32, Instant)>,
    /// When it was made.
    pub made: Instant,
}

/// Whether a webhook is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Telling {
    /// It is.
    Active,
    /// Its owner has turned it off.
    Off,
    /// It did not take anything for days: Comity turned it off.
    Failing,
    /// It said itself that it is gone (HTTP 410).
    Gone,
}

/// What is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Redelivery {
    /// One event: its row, and its place among what the owner reads of that row.
    One(u64, u32),
    /// Every dead letter of what happened at or after this.
    DeadSince(Instant),
}

impl Webhook {
    /// Whether anything is sent to it now.
    #[must_use]
    pub fn is_told(&self, state: &State) -> bool {
        self.standing == Telling::Active
            && self.owner.is_none_or(|o| state.organisation_is_active(o))
    }

    /// Whether it is told of this event; of its own test always.
    #[must_use]
    pub fn wants(&self, own: WebhookId, event: &Event) -> bool {
        if let Event::WebhookTested { webhook } = event {
            return *webhook == own;
        }
        let name = event.name();
        self.kinds.as_ref().is_none_or(|kinds| kinds.iter().any(|k| **k == *name))
    }

    /// The digests of the secrets that sign at `now`, the newest first.
    pub fn secrets(&self, now: Instant) -> impl Iterator<Item = Digest32> {
        let old = self.old_secret.filter(|(_, until)| now < *until).map(|(digest, _)| digest);
        std::iter::once(self.secret).chain(old)
    }
}

/// Names an endpoint.
pub(crate) fn make(
    d: &mut Draft<'_>,
    caller: &Caller,
    owner: Option<OrganisationId>,
    spec: WebhookSpec,
    secret: FreshSecret,
) -> Result<(), Refusal> {
    let described = allowed(d, caller, owner)?.check(spec)?;
    if d.state.webhooks_of(owner).count() >= MOST {
        return Err(Refusal::WrongState("there are ten webhooks already; remove one first"));
    }
    let webhook = WebhookId(d.id());
    let (url, description) = words(d, owner, webhook, &described);
    let (kinds, digest) = (described.kinds, secret.digest);
    d.emit(Event::WebhookMade { webhook, owner, url, description, kinds, digest });
    let sealed = secret.sealed;
    d.beside(SideWrite::Secret { recipient: webhook.0, digest, sealed, keep: None });
    Ok(())
}

/// Gives it another address, description or choice of kinds, and turns it on or off.
pub(crate) fn change(
    d: &mut Draft<'_>,
    caller: &Caller,
    owner: Option<OrganisationId>,
    webhook: WebhookId,
    spec: WebhookSpec,
    active: bool,
) -> Result<(), Refusal> {
    let allowed = allowed(d, caller, owner)?;
    let known = own(&d.state, owner, webhook)?.clone();
    let described = allowed.check(spec)?;
    let text = |w: Option<WordId>| w.and_then(|w| d.state.words.get(w));
    let same = text(Some(known.url)) == Some(&*described.url)
        && text(known.description) == described.description.as_deref()
        && known.kinds == described.kinds;
    if !same {
        let (url, description) = words(d, owner, webhook, &described);
        let kinds = described.kinds;
        d.emit(Event::WebhookChanged { webhook, url, description, kinds });
    }
    let standing = match (active, known.standing) {
        (true, _) => Telling::Active,
        (false, Telling::Active) => Telling::Off,
        (false, off) => off,
    };
    if standing != known.standing {
        d.emit(Event::WebhookStanding { webhook, standing });
    }
    Ok(())
}

/// A new secret. The one before signs too for a day; one before that opens nothing any more.
pub(crate) fn rotate(
    d: &mut Draft<'_>,
    caller: &Caller,
    owner: Option<OrganisationId>,
    webhook: WebhookId,
    secret: FreshSecret,
) -> Result<(), Refusal> {
    allowed(d, caller, owner)?;
    let keep = Some(own(&d.state, owner, webhook)?.secret);
    let (digest, old_until) = (secret.digest, d.now().plus(OLD_SECRET_SIGNS));
    d.emit(Event::WebhookSecretRotated { webhook, digest, old_until });
    d.beside(SideWrite::Secret { recipient: webhook.0, digest, sealed: secret.sealed, keep });
    Ok(())
}

/// Has it told that this is a test.
pub(crate) fn test(
    d: &mut Draft<'_>,
    caller: &Caller,
    owner: Option<OrganisationId>,
    webhook: WebhookId,
) -> Result<(), Refusal> {
    allowed(d, caller, owner)?;
    told(&d.state, owner, webhook)?;
    d.emit(Event::WebhookTested { webhook });
    Ok(())
}

/// Has something sent again.
pub(crate) fn redeliver(
    d: &mut Draft<'_>,
    caller: &Caller,
    owner: Option<OrganisationId>,
    webhook: WebhookId,
    what: Redelivery,
) -> Result<(), Refusal> {
    allowed(d, caller, owner)?;
    told(&d.state, owner, webhook)?;
    d.emit(Event::WebhookRedelivered { webhook, what });
    d.beside(SideWrite::Requeue { recipient: webhook.0, what });
    Ok(())
}

/// Removes it, with its secrets and what waits for it.
pub(crate) fn remove(
    d: &mut Draft<'_>,
    caller: &Caller,
    owner: Option<OrganisationId>,
    webhook: WebhookId,
) -> Result<(), Refusal> {
    allowed(d, caller, owner)?;
    own(&d.state, owner, webhook)?;
    end(d, webhook);
    Ok(())
}

/// Comity turns off what takes nothing.
pub(crate) fn stop(
    d: &mut Draft<'_>,
    caller: &Caller,
    webhook: WebhookId,
    standing: Telling,
) -> Result<(), Refusal> {
    may::system(caller)?;
    let known = d.state.webhooks.get(webhook).ok_or(Refusal::NotFound)?;
    if known.standing == Telling::Active && standing != Telling::Active {
        d.emit(Event::WebhookStanding { webhook, standing });
    }
    Ok(())
}

/// Lets it go, whoever decided it.
pub(crate) fn end(d: &mut Draft<'_>, webhook: WebhookId) {
    let Some(owner) = d.state.webhooks.get(webhook).map(|w| w.owner) else {
        return;
    };
    d.emit_to(Event::WebhookRemoved { webhook }, owner.into_iter().collect());
    d.beside(SideWrite::Forget { recipient: webhook.0 });
}

// -- what several of them ask -----------------------------------------------------------------------

/// The proof that the caller may manage the owner's webhooks.
struct Allowed;

/// What a webhook is to be, checked.
struct Described {
    url: Arc<str>,
    description: Option<Arc<str>>,
    kinds: Option<Vec<Arc<str>>>,
}

fn allowed(
    d: &mut Draft<'_>,
    caller: &Caller,
    owner: Option<OrganisationId>,
) -> Result<Allowed, Refusal> {
    let Some(organisation) = owner else {
        may::check(&d.state, caller, Action::ManagePlatformWebhooks, Thing::platform(), d.now())?;
        return Ok(Allowed);
    };
    let thing = Thing::organisation(organisation);
    may::check(&d.state, caller, Action::ManageWebhooks, thing, d.now())?;
    let known = d.state.organisations.get(organisation).ok_or(Refusal::NotFound)?;
    if known.standing == Standing::Closed {
        return Err(Refusal::NotActive("organisation"));
    }
    d.acting_for(organisation);
    Ok(Allowed)
}

impl Allowed {
    /// Nothing is checked for who may not.
    fn check(&self, spec: WebhookSpec) -> Result<Described, Refusal> {
        let description = spec.description.filter(|t| !t.trim().is_empty());
        let description = description.map(|t| text::prose("description", &t)).transpose()?;
        Ok(Described { url: url("url", &spec.url)?, description, kinds: kinds(spec.kinds)? })
    }
}

/// The shape only: where it leads is looked at when something is sent.
pub(crate) fn url(field: &'static str, text: &str) -> Result<Arc<str>, Refusal> {
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    let scheme = text.starts_with("https://") || text.starts_with("http://");
    if plain && scheme && text.len() <= MOST_URL {
        Ok(text.into())
    } else {
        let why = format!("must be an https address of at most {MOST_URL} ASCII characters");
        Err(Refusal::invalid(field, why))
    }
}

fn kinds(wanted: Option<Vec<String>>) -> Result<Option<Vec<Arc<str>>>, Refusal> {
    let Some(wanted) = wanted else {
        return Ok(None);
    };
    let mut kinds = Vec::with_capacity(wanted.len().min(event_name::ALL.len()));
    for name in wanted {
        let known = event_name::known(&name).ok_or_else(|| {
            let shown: String = name.chars().take(60).collect();
            Refusal::invalid("events", format!("holds {shown:?}, which is no event"))
        })?;
        kinds.push(known);
    }
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.is_empty() {
        return Err(Refusal::invalid("events", "must name an event, or be left out for all"));
    }
    Ok(Some(kinds.into_iter().map(Arc::from).collect()))
}

fn own(
    state: &State,
    owner: Option<OrganisationId>,
    webhook: WebhookId,
) -> Result<&Webhook, Refusal> {
    state.webhooks.get(webhook).filter(|w| w.owner == owner).ok_or(Refusal::NotFound)
}

fn told(state: &State, owner: Option<OrganisationId>, webhook: WebhookId) -> Result<(), Refusal> {
    if own(state, owner, webhook)?.is_told(state) {
        Ok(())
    } else {
        Err(Refusal::WrongState("the webhook is turned off; turn it on first"))
    }
}

fn words(
    d: &mut Draft<'_>,
    owner: Option<OrganisationId>,
    webhook: WebhookId,
    described: &Described,
) -> (W, Option<W>) {
    let mut word = |text: &Arc<str>| match owner {
        Some(o) => d.word_with(Subject::Webhook(webhook), Subject::Organisation(o), text.clone()),
        None => d.word(Subject::Webhook(webhook), text.clone()),
    };
    (word(&described.url), described.description.as_ref().map(word))
}
