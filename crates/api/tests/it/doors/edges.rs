//! T44: values at the ends of their ranges are answered, never a fault; the harness refuses a 500.

use serde_json::{Value, json};

use super::Scene;
use crate::may_routes::calls;

#[test]
fn t44_numbers_and_instants_at_the_ends_of_their_ranges_are_answered() {
    let scene = Scene::new();
    let (ana, pia) = (scene.at("ana@marina"), scene.at("pia@harbor-help"));
    let most = ["18446744073709551615", "9223372036854775808", "9223372036854775807", "4294967296"];
    for after in most {
        scene.get(ana, &format!("/v1/events?organisation=marina&after={after}"));
        scene.get(&scene.known.provision, &format!("/v1/events?after={after}"));
        scene.get(ana, &format!("/v1/events?organisation=marina&limit={after}")).is(422, "invalid");
        scene.get(ana, &format!("/v1/events?organisation=marina&wait={after}")).is(422, "invalid");
    }
    let ends =
        ["9999-12-31T23:59:59Z", "-009999-01-02T00:00:00Z", "1970-01-01T00:00:00Z", "never", ""];
    for at in ends {
        for query in [format!("since={at}"), format!("until={at}")] {
            scene.get(ana, &format!("/v1/organisations/marina/sessions?{query}"));
        }
        let grant = format!("/v1/grants/{}", scene.there.grant);
        scene.post(ana, &format!("{grant}/narrow"), &json!({ "ends_at": at }));
        let path = format!("{grant}/assignments/{}", scene.person("hana@harbor-help"));
        scene.put(
            pia,
            &path,
            &json!({ "roles": ["skipper"], "accounts": ["boat-1"], "ends_at": at }),
        );
        let summary = format!("/v1/requests/{}/summary", scene.there.asked);
        scene.post(
            ana,
            &summary,
            &json!({ "roles": ["skipper"], "accounts": ["boat-1"], "starts_at": at }),
        );
        scene.post(
            ana,
            &summary,
            &json!({ "roles": ["skipper"], "days": u32::MAX, "starts_at": at }),
        );
    }
}

#[test]
fn t44_no_value_of_another_type_or_size_breaks_a_handler() {
    let scene = Scene::new();
    let odd = [
        json!(null),
        json!(-1),
        json!(u64::MAX),
        json!(1e308),
        json!(""),
        json!("\u{0}"),
        json!("\u{202e}x"),
        json!([]),
        json!({}),
        json!("a".repeat(20_000)),
        json!(vec!["boat-1"; 5_000]),
        json!([[[[]]]]),
        json!("%"),
        json!("org_zz"),
    ];
    let mut tried = 0;
    for call in calls(&scene) {
        let Some(Value::Object(body)) = &call.body else { continue };
        let token = match call.route {
            r if r.starts_with("/v1/platform") || r.ends_with("/standing") => &scene.known.operate,
            r if r.starts_with("/access/") => scene.decide_key("boats"),
            "/v1/organisations/{organisation}/requests" => scene.at("pia@harbor-help"),
            r if r.contains("assignments") => scene.at("pia@harbor-help"),
            "/v1/organisations/{organisation}" => &scene.known.provision,
            _ => scene.at("ana@marina"),
        };
        for field in body.keys() {
            for value in &odd {
                let mut body = Value::Object(body.clone());
                body[field] = value.clone();
                let reply = scene.send(call.request(token, Some(&body)));
                assert!(
                    reply.status < 500 || reply.code() == "busy",
                    "{} {field}={value}: {}",
                    call.route,
                    reply.text()
                );
                tried += 1;
            }
        }
    }
    assert!(tried > 500, "{tried}");
}
