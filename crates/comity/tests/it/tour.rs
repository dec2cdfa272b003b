//! The README's tour, run as it stands there: every `sh` block between the marks in one shell, and
//! every `text` block compared with what came out.

use std::process::{Command, Stdio};

use crate::process::{COMITY, Server, text, workspace};

/// The fenced blocks of `kind` between the marks, in order.
fn blocks(readme: &str, kind: &str) -> Vec<String> {
    let mut found = Vec::new();
    for marked in readme.split("<!-- tour -->").skip(1) {
        let (marked, _) = marked.split_once("<!-- /tour -->").expect("the tour is not closed");
        let open = format!("```{kind}\n");
        for rest in format!("\n{marked}").split(&format!("\n{open}")).skip(1) {
            let (block, _) = rest.split_once("\n```").expect("a block is not closed");
            found.push(block.to_owned() + "\n");
        }
    }
    found
}

#[test]
fn the_tour_of_the_readme_works_as_it_is_written() {
    let readme = std::fs::read_to_string(workspace().join("README.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("comity-demo");
    let mut demo = Server::start(
        folder.path(),
        &["demo", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()],
    );
    demo.read_until("The five-minute tour"); // the last line: everything is ready
    let env = std::fs::read_to_string(data.join("demo.env")).unwrap();
    assert!(env.contains(&format!("COMITY=http://{}\n", demo.address)), "{env}");

    let bin = std::path::Path::new(COMITY).parent().unwrap().display().to_string();
    let script = blocks(&readme, "sh").concat();
    let ran = Command::new("sh")
        .args(["-eu", "-c", &script])
        .current_dir(folder.path())
        .env("PATH", format!("{bin}:{}", std::env::var("PATH").unwrap()))
        .env("no_proxy", "127.0.0.1,localhost")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, errors) = (text(&ran.stdout), text(&ran.stderr));
    assert!(ran.status.success(), "{}\n{out}\n{errors}", ran.status);

    // The README shows the essential parts, in order, with … for what it leaves out.
    let mut rest = out.as_str();
    for line in blocks(&readme, "text").concat().lines() {
        for part in line.split('…').filter(|p| !p.is_empty()) {
            let at = rest.find(part);
            let at = at.unwrap_or_else(|| {
                panic!("the README shows {part:?}, which does not come. Left:\n{rest}\nAll:\n{out}")
            });
            rest = &rest[at + part.len()..];
        }
    }

    // What must hold whatever the README shows.
    let mut rest = out.as_str();
    for (answer, why) in [
        (r#""decision":true"#, "the call within the grant"),
        (r#""reason":"no_role""#, "the call beyond it"),
        (r#""reason":"revoked""#, "the call after the revoke"),
        ("every leaf and root fits", "the log"),
    ] {
        let at = rest.find(answer).unwrap_or_else(|| panic!("{why}: no {answer} in\n{rest}"));
        rest = &rest[at + answer.len()..];
    }
}
