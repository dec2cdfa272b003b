//! The demo's world: Tideline, a boat-rental platform, and sixty days of its partner access.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use comity_app::App;
use comity_app::clock::Clock;
use comity_app::tokens::{Kind, Secret};
use comity_domain::application::{KeyUse, Policy};
use comity_domain::command::{Caller, Command, Door, PutMember};
use comity_domain::ids::{OrganisationId, PersonId};
use comity_domain::permission::Permissions;
use comity_domain::person::PortalRole;
use comity_domain::role::Mode;
use comity_domain::text::Lookup;
use comity_domain::time::{DAY, HOUR, Instant, MINUTE};

use super::actor::{AUDIENCE, PASSWORD, Stage, Wish};

const ORGANISATIONS: [(&str, &str); 7] = [
    ("marina-bay", "Marina Bay Rentals"),
    ("fjord-charter", "Fjord Charter"),
    ("lago", "Lago Boats"),
    ("harbor-help", "Harbor Help"),
    ("sailsupport", "SailSupport"),
    ("wake-analytics", "Wake Analytics"),
    ("north-insure", "North Insure"),
];

/// Organisation, external id, name, portal role.
const PEOPLE: [(&str, &str, &str, Option<PortalRole>); 12] = [
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

const ACCOUNTS: [(&str, &str, &str); 6] = [
    ("marina-bay", "pier-1", "Pier 1"),
    ("marina-bay", "pier-2", "Pier 2"),
    ("marina-bay", "workshop", "Workshop"),
    ("fjord-charter", "bergen", "Bergen base"),
    ("fjord-charter", "alesund", "Ålesund base"),
    ("lago", "como", "Como"),
];

const ROLES: [(&str, &str, &[&str]); 3] = [
    ("bookings", "Bookings", &["bookings:read", "bookings:write", "boats:read"]),
    ("fleet", "Fleet", &["boats:*", "maintenance:*"]),
    ("reports", "Reports", &["*:read"]),
];

/// What the demo tells about its world.
pub struct World {
    customer_id: String,
    operate: Secret,
    provision: Secret,
    decide: Secret,
    marina: OrganisationId,
    people: BTreeMap<&'static str, PersonId>,
}

struct Seed<'a> {
    stage: Stage<'a>,
    start: Instant,
    organisations: BTreeMap<&'static str, OrganisationId>,
    people: BTreeMap<&'static str, PersonId>,
    emails: BTreeMap<&'static str, String>,
}

impl Seed<'_> {
    fn day(&self, day: i64, hour: i64) -> Instant {
        self.start.plus(day * DAY + hour * HOUR)
    }

    fn org(&self, external: &str) -> anyhow::Result<OrganisationId> {
        self.organisations.get(external).copied().with_context(|| format!("demo: no {external}"))
    }

    fn person(&self, external: &str) -> anyhow::Result<PersonId> {
        self.people.get(external).copied().with_context(|| format!("demo: no {external}"))
    }

    async fn as_(&self, external: &str) -> anyhow::Result<Caller> {
        let email = self.emails.get(external).with_context(|| format!("demo: no {external}"))?;
        self.stage.sign_in(email).await
    }

    fn code(&self, external: &str) -> anyhow::Result<String> {
        self.stage.app.customer_id(self.org(external)?).map_err(|e| anyhow!("demo: {e:?}"))
    }
}

/// Makes the world, moving the clock from its start to `now`.
pub async fn seed(app: &Arc<App>, clock: &Clock, now: Instant) -> anyhow::Result<World> {
    let broken = |e| anyhow!("demo: {e:?}");
    let (operate, _) = app.make_key(&Caller::system(), KeyUse::Operate, None).await.map_err(broken)?;
    let operator = app.caller(operate.reveal(), Door::Cli).context("demo: no operator")?;
    let permissions = Permissions::all();
    let command = Command::PutApplication { code: "boats-api".into(), audience: AUDIENCE.into(), permissions };
    app.run(&operator, command).await.map_err(broken)?;
    let application = app.state().application_by_audience(AUDIENCE).context("demo: no application")?;
    let never = ["billing:*", "staff:*"];
    let never_delegable = Permissions::parse("never_delegable", never).map_err(|r| anyhow!(r.sentence()))?;
    let policy = Policy { never_delegable, ..Policy::default() };
    app.run(&operator, Command::SetPolicy { policy }).await.map_err(broken)?;
    let (provision, _) = app.make_key(&operator, KeyUse::Provision, None).await.map_err(broken)?;
    let (decide, _) = app.make_key(&operator, KeyUse::Decide, Some(application)).await.map_err(broken)?;
    let provisioner = app.caller(provision.reveal(), Door::Cli).context("demo: no provisioner")?;

    let mut seed = Seed {
        stage: Stage { app, clock, application },
        start: app.now(),
        organisations: BTreeMap::new(),
        people: BTreeMap::new(),
        emails: BTreeMap::new(),
    };
    provision_all(&mut seed, &provisioner).await?;
    enrol_all(&seed, &provisioner).await?;
    first_month(&seed).await?;
    second_month(&seed).await?;
    today(&seed, now).await?;
    Ok(World {
        customer_id: seed.code("marina-bay")?,
        operate,
        provision,
        decide,
        marina: seed.org("marina-bay")?,
        people: seed.people,
    })
}

