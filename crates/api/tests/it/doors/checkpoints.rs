//! `/v1/audit/checkpoints`: the same for everybody who may read, signed, in order.

use comity_store::Tree;
use comity_store::note::Verifier;
use serde_json::{Value, json};

use crate::doors::Scene;
use crate::harness::{House, copy, text};

#[test]
fn t40_every_reader_is_shown_the_same_checkpoints_and_each_is_of_the_log() {
    let mut scene = Scene::new();
    scene.house.app.stop(); // signs what is not signed
    scene.town.house = House::start(copy(scene.house.folder.path()));
    let mut tree = Tree::default();
    let size = scene.house.app.state().seq;
    scene.house.app.reader().leaves(0, size, |leaf| tree.push(leaf)).unwrap();
    let path = "/v1/audit/checkpoints";
    let ana = scene.at("ana@marina");
    let all = scene.get(ana, &format!("{path}?organisation=marina")).ok();
    assert_eq!(all, scene.get(&scene.known.operate, path).ok());
    assert_eq!(all, scene.get(&scene.known.provision, path).ok());
    let key: Verifier = text(&all["key"]).parse().unwrap();
    let items = all["items"].as_array().unwrap();
    let sizes: Vec<u64> = items
        .iter()
        .map(|item| {
            let said = key.open_own(item["note"].as_str().unwrap()).unwrap();
            assert_eq!(
                (json!(said.size), tree.root(said.size)),
                (item["size"].clone(), Some(said.root))
            );
            said.size
        })
        .collect();
    assert!(sizes.is_sorted_by(|a, b| a < b) && sizes.last() == Some(&size), "{sizes:?}");
    assert_eq!(all["after"], size);
    let rest = scene.get(ana, &format!("{path}?organisation=marina&after={}", size - 1)).ok();
    assert_eq!(rest["items"], Value::from(vec![items.last().unwrap().clone()]));
    let none = scene.get(ana, &format!("{path}?organisation=marina&after={size}")).ok();
    assert_eq!((&none["items"], &none["after"]), (&json!([]), &json!(size)));
    let latest = scene.get(ana, &format!("{path}/latest?organisation=marina")).ok();
    assert_eq!((&latest["note"], &latest["key"]), (&items.last().unwrap()["note"], &all["key"]));
    for route in [path.to_owned(), format!("{path}/latest")] {
        scene.get(ana, &route).is(422, "invalid");
        scene.get(ana, &format!("{route}?organisation=fjord")).is(404, "not_found");
        scene.get(ana, &format!("{route}?organisation=marina&before=1")).is(422, "invalid");
        scene.get(scene.decide_key("boats"), &route).is(403, "forbidden");
        scene.get("", &route).is(401, "unauthenticated");
    }
}
