//! OAuth: what a foreign client may send, what it is told, and what a token is worth.

mod clients;
mod exchange;
mod keys;
mod questions;
mod tokens;

use serde_json::{Value, json};

use super::{Scene, approve};
use crate::harness::{Reply, text};

pub const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
pub const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
pub const ISSUER: &str = "http://127.0.0.1:8420";

/// A scene with a second grant, under which tokens may be signed and every mode is given.
pub struct Yard {
    pub scene: Scene,
    pub grant: String,
}

impl std::ops::Deref for Yard {
    type Target = Scene;
    fn deref(&self) -> &Scene {
        &self.scene
    }
}

impl Yard {
    pub fn new() -> Self {
        let scene = Scene::new();
        let (ana, pia) = (scene.at("ana@marina"), scene.at("pia@harbor-help"));
        let body = json!({ "customer_id": scene.there.code, "level": "partner", "modes": ["direct", "view", "act_as"],
            "reason": "Night watch" });
        let cancel = format!("/v1/requests/{}/cancel", scene.there.asked);
        scene.call(pia, "POST", &cancel, None).ok();
        let at = "/v1/organisations/harbor-help/requests";
        let request = text(&scene.post(pia, at, &body).ok()["id"]);
        let terms = json!({ "roles": ["skipper", "clerk"], "accounts": ["boat-1", "boat-2"],
            "modes": ["direct", "view", "act_as"], "jwt": true });
        let grant = approve(&scene, ana, &request, &terms);
        let roles = json!({ "roles": ["skipper", "clerk"], "accounts": ["boat-1", "boat-2"] });
        for who in ["hugo@harbor-help", "hana@harbor-help"] {
            let path = format!("/v1/grants/{grant}/assignments/{}", scene.person(who));
            scene.put(pia, &path, &roles).ok();
        }
        Self { scene, grant }
    }

    pub fn hugo(&self) -> &str {
        self.at("hugo@harbor-help")
    }

    /// Enters under that grant, by a signed token.
    pub fn signed(&self, more: &[(&str, &str)]) -> Reply {
        let mut fields = vec![("requested_token_type", JWT), ("grant", self.grant.as_str())];
        fields.extend(more);
        self.enter(self.hugo(), "marina", &fields)
    }

    /// The same by an opaque one.
    pub fn opaque(&self, more: &[(&str, &str)]) -> Reply {
        let mut fields = vec![("grant", self.grant.as_str())];
        fields.extend(more);
        self.enter(self.hugo(), "marina", &fields)
    }

    /// Whether the application that it is for is told yes.
    pub fn decided(&self, token: &str, permission: &str) -> Value {
        self.evaluate(self.decide_key("boats"), token, permission, "account", "boat-1").ok()
    }

    /// What the application that it is for is told about a token.
    pub fn told(&self, token: &str) -> Value {
        self.introspect("boats", self.decide_key("boats"), token).ok()
    }

    /// The whole of an introspection of everything that is not good.
    pub fn is_dead(&self, token: &str) {
        assert_eq!(self.told(token), json!({ "active": false }));
        assert_eq!(self.decided(token, "boats:read")["decision"], json!(false));
    }
}

/// The parts of a signed token.
pub fn parts(token: &str) -> (Value, Value) {
    let read = |part: &str| serde_json::from_slice(&unbase(part)).unwrap();
    let mut parts = token.split('.');
    (read(parts.next().unwrap()), read(parts.next().unwrap()))
}

pub fn unbase(part: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()
}

pub fn base(bytes: impl AsRef<[u8]>) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// An OAuth error: its word and Comity's code.
#[track_caller]
pub fn wrong(reply: &Reply, error: &str, code: &str) {
    reply.is(if error == "invalid_client" { 401 } else { 400 }, code);
    assert_eq!(reply.json()["error"], json!(error), "{}", reply.text());
    assert!(reply.json()["error_description"].is_string());
}
