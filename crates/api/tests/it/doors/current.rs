//! N6: a question that names a position is answered from there on, or not at all.

use std::time::Duration;

use serde_json::{Value, json};

use super::Scene;

fn asked(scene: &Scene, at_least: &Value) -> crate::harness::Reply {
    let ask = json!({ "subject": { "type": "partner_session", "id": scene.there.token },
        "action": { "name": "boats:read" }, "resource": { "type": "account", "id": "boat-1" },
        "context": { "at_least": at_least, "ip": "203.0.113.7" } });
    scene.post(scene.decide_key("boats"), "/access/v1/evaluation", &ask)
}

#[test]
fn n6_a_question_reflects_the_position_that_it_names_or_is_stale() {
    let scene = Scene::new();
    let seq = scene.app.state().seq;
    let answer = asked(&scene, &json!(seq)).ok();
    assert_eq!(answer["context"]["seq"], json!(seq));
    let clock = comity_app::clock::stopwatch();
    asked(&scene, &json!(seq + 1)).is(503, "stale");
    assert!(clock() >= Duration::from_millis(comity_app::app::WAIT_MS));
    for odd in [json!("7"), json!(-1), json!(1.5), json!(null)] {
        let reply = asked(&scene, &odd);
        reply.is(422, "invalid");
        assert_eq!(reply.json()["field"], json!("context.at_least"));
    }
}