async fn provision_all(seed: &mut Seed<'_>, key: &Caller) -> anyhow::Result<()> {
    for (external, name) in ORGANISATIONS {
        let code = seed.stage.app.fresh_code();
        let command = Command::PutOrganisation { external: external.into(), name: name.into(), code };
        let done = seed.stage.run(key, command).await?;
        let id = done.state.words.find(Lookup::Organisation, external).map(OrganisationId);
        seed.organisations.insert(external, id.context("demo: an organisation is missing")?);
    }
    for (organisation, external, name) in ACCOUNTS {
        let organisation = seed.org(organisation)?;
        let command = Command::PutAccount { organisation, external: external.into(), name: name.into(), unit: None };
        seed.stage.run(key, command).await?;
    }
    for customer in ["marina-bay", "fjord-charter", "lago"] {
        let organisation = seed.org(customer)?;
        for (code, name, permissions) in ROLES {
            let permissions = Permissions::parse("permissions", permissions).map_err(|r| anyhow!(r.sentence()))?;
            let command = Command::PutRole { organisation, code: code.into(), name: name.into(), permissions };
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
        });
        let done = seed.stage.run(key, command).await?;
        let person = done.state.words.find(Lookup::Member(id), external).map(PersonId);
        seed.people.insert(external, person.context("demo: a member is missing")?);
        seed.emails.insert(external, email);
    }
    Ok(())
}

/// Everybody sets the same password; hashing is slow on purpose, so two at a time.
async fn enrol_all(seed: &Seed<'_>, key: &Caller) -> anyhow::Result<()> {
    let mut waiting = Vec::new();
    for (organisation, external, ..) in PEOPLE {
        let secret = Secret::new(Kind::Enrolment);
        let organisation = seed.org(organisation)?;
        let command = Command::MakeEnrolment { organisation, external: external.into(), digest: secret.digest() };
        seed.stage.run(key, command).await?;
        let app = seed.stage.app.clone();
        waiting.push(tokio::spawn(async move { app.enrol(secret.reveal(), PASSWORD.into()).await }));
    }
    for enrolled in waiting {
        enrolled.await?.map_err(|e| anyhow!("demo: {e:?}"))?;
    }
    Ok(())
}

