//! A scene with more around it: what belongs to others, what is over, and every kind of caller.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use comity_domain::command::{Caller, Command};
use comity_domain::halt::HaltTarget;
use comity_domain::ids::{
    GrantId, HaltId, InvitationId, KeyId, LockId, OrganisationId, PasskeyId, PersonId, RequestId,
    SessionId, SignInId, StreamId, WebhookId,
};
use serde_json::json;
use tempfile::TempDir;

use crate::doors::{Scene, There, approve, ask, terms};
use crate::harness::{House, copy, text};
use crate::may_routes::own_sign_in;
use crate::town::{Known, Member, Town};

/// The callers, in the order of the columns.
pub const CALLERS: [(&str, &str); 18] = [
    ("none", "no token"),
    ("oper", "operate key"),
    ("prov", "provision key"),
    ("dec", "decide key"),
    ("decT", "decide key of another application"),
    ("cAdm", "customer Admin, fresh sign-in"),
    ("cSup", "customer Customer Support"),
    ("cMem", "customer member without a role"),
    ("cSus", "customer Admin who is suspended"),
    ("pAdm", "provider Admin"),
    ("pSup", "provider Customer Support"),
    ("pMem", "provider member on the grant, without a role"),
    ("out", "Admin of an unrelated organisation"),
    ("sess", "partner session"),
    ("sOff", "partner session that was closed"),
    ("off", "sign-in that was signed out"),
    ("retK", "retired key"),
    ("junk", "what is no token at all"),
];

/// Credentials that are over, or never were.
pub const DEAD: [&str; 4] = ["sOff", "off", "retK", "junk"];
/// Callers who have no tie to anything that the matrix names.
pub const STRANGERS: [&str; 9] =
    ["none", "dec", "decT", "out", "sess", "sOff", "off", "retK", "junk"];

/// Whose object is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variant {
    Own,
    Foreign,
    Missing,
    Malformed,
    Over,
}

impl Variant {
    pub const ALL: [Self; 5] =
        [Self::Own, Self::Foreign, Self::Missing, Self::Malformed, Self::Over];

    pub fn word(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Foreign => "foreign",
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Over => "over",
        }
    }
}

/// The scene, and by kind what belongs to others and what is over.
pub struct Yard {
    pub scene: Scene,
    more: More,
}

#[derive(Debug, Clone, Default)]
struct More {
    foreign: BTreeMap<&'static str, String>,
    over: BTreeMap<&'static str, String>,
    tokens: BTreeMap<&'static str, String>,
}

impl Yard {
    /// Set up once; each yard starts from a copy of its files.
    pub fn new() -> Self {
        static FIRST: OnceLock<(TempDir, Known, There, More)> = OnceLock::new();
        let (files, known, there, more) = FIRST.get_or_init(|| {
            let Self { scene: Scene { town: Town { house, known }, there }, more } = Self::set();
            house.app.stop();
            let House { folder, .. } = house;
            (folder, known, there, more)
        });
        let town = Town { house: House::start(copy(files.path())), known: known.clone() };
        Self { scene: Scene { town, there: there.clone() }, more: more.clone() }
    }

    fn set() -> Self {
        let mut yard = Self { scene: Scene::new(), more: More::default() };
        yard.others();
        yard.what_is_over();
        yard.credentials();
        yard
    }

