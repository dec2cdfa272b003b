//! Offline checks against keys of our own: RFC 9068, and what attacks on JWTs look like (T19).

use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING as ES256, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use comity_client::{TokenRefused, Verifier};
use serde_json::{Value, json};

const AUDIENCE: &str = "https://api.boats.example";
const NOW: u64 = 1_800_000_000;

struct Issuer {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Issuer {
    async fn serve(metadata: Option<Value>) -> Self {
        let ec = EcdsaKeyPair::generate(&ES256).unwrap();
        let ed = Ed25519KeyPair::generate().unwrap();
        let point = ec.public_key().as_ref();
        let (x, y) = (B64.encode(&point[1..33]), B64.encode(&point[33..]));
        let keys = json!({"keys": [
            {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "ec", "use": "sig", "alg": "ES256"},
            {"kty": "OKP", "crv": "Ed25519", "x": B64.encode(ed.public_key().as_ref()), "kid": "ed"},
            {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "enc", "use": "enc"},
            {"kty": "oct", "k": x, "kid": "oct"},
        ]});
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let jwks = format!("{url}/oauth/jwks");
        let metadata = metadata.unwrap_or_else(|| json!({"issuer": url, "jwks_uri": jwks}));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let app = Router::new().fallback(move |uri: axum::http::Uri| {
            seen.lock().unwrap().push(uri.path().to_owned());
            std::future::ready(Json(if uri.path() == "/oauth/jwks" {
                keys.clone()
            } else {
                metadata.clone()
            }))
        });
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, asked, ec, ed }
    }

    fn claims(&self, more: Value) -> Value {
        let mut claims = json!({"iss": self.url, "sub": "org_1", "aud": AUDIENCE, "client_id": "boats-api",
            "iat": NOW, "exp": NOW + 60, "jti": "j", "sid": "sess_1", "act": {"sub": "per_1"}, "scope": "a:read b:read",
            "urn:comity:organisation": "org_1", "urn:comity:grant": "grant_1", "urn:comity:mode": "act_as"});
        merge(&mut claims, more);
        claims
    }

    fn minted(&self, head: Value, more: Value) -> String {
        let mut header = json!({"alg": "ES256", "typ": "at+jwt", "kid": "ec"});
        merge(&mut header, head);
        let part = |value: &Value| B64.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&self.claims(more)));
        let signature = if header["alg"] == "EdDSA" {
            self.ed.sign(signed.as_bytes()).as_ref().to_vec()
        } else {
            self.ec.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec()
        };
        format!("{signed}.{}", B64.encode(signature))
    }
}

/// Null takes away.
fn merge(into: &mut Value, more: Value) {
    for (name, value) in more.as_object().unwrap() {
        let into = into.as_object_mut().unwrap();
        if value.is_null() {
            into.remove(name)
        } else {
            into.insert(name.clone(), value.clone())
        };
    }
}

#[tokio::test]
async fn a_token_in_force_says_who_acts_and_keys_are_fetched_once() {
    let issuer = Issuer::serve(None).await;
    let verifier = Verifier::new(&issuer.url, AUDIENCE).unwrap();
    let token = verifier.verify_at(&issuer.minted(json!({}), json!({})), NOW).await.unwrap();
    assert_eq!((token.subject.as_str(), token.actor.as_str()), ("org_1", "per_1"));
    assert_eq!((token.session.as_str(), token.scope.len()), ("sess_1", 2));
    assert_eq!((token.organisation.as_str(), token.grant.as_str()), ("org_1", "grant_1"));
    assert_eq!(token.mode, comity_client::Mode::ActAs);
    for (head, more) in [
        (json!({"alg": "EdDSA", "kid": "ed"}), json!({})),
        (json!({"typ": "application/AT+JWT"}), json!({})),
        (json!({}), json!({"aud": ["x", AUDIENCE]})),
    ] {
        verifier.verify_at(&issuer.minted(head, more), NOW).await.unwrap();
    }
    for n in 0..20 {
        let token = issuer.minted(json!({"kid": format!("k{n}")}), json!({}));
        assert_eq!(verifier.verify_at(&token, NOW).await, Err(TokenRefused::UnknownKey));
    }
    let asked = issuer.asked.lock().unwrap().clone();
    assert_eq!(asked, ["/.well-known/oauth-authorization-server", "/oauth/jwks"]);
}

