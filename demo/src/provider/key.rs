//! The provider's signing key: made at its start, never written down.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

/// An RSA key of 2,048 bits for RS256, which every OpenID Connect client must know (OpenID Connect
/// Core 1.0, section 15.1).
#[derive(Debug)]
pub struct SigningKey {
    pair: KeyPair,
    id: String,
}

impl SigningKey {
    /// Makes a key.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn generate() -> Result<Self, Unspecified> {
        let pair = KeyPair::generate(KeySize::Rsa2048)?;
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der.as_ref());
        let id = BASE64URL_NOPAD
            .encode(digest.as_ref())
            .chars()
            .take(12)
            .collect();
        Ok(Self { pair, id })
    }

    /// The JSON Web Key Set with this key's public half (RFC 7517).
    #[must_use]
    pub fn jwks(&self) -> Value {
        let public = self.pair.public_key();
        json!({ "keys": [{
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.id,
            "n": BASE64URL_NOPAD.encode(public.modulus().big_endian_without_leading_zero()),
            "e": BASE64URL_NOPAD.encode(public.exponent().big_endian_without_leading_zero()),
        }]})
    }

    /// The claims as a signed JSON Web Token (RFC 7519).
    ///
    /// # Errors
    /// When signing fails.
    pub fn sign(&self, claims: &Value) -> Result<String, Unspecified> {
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": self.id });
        let mut token = format!(
            "{}.{}",
            BASE64URL_NOPAD.encode(header.to_string().as_bytes()),
            BASE64URL_NOPAD.encode(claims.to_string().as_bytes()),
        );
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            token.as_bytes(),
            &mut signature,
        )?;
        token.push('.');
        token.push_str(&BASE64URL_NOPAD.encode(&signature));
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a failed test"
    )]
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};

    use super::*;

    /// A reader that knows the key set alone accepts the token, and no other one.
    #[test]
    fn the_key_set_verifies_the_token() {
        let key = SigningKey::generate().unwrap();
        let token = key.sign(&json!({ "sub": "x" })).unwrap();
        let jwks = key.jwks();
        let part = |name: &str| {
            BASE64URL_NOPAD
                .decode(jwks["keys"][0][name].as_str().unwrap().as_bytes())
                .unwrap()
        };
        let public = RsaPublicKeyComponents {
            n: part("n"),
            e: part("e"),
        };
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
        public
            .verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature)
            .unwrap();
        public
            .verify(&RSA_PKCS1_2048_8192_SHA256, b"other", &signature)
            .unwrap_err();
    }
}
