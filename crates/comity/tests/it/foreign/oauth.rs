//! OAuth libraries of others against the demo: no line of them is for Comity.

use serde_json::{Value, json};
use std::process::{Command, Stdio};
use tempfile::TempDir;

use super::{python, ran, tools};
use crate::process::{Server, string};

/// A demo in which Tess may enter Marina Bay, with what a client has to know of it.
pub struct Bay {
    pub demo: Server,
    pub folder: TempDir,
    pub env: Vec<(String, String)>,
}

pub fn bay() -> Bay {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("comity-demo");
    let arguments =
        ["demo", "--no-limits", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    let mut demo = Server::start(folder.path(), &arguments);
    demo.read_until("The five-minute tour");
    let text = std::fs::read_to_string(data.join("demo.env")).unwrap();
    let mut env: Vec<(String, String)> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
        .collect();
    let of = |name: &str| env.iter().find(|(n, _)| n == name).unwrap().1.clone();
    let sign_in = |who: &str| {
        let body = json!({ "email": who, "password": of("PASSWORD") });
        string(&demo.expect(200, "POST", "/v1/sign-in", "", body), "/token")
    };
    let (sam, ana) = (sign_in("sam@sailsupport.example"), sign_in("ana@marina-bay.example"));
    let ask = json!({ "customer_id": of("CUSTOMER_ID"), "level": "partner", "modes": ["direct"], "days": 7,
        "reason": "Double bookings since the calendar update" });
    let at = "/v1/organisations/sailsupport/requests";
    let request = string(&demo.expect(201, "POST", at, &sam, ask), "/id");
    let terms = json!({ "roles": ["bookings"], "days": 7, "jwt": true });
    let path = format!("/v1/requests/{request}");
    let seen = demo.expect(200, "POST", &format!("{path}/summary"), &ana, terms.clone());
    let approve = json!({ "summary": seen["summary"], "terms": terms });
    let given = demo.expect(200, "POST", &format!("{path}/approve"), &ana, approve);
    let path = format!("/v1/grants/{}/assignments/{}", string(&given, "/grant"), of("TESS"));
    let put = demo.expect(200, "PUT", &path, &sam, json!({ "roles": ["bookings"] }));
    assert!(put != Value::Null);
    let tess = sign_in("tess@sailsupport.example");
    env.push(("TESS_TOKEN".into(), tess));
    env.push(("ANA_TOKEN".into(), ana));
    env.push(("GRANT".into(), string(&given, "/grant")));
    Bay { demo, folder, env }
}

#[test]
fn authlib_discovers_exchanges_introspects_validates_and_revokes() {
    let bay = bay();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/foreign/oauth.py");
    let out = ran(python().arg(script).envs(bay.env.clone()));
    assert!(out.ends_with("Authlib is through\n"), "{out}");
    assert_eq!(out.matches("is understood").count(), 3);
}

#[test]
fn openid_client_discovers_exchanges_introspects_validates_and_revokes() {
    let bay = bay();
    let mut node = Command::new("node");
    // From where its packages are.
    node.current_dir(tools().join("node"))
        .stdin(Stdio::null())
        .env("no_proxy", "127.0.0.1,localhost");
    node.args(["--input-type=module", "-e", include_str!("oauth.mjs")]);
    let out = ran(node.envs(bay.env.clone()));
    assert!(out.ends_with("openid-client is through\n"), "{out}");
    assert_eq!(out.matches("is understood").count(), 4);
}
