#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use data_encoding::BASE64URL_NOPAD as B64;
use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://id.example.test";

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn expected() -> Expected {
    Expected {
        issuer: ISSUER.into(),
        client_id: "bastion".into(),
        skew: Duration::from_secs(60),
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "5f2c", "aud": "bastion",
        "iat": NOW - 1, "exp": NOW + 300, "groups": ["staff"],
    })
}

/// An issuer of our own, that signs whatever it is told to.
struct Signer {
    key: Ed25519KeyPair,
    kid: &'static str,
}

impl Signer {
    fn new(kid: &'static str) -> Self {
        Self {
            key: Ed25519KeyPair::generate().unwrap(),
            kid,
        }
    }

    fn jwk(&self) -> Value {
        json!({
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": self.kid,
            "x": B64.encode(self.key.public_key().as_ref()),
        })
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        signed(header, claims, |bytes| {
            self.key.sign(bytes).as_ref().to_vec()
        })
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(
            &json!({"alg": "EdDSA", "typ": "JWT", "kid": self.kid}),
            claims,
        )
    }
}

fn signed(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let input = format!(
        "{}.{}",
        B64.encode(header.to_string().as_bytes()),
        B64.encode(claims.to_string().as_bytes())
    );
    let signature = B64.encode(&sign(input.as_bytes()));
    format!("{input}.{signature}")
}

fn keys(jwks: &[Value]) -> Keys {
    Keys::parse(json!({"keys": jwks}).to_string().as_bytes()).unwrap()
}

fn check(token: &str, keys: &Keys) -> Result<Believed, TokenError> {
    verify(token, keys, &expected(), now())
}

/// Which variant, for tables.
fn kind(verdict: &Result<Believed, TokenError>) -> &'static str {
    match verdict {
        Ok(_) => "believed",
        Err(TokenError::Unreadable(_)) => "unreadable",
        Err(TokenError::NoMatchingKey) => "no key",
        Err(TokenError::Signature(_)) => "signature",
        Err(TokenError::Claims(_)) => "claims",
    }
}

#[test]
fn a_good_token_is_believed() {
    let signer = Signer::new("k1");
    let believed = check(&signer.token(&claims()), &keys(&[signer.jwk()])).unwrap();
    assert_eq!(believed.subject, "5f2c");
    assert_eq!(believed.issuer, ISSUER);
    assert_eq!(believed.claims.get("groups"), Some(&json!(["staff"])));
}

#[test]
fn each_claim_is_held_against_what_is_expected() {
    let signer = Signer::new("k1");
    let keys = keys(&[signer.jwk()]);
    let table = [
        ("iss", json!("https://id.example.test/"), "claims"),
        ("iss", json!("https://ID.example.test"), "claims"),
        ("iss", json!("https://evil.example.test"), "claims"),
        ("iss", json!(null), "unreadable"),
        ("aud", json!(["bastion"]), "believed"),
        ("aud", json!("other"), "claims"),
        ("aud", json!("Bastion"), "claims"),
        ("aud", json!([]), "claims"),
        ("aud", json!(["other"]), "claims"),
        ("aud", json!(["bastion", "other"]), "claims"),
        ("aud", json!(["bastion", "bastion"]), "claims"),
        ("aud", json!(null), "unreadable"),
        ("azp", json!("bastion"), "believed"),
        ("azp", json!("other"), "claims"),
        ("azp", json!(""), "claims"),
        ("azp", json!(null), "claims"),
        ("azp", json!(["bastion"]), "unreadable"),
        ("exp", json!(NOW + 1), "believed"),
        ("exp", json!(NOW - 59), "believed"),
        ("exp", json!(NOW - 60), "claims"),
        ("exp", json!(NOW - 86_400), "claims"),
        ("exp", json!(0), "claims"),
        ("exp", json!(null), "unreadable"),
        ("exp", json!(1e300), "unreadable"),
        ("iat", json!(NOW + 60), "believed"),
        ("iat", json!(NOW + 61), "claims"),
        ("iat", json!(NOW + 86_400), "claims"),
        ("iat", json!(NOW as f64 - 0.5), "believed"),
        ("iat", json!(null), "unreadable"),
        ("nbf", json!(NOW - 5), "believed"),
        ("nbf", json!(NOW + 60), "believed"),
        ("nbf", json!(NOW + 61), "claims"),
        ("nbf", json!("soon"), "claims"),
        ("nbf", json!(null), "claims"),
        ("sub", json!("S"), "believed"),
        ("sub", json!(""), "claims"),
        ("sub", json!("a\nb"), "claims"),
        ("sub", json!("a\u{202e}b"), "claims"),
        ("sub", json!("x".repeat(255)), "believed"),
        ("sub", json!("x".repeat(256)), "claims"),
        ("sub", json!(null), "unreadable"),
        ("sub", json!(7), "unreadable"),
        ("email_verified", json!("true"), "believed"),
        ("updated_at", json!("2026-01-01T00:00:00Z"), "believed"),
        ("nonce", json!("unasked"), "believed"),
    ];
    for (name, value, wanted) in table {
        let mut odd = claims();
        odd[name] = value.clone();
        let verdict = check(&signer.token(&odd), &keys);
        assert_eq!(kind(&verdict), wanted, "{name}: {value}: {verdict:?}");
    }
}

