//! `decide`: a command, judged against the state at the head, becomes a row or a refusal.
//!
//! Pure: the same state, caller, command, time and randomness give the same outcome. The caller's
//! standing is judged here and not at the door, so a credential withdrawn while a command was
//! waiting is refused.

use crate::command::{Caller, Command};
use crate::draft::{Decided, Draft, SideWrite};
use crate::event::{Due, Event};
use crate::ids::{CommandId, Ids};
use crate::may;
use crate::refusal::Refusal;
use crate::state::State;
use crate::time::Instant;
use crate::version::Seen;
use crate::{
    application, assignment, auto, bulk, direct, erasure, factor, first_run, grant, halt,
    invitation, lock, offer, organisation, partner_id, person, request, role, session, settle,
    signing, stream, webhook,
};

pub use crate::apply::row as apply;

/// How many due things one row notes at most: a row must stay short.
const MOST_DUE: usize = 500;

/// Judges `command` against `state`.
///
/// # Errors
/// The refusal; nothing is changed then.
pub fn decide(
    state: &State,
    caller: &Caller,
    id: CommandId,
    command: Command,
    now: Instant,
    ids: &mut Ids,
) -> Result<Decided, Refusal> {
    may::authentic(state, caller, now.max(state.at))?;
    let mut draft = Draft::new(state, caller, id, command.kind(), now, ids);
    dispatch(&mut draft, caller, command)?;
    settle::consequences(&mut draft, state)?;
    Ok(draft.finish(state))
}

/// The same, but only if what it changes is still what the caller saw. Every other reason for "no"
/// comes first: whoever may not touch a thing does not learn its version either.
///
/// # Errors
/// The refusal; nothing is changed then.
pub fn decide_if(
    state: &State,
    caller: &Caller,
    id: CommandId,
    (command, seen): (Command, Option<&Seen>),
    now: Instant,
    ids: &mut Ids,
) -> Result<Decided, Refusal> {
    let decided = decide(state, caller, id, command, now, ids)?;
    seen.map_or(Ok(()), |seen| seen.holds(state, decided.row.is_some()))?;
    Ok(decided)
}

