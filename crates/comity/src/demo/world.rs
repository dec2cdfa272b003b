//! The demo's world: Tideline, a boat-rental platform, and what is told about it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use comity_app::App;
use comity_app::clock::Clock;
use comity_app::tokens::Secret;
use comity_domain::application::{KeyUse, Policy};
use comity_domain::command::{Caller, Command, Door};
use comity_domain::ids::{OrganisationId, PersonId};
use comity_domain::permission::Permissions;
use comity_domain::person::PortalRole;
use comity_domain::time::Instant;

use super::actor::{AUDIENCE, PASSWORD, Stage};
use super::cast::{self, ORGANISATIONS, PEOPLE, Seed};
use super::story;

/// What the demo tells about its world.
pub struct World {
    customer_id: String,
    operate: Secret,
    provision: Secret,
    decide: Secret,
    marina: OrganisationId,
    people: BTreeMap<&'static str, PersonId>,
}

/// Makes the world, moving the clock from its start to `now`.
pub async fn seed(app: &Arc<App>, clock: &Clock, now: Instant) -> anyhow::Result<World> {
    let broken = |e| anyhow!("demo: {e:?}");
    let (operate, _) =
        app.make_key(&Caller::system(), KeyUse::Operate, None).await.map_err(broken)?;
    let operator = app.caller(operate.reveal(), Door::Cli).context("demo: no operator")?;
    let permissions = Permissions::all();
    let command = Command::PutApplication {
        code: "boats-api".into(),
        audience: AUDIENCE.into(),
        permissions,
        launch_url: None,
    };
    app.run(&operator, command).await.map_err(broken)?;
    let application =
        app.state().application_by_audience(AUDIENCE).context("demo: no application")?;
    let never = ["billing:*", "staff:*"];
    let never_delegable =
        Permissions::parse("never_delegable", never).map_err(|r| anyhow!(r.sentence()))?;
    let policy = Policy { never_delegable, ..Policy::default() };
    app.run(&operator, Command::SetPolicy { policy }).await.map_err(broken)?;
    let (provision, _) = app.make_key(&operator, KeyUse::Provision, None).await.map_err(broken)?;
    let (decide, _) =
        app.make_key(&operator, KeyUse::Decide, Some(application)).await.map_err(broken)?;
    let provisioner = app.caller(provision.reveal(), Door::Cli).context("demo: no provisioner")?;

    let mut seed = Seed {
        stage: Stage { app, clock, application },
        start: app.now(),
        organisations: BTreeMap::new(),
        people: BTreeMap::new(),
        emails: BTreeMap::new(),
    };
    cast::provision(&mut seed, &provisioner).await?;
    cast::enrol(&seed, &provisioner).await?;
    story::first_month(&seed).await?;
    story::second_month(&seed).await?;
    story::today(&seed, now).await?;
    Ok(World {
        customer_id: seed.code("marina-bay")?,
        operate,
        provision,
        decide,
        marina: seed.org("marina-bay")?,
        people: seed.people,
    })
}

impl World {
    /// The values that the README's tour uses, as shell variables.
    pub fn write_env(&self, path: &Path, url: &str) -> anyhow::Result<()> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let person =
            |name: &str| self.people.get(name).map(ToString::to_string).unwrap_or_default();
        let text = format!(
            "COMITY={url}\nPASSWORD='{PASSWORD}'\nCUSTOMER_ID='{}'\nMARINA={}\nSAM={}\nTESS={}\nDECIDE_KEY={}\nPROVISION_KEY={}\nOPERATE_KEY={}\n",
            self.customer_id,
            self.marina,
            person("sam"),
            person("tess"),
            self.decide.reveal(),
            self.provision.reveal(),
            self.operate.reveal(),
        );
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(file.write_all(text.as_bytes())?)
    }

    /// What is printed once the demo is up.
    pub fn lines(&self, url: &str, data: &Path) -> Vec<String> {
        // As it was called, so that the line works for whoever has it on no path.
        let comity = std::env::args().next().unwrap_or_else(|| "comity".into());
        let mut out = vec![
            format!("Comity {} demo on {url}", env!("CARGO_PKG_VERSION")),
            format!("The console: {url}/console"),
            String::new(),
            "Tideline, a boat-rental platform. Its customers let partners into their tenants."
                .into(),
            format!("Everybody's password: {PASSWORD}"),
            "Open somebody's link to be them, as often as you like while the demo runs:".into(),
            String::new(),
        ];
        for (organisation, external, name, portal) in PEOPLE {
            let role = match portal {
                Some(PortalRole::Admin) => "Admin",
                Some(PortalRole::CustomerSupport) => "Customer Support",
                None => "Member",
            };
            let company = ORGANISATIONS
                .iter()
                .find(|(id, _)| *id == organisation)
                .map_or("", |(_, name)| name);
            let link = format!("{url}/console/demo/{external}@{organisation}.example");
            out.push(format!("  {link:<72} {name}, {company}, {role}"));
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
            format!("  {comity} audit verify --data {}", data.display()),
            String::new(),
            "The five-minute tour is in README.md. Stop with Ctrl-C.".into(),
        ]);
        out
    }
}
