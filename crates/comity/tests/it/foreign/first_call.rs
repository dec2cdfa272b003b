//! The guide from a clone to a decided call, run as it stands for each of its two frameworks.
//!
//! What it builds and installs comes from `make tools` and this build (`installers.sh`).

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::clients::{copy, free_port};
use super::tools;
use crate::process::{COMITY, workspace};

/// Sections 1, 2, the framework's own and 5 as one shell script, and the text that it shows.
fn script(guide: &str, own: &str) -> (String, String) {
    let (mut script, mut shown) = (String::new(), String::new());
    for section in
        guide.split("\n## ").filter(|s| s.starts_with(['1', '2', '5']) || s.starts_with(own))
    {
        let mut rest = section;
        while let Some((before, block)) = rest.split_once("\n```") {
            let (language, block) = block.split_once('\n').unwrap();
            let (block, after) = block.split_once("\n```").unwrap();
            rest = after;
            let file = before.rsplit_once("<!-- file ").and_then(|(_, f)| f.split_once(" -->"));
            match (language, file) {
                ("sh", _) => {
                    script += &format!("{block}\n");
                    if block.trim_end().ends_with('&') {
                        // "When it has printed", "give it a second": a test looks instead.
                        script += "wait_for_it\n";
                    }
                }
                ("text", _) => shown += &format!("{block}\n"),
                (_, Some((file, _))) => {
                    script +=
                        &format!("cat >\"$TOP/{file}\" <<'END_OF_FILE'\n{block}\nEND_OF_FILE\n");
                }
                other => panic!("a block that nobody runs: {other:?}"),
            }
        }
    }
    (script, shown)
}

const WAIT: &str = r#"
wait_for_it() {
    for _ in $(seq 300); do
        if [ -n "${DECIDE_KEY:-}" ]; then
            if curl -s -o /dev/null "http://127.0.0.1:3000/"; then return; fi
        elif [ "$(grep -c = comity-demo/demo.env 2>/dev/null)" = 9 ]; then
            return
        fi
        sleep 0.2
    done
    return 1
}
"#;

fn walk(own: &str) {
    let guide = std::fs::read_to_string(workspace().join("docs/guide/first-call.md")).unwrap();
    let folder = tempfile::tempdir_in(tools().join("node")).unwrap();
    let clone = folder.path().join("comity");
    for part in ["clients/typescript", "clients/python", "docs/guide"] {
        copy(&workspace().join(part), &clone.join(part));
    }
    let installers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/foreign/installers.sh");
    let (script, shown) = script(&guide, own);
    let whole = format!(". '{}'\n{WAIT}\n{script}", installers.display());
    let whole = whole.replace("3000", &free_port().to_string());

    let (out, errors) = (folder.path().join("out"), folder.path().join("errors"));
    let mut shell = Command::new("sh")
        .args(["-eu", "-c", &whole])
        .current_dir(folder.path())
        .env("TOP", folder.path())
        .env("TOOLS", tools())
        .env("COMITY_BIN", COMITY)
        .env("COMITY_DEMO_LISTEN", "127.0.0.1:0")
        .env("no_proxy", "127.0.0.1,localhost")
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&out).unwrap())
        .stderr(std::fs::File::create(&errors).unwrap())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut status = None;
    for _ in 0..1500 {
        status = shell.try_wait().unwrap();
        if status.is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    // The servers that it started are of its group.
    let group = format!("kill -TERM -{}", shell.id());
    let _ = Command::new("sh").args(["-c", &group]).stderr(Stdio::null()).status();
    let _ = shell.wait();
    let read = |path| std::fs::read_to_string(path).unwrap();
    let (out, errors) = (read(out), read(errors));
    assert!(status.is_some_and(|s| s.success()), "{status:?}\n{out}\n{errors}");
    let mut rest = out.as_str();
    for part in shown.lines().flat_map(|l| l.split('…')).filter(|p| !p.is_empty()) {
        let at = rest.find(part);
        let at = at.unwrap_or_else(|| {
            panic!("no {part:?} in what is left:\n{rest}\nAll:\n{out}\n{errors}")
        });
        rest = &rest[at + part.len()..];
    }
    assert!(out.contains(r#""code":"revoked""#), "{out}");
}

#[test]
fn a_first_call_with_express() {
    walk("3");
}

#[test]
fn a_first_call_with_fastapi() {
    walk("4");
}
