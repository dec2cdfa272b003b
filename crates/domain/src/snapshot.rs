//! The state as bytes and back, and its hash.
//!
//! The bytes hold facts only: no word, and nothing that follows from other facts. Two states with
//! the same facts have the same bytes, so their SHA-256 is the *state hash*. Words are put back
//! from where they are stored; which ones are wanted follows from the facts, so that a word that
//! was erased is simply missing (T41) and no lookup can be slipped in.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet, Vector};
use serde::{Deserialize, Serialize};

use crate::application::{Application, Key, Policy};
use crate::assignment::Assignment;
use crate::event::Due;
use crate::factor::Factors;
use crate::grant::Grant;
use crate::halt::Halt;
use crate::ids::{
    AccountId, ApplicationId, Digest32, GrantId, HaltId, InvitationId, KeyId, LockId,
    OrganisationId, PersonId, RequestId, RoleId, SessionId, SignInId, StreamId, UnitId, WebhookId,
};
use crate::invitation::Invitation;
use crate::lock::Lock;
use crate::organisation::{Account, Organisation, Party, Standing, Unit};
use crate::person::{Member, Person, SignIn};
use crate::request::{Request, RequestState};
use crate::role::{Level, Role};
use crate::session::Session;
use crate::signing::SigningKey;
use crate::state::{Retire, State};
use crate::stream::Stream;
use crate::table::{Sets, Slot, Table};
use crate::text::{About, Lookup, Reference, Subject, WordId, Words};
use crate::time::Instant;
use crate::webhook::Webhook;

/// The version of these bytes. A change of any type below raises it; `tests/it/snapshot.rs` notices
/// one that was forgotten.
pub const FORMAT: u32 = 8;

/// Bytes that are no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAState;

/// Writes the facts down once, for both directions.
macro_rules! facts {
    ($($field:ident: $type:ty,)*; follows: $($derived:ident,)*) => {
        #[derive(Serialize)]
        struct Written<'a> { $($field: &'a $type,)* }

        #[derive(Deserialize)]
        struct Read { $($field: $type,)* }

        impl<'a> Written<'a> {
            fn of(state: &'a State) -> Self {
                // Every field, by name: a new one has to be either a fact or something that
                // `follow` makes again, and its words have to be among `references`.
                let State { $($field,)* $($derived: _,)* } = state;
                Self { $($field,)* }
            }
        }

        impl From<Read> for State {
            fn from(read: Read) -> Self {
                let mut state = Self::default();
                $(state.$field = read.$field;)*
                state
            }
        }
    };
}

facts! {
    seq: u64,
    at: Instant,
    policy: Policy,
    levels: OrdMap<Arc<str>, Vector<Level>>,
    applications: Table<ApplicationId, Application>,
    keys: Table<KeyId, Key>,
    first_run: Option<(Digest32, Instant)>,
    signing_keys: OrdMap<Digest32, SigningKey>,
    organisations: Table<OrganisationId, Organisation>,
    units: Table<UnitId, Unit>,
    accounts: Table<AccountId, Account>,
    roles: Table<RoleId, Role>,
    people: Table<PersonId, Person>,
    sign_ins: Table<SignInId, SignIn>,
    factors: OrdMap<PersonId, Factors>,
    requests: Table<RequestId, Request>,
    grants: Table<GrantId, Grant>,
    sessions: Table<SessionId, Session>,
    locks: Table<LockId, Lock>,
    halts: Table<HaltId, Halt>,
    webhooks: Table<WebhookId, Webhook>,
    streams: Table<StreamId, Stream>,
    invitations: Table<InvitationId, Invitation>,
    suppressed: OrdSet<Digest32>,
    invited: OrdSet<(PersonId, InvitationId)>,
    members: OrdMap<(OrganisationId, PersonId), Member>,
    past_members: OrdMap<(OrganisationId, PersonId), Instant>,
    assignments: OrdMap<(Slot, Slot), Assignment>,
    role_sets: Sets<RoleId>,
    account_sets: Sets<AccountId>,
    dealt: OrdSet<(PersonId, OrganisationId, OrganisationId)>,
    erased: OrdMap<Subject, u64>,
    partner_ids: OrdMap<Party, Digest32>,
    due: OrdSet<(Instant, Due)>,
    retire: OrdSet<(Instant, Retire)>,
    ;
    follows:
    words,
    names,
    memberships,
    assigned,
    customer_ids,
    partner_codes,
    key_digests,
    sign_in_digests,
    sign_ins_of,
    passkeys,
    session_tokens,
    enrolments,
    roles_by_code,
    accounts_of,
    linked,
    units_of,
    inactive_units,
    requests_to,
    requests_from,
    grants_by,
    grants_to,
    grants_with,
    auto_to,
    sessions_under,
    sessions_of,
    locks_on,
    halts_on,
    webhooks_of,
    invitations_to,
    invitations_from,
    invitations_by,
    invitations_of,
    invitation_tokens,
}

