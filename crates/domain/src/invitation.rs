//! Invitations: an assignment that waits for somebody from outside to register and accept.
//!
//! Whoever holds the link has the mailbox; who accepts has to be signed in with that very address,
//! verified. Everything that must hold for an assignment is judged again at the acceptance, in the
//! row that makes it, so accepting and cancelling have one winner (T33). While it waits it gives
//! nothing, and its end by the clock is derived.
//!
//! An external person hangs on that one grant. Whoever is a member of the provider is nobody from
//! outside: they are put on a grant as every member is.

use serde::{Deserialize, Serialize};

use crate::assignment::{self, Basis};
use crate::command::{Caller, Invite, Inviting, Principal, Sealed};
use crate::draft::{Draft, SideWrite};
use crate::event::Event;
use crate::grant::{Grant, GrantState};
use crate::ids::{Digest32, GrantId, InvitationId, OrganisationId, PersonId, RoleId};
use crate::may::{self, Action, Thing};
use crate::organisation::Accounts;
use crate::person::PortalPermission;
use crate::refusal::Refusal;
use crate::state::State;
use crate::text::{self, Lookup, Subject, WordId};
use crate::time::{DAY, Instant};

/// How long an invitation waits, from its making. Sending it again moves nothing.
pub const LASTS: i64 = 7 * DAY;
/// For how long one that nobody accepted is remembered, from its making. One that was accepted is
/// remembered with its grant.
pub const KEPT_AFTER_MAKING: i64 = 37 * DAY;
/// So many invitations one organisation makes within a day: each is a mail to a stranger (T34).
pub const MOST_A_DAY: usize = 50;
/// So often one is sent again.
pub const MOST_RESENDS: usize = 3;
/// So many mails one address gets within a day. An organisation is refused more of its own; what
/// others sent is nobody's business, so there the mail alone is left out.
pub const MOST_TO_ONE_A_DAY: usize = 5;

/// An invitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// To which grant.
    pub grant: GrantId,
    /// From which organisation: the grant's provider.
    pub provider: OrganisationId,
    /// Who vouches for it: who made it, or who approved it after that person had gone.
    pub by: PersonId,
    /// The address that was invited.
    pub email: WordId,
    /// The address under the installation's key: what it is counted and suppressed by.
    pub recipient: Digest32,
    /// Which of the grant's roles.
    pub roles: Vec<RoleId>,
    /// Which of the grant's accounts.
    pub accounts: Accounts,
    /// When the assignment is to end; [`Instant::NEVER`] where only the grant's end counts.
    pub ends_at: Instant,
    /// The digest of the link's token in force.
    pub token: Digest32,
    /// When it was made.
    pub at: Instant,
    /// When it was sent, the first time included.
    pub sent: Vec<Instant>,
    /// Whether who vouched for it is gone, and nobody else has approved it since.
    pub held: bool,
    /// Whether somebody has registered by it.
    pub registered: bool,
    /// What the log says of it.
    pub state: InvitationState,
}

/// What the log says of an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InvitationState {
    /// Nobody has answered.
    Pending,
    /// This person is on the grant by it, or was.
    Accepted {
        /// When.
        at: Instant,
        /// Who.
        person: PersonId,
    },
    /// Whoever holds the link said no.
    Declined {
        /// When.
        at: Instant,
    },
    /// It was taken back or fell away.
    Cancelled {
        /// When.
        at: Instant,
        /// Why.
        cause: InvitationCancel,
    },
}

/// Why an invitation was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvitationCancel {
    /// The provider took it back.
    ByProvider,
    /// The grant ended.
    GrantEnded,
    /// The grant's ceiling left it no role.
    NoRoles,
    /// None of its accounts is left.
    AccountsGone,
    /// The customer lets nobody from outside in any more.
    ExternalBarred,
    /// The installation was restored from a copy: who has the link is not known any more.
    Restored,
}

/// The word for an invitation's state at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvitationPhase {
    /// It waits for an answer.
    Pending,
    /// It was accepted.
    Accepted,
    /// It was declined.
    Declined,
    /// It was taken back or fell away.
    Cancelled,
    /// Nobody answered in time.
    Expired,
}

