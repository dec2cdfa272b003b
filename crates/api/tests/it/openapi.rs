//! `/openapi.json` against the table of routes, the codes in the source, and itself.

use std::collections::BTreeSet;

use comity_api::openapi::refusals::CODES;
use serde_json::Value;

use crate::declared::{DOCUMENT, fits};
use crate::may_routes::routed;

/// Every operation, with method and path.
fn operations() -> Vec<(String, &'static str, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let each = |(path, methods): (&'static String, &'static Value)| {
        let methods = methods.as_object().unwrap();
        methods.iter().map(|(m, o)| (m.to_uppercase(), path.as_str(), o)).collect::<Vec<_>>()
    };
    paths.iter().flat_map(each).collect()
}

#[test]
fn every_route_is_in_the_document_and_no_other() {
    let declared: BTreeSet<(String, String)> =
        operations().into_iter().map(|(m, p, _)| (m, p.to_owned())).collect();
    assert_eq!(routed(), declared, "left: routes.rs; right: openapi.rs");
}

#[test]
fn every_operation_says_what_it_is() {
    let mut ids = BTreeSet::new();
    let tags: BTreeSet<&str> =
        DOCUMENT["tags"].as_array().unwrap().iter().filter_map(|t| t["name"].as_str()).collect();
    for (method, path, operation) in operations() {
        let at = format!("{method} {path}");
        let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{at}: no id"));
        let camel =
            id.bytes().all(|b| b.is_ascii_alphanumeric()) && id.as_bytes()[0].is_ascii_lowercase();
        assert!(camel && ids.insert(id), "{at}: {id} is no camelCase or stands twice");
        for word in ["summary", "description"] {
            assert!(operation[word].as_str().is_some_and(|t| !t.is_empty()), "{at}: no {word}");
        }
        let tag = operation["tags"][0].as_str().unwrap_or_default();
        assert!(tags.contains(tag), "{at}: {tag:?} is no tag");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(
                parameter["description"].as_str().is_some_and(|t| !t.is_empty()),
                "{at}: {parameter}"
            );
        }
        let good = operation["responses"].as_object().unwrap().keys().any(|s| s.starts_with('2'));
        assert!(good, "{at}: no yes");
        assert!(operation.get("x-refusals").is_none(), "{at}");
    }
}

#[test]
fn every_field_says_what_it_is_and_every_example_fits() {
    let (mut examples, mut wrong) = (0, Vec::new());
    for (name, schema) in DOCUMENT["components"]["schemas"].as_object().unwrap() {
        for example in schema["examples"].as_array().into_iter().flatten() {
            wrong.extend(fits(schema, example, name).err());
            examples += 1;
        }
        for (field, says) in schema["properties"].as_object().into_iter().flatten() {
            // What only points at another schema is described there.
            let told = says["description"].is_string()
                || says.get("$ref").is_some()
                || says.get("oneOf").is_some();
            let list = says["items"].get("$ref").is_some();
            if !told && !list {
                wrong.push(format!("{name}.{field} says nothing: {says}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let problem = &DOCUMENT["components"]["schemas"]["Problem"];
    for (code, example) in DOCUMENT["components"]["examples"].as_object().unwrap() {
        fits(problem, &example["value"], code).unwrap();
    }
    assert!(examples > 40, "{examples}");
}

/// The first text that a problem is made with, in every source file of the door.
fn codes_of_the_door() -> BTreeSet<String> {
    fn read(folder: &std::path::Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, found);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            for start in ["Problem::new(", "Self::new("] {
                let made = source.split(start).skip(1);
                let made = made.filter(|m| m.trim_start().starts_with("StatusCode::"));
                let word = |m: &str| {
                    m.split([';', '}']).next().and_then(|m| m.split('"').nth(1)).map(str::to_owned)
                };
                found.extend(made.filter_map(word));
            }
        }
    }
    let mut found = BTreeSet::new();
    read(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

#[test]
fn every_code_of_the_source_is_in_the_document_and_no_other() {
    let source = include_str!("../../../domain/src/refusal.rs");
    let (_, refusals) = source.split_once("pub fn code(&self)").unwrap();
    let (refusals, _) = refusals.split_once("\n    }\n").unwrap();
    let mut codes: BTreeSet<String> =
        refusals.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(codes.len() > 20, "the codes were not read: {codes:?}");
    let door = codes_of_the_door();
    assert!(door.contains("bad_json") && door.contains("timeout"), "{door:?}");
    codes.extend(door);
    codes.insert("too_slow".into()); // of an import that came to a stop
    codes.insert("busy".into()); // of a decision that cannot be counted
    let listed: BTreeSet<String> = CODES.iter().map(|c| c.code.to_owned()).collect();
    let missing: Vec<_> = codes.difference(&listed).collect();
    assert!(missing.is_empty(), "not in openapi/refusals.rs: {missing:?}");
    let more: Vec<_> = listed.difference(&codes).collect();
    assert!(more.is_empty(), "nobody says: {more:?}");
    assert!(CODES.is_sorted_by_key(|c| c.status));
}
