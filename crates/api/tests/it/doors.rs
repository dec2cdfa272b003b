//! What the door itself must do, whatever the rules: read strictly, tell nothing to strangers, keep
//! secrets, page and feed without gaps.

mod authzen;
mod checkpoints;
mod current;
mod edges;
mod erased;
mod feed;
mod foreign;
mod gate;
mod halts;
mod inside;
mod invited;
pub mod oauth;
mod pages;
mod quiet;
mod restored;
mod sets;
mod sign_in;
mod ssf;
mod strict;
mod threats;
mod webhooks;

use std::sync::OnceLock;

use comity_app::tokens::{Kind, Secret};
use comity_domain::command::{Caller, Command, Door, Invite, Inviting, Sealed};
use comity_domain::halt::HaltTarget;
use comity_domain::ids::{Digest32, GrantId};
use comity_domain::organisation::Accounts;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{House, copy, request, text};
use crate::town::{Known, Town};

/// A town in which something is going on: Harbor Help has a grant of Marina Bay with Hugo and Hana
/// on it, Hugo is inside, Harbor Help asks for more, Sail Support is locked out.
pub struct Scene {
    pub town: Town,
    pub there: There,
}

/// Comity's identifiers of what is there.
#[derive(Debug, Clone, Default)]
pub struct There {
    pub code: String,
    pub request: String,
    pub asked: String,
    pub grant: String,
    pub session: String,
    pub token: String,
    pub lock: String,
    /// An invitation of Quinn of Quayside to `grant`, which waits.
    pub invitation: String,
    /// The token of its link.
    pub invited_by_link: String,
    /// A halt on a grant of nobody's.
    pub halt: String,
    /// A webhook of Marina Bay's, which is told nothing that happens here.
    pub webhook: String,
    /// One of the platform's.
    pub platform_webhook: String,
    /// The stream of the application boats, which fetches.
    pub stream: String,
    /// The hash of what Ana would give for `asked` by [`terms`].
    pub summary: String,
    /// What Marina Bay offers Harbor Help, which has not answered.
    pub offer: String,
    /// The hash of what Ana would offer Harbor Help by [`terms`].
    pub offering: String,
    /// The hash of what Ana would make of `grant` by [`amending`].
    pub amending: String,
    /// The hash of what Pia would do on `grant` by [`bulk`].
    pub bulk: String,
    /// The token of what Pia would have by turning the rule on for `grant`.
    pub auto: String,
    /// The version of Marina Bay's settings.
    pub version: String,
    pub fjord_code: String,
    /// A key that nobody uses.
    pub key: String,
    /// The signing key in force, by its thumbprint.
    pub kid: String,
    /// An enrolment token of Nina, a new member of Marina Bay.
    pub enrolment: String,
}

impl std::ops::Deref for Scene {
    type Target = Town;
    fn deref(&self) -> &Town {
        &self.town
    }
}

impl Scene {
    pub fn new() -> Self {
        static FIRST: OnceLock<(TempDir, Known, There)> = OnceLock::new();
        let (files, known, there) = FIRST.get_or_init(|| {
            let Self { town: Town { house, known }, there } = Self::set();
            house.app.stop();
            let House { folder, .. } = house;
            (folder, known, there)
        });
        let town = Town { house: House::start(copy(files.path())), known: known.clone() };
        Self { town, there: there.clone() }
    }

