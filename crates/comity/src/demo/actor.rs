//! How the demo's people act: through the same app as every door.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use comity_app::App;
use comity_app::app::Entered;
use comity_app::clock::Clock;
use comity_app::node::Done;
use comity_app::tokens::{Kind, Secret};
use comity_domain::code::CustomerCode;
use comity_domain::command::{Ask, AssignmentSpec, Caller, Command, Door, Enter};
use comity_domain::consent::{self, Terms};
use comity_domain::event::Event;
use comity_domain::ids::{ApplicationId, GrantId, OrganisationId, PersonId, RequestId, SessionId};
use comity_domain::organisation::Accounts;
use comity_domain::permission::Permission;
use comity_domain::rights::Resource;
use comity_domain::role::{Mode, Modes};
use comity_domain::text::Lookup;
use comity_domain::time::{Days, Instant, MINUTE};

/// The password of everybody in the demo.
pub const PASSWORD: &str = comity_console::DEMO_PASSWORD;
/// The application's audience.
pub const AUDIENCE: &str = "https://api.boats.example";

/// The stage.
pub struct Stage<'a> {
    /// The app.
    pub app: &'a Arc<App>,
    /// The simulated clock.
    pub clock: &'a Clock,
    /// The application.
    pub application: ApplicationId,
}

fn event<T>(done: &Done, pick: impl Fn(&Event) -> Option<T>) -> anyhow::Result<T> {
    let events = done.row.iter().flat_map(|row| &row.events);
    events.map(|e| &e.event).find_map(pick).context("the command did not do what the demo expects")
}