impl InvitationPhase {
    /// As it is written.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }
}

impl Invitation {
    /// When it ends by the clock if nobody answers.
    #[must_use]
    pub fn expires(&self) -> Instant {
        self.at.plus(LASTS).min(self.ends_at)
    }

    /// The state at `now`. One whose grant is over is cancelled, also where only the clock ended it.
    #[must_use]
    pub fn phase(&self, state: &State, now: Instant) -> InvitationPhase {
        match self.state {
            InvitationState::Accepted { .. } => InvitationPhase::Accepted,
            InvitationState::Declined { .. } => InvitationPhase::Declined,
            InvitationState::Cancelled { .. } => InvitationPhase::Cancelled,
            InvitationState::Pending if now >= self.expires() => InvitationPhase::Expired,
            InvitationState::Pending
                if !state.grants.get(self.grant).is_some_and(|g| g.stands(now)) =>
            {
                InvitationPhase::Cancelled
            }
            InvitationState::Pending => InvitationPhase::Pending,
        }
    }

    /// Whether nobody may accept it until an Admin has approved it again: who vouched for it could
    /// not make it now.
    #[must_use]
    pub fn is_held(&self, state: &State) -> bool {
        self.held || !may_vouch(state, self.provider, self.by)
    }

    fn waits(&self, state: &State, now: Instant) -> Result<(), Refusal> {
        match self.phase(state, now) {
            InvitationPhase::Pending => Ok(()),
            over => Err(Refusal::WrongState(over.code())),
        }
    }

    fn not_held(&self, state: &State) -> Result<(), Refusal> {
        if self.is_held(state) {
            Err(Refusal::WrongState("held until another Admin of the partner approves it again"))
        } else {
            Ok(())
        }
    }
}

/// Whether a person may invite for an organisation now.
fn may_vouch(state: &State, provider: OrganisationId, person: PersonId) -> bool {
    let member = state.active_member(provider, person);
    member.is_some_and(|m| m.portal.is_some_and(|p| p.holds(PortalPermission::Assign)))
}

/// The invitations to a grant, oldest first, as long as they are remembered.
pub fn to_grant(
    state: &State,
    grant: GrantId,
) -> impl DoubleEndedIterator<Item = (InvitationId, &Invitation)> {
    state.invitations_to(grant).filter_map(|id| Some((id, state.invitations.get(id)?)))
}

/// How many mails went to an address within the day before `now`, of one organisation or of all.
#[must_use]
pub fn mailed(
    state: &State,
    recipient: Digest32,
    from: Option<OrganisationId>,
    now: Instant,
) -> usize {
    let of = |i: &&Invitation| from.is_none_or(|from| i.provider == from);
    state
        .invitations_of(recipient)
        .filter_map(|id| state.invitations.get(id))
        .filter(of)
        .flat_map(|i| &i.sent)
        .filter(|at| now.since(**at) < DAY)
        .count()
}

/// Whether an invitation's mail may go out at `now`, and to which address: asked when it is sent.
/// Without one it is left out, and nobody is told.
#[must_use]
pub fn address(state: &State, id: InvitationId, now: Instant) -> Option<&str> {
    let invitation = state.invitations.get(id)?;
    let waits = invitation.phase(state, now) == InvitationPhase::Pending;
    let wanted = !state.is_suppressed(invitation.recipient) && !invitation.is_held(state);
    let few = mailed(state, invitation.recipient, None, now) <= MOST_TO_ONE_A_DAY;
    (waits && wanted && few).then(|| state.words.get(invitation.email)).flatten()
}

/// What has to hold whenever somebody is let in from outside by a grant.
fn open(
    state: &State,
    id: GrantId,
    grant: &Grant,
    person: Option<PersonId>,
    now: Instant,
) -> Result<(), Refusal> {
    if !grant.stands(now) {
        return Err(Refusal::WrongState(grant.phase(now).code()));
    }
    let (customer, provider) = (grant.customer.organisation, grant.provider.organisation);
    if state.is_locked(customer, provider, person) || state.is_halted(id, person) {
        return Err(Refusal::Locked);
    }
    if !state.party_is_active(grant.customer) {
        return Err(Refusal::NotActive("customer"));
    }
    if !state.party_is_active(grant.provider) {
        return Err(Refusal::NotActive("partner"));
    }
    if !grant.lets_outsiders_in(state) {
        return Err(Refusal::ExternalNotAllowed);
    }
    Ok(())
}

