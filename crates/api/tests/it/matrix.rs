//! The matrix: every route and method, for every kind of caller, about an object that is the
//! fitting caller's own, somebody else's, not there, malformed or over. Where an object is named in
//! path, query or body, each place is a slot of its own; the others stay as a fitting caller would
//! have them. `COMITY_BLESS=1` writes the reviewed table anew. A route of `routes.rs` that takes an
//! identifier of a new kind fails until [`yard::Yard::value`] says what is foreign, missing and over.
//!
//! Beside the table, for every cell: what is foreign is answered like what is missing, byte for
//! byte (T12, inv13); who has no tie to anything is told the same of all; no answer is a 5xx; from
//! inside a partner session everything is refused but to close it (T8); credentials that are over
//! are all the same.

mod slots;
mod yard;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use axum::body::Body;
use axum::http::{Request, header};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::harness::Reply;
use crate::may_routes::{Call, calls, make_room, routed};
use slots::Slot;
use yard::{CALLERS, DEAD, STRANGERS, Variant, Yard};

/// Routes that read no `Authorization` or have one of their own form: `may_routes.rs` and the doors
/// of OAuth have them.
fn is_open(route: &str) -> bool {
    route.starts_with("/oauth/")
        || route.starts_with("/.well-known/")
        || route.starts_with("/docs")
        || route.starts_with("/v1/sign-in/")
        || ["look", "decline", "register", "stop"]
            .iter()
            .any(|d| route == format!("/v1/invitations/{d}"))
        || ["/openapi.json", "/healthz", "/readyz", "/v1/sign-in", "/v1/enrol"].contains(&route)
}