#[tokio::test]
async fn t16_t17_t19_what_is_not_ours_not_now_or_not_signed() {
    use TokenRefused::{
        Algorithm, Audience, Claims, Expired, Issuer as Other, Malformed, NotYet, Signature,
        TooLong, Type, UnknownKey,
    };
    let issuer = Issuer::serve(None).await;
    let verifier = Verifier::new(&issuer.url, AUDIENCE).unwrap();
    let slash = format!("{}/", issuer.url);
    for (head, more, why) in [
        (json!({}), json!({"iss": "https://evil.example"}), Other),
        (json!({}), json!({ "iss": slash }), Other),
        (json!({}), json!({"iss": null}), Other),
        (json!({}), json!({"aud": format!("{AUDIENCE}.evil")}), Audience),
        (json!({}), json!({"aud": []}), Audience),
        (json!({}), json!({"aud": null}), Audience),
        (json!({}), json!({"iat": NOW - 65, "exp": NOW - 5}), Expired),
        (json!({}), json!({"exp": NOW + 66}), TooLong),
        (json!({}), json!({"iat": NOW - 600}), TooLong),
        (json!({}), json!({"iat": NOW + 30}), NotYet),
        (json!({}), json!({"nbf": NOW + 30}), NotYet),
        (json!({}), json!({"exp": null}), Claims),
        (json!({}), json!({"exp": "1800000060"}), Claims),
        (json!({}), json!({"sid": null}), Claims),
        (json!({}), json!({"urn:comity:organisation": null}), Claims),
        (json!({}), json!({"urn:comity:grant": ""}), Claims),
        (json!({}), json!({"urn:comity:mode": "owner"}), Claims),
        (json!({}), json!({"sub": ""}), Claims),
        (json!({}), json!({"act": "per_1"}), Claims),
        (json!({}), json!({"act": null}), Claims),
        (json!({}), json!({"jti": null}), Claims),
        (json!({}), json!({"client_id": null}), Claims),
        (json!({"alg": "none"}), json!({}), Algorithm),
        (json!({"alg": "HS256"}), json!({}), Algorithm),
        (json!({"alg": "RS256"}), json!({}), Algorithm),
        (json!({"alg": "EdDSA"}), json!({}), Algorithm),
        (json!({"kid": "ed"}), json!({}), Algorithm),
        (json!({"kid": "enc"}), json!({}), UnknownKey),
        (json!({"kid": "oct"}), json!({}), UnknownKey),
        (json!({"kid": null}), json!({}), Malformed),
        (json!({"crit": ["exp"]}), json!({}), Malformed),
        (json!({"typ": "JWT"}), json!({}), Type),
        (json!({"typ": null}), json!({}), Type),
    ] {
        let token = issuer.minted(head.clone(), more.clone());
        assert_eq!(verifier.verify_at(&token, NOW).await, Err(why), "{head} {more}");
    }
    let good = issuer.minted(json!({}), json!({}));
    let stranger = Issuer::serve(None).await.minted(json!({}), json!({"iss": issuer.url}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let head = signed.split('.').next().unwrap();
    let other = B64.encode(issuer.claims(json!({"sub": "org_2"})).to_string());
    for (token, why) in [
        (stranger, Signature),
        (format!("{head}.{other}.{signature}"), Signature),
        (format!("{signed}.{}", "A".repeat(86)), Signature),
        (good[..good.len() - 20].to_owned(), Signature),
        (format!("{good}.x"), Malformed),
        (signed.to_owned(), Malformed),
        (format!("{signed}."), Malformed),
        ("cmt_session_abc".to_owned(), Malformed),
        (String::new(), Malformed),
        (format!("{}{good}", "A".repeat(9000)), Malformed),
    ] {
        assert_eq!(verifier.verify_at(&token, NOW).await, Err(why), "{token}");
    }
}

#[tokio::test]
async fn metadata_of_another_issuer_gives_no_keys() {
    for wrong in [
        json!({"issuer": "https://evil.example", "jwks_uri": "https://evil.example/jwks"}),
        json!({"jwks_uri": 7}),
        json!([]),
    ] {
        let issuer = Issuer::serve(Some(wrong.clone())).await;
        let verifier = Verifier::new(&issuer.url, AUDIENCE).unwrap();
        let token = issuer.minted(json!({}), json!({}));
        assert_eq!(
            verifier.verify_at(&token, NOW).await,
            Err(TokenRefused::Unavailable),
            "{wrong}"
        );
    }
    assert!(Verifier::new("http://comity.example", AUDIENCE).is_err());
    assert!(Verifier::new("https://comity.example", "").is_err());
}
