//! Schemathesis against the running binary: three actors at once, each with data that fit the
//! document and data that do not, single calls and chains of them. It looks for answers that are
//! not declared, for faults of ours, for bad data that are taken, and for doors that open without a
//! key.
//!
//! In every run some seconds an actor; `COMITY_SCHEMATHESIS` is how many.

use super::openapi::Demo;
use super::python;
use crate::process::text;

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,negative_data_rejection,ignored_auth";

#[test]
fn foreign_guesses_find_no_fault_and_nothing_undeclared() {
    let demo = Demo::start();
    let seconds = std::env::var("COMITY_SCHEMATHESIS").unwrap_or_else(|_| "25".into());
    let hooks = tempfile::tempdir().unwrap();
    std::fs::write(hooks.path().join("actors.py"), include_str!("actors.py")).unwrap();
    let known = serde_json::json!({
        "organisation": demo.known("MARINA"),
        "person": demo.known("TESS"),
        "customer_id": demo.known("CUSTOMER_ID"),
        "level": "partner",
    });
    // What an actor must not do, since nothing would be left to find: to retire the own key, to close
    // the organisation, to sign out. And nobody guesses an import: its lines are no JSON body.
    let actors = [
        ("operate", demo.known("OPERATE_KEY"), &["retireKey", "setStanding"][..]),
        ("provision", demo.known("PROVISION_KEY"), &[]),
        ("person", demo.sign_in("ana@marina-bay.example"), &["signOut", "revokeToken"]),
    ];
    let document = format!("http://{}/openapi.json", demo.server.address);
    let started = actors.into_iter().flat_map(|(actor, token, without)| {
        ["coverage,fuzzing", "stateful"].map(|phases| {
            let mut run = python();
            run.current_dir(hooks.path())
                .env("PYTHONPATH", hooks.path())
                .env("SCHEMATHESIS_HOOKS", "actors")
                .env("COMITY_KNOWN", known.to_string())
                .args(["-m", "schemathesis.cli", "run", &document, "--checks", CHECKS])
                .args(["--phases", phases, "--max-time", &seconds, "--seed", "1"])
                .args(["--header", &format!("Authorization: Bearer {token}")])
                .args(["--max-examples", "3", "--continue-on-failure", "--warnings", "off"])
                .args(["--suppress-health-check", "all"])
                .args(
                    without
                        .iter()
                        .chain(&["import"])
                        .flat_map(|id| ["--exclude-operation-id", *id]),
                );
            run.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            (actor, phases, run.spawn().unwrap())
        })
    });
    for (actor, phases, run) in started.collect::<Vec<_>>() {
        let done = run.wait_with_output().unwrap();
        let (out, errors) = (text(&done.stdout), text(&done.stderr));
        assert!(done.status.success(), "{actor}, {phases}:\n{out}\n{errors}");
        let generated = out.lines().find(|l| l.contains("generated,")).unwrap_or_default();
        let cases: u32 =
            generated.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
        assert!(cases > 0, "{actor}, {phases}: nothing was tried:\n{out}");
    }
    // After all that the log is still whole and the node well.
    demo.server.expect(200, "GET", "/readyz", "", serde_json::Value::Null);
}
