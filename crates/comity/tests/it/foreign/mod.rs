//! Comity as programs of others meet it: linters, generators, client libraries, web frameworks.
//!
//! They come from their registries into `target/tools` (`make tools`); each file here starts a real
//! server and lets one of them do its work. Scripts stand beside the Rust file that runs them.

mod clients;
mod first_call;
mod gate;
mod oauth;
mod openapi;
mod quick_start;
mod schemathesis;
mod ssf;
mod webhooks;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::text;

/// Where `make tools` puts things.
pub fn tools() -> PathBuf {
    let target = Path::new(crate::process::COMITY).ancestors().nth(2).unwrap();
    let tools = target.join("tools");
    assert!(tools.join("node.installed").exists(), "run `make tools` first: nothing in {tools:?}");
    tools
}

/// The Python that has the tools' packages.
pub fn python() -> Command {
    let mut command = Command::new(tools().join("python/bin/python"));
    command
        .stdin(Stdio::null())
        .env("no_proxy", "127.0.0.1,localhost")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// A JavaScript program of the tools', such as `redocly` or `tsx`.
pub fn node(program: &str) -> Command {
    let mut command = Command::new(tools().join("node/node_modules/.bin").join(program));
    command.stdin(Stdio::null()).env("no_proxy", "127.0.0.1,localhost");
    command
}

/// Runs it to its end, which must be a good one, and returns what it printed.
pub fn ran(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (out, errors) = (text(&done.stdout), text(&done.stderr));
    assert!(done.status.success(), "{command:?}: {}\n{out}\n{errors}", done.status);
    out
}

#[test]
fn the_tools_are_those_of_the_lock_files() {
    assert!(ran(python().args(["-m", "schemathesis.cli", "--version"])).contains('4'));
    assert!(ran(node("redocly").arg("--version")).starts_with('2'));
}