/// What two answers must have alike: everything but the moment, the request's name, and the very
/// identifier that the caller sent.
fn face(reply: &Reply, sent: &str) -> String {
    let mut headers: Vec<String> = reply
        .headers
        .iter()
        .filter(|(name, _)| !["date", "x-request-id", "content-length"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {value:?}"))
        .collect();
    headers.sort();
    let mut body = reply.text();
    if !sent.is_empty() {
        body = body.replace(sent, "·");
    }
    format!("{} {} {body}", reply.status, headers.join("; "))
}

/// The faces of one slot, by variant and caller.
type Faces = BTreeMap<Variant, Vec<(u16, String)>>;

/// Calls for every caller; whatever changed something is put back by starting anew.
fn ask_all(
    yard: &mut Yard,
    at: usize,
    slot: Option<&Slot>,
    variant: Variant,
) -> Vec<(u16, String)> {
    let mut out = Vec::with_capacity(CALLERS.len());
    for (caller, _) in CALLERS {
        let mut call = calls(&yard.scene).swap_remove(at);
        let sent = match slot {
            None => String::new(),
            Some(slot) => slot.put(yard, &mut call, variant).unwrap_or_default(),
        };
        make_room(&yard.scene, &call, caller);
        let token = yard.token(caller).to_owned();
        let reply = yard.scene.send(call.request(&token, None));
        let what = format!("{} {} as {caller}: {}", call.method, call.path, reply.text());
        assert!(reply.status < 500, "{what}");
        judge_caller(&call, caller, &reply, &what);
        // What a yes made has an identifier of its own.
        let made = call.method != "GET" && reply.status < 300;
        let face = if made { reply.status.to_string() } else { face(&reply, &sent) };
        out.push((reply.status, face));
        if call.method != "GET" && reply.status < 300 {
            *yard = Yard::new();
        }
    }
    out
}

/// What holds in each cell, whatever the object is.
fn judge_caller(call: &Call, caller: &str, reply: &Reply, what: &str) {
    if is_open(call.route) {
        return;
    }
    if caller == "none" || DEAD.contains(&caller) {
        reply.is(401, "unauthenticated");
    }
    if caller == "sess" && call.route != "/v1/sessions/{session}/close" {
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (403, "partner_session_refused"),
            "{what}"
        );
    }
}

/// T12, inv13: who has no tie to the object cannot tell whether it is there.
fn judge_slot(call: &Call, slot: &Slot, faces: &Faces) -> Vec<String> {
    let mut told_apart = Vec::new();
    let (Some(foreign), Some(missing)) =
        (faces.get(&Variant::Foreign), faces.get(&Variant::Missing))
    else {
        return told_apart;
    };
    for (ix, (caller, _)) in CALLERS.iter().enumerate() {
        let what = || format!("{} {} {} as {caller}", call.method, call.route, slot.name);
        // A foreign stream is another application's own: the one column that it is there for.
        let own_stream = ["dec", "decT"].contains(caller) && call.route.starts_with("/ssf/");
        let theirs = *caller == "decT" && own_stream;
        if !["oper", "prov"].contains(caller) && !theirs && foreign[ix].1 != missing[ix].1 {
            told_apart.push(format!("{}: {}\n{}", what(), foreign[ix].1, missing[ix].1));
        }
        let own_close = *caller == "sess" && call.route.ends_with("/close");
        let own_question = *caller == "dec" && call.route.starts_with("/access/");
        let own_door = call.route == "/v1/erasures";
        if STRANGERS.contains(caller) && !own_close && !own_question && !own_stream && !own_door {
            for (variant, cells) in faces.iter().filter(|(v, _)| **v != Variant::Malformed) {
                if cells[ix].1 != missing[ix].1 {
                    let (here, none) = (&cells[ix].1, &missing[ix].1);
                    told_apart.push(format!("{}: {variant:?} {here}\n{none}", what()));
                }
            }
        }
    }
    told_apart
}

/// One route: its own row, and the rows of its slots, equal ones together.
fn lines(yard: &mut Yard, at: usize) -> (String, Vec<String>) {
    let call = calls(&yard.scene).swap_remove(at);
    let (mut out, mut told_apart) = (String::new(), Vec::new());
    let own = ask_all(yard, at, None, Variant::Own);
    line(&mut out, &format!("{} {}", call.method, call.route), "own", &own);
    for slot in slots::of(&call) {
        let mut faces = Faces::new();
        if slot.in_path() {
            faces.insert(Variant::Own, own.clone());
        }
        for variant in Variant::ALL {
            if slot.in_path() && variant == Variant::Own {
                continue;
            }
            if yard.value(&slot.kind, variant).is_some() {
                faces.insert(variant, ask_all(yard, at, Some(&slot), variant));
            }
        }
        told_apart.extend(judge_slot(&call, &slot, &faces));
        let mut together: Vec<(String, Vec<u16>)> = Vec::new();
        for (variant, cells) in faces {
            if slot.in_path() && variant == Variant::Own {
                continue;
            }
            let statuses: Vec<u16> = cells.iter().map(|(status, _)| *status).collect();
            match together.iter_mut().find(|(_, s)| *s == statuses) {
                Some((names, _)) => *names += &format!(", {}", variant.word()),
                None => together.push((variant.word().into(), statuses)),
            }
        }
        for (names, statuses) in together {
            let cells: Vec<_> = statuses.into_iter().map(|s| (s, String::new())).collect();
            line(&mut out, &format!("    {}", slot.name), &names, &cells);
        }
    }
    (out, told_apart)
}

fn line(out: &mut String, what: &str, variants: &str, cells: &[(u16, String)]) {
    let cells: String = cells.iter().map(|(status, _)| format!("{status:<5}")).collect();
    writeln!(out, "{what:<66}{variants:<36}{}", cells.trim_end()).unwrap();
}

#[test]
fn t12_inv13_the_matrix_is_the_one_that_was_reviewed() {
    let count = calls(&Yard::new().scene).len();
    let threads = 4;
    let mut parts: BTreeMap<usize, (String, Vec<String>)> = BTreeMap::new();
    std::thread::scope(|scope| {
        let work = (0..threads).map(|first| {
            scope.spawn(move || {
                let mut yard = Yard::new();
                let own = (first..count).step_by(threads);
                own.map(|at| (at, lines(&mut yard, at))).collect::<Vec<_>>()
            })
        });
        let work: Vec<_> = work.collect();
        work.into_iter().for_each(|w| parts.extend(w.join().expect("a part of the matrix")));
    });
    let mut table = String::from(
        "What each caller is told, by route and object. A route's first line is about what belongs to the fitting\n\
         caller; below it each place where an object is named, with others' objects, what is not there, what is\n\
         no identifier and what is over. Written and compared by tests/it/matrix.rs; COMITY_BLESS=1 writes it anew.\n\n",
    );
    for (short, long) in CALLERS {
        writeln!(table, "  {short:<5} {long}").unwrap();
    }
    let heads: String = CALLERS.iter().map(|(short, _)| format!("{short:<5}")).collect();
    writeln!(table, "\n{:<66}{:<36}{}", "route, place", "object", heads.trim_end()).unwrap();
    let mut told_apart: Vec<String> = Vec::new();
    for (lines, apart) in parts.into_values() {
        table += &lines;
        told_apart.extend(apart);
    }
    // What a store says must not differ: the table is written on SQLite, and compared on both.
    if !crate::engine::on_postgres() && std::env::var_os("COMITY_BLESS").is_some() {
        std::fs::write(file(), &table).unwrap();
    }
    assert!(told_apart.is_empty(), "told apart:\n{}", told_apart.join("\n\n"));
    compare(&table);
}

fn file() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/output/matrix.txt")
}