/// Invites an address. The answer is the same whoever's it is, and whether or not a mail goes out.
pub(crate) fn invite(d: &mut Draft<'_>, caller: &Caller, invite: Invite) -> Result<(), Refusal> {
    let now = d.now();
    let Invite { grant: id, email, recipient, giving, token, sealed } = invite;
    let grant = may::check_grant(&d.state, caller, Action::Invite, id, now)?.clone();
    let by = caller.person().ok_or(Refusal::NotFound)?;
    let provider = grant.provider.organisation;
    let email = text::email("email", &email)?;
    open(&d.state, id, &grant, None, now)?;
    let (roles, accounts, ends_at) = under(&d.state, &grant, giving, now)?;
    let theirs = |i: &Invitation| i.recipient == recipient;
    let waiting = |i: &Invitation| i.phase(&d.state, now).eq(&InvitationPhase::Pending);
    if to_grant(&d.state, id).any(|(_, i)| theirs(i) && waiting(i)) {
        return Err(Refusal::AlreadyInvited);
    }
    let today = d.state.invitations_from(provider).rev();
    let today = today.filter_map(|i| d.state.invitations.get(i));
    let today = today.take_while(|i| now.since(i.at) < DAY).take(MOST_A_DAY).count();
    if today >= MOST_A_DAY || mailed(&d.state, recipient, Some(provider), now) >= MOST_TO_ONE_A_DAY
    {
        return Err(Refusal::TooManyInvitations);
    }
    d.acting_for(provider);
    let invitation = InvitationId(d.id());
    let email = d.word(Subject::Invitation(invitation), email);
    let made = Event::InvitationMade {
        invitation,
        grant: id,
        provider,
        by,
        email,
        recipient,
        roles,
        accounts,
        ends_at,
        token,
    };
    d.emit(made);
    keep_token(d, invitation, token, sealed);
    Ok(())
}

fn keep_token(d: &mut Draft<'_>, invitation: InvitationId, digest: Digest32, sealed: Sealed) {
    d.beside(SideWrite::Secret { recipient: invitation.0, digest, sealed, keep: None });
}

fn drop_token(d: &mut Draft<'_>, invitation: InvitationId) {
    d.beside(SideWrite::DropSecrets { recipient: invitation.0 });
}

fn under(
    state: &State,
    grant: &Grant,
    giving: Inviting,
    now: Instant,
) -> Result<(Vec<RoleId>, Accounts, Instant), Refusal> {
    let Inviting { roles, accounts, ends_at } = giving;
    assignment::under(state, grant, roles, accounts, ends_at, now)
}

/// An invitation to a grant, for whoever may do `action` there.
fn of_grant(
    d: &Draft<'_>,
    caller: &Caller,
    grant: GrantId,
    id: InvitationId,
) -> Result<(Grant, Invitation), Refusal> {
    let known = may::check_grant(&d.state, caller, Action::Invite, grant, d.now())?.clone();
    let invitation = d.state.invitations.get(id).filter(|i| i.grant == grant);
    Ok((known, invitation.ok_or(Refusal::NotFound)?.clone()))
}

/// Sends it again with another link; the one before opens nothing any more. Its time runs on, and
/// what is held stays so.
pub(crate) fn resend(
    d: &mut Draft<'_>,
    caller: &Caller,
    grant: GrantId,
    id: InvitationId,
    (token, sealed): (Digest32, Sealed),
) -> Result<(), Refusal> {
    let now = d.now();
    let (known, invitation) = of_grant(d, caller, grant, id)?;
    invitation.waits(&d.state, now)?;
    open(&d.state, grant, &known, None, now)?;
    invitation.not_held(&d.state)?;
    let provider = known.provider.organisation;
    if invitation.sent.len() > MOST_RESENDS
        || mailed(&d.state, invitation.recipient, Some(provider), now) >= MOST_TO_ONE_A_DAY
    {
        return Err(Refusal::TooManyInvitations);
    }
    d.acting_for(provider);
    d.emit(Event::InvitationResent { invitation: id, token });
    keep_token(d, id, token, sealed);
    Ok(())
}

