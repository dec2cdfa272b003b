//! The console in a real browser: every page looked at by a checker of accessibility, the whole
//! story clicked through by visible labels, strange texts in every field.
//!
//! The scripts stand beside this file. Each run starts a demo of its own and one browser.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use comity_app::clock::Clock;
use comity_app::people::passwords::Cost;
use comity_app::{App, Settings};
use comity_domain::application::KeyUse;
use comity_domain::command::{Caller, Command as Asked};
use comity_domain::halt::HaltTarget;
use tempfile::TempDir;

use crate::foreign::{ran, tools};
use crate::process::{Server, workspace};

/// Every page, and somebody who sees it.
const TABLE: &str = include_str!("table.mjs");
/// Pages that a demo does not have.
const SELDOM: [&str; 2] = [include_str!("seldom.mjs"), include_str!("first_run.mjs")];
/// Names under which distributions install it.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

fn browser() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    let known = |folder: &str| BROWSERS.map(|name| Path::new(folder).join(name));
    let found = path.split(':').flat_map(known).find(|p| p.exists());
    found.expect("run `make setup` first: there is no Chromium").to_string_lossy().into_owned()
}

/// A server with what a script is told of it.
struct Demo {
    server: Server,
    folder: TempDir,
    /// What its file says of it.
    env: Vec<(String, String)>,
}

fn demo() -> Demo {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("comity-demo");
    let arguments =
        ["demo", "--no-limits", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    let mut server = Server::start(folder.path(), &arguments);
    server.read_until("The five-minute tour");
    let text = std::fs::read_to_string(data.join("demo.env")).unwrap();
    let env = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
        .collect();
    Demo { server, folder, env }
}

/// Its data after a restore, with a grant that is halted.
fn bad_day() -> Demo {
    let Demo { server, folder, mut env } = demo();
    server.terminate(Duration::from_secs(20));
    let data = folder.path().join("comity-demo");
    let settings = Settings::new(data.clone(), data.join("comity.key"), Cost::TESTS);
    let app = App::start(&settings, Arc::new(Clock::system())).unwrap();
    let operate = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let state = app.state();
        let grant = state.grants.iter().find(|(_, g)| g.stands(app.now())).unwrap().0;
        let halt = Asked::Halt { target: HaltTarget::Grant(grant), invariant: 6 };
        app.run(&Caller::system(), halt).await.unwrap();
        let restore = Asked::Restore { fork: 7, erased: Vec::new(), keep_people: true };
        app.run(&Caller::system(), restore).await.unwrap();
        app.make_key(&Caller::system(), KeyUse::Operate, None).await.unwrap().0
    });
    app.stop();
    drop(app);
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data", "comity-demo"];
    let server = Server::start(folder.path(), &serve);
    env.retain(|(name, _)| name != "COMITY" && name != "OPERATE_KEY");
    env.push(("COMITY".into(), format!("http://{}", server.address)));
    env.push(("OPERATE_KEY".into(), operate.reveal().to_owned()));
    Demo { server, folder, env }
}

/// An installation that nobody holds yet, with its link.
fn nobodys() -> Demo {
    let folder = tempfile::tempdir().unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data", "data"];
    let mut server = Server::by_hand(folder.path(), &serve);
    let link = server.read_until("/console/first-run#").trim().to_owned();
    let env = vec![("COMITY".into(), format!("http://{}", server.address)), ("LINK".into(), link)];
    Demo { server, folder, env }
}

/// Runs a script after the frame that all of them share.
fn run(script: &str, more: &[(&str, &str)]) -> String {
    run_on(&demo(), script, more)
}

fn run_on(demo: &Demo, script: &str, more: &[(&str, &str)]) -> String {
    let mut node = Command::new("node");
    // From where its packages are.
    node.current_dir(tools().join("node"))
        .stdin(Stdio::null())
        .env("no_proxy", "127.0.0.1,localhost");
    let text = format!("{}\n{script}", include_str!("frame.mjs"));
    node.args(["--input-type=module", "-e", &text]);
    node.env("BROWSER", browser()).envs(more.iter().copied());
    ran(node.envs(demo.env.clone()))
}

