//! A summary in plain words: what the approver reads before they say yes. Every name in it is one
//! that the hash covers, so what was read is what was given (R9, T4).

use super::{Decides, Lasts, Summary};
use crate::grant;
use crate::ids::AccountId;
use crate::organisation::{Accounts, Party};
use crate::permission::Permissions;
use crate::role::{Mode, Modes, PinnedRole};
use crate::state::State;
use crate::text::WordId;
use crate::time::Instant;

impl Summary {
    /// One sentence for each thing that is given, always as many and in the same order. `time` says
    /// an instant in the way of the door.
    #[must_use]
    pub fn sentences(&self, state: &State, time: impl Fn(Instant) -> String) -> Vec<String> {
        let name = |id| state.organisations.get(id).map_or("?", |o| state.words.show(o.name));
        let customer = name(self.customer.organisation);
        let partner = name(self.provider.organisation);
        let (given, sent) = (of_unit(state, self.customer), of_unit(state, self.provider));
        let entry = match self.decides {
            Decides::Request(_) => {
                let asker = self.names.get(2).map_or("?", |w| state.words.show(*w));
                format!("People{sent} of {partner} may enter {customer}, as {asker} asked.")
            }
            Decides::Offer { at_once: true } => {
                format!(
                    "People{sent} of {partner} may enter {customer}, without being asked first."
                )
            }
            Decides::Offer { at_once: false } => {
                format!("People{sent} of {partner} may enter {customer}, once {partner} accepts.")
            }
            Decides::Amendment { .. } => {
                format!("People{sent} of {partner} may enter {customer}, as they may already.")
            }
        };
        let accounts = accounts(state, &self.accounts);
        let external = if self.allow_external { "may" } else { "may not" };
        let offline = if self.jwt { "may go on for up to 60 seconds" } else { "stop at once" };
        vec![
            entry,
            roles(state, &self.roles),
            format!("On {accounts}{given}."),
            as_themselves(self.modes).into(),
            if grant::impersonation(self.modes) {
                format!("They may act as {customer} itself, with a reason each time.")
            } else {
                format!("They may not act as {customer}.")
            },
            format!("It {}; you can end it at any moment.", self.lasting(time)),
            format!("Each stay lasts at most {}.", count(self.cap.0, "minute")),
            format!(
                "{partner} {external} invite people from outside; after an ending, services {offline}."
            ),
        ]
    }

    fn lasting(&self, time: impl Fn(Instant) -> String) -> String {
        let begun = matches!(self.decides, Decides::Amendment { .. }) && self.starts_at.is_none();
        let start = match self.starts_at {
            _ if begun => String::new(),
            Some(start) => format!("starts on {} and ", time(start)),
            None if matches!(self.decides, Decides::Offer { at_once: false }) => {
                "starts with that yes and ".into()
            }
            None => "starts at once and ".into(),
        };
        let end = match (self.lasts, self.starts_at) {
            (Lasts::Until(end), _) => format!("ends on {}", time(end)),
            (Lasts::For(_), Some(start)) => format!("ends on {}", time(self.end(start))),
            (Lasts::For(days), None) if begun => {
                format!("ends {} from now", count(days.0, "day"))
            }
            (Lasts::For(days), None) => format!("ends {} later", count(days.0, "day")),
        };
        start + &end
    }

    /// The names that the sentences hold beside those of the two sides and the asker.
    pub(super) fn other_names<'s>(
        state: &'s State,
        sides: [Party; 2],
        accounts: &'s Accounts,
    ) -> impl Iterator<Item = WordId> + use<'s> {
        let units = sides.into_iter().filter_map(|p| state.units.get(p.unit?)?.name);
        let list = match accounts {
            Accounts::All => None,
            Accounts::List(list) => Some(list.iter()),
        };
        let named = list.into_iter().flatten().filter_map(|a| Some(state.accounts.get(*a)?.name));
        units.chain(named)
    }
}

/// `1 day`, `2 days`.
fn count(n: u32, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

fn of_unit(state: &State, party: Party) -> String {
    let unit = party.unit.and_then(|u| state.units.get(u));
    let name =
        |u: &crate::organisation::Unit| u.name.map_or("its own unit", |w| state.words.show(w));
    unit.map_or(String::new(), |u| format!(" of the unit {}", name(u)))
}

fn accounts(state: &State, accounts: &Accounts) -> String {
    let Accounts::List(list) = accounts else {
        return "all accounts, also those made later".into();
    };
    let names: Vec<String> = list.iter().filter_map(|id| account(state, *id)).collect();
    let noun = if names.len() == 1 { "account" } else { "accounts" };
    format!("only the {noun} {}", names.join(", "))
}

/// An account as people and programs know it: `Pier 1 (pier-1)`.
#[must_use]
pub fn account(state: &State, id: AccountId) -> Option<String> {
    let account = state.accounts.get(id)?;
    let (name, external) = (state.words.show(account.name), state.words.show(account.external));
    Some(if name == external { name.to_owned() } else { format!("{name} ({external})") })
}

fn roles(state: &State, roles: &[(PinnedRole, Permissions)]) -> String {
    let one = |(pinned, permits): &(PinnedRole, Permissions)| {
        let role = state.roles.get(pinned.role)?;
        let permits: Vec<String> = permits.texts().collect();
        let permits = if permits.is_empty() { "nothing".into() } else { permits.join(", ") };
        Some(format!("{} ({permits})", role.name))
    };
    let all: Vec<String> = roles.iter().filter_map(one).collect();
    let noun = if all.len() == 1 { "this role" } else { "these roles" };
    format!("With {noun}: {}.", all.join("; "))
}

/// How people may enter as themselves, in one sentence.
#[must_use]
pub fn as_themselves(modes: Modes) -> &'static str {
    match (modes.contains(Mode::Direct), modes.contains(Mode::View)) {
        (true, true) => "They may enter as themselves, to work or only to look.",
        (true, false) => "They may enter as themselves, to work.",
        (false, true) => "As themselves they may only look: of these roles, only what reads.",
        (false, false) => "They may not enter as themselves.",
    }
}
