//! The first run: a log on which nobody holds a key yet is claimed once, by whoever reads the link
//! that the start printed at the terminal.
//!
//! The link is good for a day and for one claim. Each start on a log that is still unclaimed makes a
//! new one, and the old one opens nothing any more. The first key, however it was made, ends it.

use crate::application::KeyUse;
use crate::command::{Caller, FreshCode, Principal};
use crate::draft::{Draft, SideWrite};
use crate::event::Event;
use crate::ids::{Digest32, KeyId};
use crate::may;
use crate::organisation;
use crate::person::{self, PortalRole};
use crate::refusal::Refusal;
use crate::state::State;
use crate::text::{self, Lookup};
use crate::time::{DAY, Instant};

/// How long a link can be used.
pub const LINK_LASTS: i64 = DAY;

/// What a claim makes, in one row: the first organisation, its first Admin with a password, a key
/// for operate and one for provision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The digest of the link's token.
    pub link: Digest32,
    /// The builder's identifier of the organisation.
    pub organisation_id: String,
    /// Its name.
    pub organisation_name: String,
    /// Its customer ID.
    pub code: FreshCode,
    /// The builder's identifier of the Admin.
    pub admin_id: String,
    /// Their name.
    pub admin_name: String,
    /// Their e-mail address. Whoever holds the link runs the installation, so it counts as proven.
    pub admin_email: String,
    /// Their password, as a PHC string.
    pub password_hash: String,
    /// The digest of the key for operate.
    pub operate: Digest32,
    /// The digest of the key for provision.
    pub provision: Digest32,
}

/// Whether nobody has ever held a key here.
#[must_use]
pub fn is_unclaimed(state: &State) -> bool {
    state.keys.is_empty()
}

/// Whether a link with this digest would be taken at `now`.
#[must_use]
pub fn opens(state: &State, link: Digest32, now: Instant) -> bool {
    let open = state.first_run.is_some_and(|(digest, until)| digest == link && now < until);
    open && is_unclaimed(state)
}

/// Makes the link; an older one opens nothing from now on.
pub(crate) fn offer(d: &mut Draft<'_>, caller: &Caller, digest: Digest32) -> Result<(), Refusal> {
    may::system(caller)?;
    if !is_unclaimed(&d.state) {
        return Err(Refusal::WrongState("claimed already"));
    }
    let until = d.now().plus(LINK_LASTS);
    d.emit(Event::FirstRunOffered { digest, until });
    Ok(())
}

/// Claims the installation. A link that is unknown, used, replaced or too old looks like none.
pub(crate) fn claim(d: &mut Draft<'_>, caller: &Caller, claim: Claim) -> Result<(), Refusal> {
    if caller.principal != Principal::Anonymous || !opens(&d.state, claim.link, d.now()) {
        return Err(Refusal::NotFound);
    }
    let external = organisation::external_id("organisation_id", &claim.organisation_id)?;
    let name = text::name("organisation_name", &claim.organisation_name)?;
    let admin = text::reference("admin_id", &claim.admin_id)?;
    let admin_name = text::name("admin_name", &claim.admin_name)?;
    let email = text::email("admin_email", &claim.admin_email)?;
    if d.state.words.find(Lookup::Organisation, &external).is_some() {
        return Err(Refusal::Taken("organisation_id"));
    }
    let (organisation, unit) = organisation::make(d, external, name, claim.code);
    let role = Some(PortalRole::Admin);
    let person = person::join(d, organisation, admin, admin_name, email, true, unit, role)?;
    d.emit(Event::PasswordSet { person });
    d.beside(SideWrite::Credential(person, claim.password_hash));
    for (usage, digest) in [(KeyUse::Operate, claim.operate), (KeyUse::Provision, claim.provision)]
    {
        let key = KeyId(d.id());
        d.emit(Event::KeyMade { key, usage, application: None, digest });
    }
    Ok(())
}