/// The facts of a state as bytes.
#[must_use]
pub fn write(state: &State) -> Vec<u8> {
    // Fails only for a sequence that does not know its length, and none is like that.
    postcard::to_allocvec(&Written::of(state)).unwrap_or_default()
}

/// The hash of a state with these bytes: SHA-256 over a label and the bytes.
#[must_use]
pub fn hash_of(bytes: &[u8]) -> Digest32 {
    use sha2::Digest as _;
    let mut hash = sha2::Sha256::new();
    hash.update(b"comity/state/");
    hash.update(FORMAT.to_be_bytes());
    hash.update(bytes);
    Digest32(hash.finalize().into())
}

/// The state hash: equal for equal facts at the same position, whatever words were erased.
#[must_use]
pub fn hash(state: &State) -> Digest32 {
    hash_of(&write(state))
}

/// Facts read back, without words and without what follows.
#[derive(Debug, Clone)]
pub struct Facts(State);

impl Facts {
    /// Reads what [`write()`] wrote. The bytes must come from a trusted place: what they say is taken
    /// as it is.
    ///
    /// # Errors
    /// [`NotAState`] for anything else.
    pub fn read(bytes: &[u8]) -> Result<Self, NotAState> {
        match postcard::take_from_bytes::<Read>(bytes) {
            Ok((read, [])) => Ok(Self(read.into())),
            _ => Err(NotAState),
        }
    }

    /// The position.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.0.seq
    }

    /// Every word that the state refers to, in the order of their places.
    #[must_use]
    pub fn references(&self) -> Vec<Reference> {
        let mut out = Vec::with_capacity(self.0.people.len() * 3);
        people(&self.0, &mut out);
        places(&self.0, &mut out);
        affairs(&self.0, &mut out);
        out.sort();
        out
    }

    /// Everything but the words.
    #[must_use]
    pub fn follow(self) -> State {
        let mut state = self.0;
        follow_people(&mut state);
        follow_places(&mut state);
        follow_affairs(&mut state);
        state
    }
}

/// Words by the references of [`Facts::references`], for [`State::speak`], each with whom it is about and its text; those
/// that were erased are left out.
#[must_use]
pub fn words(texts: Vec<(Reference, About, Arc<str>)>) -> Words {
    Words::restored(texts)
}

// -- the words that each noun refers to -----------------------------------------------------------

fn plain(word: WordId) -> Reference {
    Reference { word, found_as: None }
}

fn found(word: WordId, lookup: Lookup, target: u128) -> Reference {
    Reference { word, found_as: Some((lookup, target)) }
}

fn people(state: &State, out: &mut Vec<Reference>) {
    for (id, p) in state.people.rows() {
        out.push(plain(p.name));
        out.push(if p.email_verified {
            found(p.email, Lookup::Email, id.0)
        } else {
            plain(p.email)
        });
    }
    out.extend(state.factors.values().flat_map(|f| &f.passkeys).map(|p| plain(p.name)));
    for ((organisation, person), m) in &state.members {
        out.push(found(m.external, Lookup::Member(*organisation), person.0));
    }
}

fn places(state: &State, out: &mut Vec<Reference>) {
    for (id, o) in state.organisations.rows() {
        out.extend([found(o.external, Lookup::Organisation, id.0), plain(o.name)]);
    }
    for (id, u) in state.units.rows() {
        out.extend(u.external.map(|w| found(w, Lookup::Unit(u.organisation), id.0)));
        out.extend(u.name.map(plain));
    }
    for (id, a) in state.accounts.rows() {
        out.extend([found(a.external, Lookup::Account(a.organisation), id.0), plain(a.name)]);
    }
}

fn affairs(state: &State, out: &mut Vec<Reference>) {
    for (_, r) in state.requests.rows() {
        out.extend(r.roles.iter().chain(&r.accounts).copied().map(plain));
        out.extend([r.reason, r.who.0, r.who.1, r.who.2].map(plain));
        out.extend(r.ticket.map(plain));
        if let RequestState::Denied { reason, message, .. } = r.state {
            out.extend(reason.into_iter().chain(message).map(plain));
        }
    }
    out.extend(state.sessions.rows().filter_map(|(_, s)| s.reason).map(plain));
    out.extend(state.locks.rows().filter_map(|(_, l)| l.reason).map(plain));
    out.extend(state.invitations.rows().map(|(_, i)| plain(i.email)));
    for (_, w) in state.webhooks.rows() {
        out.extend(std::iter::once(w.url).chain(w.description).map(plain));
    }
    for (_, s) in state.streams.rows() {
        out.extend(s.url.into_iter().chain(s.description).map(plain));
    }
}

// -- what follows ---------------------------------------------------------------------------------

