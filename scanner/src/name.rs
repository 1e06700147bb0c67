//! Names of fields: how a key, a column or an attribute is compared with the fields of a policy.
//!
//! A name is split into words at case changes and at everything that is not a letter or a digit;
//! the words are put in lower case, and the *last* ones are compared. Words are compared joined,
//! so that `eMail`, `e-mail` and `email` are one name, as are `accountNumber`, `account number`,
//! `ACCOUNT_NUMBER` and `accountnumber`.

/// The longest name that is compared, in bytes; a longer one is compared by its end.
pub(crate) const NAME_MAX: usize = 128;

/// A name without its separators, in lower case, and where its words begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    letters: Vec<u8>,
    starts: Vec<usize>,
}

impl Words {
    /// Splits `name`. Escapes (`\u0073`, `%73`, `&#115;`) are undone first.
    pub(crate) fn of(name: &[u8]) -> Self {
        let plain;
        let name = if name.iter().any(|b| matches!(b, b'\\' | b'%' | b'&')) {
            plain = unescape(name);
            plain.as_slice()
        } else {
            name
        };
        let name = name
            .get(name.len().saturating_sub(2 * NAME_MAX)..)
            .unwrap_or(name);
        let mut words = Self::default();
        let mut before = 0u8;
        for (i, &b) in name.iter().enumerate() {
            let next_is_lower = name.get(i + 1).is_some_and(u8::is_ascii_lowercase);
            let begins = is_word(b)
                && (!is_word(before)
                    || (b.is_ascii_uppercase()
                        && (before.is_ascii_lowercase()
                            || before.is_ascii_digit()
                            || (before.is_ascii_uppercase() && next_is_lower))));
            if begins {
                words.starts.push(words.letters.len());
            }
            if is_word(b) {
                words.letters.push(b.to_ascii_lowercase());
            }
            before = b;
        }
        words
    }

    /// Whether there is no word in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// All words, joined.
    pub(crate) fn joined(&self) -> &[u8] {
        &self.letters
    }

    /// The last words, joined, from all of them to the last one alone.
    pub(crate) fn endings(&self) -> impl Iterator<Item = &[u8]> {
        let from = |start: &usize| self.letters.get(*start..);
        self.starts.iter().filter_map(from)
    }

    /// The number of words.
    pub(crate) fn count(&self) -> usize {
        self.starts.len()
    }

    /// Whether the last words of this name are `field`, which is joined already.
    pub(crate) fn ends_with(&self, field: &[u8]) -> bool {
        !field.is_empty()
            && self.letters.ends_with(field)
            && self.starts.contains(&(self.letters.len() - field.len()))
    }

    /// Whether the last words are `parent` and then `field`.
    pub(crate) fn ends_with_path(&self, parent: &[u8], field: &[u8]) -> bool {
        let Some(at) = self.letters.len().checked_sub(parent.len() + field.len()) else {
            return false;
        };
        self.ends_with(field)
            && self.starts.contains(&at)
            && self.letters.get(at..at + parent.len()) == Some(parent)
    }
}

/// Letters and digits; bytes outside ASCII count as letters.
pub(crate) fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b >= 0x80
}

/// Undoes `\uXXXX`, `\xXX`, other backslashes, `%XX` and numeric character references.
pub(crate) fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut i = 0;
    while let Some(&b) = text.get(i) {
        let rest = text.get(i + 1..).unwrap_or_default();
        match b {
            b'\\' => {
                let slashes = rest.iter().take_while(|b| **b == b'\\').count();
                let after = rest.get(slashes..).unwrap_or_default();
                let (size, digits) = match after.first() {
                    Some(b'u') => (4, after.get(1..5)),
                    Some(b'x') => (2, after.get(1..3)),
                    Some(_) | None => (0, None),
                };
                let blank = matches!(after.first(), Some(b'n' | b'r' | b't'))
                    && !after.get(1).is_some_and(|b| is_word(*b));
                if let Some(code) = digits.and_then(|d| number(d, 16)) {
                    push(&mut out, code);
                    i += 2 + slashes + size;
                } else if blank {
                    out.push(b' ');
                    i += 2 + slashes;
                } else {
                    i += 1 + slashes;
                }
            }
            b'%' => {
                if let Some(code) = rest.get(..2).and_then(|d| number(d, 16)) {
                    push(&mut out, code);
                    i += 3;
                } else {
                    out.push(b);
                    i += 1;
                }
            }
            b'&' if rest.first() == Some(&b'#') => {
                let end = rest.iter().take(8).position(|b| *b == b';');
                let code = end.and_then(|end| match rest.get(1) {
                    Some(b'x' | b'X') => rest.get(2..end).and_then(|d| number(d, 16)),
                    _ => rest.get(1..end).and_then(|d| number(d, 10)),
                });
                if let (Some(end), Some(code)) = (end, code) {
                    push(&mut out, code);
                    i += 2 + end;
                } else {
                    out.push(b);
                    i += 1;
                }
            }
            _ => {
                out.push(b);
                i += 1;
            }
        }
    }
    out
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u32, |n, d| {
        n.checked_mul(radix)?
            .checked_add(char::from(*d).to_digit(radix)?)
    })
}

fn push(out: &mut Vec<u8>, code: u32) {
    let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_by_their_last_words() {
        for name in [
            "account_number",
            "accountNumber",
            "ACCOUNT_NUMBER",
            "X-Account-Number",
            "account number",
            "db.account_number",
            "AccountNumber",
            "accountnumber",
            r"account\u005fnumber",
            "customer[account_number]",
            "SSNAccountNumber",
        ] {
            assert!(
                Words::of(name.as_bytes()).ends_with(b"accountnumber"),
                "{name}"
            );
        }
        for name in [
            "account_number_format",
            "number",
            "xaccountnumber",
            "account_numbers",
            "",
        ] {
            assert!(
                !Words::of(name.as_bytes()).ends_with(b"accountnumber"),
                "{name}"
            );
        }
    }

    #[test]
    fn short_names_keep_their_edges() {
        for name in [
            "ssn",
            "SSN",
            "customerSSN",
            "customer_ssn",
            r"s\u0073n",
            "%73sn",
            r"ssn\n",
        ] {
            assert!(Words::of(name.as_bytes()).ends_with(b"ssn"), "{name}");
        }
        for name in [
            "ssn_verified",
            "lessn",
            "SSNVerified",
            "ssns",
            r"ss\n",
            r"ss \n\t",
        ] {
            assert!(!Words::of(name.as_bytes()).ends_with(b"ssn"), "{name}");
        }
        assert!(Words::of(b"eMail").ends_with(b"email"));
        assert!(Words::of(b"E-Mail").ends_with(b"email"));
        assert!(!Words::of(b"email_count").ends_with(b"email"));
    }

    #[test]
    fn a_path_needs_its_parent() {
        assert!(Words::of(b"customer.phone").ends_with_path(b"customer", b"phone"));
        assert!(Words::of(b"billing_customer_phone").ends_with_path(b"customer", b"phone"));
        assert!(!Words::of(b"supplier.phone").ends_with_path(b"customer", b"phone"));
        assert!(!Words::of(b"phone").ends_with_path(b"customer", b"phone"));
    }
}
