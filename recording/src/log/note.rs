//! Signed notes (C2SP signed-note) with Ed25519, and the text form of their keys.
//!
//! The forms are those of Go's `golang.org/x/mod/sumdb/note`, which reads what is written here.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use data_encoding::BASE64;
use zeroize::Zeroizing;

use crate::seal::Hash;

/// A key that signs.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    seed: Zeroizing<[u8; 32]>,
    verifier: VerifierKey,
}

/// A key that verifies: `NAME+ID+BASE64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: u32,
    public: [u8; 32],
}

/// A text is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 key of a signed note (NAME+HASH+BASE64)")]
pub struct KeyError;

impl SigningKey {
    /// The key of this seed, which has to be random. `name` may hold no space and no `+`.
    ///
    /// # Errors
    ///
    /// The name is not one.
    pub fn new(name: &str, seed: [u8; 32]) -> Result<Self, KeyError> {
        if !is_name(name) {
            return Err(KeyError);
        }
        let seed = Zeroizing::new(seed);
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).map_err(|_| KeyError)?;
        let public = pair.public_key().as_ref();
        let public = public.try_into().map_err(|_| KeyError)?;
        let verifier = VerifierKey {
            name: name.to_owned(),
            id: key_id(name, &public),
            public,
        };
        Ok(Self {
            pair,
            seed,
            verifier,
        })
    }

    /// Reads `PRIVATE+KEY+NAME+ID+BASE64`.
    ///
    /// # Errors
    ///
    /// It is not such a text.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let rest = text.trim_end().strip_prefix(PRIVATE).ok_or(KeyError)?;
        let (name, id, data) = parts(rest)?;
        let data = Zeroizing::new(data);
        let seed = seed_of(&data)?;
        let key = Self::new(name, seed)?;
        if key.verifier.id != id {
            return Err(KeyError);
        }
        Ok(key)
    }

    /// The key as text, to be kept where nobody else reads it.
    pub fn secret(&self) -> Zeroizing<String> {
        let mut data = Zeroizing::new(vec![ALGORITHM]);
        data.extend_from_slice(&*self.seed);
        let VerifierKey { name, id, .. } = &self.verifier;
        let data = Zeroizing::new(BASE64.encode(&data));
        Zeroizing::new(format!("{PRIVATE}{name}+{id:08x}+{}", *data))
    }

    /// The key that verifies what this one signs.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The signed note of this text, which ends with a line feed and has no empty line.
    pub fn sign(&self, text: &str) -> String {
        let mut data = self.verifier.id.to_be_bytes().to_vec();
        data.extend_from_slice(self.pair.sign(text.as_bytes()).as_ref());
        let name = &self.verifier.name;
        format!("{text}\n{DASH}{name} {}\n", BASE64.encode(&data))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.verifier)
    }
}

impl VerifierKey {
    /// Reads `NAME+ID+BASE64`.
    ///
    /// # Errors
    ///
    /// It is not such a text, or its id is not that of the key.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (name, id, data) = parts(text.trim_end())?;
        let public = seed_of(&data)?;
        if !is_name(name) || id != key_id(name, &public) {
            return Err(KeyError);
        }
        Ok(Self {
            name: name.to_owned(),
            id,
            public,
        })
    }

    /// The name, which for a log is its origin.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut data = vec![ALGORITHM];
        data.extend_from_slice(&self.public);
        write!(f, "{}+{:08x}+{}", self.name, self.id, BASE64.encode(&data))
    }
}

/// A text with signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note<'n> {
    text: &'n str,
    signatures: &'n str,
}

/// Why a note is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It has not the form of one.
    #[error("not a signed note")]
    Form,
    /// The key that was asked for has not signed it.
    #[error("not signed by the expected key")]
    Key,
    /// The signature is wrong.
    #[error("the signature is wrong")]
    Signature,
}

impl<'n> Note<'n> {
    /// Takes a note apart; nothing is verified yet.
    ///
    /// # Errors
    ///
    /// It has not the form of a note.
    pub fn parse(note: &'n str) -> Result<Self, NoteError> {
        if note.len() > NOTE_MAX || note.chars().any(|c| c.is_control() && c != '\n') {
            return Err(NoteError::Form);
        }
        let split = note.rfind("\n\n").ok_or(NoteError::Form)?;
        let (text, signatures) = note.split_at(split + 1);
        let signatures = signatures.get(1..).unwrap_or_default();
        if !signatures.ends_with('\n') || signatures.lines().any(|line| signature(line).is_none()) {
            return Err(NoteError::Form);
        }
        Ok(Self { text, signatures })
    }