#[test]
fn several_audiences_need_trust_even_with_azp() {
    let signer = Signer::new("k1");
    let mut odd = claims();
    odd["aud"] = json!(["bastion", "other"]);
    odd["azp"] = json!("bastion");
    assert_eq!(
        kind(&check(&signer.token(&odd), &keys(&[signer.jwk()]))),
        "claims"
    );
}

#[test]
fn more_skew_than_a_minute_is_not_given() {
    let signer = Signer::new("k1");
    let mut old = claims();
    old["exp"] = json!(NOW - 61);
    let generous = Expected {
        skew: Duration::from_secs(3600),
        ..expected()
    };
    let verdict = verify(
        &signer.token(&old),
        &keys(&[signer.jwk()]),
        &generous,
        now(),
    );
    assert_eq!(kind(&verdict), "claims");
}

#[test]
fn headers_do_not_choose_how_they_are_checked() {
    let signer = Signer::new("k1");
    let mut any_alg = signer.jwk();
    any_alg.as_object_mut().unwrap().remove("alg");
    let keys = keys(&[any_alg]);
    let public = signer.key.public_key().as_ref().to_vec();
    let hmac_with_public_key = |bytes: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &public);
        hmac::sign(&key, bytes).as_ref().to_vec()
    };
    let table = [
        (json!({"alg": "EdDSA", "kid": "k1"}), "believed"),
        (
            json!({"alg": "EdDSA", "kid": "k1", "typ": "jwt"}),
            "believed",
        ),
        (json!({"alg": "EdDSA"}), "believed"),
        (json!({"alg": "none", "kid": "k1"}), "signature"),
        (json!({"alg": "None", "kid": "k1"}), "unreadable"),
        (json!({"alg": "HS256", "kid": "k1"}), "signature"),
        (json!({"alg": "HS512", "kid": "k1"}), "signature"),
        (json!({"alg": "RS256", "kid": "k1"}), "no key"),
        (json!({"alg": "ES256", "kid": "k1"}), "no key"),
        (json!({"alg": "ES512", "kid": "k1"}), "signature"),
        (json!({"alg": "EdDSA", "kid": "k2"}), "no key"),
        (json!({"alg": "EdDSA", "kid": "../../k1"}), "no key"),
        (
            json!({"alg": "EdDSA", "kid": "k1", "crit": ["b64"], "b64": false}),
            "claims",
        ),
        (json!({"alg": "EdDSA", "kid": "k1", "cty": "JWT"}), "claims"),
        (
            json!({"alg": "EdDSA", "kid": "k1", "typ": "at+jwt"}),
            "claims",
        ),
        (
            json!({"alg": "RSA-OAEP", "enc": "A256GCM", "kid": "k1"}),
            "unreadable",
        ),
        (json!({"kid": "k1"}), "unreadable"),
        (
            json!({"alg": "EdDSA", "kid": "k1", "jwk": {"kty": "OKP"}, "jku": "https://evil.example.test"}),
            "believed",
        ),
    ];
    for (header, wanted) in table {
        let verdict = check(&signer.sign(&header, &claims()), &keys);
        assert_eq!(kind(&verdict), wanted, "{header}: {verdict:?}");
    }
    for alg in ["HS256", "none"] {
        let header = json!({"alg": alg, "kid": "k1"});
        let forged = signed(&header, &claims(), hmac_with_public_key);
        assert_eq!(kind(&check(&forged, &keys)), "signature", "{alg}");
        let bare = signed(&header, &claims(), |_| Vec::new());
        assert_eq!(kind(&check(&bare, &keys)), "signature", "{alg}");
    }
}