impl Stage<'_> {
    /// Moves the clock.
    pub fn at(&self, instant: Instant) {
        self.clock.set(instant);
    }

    /// Sends a command.
    pub async fn run(&self, caller: &Caller, command: Command) -> anyhow::Result<Done> {
        let kind = command.kind();
        self.app.run(caller, command).await.map_err(|e| anyhow!("demo: {kind}: {e:?}"))
    }

    /// Signs in. The clock may have moved far, so everybody does it anew.
    pub async fn sign_in(&self, email: &str) -> anyhow::Result<Caller> {
        let signed = self
            .app
            .sign_in(Door::Cli, email, PASSWORD.into())
            .await
            .map_err(|e| anyhow!("demo: {email}: {e:?}"))?;
        let Entered::In(signed) = signed else {
            bail!("demo: {email} has a second factor");
        };
        self.app
            .caller(signed.token.reveal(), Door::Cli)
            .context("demo: a fresh sign-in is not in force")
    }

    /// Asks to come in.
    pub async fn ask(
        &self,
        by: &Caller,
        provider: OrganisationId,
        code: &str,
        ask: Wish<'_>,
    ) -> anyhow::Result<RequestId> {
        let code = CustomerCode::parse(code).map_err(|e| anyhow!("demo: {e:?}"))?;
        let words = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        let command = Command::Ask(Ask {
            provider,
            unit: None,
            code: code.digest(),
            level: ask.level.into(),
            modes: ask.modes.iter().copied().collect(),
            days: Days(ask.days),
            roles: words(ask.roles),
            accounts: words(ask.accounts),
            reason: ask.reason.into(),
            ticket: ask.ticket.map(Into::into),
        });
        let done = self.run(by, command).await?;
        event(&done, |e| match e {
            Event::RequestAsked { request, .. } => Some(*request),
            _ => None,
        })
    }

    /// Approves with these roles and accounts, echoing the summary like a person would.
    pub async fn approve(
        &self,
        by: &Caller,
        id: RequestId,
        roles: &[&str],
        accounts: &[&str],
        modes: &[Mode],
    ) -> anyhow::Result<GrantId> {
        let state = self.app.state();
        let request = state.requests.get(id).context("demo: no such request")?;
        let customer = request.customer;
        let account = |a: &&str| {
            state.words.find(Lookup::Account(customer), a).map(comity_domain::ids::AccountId)
        };
        let modes: Modes = modes.iter().copied().collect();
        let terms = Terms {
            roles: roles.iter().filter_map(|code| state.role_by_code(customer, code)).collect(),
            accounts: if accounts.is_empty() {
                Accounts::All
            } else {
                Accounts::List(accounts.iter().filter_map(account).collect())
            },
            unit: None,
            modes,
            starts_at: None,
            days: request.days,
            cap: None,
            allow_external: false,
            jwt: !modes.contains(Mode::ActAs),
        };
        let summary = consent::summarise(&state, id, request, &terms, self.app.now())
            .map_err(|r| anyhow!("demo: {}", r.sentence()))?;
        let done =
            self.run(by, Command::Approve { request: id, terms, summary: summary.hash() }).await?;
        event(&done, |e| match e {
            Event::GrantMade { grant, .. } => Some(*grant),
            _ => None,
        })
    }

    /// Puts people on a grant with all its roles and accounts.
    pub async fn assign(
        &self,
        by: &Caller,
        grant: GrantId,
        people: &[PersonId],
    ) -> anyhow::Result<()> {
        let state = self.app.state();
        let roles: BTreeSet<_> = state
            .grants
            .get(grant)
            .map(|g| g.roles.iter().map(|p| p.role).collect())
            .unwrap_or_default();
        for person in people {
            let roles = roles.iter().copied().collect();
            let spec =
                AssignmentSpec { person: *person, roles, accounts: Accounts::All, ends_at: None };
            self.run(by, Command::Assign { grant, spec }).await?;
        }
        Ok(())
    }

    /// Enters a customer.
    pub async fn enter(
        &self,
        by: &Caller,
        customer: OrganisationId,
        mode: Mode,
        reason: Option<&str>,
    ) -> anyhow::Result<(SessionId, Secret)> {
        let secret = Secret::new(Kind::Session);
        let command = Command::Enter(Enter {
            scope: None,
            jwt: false,
            customer,
            audience: AUDIENCE.into(),
            grant: None,
            mode,
            reason: reason.map(Into::into),
            token: secret.digest(),
        });
        let done = self.run(by, command).await?;
        let session = event(&done, |e| match e {
            Event::SessionStarted { session, .. } => Some(*session),
            _ => None,
        })?;
        Ok((session, secret))
    }

    /// Calls it `times` times over so many minutes from an instant on: some are busy, some idle.
    pub fn call_over(
        &self,
        token: &Secret,
        what: (&str, &str),
        times: u32,
        (from, minutes): (Instant, u32),
    ) {
        let weight = |minute: u32| (minute * 5 + 3) % 7;
        let all: u32 = (0..minutes).map(weight).sum::<u32>().max(1);
        let mut passed = 0;
        for minute in 0..minutes {
            let before = times * passed / all;
            passed += weight(minute);
            self.at(from.plus(i64::from(minute) * MINUTE));
            self.call(token, what.0, what.1, times * passed / all - before);
        }
    }

    /// Calls the builder's API `times` times.
    pub fn call(&self, token: &Secret, permission: &str, account: &str, times: u32) {
        let Some(asked) = Permission::parse(permission) else {
            return;
        };
        for _ in 0..times {
            let _ =
                self.app.evaluate(self.application, token.reveal(), asked, |state, customer| {
                    let id = state
                        .words
                        .find(Lookup::Account(customer), account)
                        .map(comity_domain::ids::AccountId);
                    let known = id.and_then(|id| Some((id, state.accounts.get(id)?)));
                    known.map_or(Resource::Unknown, |(id, a)| {
                        Resource::Account(id, a.organisation, a.unit)
                    })
                });
        }
    }
}

/// What a partner asks for.
pub struct Wish<'a> {
    /// The level.
    pub level: &'a str,
    /// The modes.
    pub modes: &'a [Mode],
    /// The days.
    pub days: u32,
    /// Role codes, none leaves the choice.
    pub roles: &'a [&'a str],
    /// Accounts, none is all.
    pub accounts: &'a [&'a str],
    /// Why.
    pub reason: &'a str,
    /// A ticket.
    pub ticket: Option<&'a str>,
}