    /// Sail Support is let in by Fjord: nobody of the columns knows of it.
    fn others(&mut self) {
        let (s, foreign) = (&self.scene, &mut self.more.foreign);
        let (freya, sara, sam) =
            (s.at("freya@fjord"), s.at("sara@sailsupport"), s.at("sam@sailsupport"));
        let first = ask(s, "sara@sailsupport", &s.there.fjord_code, "Sails");
        s.let_outsiders_in(freya, "fjord");
        let terms = json!({ "roles": ["mate"], "accounts": ["ferry-1"], "modes": ["direct"], "allow_external": true });
        let grant = approve(s, freya, &first, &terms);
        foreign.insert("invitation", s.invite(sara, &grant, "kai@elsewhere.example").0);
        let path = format!("/v1/grants/{grant}/assignments/{}", s.person("sam@sailsupport"));
        s.put(sara, &path, &json!({ "roles": ["mate"], "accounts": ["ferry-1"] })).ok();
        let entered = s.enter(sam, "fjord", &[]).ok();
        foreign.insert("session", text(&entered["session"]));
        foreign.insert("grant", grant);
        foreign.insert("request", ask(s, "sara@sailsupport", &s.there.fjord_code, "More sails"));
        let lock = json!({ "person": s.person("sara@sailsupport"), "reason": "Odd" });
        let locked = s.post(freya, "/v1/organisations/fjord/locks", &lock).ok();
        foreign.insert("lock", text(&locked["id"]));
        foreign.insert("person", s.person("freya@fjord").into());
        foreign.insert("sign_in", own_sign_in(s, "freya@fjord"));
        foreign.insert("organisation", "fjord".into());
        foreign.insert("organisation_id", s.known.organisations["fjord"].clone());
        // The builder's identifiers are each organisation's own: these are another's.
        foreign.insert("units", "night-desk".into());
        foreign.insert("accounts", "ferry-1".into());
        foreign.insert("roles", "mate".into());
        foreign.insert("members", "freya".into());
        let hook = json!({ "url": "https://hooks.example.com/fjord" });
        let made = s.post(freya, "/v1/organisations/fjord/webhooks", &hook).ok();
        foreign.insert("webhook", text(&made["id"]));
        let tours = s.decide_key("tours");
        let stream = |over: &mut BTreeMap<&'static str, String>| {
            let made = s.post(tours, "/ssf/stream", &json!({})).ok();
            over.insert("stream", text(&made["stream_id"]));
        };
        stream(&mut self.more.over);
        let gone = format!("/ssf/stream?stream_id={}", self.more.over["stream"]);
        assert_eq!(s.call(tours, "DELETE", &gone, None).status, 204);
        stream(foreign);
    }

    fn what_is_over(&mut self) {
        let (s, over) = (&mut self.scene, &mut self.more.over);
        let provision = s.known.provision.clone();
        let operate = s.known.operate.clone();
        let (ana, pia, hana) = (
            s.at("ana@marina").to_owned(),
            s.at("pia@harbor-help").to_owned(),
            s.at("hana@harbor-help").to_owned(),
        );
        let entered = s.enter(&hana, "marina", &[]).ok();
        let (session, token) = (text(&entered["session"]), text(&entered["access_token"]));
        assert_eq!(
            s.call(&hana, "POST", &format!("/v1/sessions/{session}/close"), None).status,
            204
        );
        self.more.tokens.insert("sOff", token);
        over.insert("session", session);
        let (gone, _) = s.invite(&pia, &s.there.grant, "mia@elsewhere.example");
        let path = format!("/v1/grants/{}/invitations/{gone}", s.there.grant);
        assert_eq!(s.call(&pia, "DELETE", &path, None).status, 204);
        over.insert("invitation", gone);
        let grant = approve(s, &ana, &s.there.asked, &terms());
        s.call(&ana, "POST", &format!("/v1/grants/{grant}/revoke"), None).ok();
        over.insert("grant", grant);
        let request = ask(s, "pia@harbor-help", &s.there.code, "Engine checks");
        s.call(&pia, "POST", &format!("/v1/requests/{request}/cancel"), None).ok();
        over.insert("request", request);
        s.there.asked = ask(s, "pia@harbor-help", &s.there.code, "Engine checks");
        let path = format!("/v1/requests/{}/summary", s.there.asked);
        s.there.summary = text(&s.post(&ana, &path, &terms()).ok()["summary"]);
        let lock = json!({ "person": s.person("sara@sailsupport") });
        let locked = s.post(&ana, "/v1/organisations/marina/locks", &lock).ok();
        let lock = text(&locked["id"]);
        assert_eq!(s.call(&ana, "DELETE", &format!("/v1/locks/{lock}"), None).status, 204);
        over.insert("lock", lock);
        for (path, body) in [
            ("units/old-pier", json!({ "name": "Old pier", "active": false })),
            ("accounts/old-boat", json!({ "name": "Old boat" })),
            ("roles/old-role", json!({ "name": "Old role", "permissions": ["boats:read"] })),
        ] {
            s.put(&provision, &format!("/v1/organisations/marina/{path}"), &body).ok();
        }
        let leo = json!({ "name": "Leo Lund", "email": "leo@marina.example" });
        let leo = s.put(&provision, "/v1/organisations/marina/members/leo", &leo).ok();
        for gone in ["accounts/old-boat", "roles/old-role", "members/leo"] {
            let path = format!("/v1/organisations/marina/{gone}");
            assert!(s.call(&provision, "DELETE", &path, None).status < 300, "{path}");
        }
        for (kind, id) in [
            ("units", "old-pier"),
            ("accounts", "old-boat"),
            ("roles", "old-role"),
            ("members", "leo"),
            ("organisation", "sunk"),
        ] {
            over.insert(kind, id.into());
        }
        over.insert("person", text(&leo["person"]));
        let sunk = s.put(&provision, "/v1/organisations/sunk", &json!({ "name": "Sunk" })).ok();
        let closed = json!({ "standing": "closed" });
        s.put(&operate, "/v1/organisations/sunk/standing", &closed).ok();
        over.insert("organisation_id", text(&sunk["id"]));
        let key = s.post(&operate, "/v1/platform/keys", &json!({ "use": "provision" })).ok();
        let path = format!("/v1/platform/keys/{}", text(&key["id"]));
        assert!(s.call(&operate, "DELETE", &path, None).status < 300);
        over.insert("key", text(&key["id"]));
        self.more.tokens.insert("retK", text(&key["secret"]));
        let target = HaltTarget::Grant(GrantId(8));
        let halt = Command::Halt { target, invariant: 6 };
        let done = s.app.node().run_blocking(Caller::system(), halt).unwrap();
        let halt = done.state.halt_on(target).unwrap().to_string();
        s.call(&operate, "POST", &format!("/v1/platform/halts/{halt}/lift"), None);
        over.insert("halt", halt);
    }

    fn credentials(&mut self) {
        let s = &mut self.scene;
        let provision = s.known.provision.clone();
        let gus = Member {
            id: String::new(),
            name: "Gus Gray".into(),
            email: "gus@marina.example".into(),
            unit: None,
            portal: Some("admin".into()),
            active: true,
        };
        s.town.put_member(&provision, "gus@marina", gus.clone()).ok();
        let suspended = Member { active: false, ..gus };
        s.town.put_member(&provision, "gus@marina", suspended).ok();
        let off = text(&s.sign_in("max@marina.example").ok()["token"]);
        assert_eq!(s.post(&off, "/v1/sign-out", &json!({})).status, 204);
        self.more.tokens.insert("off", off);
    }

    /// What a caller shows.
    pub fn token(&self, caller: &str) -> &str {
        let s = &self.scene;
        match caller {
            "none" => "",
            "oper" => &s.known.operate,
            "prov" => &s.known.provision,
            "dec" => s.decide_key("boats"),
            "decT" => s.decide_key("tours"),
            "cAdm" => s.at("ana@marina"),
            "cSup" => s.at("sue@marina"),
            "cMem" => s.at("max@marina"),
            "cSus" => s.at("gus@marina"),
            "pAdm" => s.at("pia@harbor-help"),
            "pSup" => s.at("sven@harbor-help"),
            "pMem" => s.at("hugo@harbor-help"),
            "out" => s.at("quinn@quayside"),
            "sess" => &s.there.token,
            "junk" => "cmt_sign-in_of-my-own",
            dead => &self.more.tokens[dead],
        }
    }

    /// An object of a kind; none where there is no such thing.
    pub fn value(&self, kind: &str, variant: Variant) -> Option<String> {
        let there = &self.scene.there;
        let own = || match kind {
            "organisation" => "marina".to_owned(),
            "organisation_id" => self.scene.known.organisations["harbor-help"].clone(),
            "person" => self.scene.person("hana@harbor-help").to_owned(),
            "grant" => there.grant.clone(),
            "request" => there.asked.clone(),
            "session" => there.session.clone(),
            "accounts" => "boat-1".to_owned(),
            "roles" => "skipper".to_owned(),
            "token" => there.token.clone(),
            "stream" => there.stream.clone(),
            "sign_in" => own_sign_in(&self.scene, "ana@marina"),
            other => panic!("own {other} stands in the path"),
        };
        let missing = || match kind {
            "organisation" => "nowhere".to_owned(),
            "organisation_id" => OrganisationId(7).to_string(),
            "person" => PersonId(7).to_string(),
            "grant" => GrantId(7).to_string(),
            "request" => RequestId(7).to_string(),
            "session" => SessionId(7).to_string(),
            "invitation" => InvitationId(7).to_string(),
            "lock" => LockId(7).to_string(),
            "key" => KeyId(7).to_string(),
            "halt" => HaltId(7).to_string(),
            "webhook" => WebhookId(7).to_string(),
            "stream" => StreamId(7).to_string(),
            "sign_in" => SignInId(7).to_string(),
            "passkey" => PasskeyId(7).to_string(),
            "import" => "imp_of-nobody".to_owned(),
            "file" => "nothing-here".to_owned(),
            "units" | "accounts" | "roles" | "members" | "applications" | "levels" | "kid" => {
                "nothing-here".to_owned()
            }
            "token" => "cmt_session_of-my-own".to_owned(),
            other => panic!("say what is foreign, missing and over for {other}: Yard::value"),
        };
        match variant {
            Variant::Own => Some(own()),
            Variant::Foreign => self.more.foreign.get(kind).cloned(),
            Variant::Missing => Some(missing()),
            Variant::Malformed => match kind {
                "units" | "accounts" | "roles" | "members" | "applications" | "levels" | "kid"
                | "organisation" | "token" => Some("n".repeat(300)),
                _ => Some("no-identifier".into()),
            },
            Variant::Over => match kind {
                "token" => Some(self.more.tokens["sOff"].clone()),
                _ => self.more.over.get(kind).cloned(),
            },
        }
    }
}
