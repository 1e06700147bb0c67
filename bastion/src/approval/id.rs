//! The names of what waits for a decision, as people read them aloud and type them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A letter for its kind, `-`, and six characters without those that are mistaken for others. It is
/// a name and no secret: knowing it gives nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ShortId<const KIND: char>([u8; LEN]);

const LEN: usize = 6;

impl<const KIND: char> ShortId<KIND> {
    /// A name that nobody chose; none where the system gives no random numbers.
    pub(crate) fn random() -> Option<Self> {
        let mut bits = [0; 4];
        aws_lc_rs::rand::fill(&mut bits).ok()?;
        Some(Self::of(u32::from_le_bytes(bits)))
    }

    /// A name of the random `bits`.
    pub(crate) fn of(mut bits: u32) -> Self {
        let mut name = [b'0'; LEN];
        for slot in &mut name {
            let digit = usize::try_from(bits & 31).unwrap_or(0);
            *slot = ALPHABET.get(digit).copied().unwrap_or(b'0');
            bits >>= 5;
        }
        Self(name)
    }

    fn as_str(&self) -> &str {
        // Only ASCII gets in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// What was given is not a whole name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is named by a letter, - and six characters, such as H-7K3QX9")]
pub(crate) struct NotAName;

impl<const KIND: char> FromStr for ShortId<KIND> {
    type Err = NotAName;

    /// The whole name in its one spelling: a decision is about exactly one thing.
    fn from_str(text: &str) -> Result<Self, NotAName> {
        let name = text
            .strip_prefix(KIND)
            .and_then(|text| text.strip_prefix('-'));
        let name = name.ok_or(NotAName)?;
        let name: [u8; LEN] = name.as_bytes().try_into().map_err(|_| NotAName)?;
        if name.iter().all(|b| ALPHABET.contains(b)) {
            Ok(Self(name))
        } else {
            Err(NotAName)
        }
    }
}

impl<const KIND: char> fmt::Display for ShortId<KIND> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KIND}-{}", self.as_str())
    }
}

impl<const KIND: char> fmt::Debug for ShortId<KIND> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl<const KIND: char> Serialize for ShortId<KIND> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const KIND: char> Deserialize<'de> for ShortId<KIND> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Crockford's: no I, L, O and U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type HoldId = ShortId<'H'>;

    proptest! {
        #[test]
        fn a_name_reads_back(bits: u32) {
            let id = HoldId::of(bits);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        /// Also as part of a path: nothing but the one form is a name.
        #[test]
        fn nothing_else_is_a_name(text: String) {
            if let Ok(id) = text.parse::<HoldId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn parts_and_other_spellings_are_no_names() {
        for text in [
            "",
            "H-",
            "H-7K3QX",
            "H-7K3QX99",
            "h-7k3qx9",
            "H-7k3qx9",
            "7K3QX9",
            "H-7K3QXO",
            "H-../..",
            " H-7K3QX9",
            "R-7K3QX9",
        ] {
            assert_eq!(text.parse::<HoldId>(), Err(NotAName), "{text:?}");
        }
    }
}
