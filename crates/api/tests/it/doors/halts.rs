//! What the running checker stopped: who reads of it, and who lifts it.

use comity_domain::command::{Caller, Command};
use comity_domain::halt::HaltTarget;
use serde_json::Value;

use super::Scene;
use crate::harness::text;

fn events(items: &Value) -> Vec<String> {
    items["items"].as_array().unwrap().iter().map(|item| item["event"].to_string()).collect()
}

#[test]
fn t49_a_halt_is_read_by_both_sides_told_by_every_decision_and_lifted_by_the_operator() {
    let scene = Scene::new();
    let (operate, provision) = (&scene.known.operate, &scene.known.provision);
    let entered = |token: &str| scene.enter(token, "marina", &[]);
    let target = HaltTarget::Grant(scene.there.grant.parse().unwrap());
    let halt = Command::Halt { target, invariant: 6 };
    let done = scene.app.node().run_blocking(Caller::system(), halt).unwrap();
    let halt = done.state.halt_on(target).unwrap().to_string();

    let answer = scene.evaluate(
        scene.decide_key("boats"),
        &scene.there.token,
        "boats:read",
        "account",
        "boat-1",
    );
    assert!(answer.text().contains("locked"), "{}", answer.text());
    entered(scene.at("hugo@harbor-help")).is(400, "locked");
    let path = format!("/v1/grants/{}", scene.there.grant);
    assert_eq!(scene.get(scene.at("ana@marina"), &path).ok()["locked"], true);

    for (who, organisation) in [("ana@marina", "marina"), ("pia@harbor-help", "harbor-help")] {
        let path = format!("/v1/events?organisation={organisation}&after={}", done.seq - 1);
        let told = events(&scene.get(scene.at(who), &path).ok()).join("\n");
        assert!(told.contains("halted") && told.contains(&scene.there.grant), "{told}");
        assert!(!told.contains("halt_noted") && !told.contains("invariant"), "{told}");
    }
    let all = scene.get(provision, &format!("/v1/events?after={}", done.seq - 1)).ok();
    assert!(events(&all).join("\n").contains("halt_noted"));

    let listed = scene.get(operate, "/v1/platform/halts").ok();
    let own = |x: &&Value| text(&x["id"]) == halt;
    let own = listed["items"].as_array().unwrap().iter().find(own).unwrap().clone();
    assert_eq!(own["target"]["grant"], scene.there.grant.as_str());
    assert_eq!(own["invariant"], 6);
    let path = format!("/v1/platform/halts/{halt}/lift");
    for token in [scene.at("ana@marina"), scene.at("pia@harbor-help"), provision] {
        scene.call(token, "POST", &path, None).is(403, "forbidden");
    }
    assert_eq!(scene.call(operate, "POST", &path, None).status, 204);
    scene.call(operate, "POST", &path, None).is(404, "not_found");
    let answer = scene.evaluate(
        scene.decide_key("boats"),
        &scene.there.token,
        "boats:read",
        "account",
        "boat-1",
    );
    assert!(answer.text().contains("locked"), "what was ended stays ended");
    entered(scene.at("hugo@harbor-help")).ok();
}