/// Gives something else by one that waits.
pub(crate) fn change(
    d: &mut Draft<'_>,
    caller: &Caller,
    grant: GrantId,
    id: InvitationId,
    giving: Inviting,
) -> Result<(), Refusal> {
    let now = d.now();
    let (known, invitation) = of_grant(d, caller, grant, id)?;
    invitation.waits(&d.state, now)?;
    open(&d.state, grant, &known, None, now)?;
    let (roles, accounts, ends_at) = under(&d.state, &known, giving, now)?;
    let same = (&roles, &accounts, ends_at)
        == (&invitation.roles, &invitation.accounts, invitation.ends_at);
    if !same {
        d.acting_for(known.provider.organisation);
        d.emit(Event::InvitationChanged { invitation: id, roles, accounts, ends_at });
    }
    Ok(())
}

/// Takes it back, at any time before it is accepted.
pub(crate) fn cancel(
    d: &mut Draft<'_>,
    caller: &Caller,
    grant: GrantId,
    id: InvitationId,
) -> Result<(), Refusal> {
    let (known, invitation) = of_grant(d, caller, grant, id)?;
    invitation.waits(&d.state, d.now())?;
    d.acting_for(known.provider.organisation);
    d.emit(Event::InvitationCancelled { invitation: id, cause: InvitationCancel::ByProvider });
    drop_token(d, id);
    Ok(())
}

/// Another Admin vouches for one whose inviter has gone.
pub(crate) fn approve(
    d: &mut Draft<'_>,
    caller: &Caller,
    grant: GrantId,
    id: InvitationId,
) -> Result<(), Refusal> {
    let now = d.now();
    let (known, invitation) = of_grant(d, caller, grant, id)?;
    let by = caller.person().ok_or(Refusal::NotFound)?;
    invitation.waits(&d.state, now)?;
    open(&d.state, grant, &known, None, now)?;
    if !invitation.is_held(&d.state) {
        return Ok(());
    }
    if by == invitation.by {
        return Err(Refusal::Forbidden("another Admin than the one who invited"));
    }
    d.acting_for(known.provider.organisation);
    d.emit(Event::InvitationApproved { invitation: id, by });
    Ok(())
}

// -- whoever holds the link -----------------------------------------------------------------------

/// The invitation that a link leads to, and its grant: also one that is over, as long as it is
/// remembered, so that who comes too late is told so.
///
/// # Errors
/// `not_found`.
pub fn by_link(
    state: &State,
    token: Digest32,
) -> Result<(InvitationId, &Invitation, &Grant), Refusal> {
    let id = state.invitation_by_token(token).ok_or(Refusal::NotFound)?;
    let invitation = state.invitations.get(id).ok_or(Refusal::NotFound)?;
    let grant = state.grants.get(invitation.grant).ok_or(Refusal::NotFound)?;
    Ok((id, invitation, grant))
}