    /// The text, whoever has signed it.
    pub fn unverified(&self) -> &'n str {
        self.text
    }

    /// The text, if `key` has signed it.
    ///
    /// # Errors
    ///
    /// It has not, or another text.
    pub fn verified(&self, key: &VerifierKey) -> Result<&'n str, NoteError> {
        let mut signed = Err(NoteError::Key);
        for (name, id, data) in self.signatures.lines().filter_map(signature) {
            if name == key.name && id == key.id {
                UnparsedPublicKey::new(&ED25519, key.public)
                    .verify(self.text.as_bytes(), &data)
                    .map_err(|_| NoteError::Signature)?;
                signed = Ok(self.text);
            }
        }
        signed
    }
}

fn signature(line: &str) -> Option<(&str, u32, Vec<u8>)> {
    let (name, data) = line.strip_prefix(DASH)?.split_once(' ')?;
    let mut data = BASE64.decode(data.as_bytes()).ok()?;
    let (id, _) = data.split_first_chunk::<4>()?;
    let id = u32::from_be_bytes(*id);
    let rest = data.split_off(4);
    (is_name(name) && !rest.is_empty()).then_some((name, id, rest))
}

fn parts(text: &str) -> Result<(&str, u32, Vec<u8>), KeyError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(data)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(KeyError);
    };
    if id.len() != 8 {
        return Err(KeyError);
    }
    let id = u32::from_str_radix(id, 16).map_err(|_| KeyError)?;
    let data = BASE64.decode(data.as_bytes()).map_err(|_| KeyError)?;
    Ok((name, id, data))
}

fn seed_of(data: &[u8]) -> Result<[u8; 32], KeyError> {
    match data.split_first() {
        Some((&ALGORITHM, key)) => key.try_into().map_err(|_| KeyError),
        _ => Err(KeyError),
    }
}

fn key_id(name: &str, public: &[u8; 32]) -> u32 {
    let mut bytes = name.as_bytes().to_vec();
    bytes.extend_from_slice(&[b'\n', ALGORITHM]);
    bytes.extend_from_slice(public);
    let [a, b, c, d, ..] = Hash::of(&bytes).0;
    u32::from_be_bytes([a, b, c, d])
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('+') && !name.contains(char::is_whitespace)
}

const PRIVATE: &str = "PRIVATE+KEY+";
const ALGORITHM: u8 = 1;
/// An em dash and a space begin the line of a signature.
const DASH: &str = "\u{2014} ";
/// Longer notes are none of ours.
const NOTE_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::new("bastion/test", [seed; 32]).unwrap()
    }

    #[test]
    fn keys_are_read_as_written() {
        let one = key(7);
        let again = SigningKey::parse(&one.secret()).unwrap();
        assert_eq!(again.verifier(), one.verifier());
        let public = one.verifier().to_string();
        assert_eq!(&VerifierKey::parse(&public).unwrap(), one.verifier());
        for bad in ["", "a+b", "a+00000000+AA==", &public.replacen('t', "u", 1)] {
            assert!(VerifierKey::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_changed_byte_of_a_note_is_found() {
        let signed = key(7).sign("bastion/test\n5\nAAAA\n");
        let verifier = key(7).verifier().clone();
        let text = Note::parse(&signed).unwrap().verified(&verifier).unwrap();
        assert_eq!(text, "bastion/test\n5\nAAAA\n");
        for at in 0..signed.len() {
            for bit in 0..7 {
                let mut bytes = signed.clone().into_bytes();
                *bytes.get_mut(at).unwrap() ^= 1 << bit;
                let Ok(changed) = String::from_utf8(bytes) else {
                    continue;
                };
                let verified = Note::parse(&changed).and_then(|note| note.verified(&verifier));
                assert!(verified.is_err(), "byte {at} bit {bit}");
            }
        }
        let other = key(8).verifier().clone();
        assert_eq!(
            Note::parse(&signed).unwrap().verified(&other),
            Err(NoteError::Key)
        );
    }
}
