//! The cast of the scenarios in an installation, and what the program that plays the platform, its
//! applications and its users knows of it. The first key is made at the terminal, as an operator
//! would; everything else goes through the router.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use axum::http::header;
use comity_domain::application::KeyUse;
use comity_domain::command::Caller;
use comity_domain::time::Instant;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{House, PASSWORD, Reply, copy, text};
use crate::scenarios::cast::{Cast, CastOrganisation};
use crate::scenarios::story;

/// A member as the builder keeps it, with Comity's identifier.
#[derive(Debug, Clone)]
pub struct Member {
    pub id: String,
    pub name: String,
    pub email: String,
    pub unit: Option<String>,
    pub portal: Option<String>,
    pub active: bool,
}

impl Member {
    pub fn wire(&self) -> Value {
        json!({ "name": self.name, "email": self.email, "email_verified": true, "unit": self.unit,
            "portal_role": self.portal, "active": self.active })
    }
}

/// What the program that plays the platform, its applications and its users knows.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The keys.
    pub operate: String,
    pub provision: String,
    /// For each application its audience and its key.
    pub applications: BTreeMap<String, (String, String)>,
    /// Identifiers of organisations and accounts by the builder's.
    pub organisations: BTreeMap<String, String>,
    pub accounts: BTreeMap<(String, String), String>,
    /// Members by `name@organisation`.
    pub members: BTreeMap<String, Member>,
    /// The last sign-in of each person, with its instant.
    pub signed_in: BTreeMap<String, (String, Instant)>,
}

/// An installation with the cast of the scenarios.
pub struct Town {
    pub house: House,
    pub known: Known,
}

impl std::ops::Deref for Town {
    type Target = House;
    fn deref(&self) -> &House {
        &self.house
    }
}

impl Town {
    /// The cast at [`START`]. It is set up once; each town starts from a copy of its files.
    pub fn new() -> Self {
        static FIRST: OnceLock<(TempDir, Known)> = OnceLock::new();
        let (files, known) = FIRST.get_or_init(|| {
            let Self { house, known } = Self::set(&story::read("cast.toml"));
            house.app.stop();
            let House { folder, .. } = house;
            (folder, known)
        });
        Self { house: House::start(copy(files.path())), known: known.clone() }
    }

    fn set(cast: &Cast) -> Self {
        let house = House::start(tempfile::tempdir().unwrap());
        let made =
            house.runtime.block_on(house.app.make_key(&Caller::system(), KeyUse::Operate, None));
        let operate = made.expect("the first key").0.reveal().to_owned();
        let mut town = Self { house, known: Known { operate, ..Known::default() } };
        town.known.provision = town.key("provision", None);
        for (code, a) in &cast.applications {
            let body = json!({ "audience": a.audience, "permissions": a.permissions });
            town.put(&town.known.operate, &format!("/v1/platform/applications/{code}"), &body).ok();
            let key = town.key("decide", Some(code));
            town.known.applications.insert(code.clone(), (a.audience.clone(), key));
        }
        let seen = town.get(&town.known.operate, "/v1/platform/policy");
        let (mut policy, tag) = (seen.ok(), seen.header(header::ETAG));
        policy["never_delegable"] = json!(cast.never_delegable);
        town.put_seen(&town.known.operate, "/v1/platform/policy", &policy, tag).ok();
        for (external, organisation) in &cast.organisations {
            town.introduce(external, organisation);
        }
        town
    }

    /// A key made by the operator.
    pub fn key(&self, usage: &str, application: Option<&str>) -> String {
        let body = json!({ "use": usage, "application": application });
        let made = self.post(&self.known.operate, "/v1/platform/keys", &body).ok();
        made["secret"].as_str().expect("a secret").to_owned()
    }