/// The invited person comes in. They are signed in, and their verified address is the invited one;
/// nothing else of them counts, and a no tells nothing about the address (T31).
pub(crate) fn accept(d: &mut Draft<'_>, caller: &Caller, token: Digest32) -> Result<(), Refusal> {
    let now = d.now();
    if matches!(caller.principal, Principal::PartnerSession(_)) {
        return Err(Refusal::PartnerSession);
    }
    let person = caller.person().ok_or(Refusal::NotFound)?;
    may::check(&d.state, caller, Action::AnswerInvitation, Thing::own(person), now)?;
    let (id, invitation, grant) = by_link(&d.state, token)?;
    let (invitation, grant) = (invitation.clone(), grant.clone());
    if !is_theirs(&d.state, &invitation, person) {
        return Err(Refusal::Forbidden(
            "a sign-in whose verified e-mail address is the invited one",
        ));
    }
    invitation.waits(&d.state, now)?;
    invitation.not_held(&d.state)?;
    open(&d.state, invitation.grant, &grant, Some(person), now)?;
    let giving = (invitation.roles, invitation.accounts);
    let ends_at = (invitation.ends_at != Instant::NEVER).then_some(invitation.ends_at);
    let (roles, accounts, ends_at) =
        assignment::under(&d.state, &grant, giving.0, giving.1, ends_at, now)?;
    let basis = basis(&d.state, &grant, person)?;
    let known = d.state.people.get(person).ok_or(Refusal::NotFound)?;
    let [name, email] = [known.name, known.email].map(|w| d.state.words.show(w).into());
    let name = d.word(Subject::Person(person), name);
    let email = d.word(Subject::Person(person), email);
    d.emit(Event::InvitationAccepted { invitation: id, person, name, email });
    let grant = invitation.grant;
    let row = d.state.assignment_row(grant, person).copied();
    // Whoever is on it already keeps what they have.
    if !row.is_some_and(|row| d.state.attends(grant, person, &row, now)) {
        d.emit(Event::Assigned { grant, person, roles, accounts, ends_at, basis });
    }
    drop_token(d, id);
    Ok(())
}

/// Whether the invited address is this person's, and proven to be. The local part counts byte by
/// byte, the domain in its one form.
fn is_theirs(state: &State, invitation: &Invitation, person: PersonId) -> bool {
    let Some(known) = state.people.get(person).filter(|p| p.email_verified) else {
        return false;
    };
    match (state.words.get(known.email), state.words.get(invitation.email)) {
        (Some(own), Some(invited)) => own == invited,
        _ => false,
    }
}

/// How the person comes to be on the grant: a member of this side is on it as members are.
fn basis(state: &State, grant: &Grant, person: PersonId) -> Result<Basis, Refusal> {
    let provider = grant.provider.organisation;
    let Some(member) = state.members.get(&(provider, person)) else {
        return Ok(Basis::Invited);
    };
    if !grant.provider.includes(provider, member.unit) {
        return Err(Refusal::WrongState(
            "for people from outside, and you belong to another unit of the partner",
        ));
    }
    if state.active_member(provider, person).is_none() {
        return Err(Refusal::NotActive("membership"));
    }
    Ok(Basis::Individual)
}

/// Whoever holds the link says no. That takes no account.
pub(crate) fn decline(d: &mut Draft<'_>, caller: &Caller, token: Digest32) -> Result<(), Refusal> {
    match caller.principal {
        Principal::Person { .. } | Principal::Anonymous => {}
        Principal::PartnerSession(_) => return Err(Refusal::PartnerSession),
        Principal::Key(_) | Principal::System => return Err(Refusal::NotFound),
    }
    let (id, invitation, _) = by_link(&d.state, token)?;
    invitation.waits(&d.state, d.now())?;
    d.emit(Event::InvitationDeclined { invitation: id });
    drop_token(d, id);
    Ok(())
}

/// Makes a local account with the invited address, which the link proves. Where the address is
/// somebody's already nothing is made and the answer is the same: nobody's password is replaced by a
/// link, and whoever has an account signs in with it.
pub(crate) fn register(
    d: &mut Draft<'_>,
    caller: &Caller,
    token: Digest32,
    name: &str,
    password_hash: String,
) -> Result<(), Refusal> {
    if caller.principal != Principal::Anonymous {
        return Err(Refusal::NotFound);
    }
    let name = text::name("name", name)?;
    let now = d.now();
    let (id, invitation, _) = by_link(&d.state, token)?;
    invitation.waits(&d.state, now)?;
    if invitation.registered {
        return Err(Refusal::WrongState("registered by already; sign in"));
    }
    let email = d.state.words.get(invitation.email).ok_or(Refusal::NotFound)?;
    let email: std::sync::Arc<str> = email.into();
    let known = d.state.words.find(Lookup::Email, &email).map(PersonId);
    d.emit(Event::InvitationRegistered { invitation: id });
    let person = match known {
        Some(person) if opens_nothing(&d.state, person) => person,
        Some(_) => return Ok(()),
        None => {
            let person = PersonId(d.id());
            let about = Subject::Person(person);
            let (name, email) = (d.word(about, name), d.word(about, email));
            d.emit(Event::PersonMade { person, name, email, email_verified: true });
            person
        }
    };
    d.emit(Event::PasswordSet { person });
    d.beside(SideWrite::Credential(person, password_hash));
    Ok(())
}