#[test]
fn a_signature_of_somebody_else_is_none() {
    let ours = Signer::new("k1");
    let theirs = Signer::new("k1");
    let keys = keys(&[ours.jwk()]);
    assert_eq!(kind(&check(&theirs.token(&claims()), &keys)), "signature");
    let token = ours.token(&claims());
    let (body, _) = token.rsplit_once('.').unwrap();
    for end in ["", "AAAA"] {
        assert_eq!(kind(&check(&format!("{body}.{end}"), &keys)), "signature");
    }
    let mut other = claims();
    other["sub"] = json!("root");
    let other = ours.token(&other);
    let parts: Vec<&str> = token.split('.').chain(other.split('.')).collect();
    let [header, _, signature, _, payload, _] = parts[..] else {
        unreachable!("two tokens of three parts")
    };
    let mixed = format!("{header}.{payload}.{signature}");
    assert_eq!(kind(&check(&mixed, &keys)), "signature");
}

#[test]
fn without_a_kid_the_key_must_be_the_only_one() {
    let one = Signer::new("k1");
    let two = Signer::new("k2");
    let token = one.sign(&json!({"alg": "EdDSA"}), &claims());
    assert_eq!(kind(&check(&token, &keys(&[one.jwk()]))), "believed");
    assert_eq!(
        kind(&check(&token, &keys(&[one.jwk(), two.jwk()]))),
        "signature"
    );
    assert_eq!(kind(&check(&token, &keys(&[]))), "no key");
}

#[test]
fn every_family_of_algorithms_works() {
    let random = SystemRandom::new();
    let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let ec = |crv: &str, public: &[u8]| {
        let (x, y) = public[1..].split_at(public.len() / 2);
        json!({"kty": "EC", "crv": crv, "kid": crv, "x": B64.encode(x), "y": B64.encode(y)})
    };
    let modulus = rsa
        .public_key()
        .modulus()
        .big_endian_without_leading_zero()
        .to_vec();
    let exponent = rsa
        .public_key()
        .exponent()
        .big_endian_without_leading_zero()
        .to_vec();
    let keys = keys(&[
        ec("P-256", p256.public_key().as_ref()),
        ec("P-384", p384.public_key().as_ref()),
        json!({"kty": "RSA", "kid": "rsa", "n": B64.encode(&modulus), "e": B64.encode(&exponent)}),
    ]);
    let rsa_sign = |padding: &'static dyn aws_lc_rs::signature::RsaEncoding, bytes: &[u8]| {
        let mut signature = vec![0; modulus.len()];
        rsa.sign(padding, &random, bytes, &mut signature).unwrap();
        signature
    };
    let header = |alg: &str, kid: &str| json!({"alg": alg, "kid": kid});
    for token in [
        signed(&header("ES256", "P-256"), &claims(), |bytes| {
            p256.sign(&random, bytes).unwrap().as_ref().to_vec()
        }),
        signed(&header("ES384", "P-384"), &claims(), |bytes| {
            p384.sign(&random, bytes).unwrap().as_ref().to_vec()
        }),
        signed(&header("RS256", "rsa"), &claims(), |bytes| {
            rsa_sign(&RSA_PKCS1_SHA256, bytes)
        }),
        signed(&header("PS256", "rsa"), &claims(), |bytes| {
            rsa_sign(&RSA_PSS_SHA256, bytes)
        }),
    ] {
        check(&token, &keys).unwrap();
    }
    // A curve or a padding that the header does not name is not tried.
    let crossed = signed(&header("PS256", "rsa"), &claims(), |bytes| {
        rsa_sign(&RSA_PKCS1_SHA256, bytes)
    });
    assert_eq!(kind(&check(&crossed, &keys)), "signature");
}