/// Days 1 to 30: a grant that ran out, a denial, a request that nobody answered.
async fn first_month(seed: &Seed<'_>) -> anyhow::Result<()> {
    let stage = &seed.stage;
    let (marina, harbor) = (seed.org("marina-bay")?, seed.org("harbor-help")?);
    stage.at(seed.day(2, 9));
    let pia = seed.as_("pia").await?;
    let wish = Wish {
        level: "partner",
        modes: &[Mode::Direct, Mode::View, Mode::ActAs],
        days: 21,
        roles: &[],
        accounts: &[],
        reason: "Spring check of the booking calendar, as agreed by phone",
        ticket: Some("HH-1042"),
    };
    let request = stage.ask(&pia, harbor, &seed.code("marina-bay")?, wish).await?;
    stage.at(seed.day(2, 11));
    let ana = seed.as_("ana").await?;
    let grant = stage.approve(&ana, request, &["bookings", "fleet"], &[], &[Mode::Direct, Mode::View, Mode::ActAs]).await?;
    stage.assign(&pia, grant, &[seed.person("quentin")?, seed.person("ruth")?]).await?;
    stage.at(seed.day(3, 9));
    let quentin = seed.as_("quentin").await?;
    let (session, token) = stage.enter(&quentin, marina, Mode::Direct, None).await?;
    stage.call(&token, "bookings:read", "pier-1", 31);
    stage.call(&token, "billing:read", "pier-1", 2);
    stage.at(seed.day(3, 9).plus(34 * MINUTE));
    stage.run(&quentin, Command::CloseSession { session }).await?;
    stage.at(seed.day(5, 14));
    let ruth = seed.as_("ruth").await?;
    let (_, token) = stage.enter(&ruth, marina, Mode::ActAs, Some("Double booking of the Aurora, HH-1050")).await?;
    stage.call(&token, "bookings:write", "pier-2", 12); // left open: expires after an hour
    stage.at(seed.day(8, 10));
    let wanda = seed.as_("wanda").await?;
    let wish = Wish {
        level: "referral",
        modes: &[Mode::View],
        days: 90,
        roles: &["reports"],
        accounts: &[],
        reason: "Benchmark of utilisation across marinas",
        ticket: None,
    };
    let request = stage.ask(&wanda, seed.org("wake-analytics")?, &seed.code("marina-bay")?, wish).await?;
    stage.at(seed.day(9, 10));
    let ana = seed.as_("ana").await?;
    let (reason, message) = (Some("We do not share numbers with competitors' tools".into()), Some("Not this season, thank you.".into()));
    stage.run(&ana, Command::Deny { request, reason, message }).await?;
    stage.at(seed.day(12, 10));
    let nils = seed.as_("nils").await?;
    let wish = Wish {
        level: "referral",
        modes: &[Mode::View],
        days: 30,
        roles: &[],
        accounts: &["como"],
        reason: "Claim 77-B: photographs of the hull",
        ticket: Some("77-B"),
    };
    stage.ask(&nils, seed.org("north-insure")?, &seed.code("lago")?, wish).await?; // nobody answers
    Ok(())
}

/// Days 31 to 59: a grant that was revoked while somebody was inside, one that runs on.
async fn second_month(seed: &Seed<'_>) -> anyhow::Result<()> {
    let stage = &seed.stage;
    let (fjord, sail) = (seed.org("fjord-charter")?, seed.org("sailsupport")?);
    stage.at(seed.day(33, 8));
    let sam = seed.as_("sam").await?;
    let wish = Wish {
        level: "partner",
        modes: &[Mode::Direct, Mode::View],
        days: 90,
        roles: &["fleet"],
        accounts: &["bergen"],
        reason: "Winter maintenance planning",
        ticket: None,
    };
    let request = stage.ask(&sam, sail, &seed.code("fjord-charter")?, wish).await?;
    let frida = seed.as_("frida").await?;
    let grant = stage.approve(&frida, request, &["fleet"], &["bergen"], &[Mode::Direct, Mode::View]).await?;
    stage.assign(&sam, grant, &[seed.person("tess")?]).await?;
    stage.at(seed.day(40, 13));
    let tess = seed.as_("tess").await?;
    let (_, token) = stage.enter(&tess, fjord, Mode::Direct, None).await?;
    stage.call(&token, "maintenance:write", "bergen", 18);
    stage.call(&token, "boats:read", "alesund", 4);
    stage.at(seed.day(40, 13).plus(22 * MINUTE));
    let frida = seed.as_("frida").await?;
    stage.run(&frida, Command::Revoke { grant }).await?;
    stage.at(seed.day(45, 9));
    let pia = seed.as_("pia").await?;
    let wish = Wish {
        level: "partner",
        modes: &[Mode::Direct, Mode::View, Mode::ActAs],
        days: 60,
        roles: &[],
        accounts: &[],
        reason: "Support for the summer season",
        ticket: Some("HH-1101"),
    };
    let request = stage.ask(&pia, seed.org("harbor-help")?, &seed.code("marina-bay")?, wish).await?;
    let ana = seed.as_("ana").await?;
    let grant = stage.approve(&ana, request, &["bookings", "reports"], &["pier-1", "pier-2"], &[Mode::Direct, Mode::ActAs]).await?;
    stage.assign(&pia, grant, &[seed.person("quentin")?, seed.person("ruth")?, seed.person("pia")?]).await?;
    for day in [47, 50, 52, 55] {
        stage.at(seed.day(day, 10));
        let quentin = seed.as_("quentin").await?;
        let (session, token) = stage.enter(&quentin, seed.org("marina-bay")?, Mode::Direct, None).await?;
        stage.call(&token, "bookings:read", "pier-1", 20 + u32::try_from(day).unwrap_or(0) % 7);
        stage.at(seed.day(day, 10).plus(17 * MINUTE));
        stage.run(&quentin, Command::CloseSession { session }).await?;
    }
    Ok(())
}

