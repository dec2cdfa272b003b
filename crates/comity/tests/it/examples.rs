//! The examples of the reference, run as they stand there against a demo: every `sh` block of a page
//! that calls the server, in one shell, each call answered with a yes of HTTP.

use std::process::{Command, Stdio};

use crate::process::{Server, text, workspace};

/// Pages, and how many examples each has at least: a page whose examples are not found proves nothing.
const PAGES: [(&str, usize); 2] = [("api.md", 3), ("ssf.md", 2)];

/// What the pages take for granted: the demo's file, and the token of somebody who is inside.
const BEFORE: &str = r#"
. ./comity-demo/demo.env
curl() { command curl --fail-with-body --max-time 20 "$@"; echo; }
SIGN_IN=$(curl -s "$COMITY/v1/sign-in" -H 'Content-Type: application/json' \
    -d '{"email": "quentin@harbor-help.example", "password": "'"$PASSWORD"'"}' | sed -n 's/.*"token":"\([^"]*\)".*/\1/p')
TOKEN=$(curl -s "$COMITY/oauth/token" \
    -d grant_type=urn:ietf:params:oauth:grant-type:token-exchange \
    -d subject_token_type=urn:ietf:params:oauth:token-type:access_token \
    -d subject_token="$SIGN_IN" -d audience=https://api.boats.example \
    -d resource="urn:comity:organisation:$MARINA" -d mode=direct | sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p')
"#;

fn blocks(page: &str) -> Vec<&str> {
    let after = page.split("\n```sh\n").skip(1);
    let blocks = after.map(|rest| rest.split_once("\n```").expect("a block is not closed").0);
    blocks.filter(|block| block.contains("curl ")).collect()
}

#[test]
fn the_examples_of_the_reference_work_as_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("comity-demo");
    let data = data.to_str().unwrap();
    let mut demo =
        Server::start(folder.path(), &["demo", "--listen", "127.0.0.1:0", "--data", data]);
    demo.read_until("The five-minute tour");
    for (name, least) in PAGES {
        let page = workspace().join("docs/reference").join(name);
        let page = std::fs::read_to_string(page).unwrap();
        let found = blocks(&page);
        assert!(found.len() >= least, "{name}: {} examples", found.len());
        let script = format!("set -eu\n{BEFORE}\n{}\n", found.join("\n"));
        let ran = Command::new("bash")
            .args(["-o", "pipefail", "-c", &script])
            .current_dir(folder.path())
            .env("no_proxy", "127.0.0.1,localhost")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let (out, errors) = (text(&ran.stdout), text(&ran.stderr));
        assert!(ran.status.success(), "{name}: {}\n{out}\n{errors}", ran.status);
        assert!(!out.contains("\"decision\":null"), "{out}");
        if name == "api.md" {
            assert_eq!(out.matches("\"decision\":true").count(), 2, "both boats' piers: {out}");
            assert!(out.contains("\"results\":[{"), "somebody is found: {out}");
        } else {
            assert!(out.contains("\"stream_id\":\"strm_") && out.contains("\"sets\":{"), "{out}");
        }
    }
}
