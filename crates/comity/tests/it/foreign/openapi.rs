//! `/openapi.json` of a running server before linters and generators of others, and `/docs`.

use std::path::Path;

use serde_json::Value;

use super::{node, python, ran};
use crate::process::Server;

/// A demo in a folder, and what it wrote into `demo.env`.
pub struct Demo {
    pub server: Server,
    env: String,
    _folder: tempfile::TempDir,
}

impl Demo {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("comity-demo");
        let data = data.to_str().unwrap();
        let mut server = Server::start(
            folder.path(),
            &["demo", "--no-limits", "--listen", "127.0.0.1:0", "--data", data],
        );
        server.read_until("The five-minute tour");
        let env = std::fs::read_to_string(Path::new(data).join("demo.env")).unwrap();
        Self { server, env, _folder: folder }
    }

    /// A line of `demo.env`.
    pub fn known(&self, name: &str) -> String {
        let line = self.env.lines().find_map(|l| l.strip_prefix(&format!("{name}=")));
        line.unwrap_or_else(|| panic!("no {name}")).trim_matches('\'').to_owned()
    }

    /// Signs somebody in.
    pub fn sign_in(&self, email: &str) -> String {
        let body = serde_json::json!({ "email": email, "password": self.known("PASSWORD") });
        let signed = self.server.expect(200, "POST", "/v1/sign-in", "", body);
        signed["token"].as_str().unwrap().to_owned()
    }

    /// The document, as a file in `folder`.
    pub fn document(&self, folder: &Path) -> String {
        let read = self.server.expect(200, "GET", "/openapi.json", "", Value::Null);
        let file = folder.join("openapi.json");
        std::fs::write(&file, read.to_string()).unwrap();
        file.to_str().unwrap().to_owned()
    }
}

#[test]
fn linters_find_nothing_in_the_document() {
    let folder = tempfile::tempdir().unwrap();
    let document = Demo::start().document(folder.path());
    let lint = node("redocly")
        .args(["lint", &document, "--format=json", "--extends=recommended"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let found: Value = serde_json::from_slice(&lint.stdout).expect("redocly's findings as JSON");
    let (errors, warnings) = (&found["totals"]["errors"], &found["totals"]["warnings"]);
    assert_eq!((errors, warnings), (&0.into(), &0.into()), "{found:#}");
    assert!(ran(python().args(["-m", "openapi_spec_validator", &document])).contains("OK"));
}

#[test]
fn types_for_typescript_are_made_of_it_and_fit_a_program() {
    let folder = tempfile::tempdir().unwrap();
    let document = Demo::start().document(folder.path());
    let types = folder.path().join("openapi.ts");
    ran(node("openapi-typescript").args([&document, "-o", types.to_str().unwrap()]));
    let program = folder.path().join("uses.ts");
    std::fs::write(&program, include_str!("uses.ts")).unwrap();
    let strict = ["--noEmit", "--strict", "--noUncheckedIndexedAccess", "--target", "es2022"];
    let modules = ["--module", "es2022", "--moduleResolution", "bundler"];
    ran(node("tsc").current_dir(folder.path()).args(strict).args(modules).arg(&program));
}

#[test]
fn a_client_for_python_is_made_of_it_and_calls_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start();
    let document = demo.document(folder.path());
    let config = folder.path().join("config.yaml");
    std::fs::write(&config, "package_name_override: comity_api_client\npost_hooks: []\n").unwrap();
    let into = folder.path().join("comity_api_client");
    let generate = "from openapi_python_client.cli import app; app()";
    let made = ran(python()
        .args(["-c", generate, "generate", "--meta", "none", "--path", &document])
        .args(["--output-path", into.to_str().unwrap(), "--config", config.to_str().unwrap()]));
    assert!(!made.contains("Warning"), "{made}");
    let said = ran(python()
        .env("PYTHONPATH", folder.path())
        .args(["-c", include_str!("uses.py"), &format!("http://{}", demo.server.address)])
        .args([demo.known("OPERATE_KEY"), demo.known("PROVISION_KEY"), demo.known("MARINA")]));
    assert_eq!(said, "ok\n");
}