    fn introduce(&mut self, external: &str, cast: &CastOrganisation) {
        let key = self.known.provision.clone();
        let at = format!("/v1/organisations/{external}");
        let made = self.put(&key, &at, &json!({ "name": cast.name })).ok();
        self.known.organisations.insert(external.into(), text(&made["id"]));
        for unit in &cast.units {
            self.put(
                &key,
                &format!("{at}/units/{unit}"),
                &json!({ "name": format!("Unit {unit}") }),
            )
            .ok();
        }
        for (account, a) in &cast.accounts {
            let body = json!({ "name": format!("Account {account}"), "unit": a.unit });
            let made = self.put(&key, &format!("{at}/accounts/{account}"), &body).ok();
            self.known.accounts.insert((external.into(), account.clone()), text(&made["id"]));
        }
        for (role, permissions) in &cast.roles {
            let body = json!({ "name": format!("Role {role}"), "permissions": permissions });
            self.put(&key, &format!("{at}/roles/{role}"), &body).ok();
        }
        for (name, m) in &cast.members {
            let member = Member {
                id: String::new(),
                name: m.name.clone(),
                email: format!("{name}@{external}.example"),
                unit: m.unit.clone(),
                portal: m.portal.clone(),
                active: true,
            };
            let reply = self.put_member(&key, &format!("{name}@{external}"), member);
            reply.ok();
        }
    }

    /// Makes or changes a member; a new person is enrolled and signed in.
    pub fn put_member(&mut self, token: &str, who: &str, mut member: Member) -> Reply {
        let (external, organisation) = who.split_once('@').expect("member@organisation");
        let at = format!("/v1/organisations/{organisation}/members/{external}");
        let reply = self.put(token, &at, &member.wire());
        if reply.status >= 300 {
            return reply;
        }
        let shown = reply.json();
        member.id = text(&shown["person"]);
        if shown["enrolled"] == json!(false) {
            let made =
                self.call(&self.known.provision, "POST", &format!("{at}/enrolment"), None).ok();
            self.post("", "/v1/enrol", &json!({ "token": made["token"], "password": PASSWORD }))
                .ok();
        }
        let new = self.known.members.insert(who.into(), member.clone()).is_none();
        if new {
            self.sign_in_anew(&member);
        }
        reply
    }

    fn sign_in_anew(&mut self, member: &Member) -> String {
        let token = text(&self.sign_in(&member.email).ok()["token"]);
        let now = self.now();
        self.known.signed_in.insert(member.id.clone(), (token.clone(), now));
        token
    }

    /// A person's sign-in: the last one if it is old enough to be shown or fresh, else a new one.
    pub fn token_of(&mut self, who: &str, old: bool) -> String {
        let member = self
            .known
            .members
            .get(who)
            .unwrap_or_else(|| panic!("nobody is called {who:?}"))
            .clone();
        if let Some((token, at)) = self.known.signed_in.get(&member.id).cloned()
            && (old
                || self.now().since(at) < 5 * 60_000 && self.get(&token, "/v1/me").status == 200)
        {
            return token;
        }
        self.sign_in_anew(&member)
    }

    /// The sign-in that a person has from the beginning.
    pub fn at(&self, who: &str) -> &str {
        &self.known.signed_in[&self.known.members[who].id].0
    }

    /// The key of an application.
    pub fn decide_key(&self, application: &str) -> &str {
        &self.known.applications[application].1
    }

    /// A person's identifier.
    pub fn person(&self, who: &str) -> &str {
        &self.known.members[who].id
    }

    /// Enters a customer by the application `boats`.
    pub fn enter(&self, token: &str, customer: &str, more: &[(&str, &str)]) -> Reply {
        let unknown = comity_domain::ids::OrganisationId(7).to_string();
        let id = self.known.organisations.get(customer).unwrap_or(&unknown);
        let resource = format!("urn:comity:organisation:{id}");
        let mut fields = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", token),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("resource", &resource),
        ];
        if !more.iter().any(|(k, _)| *k == "audience") {
            fields.push(("audience", &self.known.applications["boats"].0));
        }
        fields.extend(more);
        self.exchange(&fields)
    }

    /// Asks about a token, as an application with one of its secrets.
    pub fn introspect(&self, application: &str, secret: &str, token: &str) -> Reply {
        let proof = basic(application, secret);
        self.form("/oauth/introspect", Some(&proof), &[("token", token)])
    }

    /// Asks for a decision.
    pub fn evaluate(
        &self,
        key: &str,
        token: &str,
        permission: &str,
        kind: &str,
        id: &str,
    ) -> Reply {
        let body = json!({ "subject": { "type": "partner_session", "id": token }, "action": { "name": permission },
            "resource": { "type": kind, "id": id } });
        self.post(key, "/access/v1/evaluation", &body)
    }
}

/// `Authorization: Basic` (RFC 6749, section 2.3.1).
pub fn basic(name: &str, secret: &str) -> String {
    use base64::Engine as _;
    let joined = format!("{name}:{secret}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(joined))
}