/// From sorted entries: a map takes them much faster.
fn map<K: Ord + Copy, V: Ord + Copy>(entries: impl Iterator<Item = (K, V)>) -> OrdMap<K, V> {
    let mut entries: Vec<_> = entries.collect();
    entries.sort(); // stable: long stretches are sorted already
    entries.into_iter().collect()
}

fn set<T: Ord + Copy>(entries: impl Iterator<Item = T>) -> OrdSet<T> {
    let mut entries: Vec<_> = entries.collect();
    entries.sort();
    entries.into_iter().collect()
}

fn follow_people(state: &mut State) {
    state.memberships = set(state.members.keys().map(|(o, p)| (*p, *o)));
    state.assigned = set(state.assignments.keys().map(|(g, p)| (*p, *g)));
    state.sign_in_digests = map(state.sign_ins.rows().map(|(id, s)| (s.token, id)));
    state.sign_ins_of = set(state.sign_ins.rows().map(|(id, s)| (s.person, id)));
    let keys = |(id, f): (&PersonId, &Factors)| {
        f.passkeys.iter().map(|p| (p.credential, *id)).collect::<Vec<_>>()
    };
    state.passkeys = map(state.factors.iter().flat_map(keys));
    state.enrolments =
        map(state.people.rows().filter_map(|(id, p)| p.enrolment.map(|(digest, _)| (digest, id))));
}

fn follow_places(state: &mut State) {
    let named = |(_, o): &(OrganisationId, &Organisation)| o.customer_id != Digest32([0; 32]);
    state.customer_ids =
        map(state.organisations.rows().filter(named).map(|(id, o)| (o.customer_id, id)));
    state.partner_codes = map(state.partner_ids.iter().map(|(party, digest)| (*digest, *party)));
    state.key_digests = map(state.keys.rows().map(|(id, k)| (k.digest, id)));
    let live = state.roles.rows().filter(|(_, r)| !r.deleted);
    state.roles_by_code = live.map(|(id, r)| ((r.organisation, r.code.clone()), id)).collect();
    state.accounts_of = set(state.accounts.rows().map(|(id, a)| (a.organisation, id)));
    let linked = |(id, a): (AccountId, &Account)| Some((a.organisation, a.linked.clone()?, id));
    state.linked = state.accounts.rows().filter_map(linked).collect();
    state.units_of = set(state.units.rows().map(|(id, u)| (u.organisation, id)));
    let inactive = state.units.rows().filter(|(_, u)| u.standing != Standing::Active);
    state.inactive_units = set(inactive.map(|(id, u)| (u.organisation, id)));
}

fn follow_affairs(state: &mut State) {
    let addressed = state.requests.rows().filter(|(_, r)| r.customer != OrganisationId::MIN);
    state.requests_to = set(addressed.map(|(id, r)| (r.customer, id)));
    state.requests_from = set(state.requests.rows().map(|(id, r)| (r.provider.organisation, id)));
    state.grants_by = set(state.grants.rows().map(|(id, g)| (g.customer.organisation, id)));
    state.grants_to = set(state.grants.rows().map(|(id, g)| (g.provider.organisation, id)));
    let pinned = |(id, g): (GrantId, &Grant)| {
        g.roles.iter().map(move |role| (role.role, id)).collect::<Vec<_>>()
    };
    state.grants_with = set(state.grants.rows().flat_map(pinned));
    let auto = state.grants.rows().filter(|(_, g)| g.auto.is_some());
    state.auto_to = set(auto.map(|(id, g)| (g.provider.organisation, id)));
    state.session_tokens = map(state.sessions.rows().map(|(id, s)| (s.token, id)));
    state.sessions_under = set(state.sessions.rows().map(|(id, s)| (s.grant, id)));
    state.sessions_of = set(state.sessions.rows().map(|(id, s)| (s.person, id)));
    let owned = |(id, w): (WebhookId, &Webhook)| (w.owner.unwrap_or(OrganisationId::MIN), id);
    state.webhooks_of = set(state.webhooks.rows().map(owned));
    let invitations = || state.invitations.rows();
    let (to, from, by, of, tokens) = (
        set(invitations().map(|(id, i)| (i.grant, id))),
        set(invitations().map(|(id, i)| (i.provider, id))),
        set(invitations().map(|(id, i)| (i.by, id))),
        set(invitations().map(|(id, i)| (i.recipient, id))),
        map(invitations().map(|(id, i)| (i.token, id))),
    );
    (state.invitations_to, state.invitations_from, state.invitations_by) = (to, from, by);
    (state.invitations_of, state.invitation_tokens) = (of, tokens);
    state.halts_on = map(state.halts.rows().map(|(id, h)| (h.target, id)));
    state.locks_on = map(state.locks.rows().map(|(id, l)| ((l.customer, l.target), id)));
}