    fn set() -> Self {
        let town = Town::new();
        let mut there = There::default();
        let (ana, pia, hugo) =
            (town.at("ana@marina"), town.at("pia@harbor-help"), town.at("hugo@harbor-help"));
        there.code =
            text(&town.get(ana, "/v1/organisations/marina/customer-id").ok()["customer_id"]);
        there.request = ask(&town, "pia@harbor-help", &there.code, "Winter storage");
        town.let_outsiders_in(ana, "marina");
        let terms = json!({ "roles": ["skipper", "clerk"], "accounts": ["boat-1", "boat-2"], "modes": ["direct", "view"],
            "allow_external": true });
        there.grant = approve(&town, ana, &there.request, &terms);
        for who in ["hugo@harbor-help", "hana@harbor-help"] {
            let path = format!("/v1/grants/{}/assignments/{}", there.grant, town.person(who));
            town.put(
                pia,
                &path,
                &json!({ "roles": ["skipper", "clerk"], "accounts": ["boat-1", "boat-2"] }),
            )
            .ok();
        }
        (there.invitation, there.invited_by_link) =
            town.invite(pia, &there.grant, "quinn@quayside.example");
        let entered = town.enter(hugo, "marina", &[]).ok();
        (there.session, there.token) = (text(&entered["session"]), text(&entered["access_token"]));
        there.asked = ask(&town, "pia@harbor-help", &there.code, "Engine checks");
        // Only who ever had to do with a customer can be locked out.
        ask(&town, "sara@sailsupport", &there.code, "Sails");
        let lock = json!({ "organisation": town.known.organisations["sailsupport"], "reason": "Odd downloads" });
        there.lock = text(&town.post(ana, "/v1/organisations/marina/locks", &lock).ok()["id"]);
        let nina =
            json!({ "name": "Nina Nau", "email": "nina@marina.example", "email_verified": true });
        town.put(&town.known.provision, "/v1/organisations/marina/members/nina", &nina).ok();
        let at = "/v1/organisations/marina/members/nina/enrolment";
        there.enrolment = text(&town.call(&town.known.provision, "POST", at, None).ok()["token"]);
        let path = format!("/v1/requests/{}/summary", there.asked);
        there.summary = text(&town.post(ana, &path, &self::terms()).ok()["summary"]);
        let mut offer =
            json!({ "partner": town.known.organisations["harbor-help"], "terms": self::terms() });
        let path = "/v1/organisations/marina/offers";
        there.offering = text(&town.post(ana, &format!("{path}/summary"), &offer).ok()["summary"]);
        offer["summary"] = json!(there.offering);
        offer["reason"] = json!("You look after our boats");
        there.offer = text(&town.post(ana, path, &offer).ok()["id"]);
        let path = format!("/v1/grants/{}/amend/summary", there.grant);
        there.amending = text(&town.post(ana, &path, &amending()).ok()["summary"]);
        let path = format!("/v1/grants/{}/bulk/summary", there.grant);
        there.bulk = text(&town.post(pia, &path, &bulk()).ok()["summary"]);
        let path = format!("/v1/grants/{}/auto/preview", there.grant);
        let rule = json!({ "auto": { "roles": ["clerk"] } });
        there.auto = text(&town.post(pia, &path, &rule).ok()["token"]);
        let settings = town.get(ana, "/v1/organisations/marina/settings");
        there.version = settings.header(axum::http::header::ETAG).to_owned();
        let freya = town.at("freya@fjord");
        let read = town.get(freya, "/v1/organisations/fjord/customer-id").ok();
        there.fjord_code = text(&read["customer_id"]);
        let key = json!({ "use": "provision" });
        there.key = text(&town.post(&town.known.operate, "/v1/platform/keys", &key).ok()["id"]);
        town.runtime.block_on(town.app.tend_signing_keys()).unwrap();
        there.kid = town.runtime.block_on(town.app.signer()).unwrap().kid();
        let hook = json!({ "url": "https://hooks.example.com/comity", "events": ["calls_sealed"] });
        let made =
            |who, at: &str| text(&town.post(who, &format!("/v1/{at}/webhooks"), &hook).ok()["id"]);
        there.webhook = made(ana, "organisations/marina");
        there.platform_webhook = made(&town.known.operate, "platform");
        let stream = town.post(town.decide_key("boats"), "/ssf/stream", &json!({})).ok();
        there.stream = text(&stream["stream_id"]);
        let target = HaltTarget::Grant(GrantId(7));
        let halt = Command::Halt { target, invariant: 6 };
        let done = town.app.node().run_blocking(Caller::system(), halt).unwrap();
        there.halt = done.state.halt_on(target).unwrap().to_string();
        Self { town, there }
    }
}

impl Town {
    /// The customer lets people from outside in.
    pub fn let_outsiders_in(&self, token: &str, organisation: &str) {
        let path = format!("/v1/organisations/{organisation}/settings");
        let mut settings = self.get(token, &path).ok();
        settings["allow_external"] = json!(true);
        let known = [
            "customer_id_on",
            "session_minutes",
            "longest_grant_days",
            "retention_days",
            "allow_external",
            "blocked_partners",
        ];
        settings.as_object_mut().unwrap().retain(|name, _| known.contains(&name.as_str()));
        let mut request = request(token, "PUT", &path, Some(&settings));
        request.headers_mut().insert(axum::http::header::IF_MATCH, "*".parse().unwrap());
        self.send(request).ok();
    }

    /// Invites an address to a grant with all that it gives, by a link that the test knows: the
    /// invitation and the token, which otherwise only the mail shows.
    pub fn invite(&self, token: &str, grant: &str, email: &str) -> (String, String) {
        let caller = self.app.caller(token, Door::Api).unwrap();
        let grant: GrantId = grant.parse().unwrap();
        let state = self.app.state();
        let roles = state.grants.get(grant).unwrap().roles.iter().map(|r| r.role).collect();
        let giving = Inviting { roles, accounts: Accounts::All, ends_at: None };
        let secret = Secret::new(Kind::Invitation);
        let invite = Invite {
            grant,
            email: email.into(),
            recipient: Digest32::of(email.as_bytes()),
            giving,
            token: secret.digest(),
            sealed: Sealed(vec![1; 8]),
        };
        let invite = Command::Invite(Box::new(invite));
        let done = self.app.node().run_blocking(caller, invite).unwrap();
        let id = done.state.invitation_by_token(secret.digest()).unwrap();
        (id.to_string(), secret.reveal().to_owned())
    }
}

/// What an approver gives.
pub fn terms() -> Value {
    json!({ "roles": ["skipper"], "accounts": ["boat-1"] })
}

/// What becomes of a grant.
pub fn amending() -> Value {
    json!({ "days": 90 })
}

/// Who gets an account of a grant.
pub fn bulk() -> Value {
    json!({ "action": "add", "people": ["sven", "hugo"], "accounts": ["boat-1"], "roles": ["clerk"] })
}

/// Asks to come in.
pub fn ask(town: &Town, who: &str, code: &str, reason: &str) -> String {
    let home = who.split_once('@').unwrap().1;
    let body = json!({ "customer_id": code, "level": "partner", "modes": ["direct", "view"], "reason": reason });
    text(&town.post(town.at(who), &format!("/v1/organisations/{home}/requests"), &body).ok()["id"])
}

/// Approves what the summary shows.
pub fn approve(town: &Town, token: &str, request: &str, terms: &Value) -> String {
    let path = format!("/v1/requests/{request}");
    let seen = town.post(token, &format!("{path}/summary"), terms).ok();
    let body = json!({ "summary": seen["summary"], "terms": terms });
    text(&town.post(token, &format!("{path}/approve"), &body).ok()["grant"])
}