/// The last hours: requests to decide, somebody inside, a request taken back.
async fn today(seed: &Seed<'_>, now: Instant) -> anyhow::Result<()> {
    let stage = &seed.stage;
    stage.at(now.plus(-5 * HOUR));
    let nils = seed.as_("nils").await?;
    let wish = Wish {
        level: "referral",
        modes: &[Mode::View],
        days: 14,
        roles: &["reports"],
        accounts: &["workshop"],
        reason: "Claim 81-A: storm damage at the workshop",
        ticket: Some("81-A"),
    };
    stage.ask(&nils, seed.org("north-insure")?, &seed.code("marina-bay")?, wish).await?;
    stage.at(now.plus(-3 * HOUR));
    let wanda = seed.as_("wanda").await?;
    let again = || Wish {
        level: "referral",
        modes: &[Mode::View],
        days: 30,
        roles: &["reports"],
        accounts: &[],
        reason: "Benchmark of utilisation, without names",
        ticket: None,
    };
    let request = stage.ask(&wanda, seed.org("wake-analytics")?, &seed.code("fjord-charter")?, again()).await?;
    stage.run(&wanda, Command::CancelRequest { request }).await?;
    stage.ask(&wanda, seed.org("wake-analytics")?, &seed.code("marina-bay")?, again()).await?;
    stage.at(now.plus(-11 * MINUTE));
    let ruth = seed.as_("ruth").await?;
    let reason = Some("Guest cannot change the pick-up time, HH-1177");
    let (_, token) = stage.enter(&ruth, seed.org("marina-bay")?, Mode::ActAs, reason).await?;
    stage.call(&token, "bookings:read", "pier-2", 9);
    stage.call(&token, "bookings:write", "pier-2", 2);
    stage.call(&token, "bookings:read", "workshop", 1);
    Ok(())
}

impl World {
    /// The values that the README's tour uses, as shell variables.
    pub fn write_env(&self, path: &Path, url: &str) -> anyhow::Result<()> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let person = |name: &str| self.people.get(name).map(ToString::to_string).unwrap_or_default();
        let text = format!(
            "COMITY={url}\nPASSWORD='{PASSWORD}'\nCUSTOMER_ID='{}'\nMARINA={}\nSAM={}\nTESS={}\nDECIDE_KEY={}\nPROVISION_KEY={}\nOPERATE_KEY={}\n",
            self.customer_id, self.marina, person("sam"), person("tess"),
            self.decide.reveal(), self.provision.reveal(), self.operate.reveal(),
        );
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(file.write_all(text.as_bytes())?)
    }

    /// What is printed once the demo is up.
    pub fn lines(&self, url: &str, data: &Path) -> Vec<String> {
        let mut out = vec![
            format!("Comity {} demo on {url}", env!("CARGO_PKG_VERSION")),
            String::new(),
            "Tideline, a boat-rental platform. Its customers let partners into their tenants.".into(),
            format!("Everybody's password: {PASSWORD}"),
            String::new(),
        ];
        for (organisation, external, name, portal) in PEOPLE {
            let role = match portal {
                Some(PortalRole::Admin) => "Admin",
                Some(PortalRole::CustomerSupport) => "Customer Support",
                None => "",
            };
            let company = ORGANISATIONS.iter().find(|(id, _)| *id == organisation).map_or("", |(_, name)| name);
            out.push(format!("  {:<34} {name:<16} {company:<20} {role}", format!("{external}@{organisation}.example")));
        }
        out.extend([
            String::new(),
            format!("Marina Bay's customer ID: {}", self.customer_id),
            String::new(),
            "Try next, in another terminal:".into(),
            format!("  . {}/demo.env      # the addresses and keys of this demo", data.display()),
            "  curl -s $COMITY/v1/sign-in -H 'Content-Type: application/json' \\".into(),
            "    -d '{\"email\":\"ana@marina-bay.example\",\"password\":\"'\"$PASSWORD\"'\"}'".into(),
            "  # then with the token it returns:".into(),
            "  curl -s \"$COMITY/v1/organisations/marina-bay/requests?state=pending\" -H \"Authorization: Bearer $TOKEN\"".into(),
            format!("  comity audit verify --data {}", data.display()),
            String::new(),
            "The five-minute tour is in README.md. Stop with Ctrl-C.".into(),
        ]);
        out
    }
}
