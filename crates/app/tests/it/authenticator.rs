//! An authenticator in software (WebAuthn level 3): one passkey, ES256, attestation "none". Its CBOR
//! is written by hand, because it is always the same.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use comity_domain::ids::Digest32;
use serde_json::{Value, json};

/// User present, user verified.
pub const VERIFIED: u8 = 0x05;
/// User present, and no more.
pub const PRESENT: u8 = 0x01;

pub struct Authenticator {
    key: EcdsaKeyPair,
    id: Vec<u8>,
    user: Option<String>,
    /// How often it has signed; it counts on with each.
    pub counter: u32,
    /// Whether it counts at all.
    pub counts: bool,
    /// Where the browser says that it is.
    pub origin: String,
    /// What it says of its user.
    pub flags: u8,
}

impl Authenticator {
    pub fn new(origin: &str) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let id = Digest32::of(key.public_key().as_ref()).0[..24].to_vec();
        let origin = origin.to_owned();
        Self { key, id, user: None, counter: 0, counts: true, origin, flags: VERIFIED }
    }

    /// The same passkey once more, as somebody would have who copied it.
    pub fn copied(&self) -> Self {
        let der = self.key.to_pkcs8v1().unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.as_ref()).unwrap();
        let (id, user, origin) = (self.id.clone(), self.user.clone(), self.origin.clone());
        Self {
            key,
            id,
            user,
            counter: self.counter,
            counts: self.counts,
            origin,
            flags: self.flags,
        }
    }

    fn client_data(&self, kind: &str, options: &Value) -> Vec<u8> {
        let challenge = &options["publicKey"]["challenge"];
        let data = json!({ "type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": false });
        data.to_string().into_bytes()
    }

    fn head(&mut self, rp: &str, flags: u8) -> Vec<u8> {
        self.counter += u32::from(self.counts);
        let mut data = Digest32::of(rp.as_bytes()).0.to_vec();
        data.push(flags);
        data.extend(self.counter.to_be_bytes());
        data
    }

    /// `navigator.credentials.create()`, as its `toJSON()` writes it.
    pub fn make(&mut self, options: &Value) -> Value {
        let rp = options["publicKey"]["rp"]["id"].as_str().unwrap().to_owned();
        self.user = Some(options["publicKey"]["user"]["id"].as_str().unwrap().to_owned());
        let mut data = self.head(&rp, self.flags | 0x40);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
        data.extend(&self.id);
        // COSE (RFC 9053): {1: EC2, 3: ES256, -1: P-256, -2: x, -3: y}.
        let point = self.key.public_key().as_ref();
        data.extend([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20]);
        data.extend(&point[1..33]);
        data.extend([0x22, 0x58, 0x20]);
        data.extend(&point[33..65]);
        // {"fmt": "none", "attStmt": {}, "authData": bytes}.
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58".to_vec();
        object.push(u8::try_from(data.len()).unwrap());
        object.extend(data);
        let client = self.client_data("webauthn.create", options);
        json!({ "id": BASE64URL.encode(&self.id), "rawId": BASE64URL.encode(&self.id), "type": "public-key",
            "response": { "attestationObject": BASE64URL.encode(object), "clientDataJSON": BASE64URL.encode(client) },
            "clientExtensionResults": {} })
    }

    /// `navigator.credentials.get()`, as its `toJSON()` writes it.
    pub fn sign(&mut self, options: &Value) -> Value {
        let rp = options["publicKey"]["rpId"].as_str().unwrap().to_owned();
        let data = self.head(&rp, self.flags);
        let client = self.client_data("webauthn.get", options);
        let signed = [data.as_slice(), &Digest32::of(&client).0].concat();
        let signature = self.key.sign(&SystemRandom::new(), &signed).unwrap();
        json!({ "id": BASE64URL.encode(&self.id), "rawId": BASE64URL.encode(&self.id), "type": "public-key",
            "response": { "authenticatorData": BASE64URL.encode(data), "clientDataJSON": BASE64URL.encode(client),
                "signature": BASE64URL.encode(signature.as_ref()), "userHandle": self.user },
            "clientExtensionResults": {} })
    }
}