/// Whether nobody can sign in as a person, and no organisation could let them: one from outside
/// whose password a restore made void, or who left before they had one. For them a link is all
/// there is.
fn opens_nothing(state: &State, person: PersonId) -> bool {
    let password = state.people.get(person).is_none_or(|p| p.has_password);
    let member = state.organisations_of(person).next().is_some();
    !password && !member && !state.factors.contains_key(&person)
}

/// Nothing is mailed to this address any more: whoever has it said so, or it takes no mail.
pub(crate) fn suppress(
    d: &mut Draft<'_>,
    caller: &Caller,
    recipient: Digest32,
) -> Result<(), Refusal> {
    may::system(caller)?;
    if !d.state.is_suppressed(recipient) {
        d.emit(Event::AddressSuppressed { recipient });
    }
    Ok(())
}

// -- consequences ---------------------------------------------------------------------------------

/// What one that waits has to become under its grant, if not what it is (inv06, inv18).
pub(crate) fn fit(
    state: &State,
    grant: &Grant,
    id: InvitationId,
    invitation: &Invitation,
) -> Option<Event> {
    let cancelled = |cause| Some(Event::InvitationCancelled { invitation: id, cause });
    if let GrantState::Ended { .. } = grant.state {
        return cancelled(InvitationCancel::GrantEnded);
    }
    if !grant.lets_outsiders_in(state) {
        return cancelled(InvitationCancel::ExternalBarred);
    }
    let roles: Vec<RoleId> = invitation
        .roles
        .iter()
        .copied()
        .filter(|r| grant.pinned(*r).is_some_and(|p| state.role_lives(p)))
        .collect();
    if roles.is_empty() {
        return cancelled(InvitationCancel::NoRoles);
    }
    let accounts = assignment::left_of(state, grant, &invitation.accounts);
    if accounts.is_empty() {
        return cancelled(InvitationCancel::AccountsGone);
    }
    let ends_at = match invitation.ends_at {
        Instant::NEVER => Instant::NEVER,
        at => at.min(grant.window.end),
    };
    let same = (&roles, &accounts, ends_at)
        == (&invitation.roles, &invitation.accounts, invitation.ends_at);
    (!same).then_some(Event::InvitationChanged { invitation: id, roles, accounts, ends_at })
}

/// The consequences of a row for what waits: at its grants, and of people who may not vouch any
/// more.
pub(crate) fn settle(d: &mut Draft<'_>, grants: impl Iterator<Item = GrantId>) {
    let now = d.now();
    let waits = |i: &Invitation| i.state == InvitationState::Pending && now < i.expires();
    for id in grants {
        let Some(grant) = d.state.grants.get(id).cloned() else {
            continue;
        };
        if grant.state == GrantState::Running && now >= grant.window.end {
            continue; // over by the clock: derived
        }
        let waiting: Vec<_> = to_grant(&d.state, id)
            .filter(|(_, i)| waits(i))
            .filter_map(|(id, i)| Some((id, fit(&d.state, &grant, id, i)?)))
            .collect();
        for (invitation, event) in waiting {
            let over = matches!(event, Event::InvitationCancelled { .. });
            d.emit(event);
            if over {
                drop_token(d, invitation);
            }
        }
    }
    let people: Vec<PersonId> = d.touched().people.iter().copied().collect();
    for person in people {
        let vouched: Vec<InvitationId> = d.state.invitations_by(person).collect();
        for id in vouched {
            let Some(i) = d.state.invitations.get(id) else {
                continue;
            };
            if waits(i) && !i.held && !may_vouch(&d.state, i.provider, person) {
                d.emit(Event::InvitationHeld { invitation: id });
            }
        }
    }
}
