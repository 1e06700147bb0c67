//! Signatures of messages, as Standard Webhooks 1.0 has them: HMAC-SHA256 over id, time and body.

use aws_lc_rs::hmac;
use data_encoding::BASE64;
use zeroize::Zeroizing;

/// The secrets that one receiver may check with: the one in use, and while it is replaced the next.
pub(crate) struct Secrets(Vec<hmac::Key>);

/// Why a text holds no secrets. Nothing of it is in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SecretsError {
    #[error("holds no line whsec_BASE64, the secret")]
    None,
    #[error("holds a line that is not whsec_ and 24 to 64 bytes in base64")]
    Form,
    #[error(
        "holds more than {SECRETS_MAX} secrets: the one in use, and the next while it is replaced"
    )]
    Many,
}

impl Secrets {
    /// Reads them, a line each.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, SecretsError> {
        let text = std::str::from_utf8(bytes).map_err(|_| SecretsError::Form)?;
        let mut keys = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let encoded = line.strip_prefix("whsec_").ok_or(SecretsError::Form)?;
            let secret = BASE64.decode(encoded.as_bytes());
            let secret = Zeroizing::new(secret.map_err(|_| SecretsError::Form)?);
            if !(24..=64).contains(&secret.len()) {
                return Err(SecretsError::Form);
            }
            keys.push(hmac::Key::new(hmac::HMAC_SHA256, &secret));
        }
        match keys.len() {
            0 => Err(SecretsError::None),
            1..=SECRETS_MAX => Ok(Self(keys)),
            _ => Err(SecretsError::Many),
        }
    }

    /// The value of `webhook-signature`: one signature for each secret. `seconds` since 1970 are
    /// those of `webhook-timestamp`.
    pub(crate) fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let signed = self.0.iter().map(|key| {
            let mut context = hmac::Context::with_key(key);
            context.update(format!("{id}.{seconds}.").as_bytes());
            context.update(body);
            format!("v1,{}", BASE64.encode(context.sign().as_ref()))
        });
        signed.collect::<Vec<_>>().join(" ")
    }
}

const SECRETS_MAX: usize = 2;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    /// The example that Standard Webhooks is published with, and that its libraries are tested by.
    #[test]
    fn the_published_example_comes_out() {
        let secrets = Secrets::parse(SECRET.as_bytes()).unwrap();
        let signature = secrets.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            b"{\"test\": 2432232314}",
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_that_is_replaced_signs_beside_the_next() {
        let next = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let both = Secrets::parse(format!("{SECRET}\n{next}\n").as_bytes()).unwrap();
        let one = |secret: &str| Secrets::parse(secret.as_bytes()).unwrap();
        let expected = [one(SECRET), one(next)].map(|secrets| secrets.sign("m", 1, b"x"));
        assert_eq!(both.sign("m", 1, b"x"), expected.join(" "));
    }

    #[test]
    fn each_part_is_signed() {
        let secrets = Secrets::parse(SECRET.as_bytes()).unwrap();
        let signatures = [
            secrets.sign("m", 1, b"x"),
            secrets.sign("n", 1, b"x"),
            secrets.sign("m", 2, b"x"),
            secrets.sign("m", 1, b"y"),
        ];
        let different: std::collections::BTreeSet<_> = signatures.iter().collect();
        assert_eq!(different.len(), signatures.len());
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        let short = format!("whsec_{}", BASE64.encode(&[1; 23]));
        let long = format!("whsec_{}", BASE64.encode(&[1; 65]));
        let many = [SECRET; 3].join("\n");
        for (text, wanted) in [
            ("", SecretsError::None),
            ("\n\n", SecretsError::None),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SecretsError::Form),
            ("whsec_", SecretsError::Form),
            ("whsec_not base64", SecretsError::Form),
            (short.as_str(), SecretsError::Form),
            (long.as_str(), SecretsError::Form),
            (many.as_str(), SecretsError::Many),
        ] {
            assert_eq!(
                Secrets::parse(text.as_bytes()).err(),
                Some(wanted),
                "{text}"
            );
        }
        assert_eq!(Secrets::parse(b"\xff").err(), Some(SecretsError::Form));
    }
}