fn dispatch(d: &mut Draft<'_>, caller: &Caller, command: Command) -> Result<(), Refusal> {
    use Command as C;
    match command {
        C::PutApplication { code, audience, permissions, launch_url } => {
            application::put(d, caller, &code, &audience, permissions, launch_url.as_deref())
        }
        C::MakeKey { usage, application, digest } => {
            application::make_key(d, caller, usage, application, digest)
        }
        C::RetireKey { key } => application::retire_key(d, caller, key),
        C::SetClientKeys { application, keys } => {
            application::set_client_keys(d, caller, application, keys)
        }
        C::RotateSigningKeys { fresh } => signing::rotate(d, caller, fresh),
        C::CompromiseSigningKey { kid, fresh } => signing::compromise(d, caller, kid, fresh),
        C::TendSigningKeys { fresh } => signing::tend(d, caller, fresh),
        C::SetPolicy { policy } => application::set_policy(d, caller, policy),
        C::PutLevel { code, level } => role::put_level(d, caller, &code, level),
        C::SetStanding { organisation, standing } => {
            organisation::set_standing(d, caller, organisation, standing)
        }
        C::PutOrganisation { external, name, code } => {
            organisation::put(d, caller, &external, &name, code)
        }
        C::PutUnit { organisation, external, name, active } => {
            organisation::put_unit(d, caller, organisation, &external, &name, active)
        }
        C::PutAccount { organisation, external, name, unit } => {
            organisation::put_account(d, caller, organisation, &external, &name, unit)
        }
        C::LinkAccount { organisation, external, group } => {
            organisation::link_account(d, caller, organisation, &external, group)
        }
        C::RemoveAccount { organisation, external } => {
            organisation::remove_account(d, caller, organisation, &external)
        }
        C::PutRole { organisation, code, name, permissions } => {
            role::put(d, caller, organisation, &code, &name, permissions)
        }
        C::DeleteRole { organisation, code } => role::delete(d, caller, organisation, &code),
        C::PutMember(put) => person::put_member(d, caller, put),
        C::RemoveMember { organisation, external } => {
            person::remove_member(d, caller, organisation, &external)
        }
        C::RestoreMembership { organisation, external } => {
            direct::restore(d, caller, organisation, &external)
        }
        C::EndAccess { organisation, person } => auto::end_access(d, caller, organisation, person),
        C::MakeEnrolment { organisation, external, digest } => {
            person::make_enrolment(d, caller, organisation, &external, digest)
        }
        C::Enrol { token, password_hash } => person::enrol(d, caller, token, password_hash),
        C::ResetFactors { organisation, external } => {
            factor::reset(d, caller, organisation, &external)
        }
        C::SignIn { person, auth_epoch, digest, proof } => {
            person::sign_in(d, caller, person, auth_epoch, digest, proof)
        }
        C::StepUp { digest, proof } => factor::step_up(d, caller, digest, proof),
        C::SignOut => person::sign_out(d, caller),
        C::SignOutEverywhere => person::sign_out_everywhere(d, caller),
        C::EndSignIn { sign_in } => factor::end_sign_in(d, caller, sign_in),
        C::ChangePassword { proven, password_hash, digest } => {
            factor::change_password(d, caller, proven, password_hash, digest)
        }
        C::SetTotp { secret, sealed, step, codes } => {
            factor::set_totp(d, caller, (secret, sealed), step, codes)
        }
        C::RemoveTotp => factor::remove_totp(d, caller),
        C::MakeRecoveryCodes { codes } => factor::make_recovery_codes(d, caller, codes),
        C::AddPasskey(fresh) => factor::add_passkey(d, caller, fresh),
        C::RenamePasskey { passkey, name } => factor::rename_passkey(d, caller, passkey, &name),
        C::RemovePasskey { passkey } => factor::remove_passkey(d, caller, passkey),
        C::RotateCustomerId { organisation, code } => {
            organisation::rotate(d, caller, organisation, code)
        }
        C::RotatePartnerId { organisation, unit, code } => {
            partner_id::rotate(d, caller, organisation, unit.as_deref(), code)
        }
        C::ChangeSettings { organisation, settings, version } => {
            organisation::change_settings(d, caller, organisation, settings, version)
        }
        C::Ask(ask) => request::ask(d, caller, ask),
        C::MakeOffer(made) => offer::make(d, caller, *made),
        C::Accept { request } => offer::accept(d, caller, request),
        C::Decline { request, reason, message } => {
            offer::decline(d, caller, request, reason, message)
        }
        C::CancelRequest { request } => request::cancel(d, caller, request),
        C::Approve { request, terms, summary } => {
            request::approve(d, caller, request, &terms, summary)
        }
        C::Deny { request, reason, message } => request::deny(d, caller, request, reason, message),
        C::Confirm { customer, grants } => grant::confirm(d, caller, customer, &grants),
        C::Revoke { grant } => grant::revoke(d, caller, grant),
        C::Amend { grant, amending, summary } => grant::amend(d, caller, grant, &amending, summary),
        C::Narrow { grant, narrowing, version } => {
            grant::narrow(d, caller, grant, narrowing, version)
        }
        C::GiveUp { grant } => grant::give_up(d, caller, grant),
        C::Assign { grant, spec } => assignment::assign(d, caller, grant, spec),
        C::Unassign { grant, person, successor } => {
            assignment::unassign(d, caller, grant, person, successor)
        }
        C::SetAssignments { grant, people } => assignment::set(d, caller, grant, people),
        C::AssignMany { grant, many, token, linked } => {
            bulk::carry_out(d, caller, grant, *many, (token, linked))
        }
        C::SetAuto { grant, auto, token } => auto::set(d, caller, grant, auto, token),
        C::Invite(invite) => invitation::invite(d, caller, *invite),
        C::ResendInvitation { grant, invitation: id, token, sealed } => {
            invitation::resend(d, caller, grant, id, (token, sealed))
        }
        C::ChangeInvitation { grant, invitation: id, giving } => {
            invitation::change(d, caller, grant, id, giving)
        }
        C::CancelInvitation { grant, invitation: id } => invitation::cancel(d, caller, grant, id),
        C::ApproveInvitation { grant, invitation: id } => invitation::approve(d, caller, grant, id),
        C::AcceptInvitation { token } => invitation::accept(d, caller, token),
        C::DeclineInvitation { token } => invitation::decline(d, caller, token),
        C::RegisterInvited { token, name, password_hash } => {
            invitation::register(d, caller, token, &name, password_hash)
        }
        C::SuppressAddress { recipient } => invitation::suppress(d, caller, recipient),
        C::Enter(enter) => session::enter(d, caller, enter),
        C::CloseSession { session } => session::close(d, caller, session),
        C::EndSession { session } => session::end(d, caller, session),
        C::Lock { customer, target, reason } => lock::place(d, caller, customer, target, reason),
        C::Unlock { lock } => lock::lift(d, caller, lock),
        C::EraseWords { subject } => erasure::erase(d, caller, subject),
        C::OfferFirstRun { digest } => first_run::offer(d, caller, digest),
        C::ClaimFirstRun(claim) => first_run::claim(d, caller, *claim),
        C::Restore { fork, erased, keep_people } => {
            erasure::restore(d, caller, fork, &erased, keep_people)
        }
        C::Halt { target, invariant } => halt::place(d, caller, target, invariant),
        C::LiftHalt { halt } => halt::lift(d, caller, halt),
        C::MakeWebhook { owner, spec, secret } => webhook::make(d, caller, owner, spec, secret),
        C::ChangeWebhook { owner, webhook: id, spec, active } => {
            webhook::change(d, caller, owner, id, spec, active)
        }
        C::RotateWebhook { owner, webhook: id, secret } => {
            webhook::rotate(d, caller, owner, id, secret)
        }
        C::TestWebhook { owner, webhook: id } => webhook::test(d, caller, owner, id),
        C::Redeliver { owner, webhook: id, what } => webhook::redeliver(d, caller, owner, id, what),
        C::RemoveWebhook { owner, webhook: id } => webhook::remove(d, caller, owner, id),
        C::StopWebhook { webhook: id, standing } => webhook::stop(d, caller, id, standing),
        C::MakeStream { spec } => stream::make(d, caller, spec),
        C::ChangeStream { stream: id, spec } => stream::change(d, caller, id, spec),
        C::SetStreamStanding { stream: id, standing, reason } => {
            stream::set_standing(d, caller, id, standing, reason)
        }
        C::VerifyStream { stream: id, state } => stream::verify(d, caller, id, state),
        C::RemoveStream { stream: id } => stream::remove(d, caller, id),
        C::StopStream { stream: id, why } => stream::stop(d, caller, id, why),
        C::NoteDue => note_due(d, caller),
        C::SealCalls { segment, records, digest } => {
            may::system(caller)?;
            d.emit(Event::CallsSealed { segment, records, digest });
            Ok(())
        }
    }
}

/// Notes what fell due by the clock: consequences only, no answer depends on it.
fn note_due(d: &mut Draft<'_>, caller: &Caller) -> Result<(), Refusal> {
    may::system(caller)?;
    let now = d.now();
    let due: Vec<_> =
        d.state.due.iter().take_while(|(at, _)| *at <= now).take(MOST_DUE).copied().collect();
    for (_, what) in due {
        d.emit(Event::ExpiryNoted { what });
        if let Due::Invitation(id) = what {
            d.beside(SideWrite::DropSecrets { recipient: id.0 });
        }
    }
    Ok(())
}
