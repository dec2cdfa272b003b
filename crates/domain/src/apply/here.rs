//! Who there is: the platform's own things, organisations, roles.

use crate::application::{Application, Key};
use crate::event::Event;
use crate::ids::{AccountId, GrantId, OrganisationId, PersonId, RoleId};
use crate::organisation::{Account, Organisation, Settings, Standing, Unit};
use crate::role::Role;
use crate::signing::{self, KeyPhase, SigningKey};
use crate::state::{Retire, State};
use crate::text::Lookup;

use super::{Context, Touched};

pub(super) fn platform(state: &mut State, event: &Event, touched: &mut Touched) {
    match event {
        Event::ApplicationDefined { application, code, audience, permissions, launch_url } => {
            let (code, audience) = (code.clone(), audience.clone());
            let launch_url = launch_url.clone();
            let permissions = permissions.clone();
            let known = state.applications.get(*application);
            let client_keys = known.map(|a| a.client_keys.clone()).unwrap_or_default();
            let defined = Application { code, audience, permissions, client_keys, launch_url };
            state.applications.insert(*application, defined);
            touched.all = true;
        }
        Event::KeyMade { key, usage, application, digest } => {
            let made =
                Key { usage: *usage, application: *application, digest: *digest, retired: false };
            state.keys.insert(*key, made);
            state.key_digests.insert(*digest, *key);
            state.first_run = None; // somebody holds the installation
        }
        Event::FirstRunOffered { digest, until } => state.first_run = Some((*digest, *until)),
        Event::KeyRetired { key } => state.keys.change(*key, |k| k.retired = true),
        Event::ClientKeysSet { application, keys } => {
            state.applications.change(*application, |a| a.client_keys = keys.clone());
        }
        Event::PolicySet { policy } => {
            state.policy = policy.clone();
            touched.all = true;
        }
        Event::LevelDefined { code, level, .. } => {
            let mut versions = state.levels.get(code).cloned().unwrap_or_default();
            versions.push_back(level.clone());
            state.levels.insert(code.clone(), versions);
        }
        _ => {}
    }
}

pub(super) fn signing_keys(state: &mut State, c: &Context<'_>, event: &Event) {
    match event {
        Event::SigningKeyMade { kid, public } => {
            let made = SigningKey { public: *public, made: c.at, phase: KeyPhase::Next };
            state.signing_keys.insert(*kid, made);
        }
        Event::SigningKeyCurrent { kid } => {
            if let Some(key) = state.signing_keys.get_mut(kid) {
                key.phase = KeyPhase::Current { since: c.at };
            }
        }
        Event::SigningKeyRetired { kid, at_once } => {
            let until = c.at.plus(signing::KEPT_AFTER_END);
            if *at_once {
                if let Some(SigningKey { phase: KeyPhase::Retired { at }, .. }) =
                    state.signing_keys.remove(kid)
                {
                    let until = at.plus(signing::KEPT_AFTER_END);
                    state.retire.remove(&(until, Retire::SigningKey(*kid)));
                }
            } else if let Some(key) = state.signing_keys.get_mut(kid) {
                key.phase = KeyPhase::Retired { at: c.at };
                state.retire.insert((until, Retire::SigningKey(*kid)));
            }
        }
        _ => {}
    }
}