/// The paths of the console's table that answer a GET with a page.
fn paths() -> Vec<String> {
    let table = std::fs::read_to_string(workspace().join("crates/console/src/routes.rs")).unwrap();
    let routes = table.lines().map(str::trim).filter(|line| line.starts_with(".route("));
    let pages = routes.filter(|line| line.contains("get(") && !line.contains("{*rest}"));
    pages.filter_map(|line| line.split('"').nth(1).map(str::to_owned)).collect()
}

#[test]
fn every_page_is_accessible_quiet_and_small_in_both_themes_and_widths() {
    let tables = [TABLE, SELDOM[0], SELDOM[1]].concat();
    let named = |path: &String| tables.contains(&format!("\"{path}\""));
    let missing: Vec<String> = paths().into_iter().filter(|path| !named(path)).collect();
    assert!(missing.is_empty(), "pages without a line in table.mjs: {missing:?}");
    let out = run(&format!("{TABLE}\n{}", include_str!("pages.mjs")), &[]);
    assert!(out.ends_with("all pages were looked at\n"), "{out}");
}

/// The whole story, with script or without, and how many actions it took.
fn story(script: &str) {
    let out = run(include_str!("story.mjs"), &[("SCRIPT", script)]);
    println!("{out}");
    assert!(out.ends_with("the story is through\n"), "{out}");
}

#[test]
fn the_whole_story_is_clicked_by_visible_labels() {
    story("on");
}

#[test]
fn the_whole_story_works_without_script() {
    story("off");
}

/// An offer, accepted, with three people on it, with script or without, and by keyboard.
fn both_sides(script: &str) {
    let out = run(include_str!("both.mjs"), &[("SCRIPT", script)]);
    println!("{out}");
    assert!(out.ends_with("both sides are through\n"), "{out}");
}

#[test]
fn n3_n4_n6_n7_n8_both_sides_of_a_partnership_are_clicked_by_visible_labels() {
    both_sides("on");
}

#[test]
fn n6_both_sides_of_a_partnership_work_without_script() {
    both_sides("off");
}

/// Not a test: `make pictures` runs it.
#[test]
#[ignore = "writes docs/pictures"]
fn pictures_of_the_main_pages() {
    let folder = workspace().join("docs/pictures");
    std::fs::create_dir_all(&folder).unwrap();
    let pictures = folder.to_str().unwrap();
    let out = run(include_str!("pictures.mjs"), &[("PICTURES", pictures)]);
    println!("{out}");
    assert!(out.ends_with("all pictures were taken\n"), "{out}");
}

#[test]
fn what_only_bad_days_show_is_accessible_too() {
    let out = run_on(&bad_day(), &[SELDOM[0], include_str!("pages.mjs")].join("\n"), &[]);
    assert!(out.ends_with("all pages were looked at\n"), "{out}");
}

#[test]
fn t18_the_first_run_is_done_in_the_browser_and_no_request_names_the_link() {
    let (table, story) = SELDOM[1].split_once("// -- after every page").unwrap();
    let looked = include_str!("pages.mjs").replace("await browser.close();", "");
    let out = run_on(&nobodys(), &format!("{table}\n{looked}\n// {story}"), &[]);
    assert!(out.ends_with("set up\n"), "{out}");
}

#[test]
fn t3_t41_t42_strange_texts_stay_texts_on_every_page() {
    let payloads = include_str!("payloads.mjs");
    let (before, after) = payloads.split_once("// -- then every page").unwrap();
    let out = run(&format!("{before}\n{TABLE}\n{after}"), &[]);
    assert!(out.ends_with("nothing was executed\n"), "{out}");
}

#[test]
fn t22_a_passkey_signs_in_and_proves_it_anew() {
    let out = run(include_str!("passkeys.mjs"), &[]);
    assert!(out.ends_with("the passkey did what it should\n"), "{out}");
}
