//! Answers held against `/openapi.json`: every one that a test sees has to be declared there, with
//! its status, its kind of content, its code and the form of its body. So the document cannot say
//! less, or something else, than what the stories find.
//!
//! The checker knows the words that our document uses and refuses any other. It is closed: a field
//! that the document does not name is an error.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::{HeaderMap, Uri, header};
use regex::Regex;
use serde_json::Value;

/// The document.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(comity_api::openapi::document_value);

/// The segments of each path of the document.
static PATHS: LazyLock<Vec<(Vec<String>, String)>> = LazyLock::new(|| {
    let split = |p: &str| p.split('/').map(str::to_owned).collect();
    DOCUMENT["paths"].as_object().unwrap().keys().map(|p| (split(p), p.clone())).collect()
});

/// The path of the document that a request meets.
fn route(path: &str) -> Option<&'static str> {
    let sent: Vec<&str> = path.split('/').collect();
    let fits = |known: &[String]| {
        known.len() == sent.len()
            && known.iter().zip(&sent).all(|(k, s)| k == s || k.starts_with('{') && !s.is_empty())
    };
    let mut all: Vec<_> = PATHS.iter().filter(|(known, _)| fits(known)).collect();
    // What is written out goes before what is named.
    all.sort_by_key(|(known, _)| known.iter().filter(|k| k.starts_with('{')).count());
    all.first().map(|(_, path)| path.as_str())
}

/// What is wrong with an answer, going by the document.
pub fn wrong(
    method: &str,
    uri: &Uri,
    status: u16,
    headers: &HeaderMap,
    bytes: &[u8],
) -> Result<(), String> {
    let Some(path) = route(uri.path()) else {
        let nowhere = matches!(status, 400 | 404 | 405);
        return nowhere.then_some(()).ok_or(format!("{status} where no path is declared"));
    };
    let operation = &DOCUMENT["paths"][path][method.to_lowercase()];
    if operation.is_null() {
        let plain = matches!((method, status), ("HEAD" | "OPTIONS", _) | (_, 400 | 405));
        return plain.then_some(()).ok_or(format!("{status}: {method} {path} is not declared"));
    }
    let response = &operation["responses"][status.to_string()];
    if response.is_null() {
        return Err(format!("{status} of {method} {path} is not declared"));
    }
    if status < 300 {
        asked(operation, uri)?;
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or_default();
    let Some(content) = response["content"].as_object() else {
        return bytes.is_empty().then_some(()).ok_or(format!("{status} of {path} has a body"));
    };
    let media = content.get(kind).ok_or(format!("{status} of {path} is {kind:?}"))?;
    for name in response["headers"].as_object().into_iter().flatten().map(|(name, _)| name) {
        if !headers.contains_key(name.as_str()) {
            return Err(format!("{status} of {path} has no {name}"));
        }
    }
    if !kind.contains("json") {
        return Ok(());
    }
    let body: Value = serde_json::from_slice(bytes).map_err(|e| format!("{path}: {e}"))?;
    let codes = response["x-codes"].as_array();
    if let Some(codes) = codes.filter(|_| kind == "application/problem+json")
        && !codes.contains(&body["code"])
    {
        return Err(format!("{status} {} of {method} {path} is not declared", body["code"]));
    }
    fits(&media["schema"], &body, "").map_err(|e| format!("{status} of {method} {path}: {e}"))
}

/// Whoever is answered well asked with declared words only.
fn asked(operation: &Value, uri: &Uri) -> Result<(), String> {
    let declared = operation["parameters"].as_array().cloned().unwrap_or_default();
    for pair in uri.query().unwrap_or_default().split('&').filter(|p| !p.is_empty()) {
        let name = pair.split('=').next().unwrap_or_default();
        if !declared.iter().any(|p| p["in"] == "query" && p["name"] == name) {
            return Err(format!("{name} of the query is not declared"));
        }
    }
    Ok(())
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type"),
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    static KNOWN: LazyLock<std::sync::Mutex<BTreeMap<String, Regex>>> =
        LazyLock::new(Default::default);
    let mut known = KNOWN.lock().unwrap();
    let regex = known.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).unwrap());
    regex.is_match(text)
}

