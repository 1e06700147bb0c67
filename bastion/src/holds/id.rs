//! The name of a hold, as people read it aloud and type it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `H-` and six characters without those that are mistaken for others. It is a name and no secret:
/// knowing it gives nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct HoldId([u8; HoldId::LEN]);

impl HoldId {
    const LEN: usize = 6;

    /// A name of the random `bits`.
    pub(crate) fn of(mut bits: u32) -> Self {
        let mut name = [b'0'; Self::LEN];
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

/// What was given is not the whole name of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hold is named by H- and six characters, such as H-7K3QX9")]
pub(crate) struct NotAHold;

impl FromStr for HoldId {
    type Err = NotAHold;

    /// The whole name in its one spelling: a decision is about exactly one hold.
    fn from_str(text: &str) -> Result<Self, NotAHold> {
        let name = text.strip_prefix("H-").ok_or(NotAHold)?;
        let name: [u8; Self::LEN] = name.as_bytes().try_into().map_err(|_| NotAHold)?;
        if name.iter().all(|b| ALPHABET.contains(b)) {
            Ok(Self(name))
        } else {
            Err(NotAHold)
        }
    }
}

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "H-{}", self.as_str())
    }
}

impl fmt::Debug for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for HoldId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HoldId {
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
        ] {
            assert_eq!(text.parse::<HoldId>(), Err(NotAHold), "{text:?}");
        }
    }
}
