//! Keys that go from next to current to retired, and one that is taken away at once.

use comity_domain::signing::{KEPT_AFTER_END, SIGNS_FOR};
use serde_json::{Value, json};

use super::{Yard, parts};
use crate::harness::text;

fn published(yard: &Yard) -> Vec<String> {
    let keys = yard.get("", "/oauth/jwks").ok();
    let mut kids: Vec<String> =
        keys["keys"].as_array().unwrap().iter().map(|k| text(&k["kid"])).collect();
    kids.sort();
    kids
}

fn in_phase(yard: &Yard, phase: &str) -> Vec<String> {
    let keys = yard.get(&yard.known.operate, "/v1/platform/signing-keys").ok();
    let of = |k: &&Value| k["phase"] == json!(phase);
    keys["items"].as_array().unwrap().iter().filter(of).map(|k| text(&k["kid"])).collect()
}

fn kid(token: &str) -> String {
    text(&parts(token).0["kid"])
}

fn token(yard: &Yard) -> String {
    text(&yard.signed(&[]).ok()["access_token"])
}

#[test]
fn a_key_goes_from_next_to_current_to_retired_and_what_it_signed_runs_out_by_itself() {
    let yard = Yard::new();
    let before = token(&yard);
    let (current, next) = (in_phase(&yard, "current"), in_phase(&yard, "next"));
    assert_eq!((vec![kid(&before)], next.len()), (current.clone(), 1));
    let rotate = yard.call(&yard.known.operate, "POST", "/v1/platform/signing-keys/rotate", None);
    rotate.ok();
    assert_eq!(in_phase(&yard, "current"), next);
    assert_eq!(in_phase(&yard, "retired"), current);
    assert_eq!(published(&yard).len(), 3);
    assert_eq!(yard.told(&before)["active"], json!(true), "still in time");
    assert_eq!(yard.decided(&before, "boats:read")["decision"], json!(true));
    assert_eq!(vec![kid(&token(&yard))], next, "this node opened the other key by itself");
    yard.wait(61_000);
    yard.is_dead(&before);
    assert!(published(&yard).contains(&current[0]));
    yard.wait(KEPT_AFTER_END);
    yard.sign_in(&yard.known.members["hugo@harbor-help"].email).ok(); // a row, whatever it is
    assert!(!published(&yard).contains(&current[0]), "its day is over");
    assert!(yard.runtime.block_on(yard.app.tend_signing_keys()).is_ok_and(|did| !did));
    yard.wait(SIGNS_FOR);
    assert!(yard.runtime.block_on(yard.app.tend_signing_keys()).unwrap(), "by itself");
    assert!(!in_phase(&yard, "current").contains(&next[0]));
}

#[test]
fn a_compromised_key_signs_nothing_that_counts_from_that_moment() {
    let yard = Yard::new();
    let before = token(&yard);
    let (stolen, next) = (kid(&before), in_phase(&yard, "next"));
    let path = format!("/v1/platform/signing-keys/{stolen}/compromise");
    yard.call(&yard.known.provision, "POST", &path, None).is(403, "forbidden");
    yard.call(&yard.known.operate, "POST", "/v1/platform/signing-keys/x/compromise", None)
        .is(404, "not_found");
    yard.call(&yard.known.operate, "POST", &path, None).ok();
    yard.is_dead(&before);
    assert!(!published(&yard).contains(&stolen));
    assert_eq!(in_phase(&yard, "current"), next);
    assert_eq!(vec![kid(&token(&yard))], next);
    yard.call(&yard.known.operate, "POST", &path, None).is(404, "not_found");
}

#[test]
fn t48_no_private_half_is_in_any_file_or_answer() {
    let yard = Yard::new();
    let signer = yard.runtime.block_on(yard.app.signer()).unwrap();
    let shown = format!("{signer:?} {:?}", yard.app);
    let rows = format!("{:?}", yard.app.reader().rows(None, 0, 100_000).unwrap());
    let kid = yard.app.state().signing_key().unwrap().0;
    let sealed = yard.app.reader().signing_key(kid).unwrap().unwrap();
    let plain = yard.app.keys().open_sealed(&format!("signing_key/{kid}"), &sealed).unwrap();
    assert!(plain.len() > 60, "a PKCS #8 document");
    // The 32 bytes of the scalar stand at 36 in the document (RFC 5915 inside RFC 5208).
    let scalar = &plain[36..68];
    for (name, bytes) in crate::harness::files(yard.folder.path()) {
        assert!(!bytes.windows(32).any(|w| w == scalar), "{name}");
    }
    let hex: String = scalar.iter().map(|b| format!("{b:02x}")).collect();
    for text in [&shown, &rows] {
        assert!(!text.contains(&hex) && !text.contains(&format!("{scalar:?}")));
    }
    assert!(yard.app.keys().open_sealed("signing_key/other", &sealed).is_none());
}
