//! Event streams as another's JWT library believes them.

use std::time::Duration;

use super::oauth::{Bay, bay};
use super::{python, ran};
use crate::process::Server;

#[test]
fn t16_r12_pyjwt_believes_what_is_pushed_and_fetched_and_nothing_else() {
    let Bay { demo, folder, mut env } = bay();
    demo.terminate(Duration::from_secs(20));
    // The demo pushes to nobody on loopback; the same data served otherwise does.
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data", "comity-demo"];
    let arguments: Vec<&str> = serve.into_iter().chain(["--allow-insecure-webhooks"]).collect();
    let server = Server::start(folder.path(), &arguments);
    env.retain(|(name, _)| name != "COMITY");
    env.push(("COMITY".into(), format!("http://{}", server.address)));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/foreign/ssf.py");
    let out = ran(python().arg(script).envs(env));
    assert_eq!(out, "pushed\nrevoked\nfetched\nPyJWT is through\n");
}