/// Objects that stand in one place, as one.
fn together(parts: &Value) -> Value {
    let (mut properties, mut required) = (serde_json::Map::new(), Vec::new());
    for part in parts.as_array().unwrap() {
        let part = match part["$ref"].as_str() {
            Some(pointer) => DOCUMENT.pointer(pointer.trim_start_matches('#')).expect("a schema"),
            None => part,
        };
        properties.extend(part["properties"].as_object().cloned().unwrap_or_default());
        required.extend(part["required"].as_array().cloned().unwrap_or_default());
    }
    serde_json::json!({ "type": "object", "properties": properties, "required": required })
}

/// Whether a value has the form of a schema; otherwise where and why not.
pub fn fits(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let Some(schema) = schema.as_object() else { return Err(format!("{at}: no schema")) };
    let no = |why: &str| Err(format!("{at}: {value} {why}"));
    let number = |v: &Value| v.as_f64().unwrap();
    for (word, says) in schema {
        match word.as_str() {
            "description" | "example" | "examples" | "default" | "title" | "contentMediaType"
            | "readOnly" | "writeOnly" | "deprecated" => {}
            "$ref" => {
                let pointer = says.as_str().unwrap().trim_start_matches('#');
                fits(DOCUMENT.pointer(pointer).expect("a schema"), value, at)?;
            }
            "type" => {
                let kinds: Vec<&str> = match says {
                    Value::String(one) => vec![one],
                    many => many.as_array().unwrap().iter().filter_map(Value::as_str).collect(),
                };
                if !kinds.iter().any(|k| is(k, value)) {
                    return no(&format!("is not {kinds:?}"));
                }
            }
            "enum" if says.as_array().unwrap().contains(value) => {}
            "enum" => return no("is not among the words"),
            "pattern" if value.is_string() => {
                if !matches(says.as_str().unwrap(), value.as_str().unwrap()) {
                    return no(&format!("does not fit {says}"));
                }
            }
            "format" if *says == "date-time" && value.is_string() => {
                if value.as_str().unwrap().parse::<jiff::Timestamp>().is_err() {
                    return no("is no instant");
                }
            }
            "minimum" if value.is_number() && number(value) < number(says) => {
                return no("is too small");
            }
            "maximum" if value.is_number() && number(value) > number(says) => {
                return no("is too large");
            }
            "oneOf" => {
                let tried: Vec<_> =
                    says.as_array().unwrap().iter().map(|s| fits(s, value, at)).collect();
                if tried.iter().filter(|t| t.is_ok()).count() != 1 {
                    return no(&format!("fits not exactly one: {tried:?}"));
                }
            }
            "allOf" => fits(&together(says), value, at)?,
            "items" => {
                for (ix, item) in value.as_array().into_iter().flatten().enumerate() {
                    fits(says, item, &format!("{at}/{ix}"))?;
                }
            }
            "required" => {
                for name in says.as_array().unwrap().iter().filter(|_| value.is_object()) {
                    if value.get(name.as_str().unwrap()).is_none() {
                        return no(&format!("has no {name}"));
                    }
                }
            }
            "properties" => {
                for (name, field) in value.as_object().into_iter().flatten() {
                    match says.get(name) {
                        Some(known) => fits(known, field, &format!("{at}/{name}"))?,
                        None => return Err(format!("{at}: {name} is not declared")),
                    }
                }
            }
            "additionalProperties" => {
                let properties = schema.get("properties");
                let named = |name: &str| properties.and_then(|p| p.get(name)).is_some();
                let others = value.as_object().into_iter().flatten().filter(|(n, _)| !named(n));
                for (name, field) in others.filter(|_| says.is_object()) {
                    fits(says, field, &format!("{at}/{name}"))?;
                }
            }
            "pattern" | "format" | "minimum" | "maximum" | "propertyNames" | "minLength"
            | "maxLength" | "minItems" | "maxItems" | "uniqueItems" | "minProperties"
            | "maxProperties" => {}
            other => panic!("{at}: the checker does not know {other}"),
        }
    }
    Ok(())
}
