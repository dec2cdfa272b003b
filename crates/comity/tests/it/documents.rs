//! The reference against the code: a route, flag or code that is not described fails here.

use std::collections::BTreeSet;

use comity_domain::refusal::Reason;

use crate::process::{run, text, workspace};

fn read(path: &str) -> String {
    let path = workspace().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// `GET /v1/…` for each route and method of the table.
fn routes() -> BTreeSet<String> {
    let source = read("crates/api/src/routes.rs");
    let lines = source.split(".route(\"").skip(1);
    lines
        .flat_map(|line| {
            let (path, rest) = line.split_once('"').unwrap();
            let handlers = rest.split_once('\n').map_or(rest, |(first, _)| first);
            let methods = ["get", "post", "put", "delete"];
            let taken = methods.into_iter().filter(|m| handlers.contains(&format!("{m}(")));
            taken.map(|m| format!("{} {path}", m.to_uppercase())).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn every_route_is_in_the_reference_and_no_other() {
    let routes = routes();
    assert!(routes.len() > 50, "the table was not read: {routes:?}");
    let reference = read("docs/reference/api.md");
    let described: BTreeSet<String> = reference
        .split('`')
        .filter(|word| ["GET /", "POST /", "PUT /", "DELETE /"].iter().any(|m| word.starts_with(m)))
        .map(str::to_owned)
        .collect();
    let missing: Vec<_> = routes.difference(&described).collect();
    assert!(missing.is_empty(), "not in docs/reference/api.md: {missing:#?}");
    let gone: Vec<_> = described.difference(&routes).collect();
    assert!(gone.is_empty(), "in docs/reference/api.md, but no route: {gone:#?}");
}

#[test]
fn every_code_is_in_the_reference() {
    let source = read("crates/domain/src/refusal.rs");
    let (_, refusals) = source.split_once("pub fn code(&self)").unwrap();
    let (refusals, _) = refusals.split_once("\n    }\n").unwrap();
    let mut codes: BTreeSet<&str> = refusals.split('"').skip(1).step_by(2).collect();
    assert!(codes.contains("not_found") && codes.len() > 20, "the codes were not read: {codes:?}");
    codes.extend(Reason::ALL.map(Reason::code));
    let reference = read("docs/reference/api.md");
    let missing: Vec<_> =
        codes.iter().filter(|code| !reference.contains(&format!("`{code}`"))).collect();
    assert!(missing.is_empty(), "not in docs/reference/api.md: {missing:?}");
}

#[test]
fn every_setting_is_in_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    let reference = read("docs/reference/configuration.md");
    for command in [
        &["serve", "--help"][..],
        &["doctor", "--help"],
        &["backup", "--help"],
        &["restore", "--help"],
        &["copy", "--help"],
        &["demo", "--help"],
        &["audit", "verify", "--help"],
        &["audit", "export", "--help"],
        &["audit", "key", "--help"],
    ] {
        let help = text(&run(folder.path(), command).stdout);
        let flags = help.split_whitespace().filter(|w| w.starts_with("--") && *w != "--help");
        let variables = help
            .split_whitespace()
            .filter_map(|w| w.strip_suffix("=]"))
            .map(|w| w.trim_start_matches("[env:"));
        for word in flags.chain(variables) {
            assert!(
                reference.contains(&format!("`{word}`")),
                "{word} is not in docs/reference/configuration.md"
            );
        }
    }
}

#[test]
fn every_limit_is_in_the_reference_with_what_holds_by_itself() {
    let reference = read("docs/reference/configuration.md");
    for (name, rate) in comity_api::limits::Settings::default().rates() {
        let row = format!("| `{name}` | `{rate}` |");
        assert!(reference.contains(&row), "{row} is not in docs/reference/configuration.md");
    }
}