pub(super) fn organisations(
    state: &mut State,
    c: &Context<'_>,
    event: &Event,
    touched: &mut Touched,
) {
    match event {
        Event::OrganisationMade { organisation, unit, external, name } => {
            let external = c.indexed(state, *external, Lookup::Organisation, organisation.0);
            let name = c.word(state, *name);
            let made = Organisation {
                external,
                name,
                standing: Standing::Active,
                default_unit: *unit,
                customer_id: crate::ids::Digest32([0; 32]),
                settings: Settings::default(),
                version: 1,
            };
            state.organisations.insert(*organisation, made);
            let default = Unit {
                organisation: *organisation,
                external: None,
                name: None,
                standing: Standing::Active,
            };
            state.units.insert(*unit, default);
            state.units_of.insert((*organisation, *unit));
        }
        Event::OrganisationRenamed { organisation, name } => {
            let name = c.word(state, *name);
            let old = state.organisations.get(*organisation).map(|o| o.name);
            state.organisations.change(*organisation, |o| o.name = name);
            old.into_iter().for_each(|w| state.words.drop(w));
        }
        Event::OrganisationStanding { organisation, standing } => {
            state.organisations.change(*organisation, |o| o.standing = *standing);
            touch_organisation(state, *organisation, touched);
        }
        Event::CustomerIdSet { organisation, digest } => {
            if let Some(old) = state.organisations.get(*organisation).map(|o| o.customer_id) {
                state.customer_ids.remove(&old);
            }
            state.customer_ids.insert(*digest, *organisation);
            state.organisations.change(*organisation, |o| {
                o.customer_id = *digest;
                o.version = o.version.saturating_add(1);
            });
        }
        Event::PartnerIdSet { party, digest } => {
            if let Some(old) = state.partner_ids.insert(*party, *digest) {
                state.partner_codes.remove(&old);
            }
            state.partner_codes.insert(*digest, *party);
        }
        Event::SettingsChanged { organisation, settings } => {
            // What lets nobody from outside in any more is looked at, with whoever is there.
            let before = state.organisations.get(*organisation);
            if before.is_some_and(|o| o.settings.allow_external) && !settings.allow_external {
                let external =
                    |id: &GrantId| state.grants.get(*id).is_some_and(|g| g.allow_external);
                touched.grants.extend(state.grants_by(*organisation).filter(external));
            }
            state.organisations.change(*organisation, |o| {
                o.settings = settings.clone();
                o.version = o.version.saturating_add(1);
            });
        }
        Event::UnitMade { organisation, unit, external, name } => {
            let external = c.indexed(state, *external, Lookup::Unit(*organisation), unit.0);
            let name = c.word(state, *name);
            let made = Unit {
                organisation: *organisation,
                external: Some(external),
                name: Some(name),
                standing: Standing::Active,
            };
            state.units.insert(*unit, made);
            state.units_of.insert((*organisation, *unit));
        }
        Event::UnitRenamed { unit, name } => {
            let name = c.word(state, *name);
            let old = state.units.get(*unit).and_then(|u| u.name);
            state.units.change(*unit, |u| u.name = Some(name));
            old.into_iter().for_each(|w| state.words.drop(w));
        }
        Event::UnitStanding { unit, standing } => {
            state.units.change(*unit, |u| u.standing = *standing);
            if let Some(organisation) = state.units.get(*unit).map(|u| u.organisation) {
                if *standing == Standing::Active {
                    state.inactive_units.remove(&(organisation, *unit));
                } else {
                    state.inactive_units.insert((organisation, *unit));
                }
                touch_organisation(state, organisation, touched);
            }
        }
        Event::AccountMade { organisation, unit, account, external, name } => {
            let external = c.indexed(state, *external, Lookup::Account(*organisation), account.0);
            let name = c.word(state, *name);
            let (organisation, unit) = (*organisation, *unit);
            let made = Account { organisation, unit, external, name, linked: None };
            state.accounts.insert(*account, made);
            state.accounts_of.insert((organisation, *account));
        }
        Event::AccountLinked { account, group } => {
            if let Some(known) = state.accounts.get(*account).cloned() {
                unlink(state, *account, &known);
                if let Some(group) = group {
                    state.linked.insert((known.organisation, group.clone(), *account));
                }
                state.accounts.change(*account, |a| a.linked.clone_from(group));
            }
        }
        Event::AccountRenamed { account, name } => {
            let name = c.word(state, *name);
            let old = state.accounts.get(*account).map(|a| a.name);
            state.accounts.change(*account, |a| a.name = name);
            old.into_iter().for_each(|w| state.words.drop(w));
        }
        Event::AccountRemoved { account } => {
            if let Some(gone) = state.accounts.get(*account).cloned() {
                unlink(state, *account, &gone);
                state.words.drop(gone.external);
                state.words.drop(gone.name);
                state.accounts_of.remove(&(gone.organisation, *account));
                state.accounts.remove(*account);
                touched.grants.extend(state.grants_by(gone.organisation));
            }
        }
        _ => {}
    }
}

fn touch_organisation(state: &State, organisation: OrganisationId, touched: &mut Touched) {
    touched.grants.extend(state.grants_by(organisation));
    touched.grants.extend(state.grants_to(organisation));
}

pub(super) fn roles(state: &mut State, event: &Event, touched: &mut Touched) {
    let role = match event {
        Event::RoleMade { organisation, role, code, name, permissions } => {
            let made = Role {
                organisation: *organisation,
                code: code.clone(),
                name: name.clone(),
                versions: vec![permissions.clone()],
                deleted: false,
            };
            state.roles.insert(*role, made);
            state.roles_by_code.insert((*organisation, code.clone()), *role);
            return;
        }
        Event::RoleChanged { role, name, permissions, .. } => {
            state.roles.change(*role, |r| {
                r.name = name.clone();
                r.versions.push(permissions.clone());
            });
            role
        }
        Event::RoleDeleted { role } => {
            state.roles.change(*role, |r| r.deleted = true);
            if let Some((organisation, code)) =
                state.roles.get(*role).map(|r| (r.organisation, r.code.clone()))
            {
                state.roles_by_code.remove(&(organisation, code));
                drop_from_members(state, organisation, *role);
            }
            role
        }
        _ => return,
    };
    touched.grants.extend(state.grants_with(*role));
}

/// A deleted role leaves every member who holds it. It follows from the deletion, whose event says
/// so to the same readers: a row for each member would tell nothing more.
fn drop_from_members(state: &mut State, organisation: OrganisationId, role: RoleId) {
    let holds: Vec<PersonId> = state
        .members_of(organisation)
        .filter(|(_, member)| member.roles.contains(&role))
        .map(|(person, _)| person)
        .collect();
    for person in holds {
        if let Some(member) = state.members.get_mut(&(organisation, person)) {
            member.roles.retain(|r| *r != role);
        }
    }
}

fn unlink(state: &mut State, id: AccountId, account: &Account) {
    if let Some(group) = &account.linked {
        state.linked.remove(&(account.organisation, group.clone(), id));
    }
}
