//! Webhooks: the example of Standard Webhooks' own tests, and what must not be believed (T43).

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use comity_client::{WebhookRefused, verify_webhook, verify_webhook_at};

// The vector of the reference libraries.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const AT: u64 = 1_614_265_330;
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

fn headers(more: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", SIGNATURE),
    ]
    .iter()
    .chain(more)
    {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

#[test]
fn a_signed_delivery_is_believed_also_while_secrets_are_exchanged() {
    let got = verify_webhook_at(&[OTHER, SECRET], &headers(&[]), BODY, AT).unwrap();
    assert_eq!((got.id.as_str(), got.timestamp), ("msg_p5jXN8AQM9LWM0D4loKWxJek", AT));
    assert_eq!(got.payload["test"], 2_432_232_314_u64);
    let both = "v1a,x v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    for at in [AT - 300, AT, AT + 300] {
        let headers = headers(&[("webhook-signature", both)]);
        assert!(verify_webhook_at(&[SECRET], &headers, BODY, at).is_ok());
    }
}

#[test]
fn t43_forged_altered_replayed_or_unsigned_deliveries_are_refused() {
    use WebhookRefused::{Malformed, Missing, Secret, Signature, TooNew, TooOld};
    let refused = |headers: &HeaderMap, body: &[u8]| {
        verify_webhook_at(&[SECRET], headers, body, AT).unwrap_err()
    };
    for (more, why) in [
        (("webhook-id", "msg_other"), Signature),
        (("webhook-timestamp", "1614265331"), Signature),
        (("webhook-signature", "v1,"), Signature),
        (("webhook-signature", "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="), Signature),
        (("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE="), Signature),
        (("webhook-signature", "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="), Signature),
        (("webhook-timestamp", "-1"), Malformed),
        (("webhook-timestamp", "1e9"), Malformed),
        (("webhook-timestamp", "+1614265330"), Malformed),
        (("webhook-id", ""), Missing),
    ] {
        assert_eq!(refused(&headers(&[more]), BODY), why, "{more:?}");
    }
    assert_eq!(refused(&headers(&[]), b"{\"test\": 2432232315}"), Signature);
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let mut without = headers(&[]);
        without.remove(name);
        assert_eq!(refused(&without, BODY), Missing);
        let mut twice = headers(&[]);
        twice.append(name, HeaderValue::from_static("x"));
        assert_eq!(refused(&twice, BODY), Missing);
    }
    let at = |at| verify_webhook_at(&[SECRET], &headers(&[]), BODY, at).unwrap_err();
    assert_eq!((at(AT + 301), at(AT - 301)), (TooOld, TooNew));
    assert_eq!(verify_webhook(&[SECRET], &headers(&[]), BODY).unwrap_err(), TooOld);
    let by = |secrets: &[&str]| verify_webhook_at(secrets, &headers(&[]), BODY, AT).unwrap_err();
    assert_eq!((by(&[OTHER]), by(&[])), (Signature, Signature));
    for secret in ["", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
        assert_eq!(by(&[secret]), Secret, "{secret}");
    }
}