#[test]
fn keys_that_will_not_do_are_left_out() {
    let signer = Signer::new("k1");
    let mut encryption = signer.jwk();
    encryption["use"] = json!("enc");
    let mut other_alg = signer.jwk();
    other_alg["alg"] = json!("RS256");
    let token = signer.token(&claims());
    for odd in [
        encryption,
        other_alg,
        json!({"kty": "oct", "kid": "k1", "k": B64.encode(b"secret")}),
        json!({"kty": "RSA", "kid": "k1", "n": B64.encode(&[0xc3; 128]), "e": "AQAB"}),
        json!({"kty": "RSA", "kid": "k1", "n": B64.encode(&[0xc3; 1025]), "e": "AQAB"}),
        json!({"kty": "RSA", "kid": "k1", "e": "AQAB"}),
        json!({"kty": "AKP", "kid": "k1"}),
        json!({"kty": 7}),
        json!({}),
        json!(null),
        json!([]),
    ] {
        // Alone it is none, and beside a good one it does no harm.
        assert_eq!(
            kind(&check(&token, &keys(std::slice::from_ref(&odd)))),
            "no key",
            "{odd}"
        );
        assert_eq!(
            kind(&check(&token, &keys(&[odd.clone(), signer.jwk()]))),
            "believed",
            "{odd}"
        );
    }
}

#[test]
fn symmetric_keys_of_the_provider_do_not_open_hs256() {
    let secret = b"0123456789abcdef0123456789abcdef";
    let keys = keys(&[json!({"kty": "oct", "kid": "k1", "alg": "HS256", "k": B64.encode(secret)})]);
    let forged = signed(&json!({"alg": "HS256", "kid": "k1"}), &claims(), |bytes| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), bytes)
            .as_ref()
            .to_vec()
    });
    assert_eq!(kind(&check(&forged, &keys)), "signature");
}

#[test]
fn a_set_of_too_many_keys_is_refused() {
    let many = |count| {
        let keys: Vec<Value> = (0..count).map(|_| json!({"kty": "OKP"})).collect();
        Keys::parse(json!({"keys": keys}).to_string().as_bytes())
    };
    assert!(many(MAX_KEYS).is_ok());
    assert!(many(MAX_KEYS + 1).is_err());
    for body in ["", "[]", "{}", "{\"keys\": {}}", "<html>"] {
        assert!(Keys::parse(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn a_clock_far_from_ours_does_not_panic() {
    let signer = Signer::new("k1");
    let token = signer.token(&claims());
    for now in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
        let verdict = verify(&token, &keys(&[signer.jwk()]), &expected(), now);
        assert_eq!(kind(&verdict), "claims");
    }
}

proptest! {
    /// Nothing that is no token is believed, or makes the reader panic.
    #[test]
    fn noise_is_not_believed(token in "[A-Za-z0-9_.\\-]{0,200}|.*") {
        prop_assert!(check(&token, &Keys::default()).is_err());
    }

    /// A signed payload of any shape is taken calmly, and believed only where the law is kept.
    #[test]
    fn odd_claims_are_taken_calmly(name in "iss|sub|aud|azp|exp|iat|nbf|email|locale|picture|auth_time|acr", value in json_value()) {
        let signer = Signer::new("k1");
        let mut odd = claims();
        odd[name.as_str()] = value;
        if let Ok(believed) = check(&signer.token(&odd), &keys(&[signer.jwk()])) {
            prop_assert!(text::is_plain(&believed.subject) && !believed.subject.is_empty());
            prop_assert_eq!(believed.claims.get("iss"), Some(&json!(ISSUER)));
            let start = believed.claims.get("iat").and_then(Value::as_f64).unwrap();
            prop_assert!(start <= (NOW + 60) as f64);
        }
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        proptest::collection::vec(any::<String>(), 0..4).prop_map(Value::from),
        Just(json!({"formatted": 1})),
    ]
}