fn compare(table: &str) {
    let reviewed = std::fs::read_to_string(file()).unwrap_or_default();
    let differs: Vec<(&str, &str)> =
        reviewed.lines().zip(table.lines()).filter(|(a, b)| a != b).collect();
    assert!(reviewed == table, "COMITY_BLESS=1 writes it anew; (reviewed, now): {differs:#?}");
}

// -- methods --------------------------------------------------------------------------------------

/// An answer as it came, without the checks of the harness: `HEAD` has no body to look at.
fn raw(yard: &Yard, method: &str, path: &str, token: &str) -> (u16, String, usize) {
    let mut request = Request::builder().method(method).uri(path);
    if !token.is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Body::empty()).unwrap();
    yard.scene.runtime.block_on(async {
        let answer = yard.scene.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let allow = parts.headers.get(header::ALLOW).map(|v| v.to_str().unwrap().to_owned());
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), allow.unwrap_or_default(), bytes.len())
    })
}

#[test]
fn every_other_method_of_every_path_is_refused_by_name_and_head_is_get_without_a_body() {
    let yard = Yard::new();
    let mut methods: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (method, path) in routed() {
        methods.entry(path).or_default().push(method);
    }
    let mut tried = 0;
    for call in calls(&yard.scene) {
        let own = &methods[call.route];
        for caller in ["none", "cAdm", "oper", "sess"] {
            let token = yard.token(caller);
            for method in ["OPTIONS", "PATCH", "TRACE", "GET", "PUT", "POST", "DELETE"] {
                if own.iter().any(|m| m == method) {
                    continue;
                }
                let (status, allow, _) = raw(&yard, method, &call.path, token);
                assert_eq!(status, 405, "{method} {} as {caller}", call.path);
                for there in own {
                    assert!(allow.contains(there.as_str()), "{method} {}: {allow}", call.path);
                }
                tried += 1;
            }
            let (head, _, length) = raw(&yard, "HEAD", &call.path, token);
            assert_eq!(length, 0, "HEAD {}", call.path);
            let wanted = if own.iter().any(|m| m == "GET") {
                raw(&yard, "GET", &call.path, token).0
            } else {
                405
            };
            assert_eq!(head, wanted, "HEAD {} as {caller}", call.path);
        }
    }
    assert!(tried > 1_000, "{tried}");
}
