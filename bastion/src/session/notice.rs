//! The bastion's own lines on a client's standard error.

use serde::Serialize;

/// How a client wants to be told.
#[derive(Clone, Debug)]
pub(crate) struct Notices {
    /// Carried by each notice, so that no target can forge one.
    nonce: Option<String>,
    line_end: &'static str,
}

impl Notices {
    /// Reads `BASTION_NOTICES=json:NONCE` from the channel's environment.
    pub(crate) fn new(env: &[(String, String)], pty: bool) -> Self {
        let wanted = env.iter().rev().find(|(name, _)| name == "BASTION_NOTICES");
        Self {
            nonce: wanted
                .and_then(|(_, value)| value.strip_prefix("json:"))
                .map(str::to_owned),
            line_end: if pty { "\r\n" } else { "\n" },
        }
    }

    /// One line that says that output is held; nothing has ended.
    pub(crate) fn held(&self, text: &str, hold: &str) -> String {
        self.say(text, None, Some(hold))
    }

    /// One line that says `text`; nothing has ended.
    pub(crate) fn note(&self, text: &str) -> String {
        self.say(text, None, None)
    }

    /// One line that says `text`, with the status that the client is going to exit with.
    pub(crate) fn line(&self, text: &str, status: u32) -> String {
        self.say(text, Some(status), None)
    }

    fn say(&self, text: &str, status: Option<u32>, hold: Option<&str>) -> String {
        let text: String = text.chars().flat_map(printable).collect();
        match &self.nonce {
            None => format!("bastion: {text}{}", self.line_end),
            Some(nonce) => {
                let notice = Notice {
                    bastion: &text,
                    status,
                    hold,
                    nonce,
                };
                // A struct of strings and a number is always JSON.
                format!(
                    "{}{}",
                    serde_json::to_string(&notice).unwrap_or_default(),
                    self.line_end
                )
            }
        }
    }
}

#[derive(Serialize)]
struct Notice<'a> {
    bastion: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hold: Option<&'a str>,
    nonce: &'a str,
}

/// Whatever is not plain ASCII is shown escaped: a notice may quote a name from a provider.
fn printable(c: char) -> impl Iterator<Item = char> {
    let plain = matches!(c, ' '..='~');
    let escaped = if plain {
        None
    } else {
        Some(c.escape_unicode())
    };
    plain
        .then_some(c)
        .into_iter()
        .chain(escaped.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_line_ends_as_the_terminal_wants_it() {
        assert_eq!(Notices::new(&[], false).line("no", 77), "bastion: no\n");
        assert_eq!(Notices::new(&[], true).line("no", 77), "bastion: no\r\n");
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let line = Notices::new(&[], false).line("a\u{1b}[31m\u{9b}b\n\u{202e}", 77);
        assert!(
            line.trim_end().bytes().all(|b| (0x20..0x7f).contains(&b)),
            "{line:?}"
        );
    }

    #[test]
    fn machines_get_json_with_their_nonce() {
        let env = vec![("BASTION_NOTICES".to_owned(), "json:n0nce".to_owned())];
        let line = Notices::new(&env, false).line("say \"no\"", 77);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            value,
            serde_json::json!({"bastion": "say \"no\"", "status": 77, "nonce": "n0nce"})
        );
    }
}
