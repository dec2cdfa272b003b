//! The demo's cast: who there is on Tideline, and how they come to be there.

use std::collections::BTreeMap;

use anyhow::{Context as _, anyhow};
use comity_app::tokens::{Kind, Secret};
use comity_domain::command::{Caller, Command, PutMember};
use comity_domain::ids::{OrganisationId, PersonId};
use comity_domain::permission::Permissions;
use comity_domain::person::PortalRole;
use comity_domain::text::Lookup;
use comity_domain::time::{DAY, HOUR, Instant};

use super::actor::{PASSWORD, Stage};

/// External identifier and name.
pub const ORGANISATIONS: [(&str, &str); 7] = [
    ("marina-bay", "Marina Bay Rentals"),
    ("fjord-charter", "Fjord Charter"),
    ("lago", "Lago Boats"),
    ("harbor-help", "Harbor Help"),
    ("sailsupport", "SailSupport"),
    ("wake-analytics", "Wake Analytics"),
    ("north-insure", "North Insure"),
];

/// Organisation, external id, name, portal role.
pub const PEOPLE: [(&str, &str, &str, Option<PortalRole>); 12] = [
    ("marina-bay", "ana", "Ana Duarte", Some(PortalRole::Admin)),
    ("marina-bay", "marek", "Marek Nowak", Some(PortalRole::CustomerSupport)),
    ("fjord-charter", "frida", "Frida Berg", Some(PortalRole::Admin)),
    ("lago", "luca", "Luca Ferri", Some(PortalRole::Admin)),
    ("harbor-help", "pia", "Pia Lindholm", Some(PortalRole::Admin)),
    ("harbor-help", "quentin", "Quentin Moreau", None),
    ("harbor-help", "ruth", "Ruth Adeyemi", None),
    ("sailsupport", "sam", "Sam Okafor", Some(PortalRole::Admin)),
    ("sailsupport", "tess", "Tess Vermeer", None),
    ("wake-analytics", "wanda", "Wanda Kim", Some(PortalRole::Admin)),
    ("north-insure", "nils", "Nils Aas", Some(PortalRole::Admin)),
    ("north-insure", "olga", "Olga Petrova", None),
];

/// Organisation, external identifier, name.
const ACCOUNTS: [(&str, &str, &str); 6] = [
    ("marina-bay", "pier-1", "Pier 1"),
    ("marina-bay", "pier-2", "Pier 2"),
    ("marina-bay", "workshop", "Workshop"),
    ("fjord-charter", "bergen", "Bergen base"),
    ("fjord-charter", "alesund", "Ålesund base"),
    ("lago", "como", "Como"),
];

/// Code, name, permissions.
const ROLES: [(&str, &str, &[&str]); 3] = [
    ("bookings", "Bookings", &["bookings:read", "bookings:write", "boats:read"]),
    ("fleet", "Fleet", &["boats:*", "maintenance:*"]),
    ("reports", "Reports", &["*:read"]),
];

/// The cast on its stage.
pub struct Seed<'a> {
    /// Where they act.
    pub stage: Stage<'a>,
    /// When the world begins.
    pub start: Instant,
    /// Organisations by external identifier.
    pub organisations: BTreeMap<&'static str, OrganisationId>,
    /// People by external identifier.
    pub people: BTreeMap<&'static str, PersonId>,
    /// Their addresses.
    pub emails: BTreeMap<&'static str, String>,
}

impl Seed<'_> {
    /// An instant of the world.
    pub fn day(&self, day: i64, hour: i64) -> Instant {
        self.start.plus(day * DAY + hour * HOUR)
    }

    /// An organisation.
    pub fn org(&self, external: &str) -> anyhow::Result<OrganisationId> {
        self.organisations.get(external).copied().with_context(|| format!("demo: no {external}"))
    }

    /// A person.
    pub fn person(&self, external: &str) -> anyhow::Result<PersonId> {
        self.people.get(external).copied().with_context(|| format!("demo: no {external}"))
    }

    /// A person, signed in just now.
    pub async fn as_(&self, external: &str) -> anyhow::Result<Caller> {
        let email = self.emails.get(external).with_context(|| format!("demo: no {external}"))?;
        self.stage.sign_in(email).await
    }

    /// A customer ID.
    pub fn code(&self, external: &str) -> anyhow::Result<String> {
        self.stage.app.customer_id(self.org(external)?).map_err(|e| anyhow!("demo: {e:?}"))
    }
}

/// Makes organisations, accounts, roles and members.
pub async fn provision(seed: &mut Seed<'_>, key: &Caller) -> anyhow::Result<()> {
    for (external, name) in ORGANISATIONS {
        let code = seed.stage.app.fresh_code();
        let command =
            Command::PutOrganisation { external: external.into(), name: name.into(), code };
        let done = seed.stage.run(key, command).await?;
        let id = done.state.words.find(Lookup::Organisation, external).map(OrganisationId);
        seed.organisations.insert(external, id.context("demo: an organisation is missing")?);
    }
    for (organisation, external, name) in ACCOUNTS {
        let organisation = seed.org(organisation)?;
        let command = Command::PutAccount {
            organisation,
            external: external.into(),
            name: name.into(),
            unit: None,
        };
        seed.stage.run(key, command).await?;
    }
    for customer in ["marina-bay", "fjord-charter", "lago"] {
        let organisation = seed.org(customer)?;
        for (code, name, permissions) in ROLES {
            let permissions = Permissions::parse("permissions", permissions)
                .map_err(|r| anyhow!(r.sentence()))?;
            let command = Command::PutRole {
                organisation,
                code: code.into(),
                name: name.into(),
                permissions,
            };
            seed.stage.run(key, command).await?;
        }
    }
    for (organisation, external, name, portal) in PEOPLE {
        let id = seed.org(organisation)?;
        let email = format!("{external}@{organisation}.example");
        let command = Command::PutMember(PutMember {
            organisation: id,
            external: external.into(),
            name: name.into(),
            email: email.clone(),
            email_verified: true,
            unit: None,
            portal,
            active: true,
            roles: None,
        });
        let done = seed.stage.run(key, command).await?;
        let person = done.state.words.find(Lookup::Member(id), external).map(PersonId);
        seed.people.insert(external, person.context("demo: a member is missing")?);
        seed.emails.insert(external, email);
    }
    Ok(())
}

/// Everybody sets the same password; hashing is slow on purpose, so two at a time.
pub async fn enrol(seed: &Seed<'_>, key: &Caller) -> anyhow::Result<()> {
    let mut waiting = Vec::new();
    for (organisation, external, ..) in PEOPLE {
        let secret = Secret::new(Kind::Enrolment);
        let organisation = seed.org(organisation)?;
        let command = Command::MakeEnrolment {
            organisation,
            external: external.into(),
            digest: secret.digest(),
        };
        seed.stage.run(key, command).await?;
        let app = seed.stage.app.clone();
        waiting
            .push(tokio::spawn(async move { app.enrol(secret.reveal(), PASSWORD.into()).await }));
    }
    for enrolled in waiting {
        enrolled.await?.map_err(|e| anyhow!("demo: {e:?}"))?;
    }
    Ok(())
}
