//! The words that a client sees while it waits, and the making safe of other people's words.

use std::fmt::Write as _;
use std::time::Duration;

use super::Asker;
use crate::store::LastSignIn;

/// What the instructions are made of.
pub(super) struct Facts<'a> {
    pub(super) uri: &'a str,
    pub(super) complete_uri: Option<&'a str>,
    pub(super) user_code: &'a str,
    pub(super) asker: &'a Asker,
    pub(super) life: Duration,
    pub(super) last: Option<LastSignIn>,
}

/// The instructions: the URL and the code first, then what it is for, where it was asked from, and
/// when not to go on. Under 900 bytes, printable ASCII and line feeds.
///
/// `uri`, `complete_uri` and `user_code` must be printable ASCII, and short ([`URI_MAX`],
/// [`CODE_MAX`]): a code that was cut would be no code.
pub(super) fn instructions(facts: &Facts<'_>) -> String {
    let mut text = match facts.complete_uri {
        Some(complete) => format!("Open {complete}\nand check that it shows the code: "),
        None => format!("Open {}\nand enter the code: ", facts.uri),
    };
    let asker = facts.asker;
    let name = ascii(&asker.user_name, USER_NAME_MAX);
    let source = asker.source.to_canonical();
    push(&mut text, format_args!("{}\n\n", facts.user_code));
    push(
        &mut text,
        format_args!("This signs in the SSH connection \"{name}\" from {source}"),
    );
    match &asker.key {
        Some(key) => push(
            &mut text,
            format_args!("\nand the key {}.\n", ascii(key.as_str(), KEY_MAX)),
        ),
        None => push(&mut text, format_args!(".\n")),
    }
    push(
        &mut text,
        format_args!(
            "Go on only if you started this yourself, just now. Code valid for {}.\n",
            duration(facts.life)
        ),
    );
    if let Some(last) = &facts.last {
        let at = last.at.strftime("%Y-%m-%d %H:%M UTC");
        let source = last.source.to_canonical();
        push(
            &mut text,
            format_args!("Last sign-in: {at} from {source}.\n"),
        );
        if let Some(newest) = &last.newest {
            let at = newest.at.strftime("%Y-%m-%d %H:%M UTC");
            let key = ascii(newest.key.as_str(), KEY_MAX);
            let source = newest.source.to_canonical();
            let more = match last.new_keys {
                0 | 1 => String::new(),
                count => format!(" ({} more)", count - 1),
            };
            let long = format!(
                "New key since then: {key}\non {at} from {source}{more}. Not yours? Tell your administrator.\n"
            );
            // Beside the longest URL there is no room for it.
            let fits = text.len() + long.len() < TEXT_MAX;
            text.push_str(if fits { &long } else { NEW_KEY_SHORT });
        }
    }
    text
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more)
        .expect("writing to a string does not fail");
}

fn duration(life: Duration) -> String {
    match life.as_secs() {
        60 => "1 minute".to_owned(),
        secs if secs >= 60 && secs % 60 == 0 => format!("{} minutes", secs / 60),
        1 => "1 second".to_owned(),
        secs => format!("{secs} seconds"),
    }
}

/// As [`printable`], with what is not ASCII escaped too.
pub(super) fn ascii(text: &str, max: usize) -> String {
    cut(text, max, |c| matches!(c, ' '..='~'))
}

/// `text` with everything escaped that a terminal or a log might act on or hide (control, format,
/// unassigned and private characters, all spaces but U+0020), and cut after `max` bytes.
pub(super) fn printable(text: &str, max: usize) -> String {
    cut(text, max, is_printable)
}

/// Whether nothing in `text` would have to be escaped.
pub(super) fn is_plain(text: &str) -> bool {
    text.chars().all(is_printable)
}

fn is_printable(c: char) -> bool {
    match c {
        ' '..='~' => true,
        // Invisible, though they count as letters or marks.
        '\u{34f}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{ffa0}'
        | '\u{e0100}'..='\u{e01ef}' => false,
        // The standard library shows what it holds for printable by not escaping it; the "a" is for
        // the marks that combine with a letter, which a name may have.
        c => format!("a{c}").escape_debug().count() == 2,
    }
}

fn cut(text: &str, max: usize, plain: impl Fn(char) -> bool) -> String {
    let mut safe = String::new();
    let mut mark = 0;
    for c in text.chars() {
        if safe.len() + ELLIPSIS.len() <= max {
            mark = safe.len();
        }
        if plain(c) {
            safe.push(c);
        } else {
            safe.extend(c.escape_unicode());
        }
        if safe.len() > max {
            safe.truncate(mark);
            safe.push_str(ELLIPSIS);
            break;
        }
    }
    safe
}

/// Longest URL that is shown; a provider with a longer one is not configured right.
pub(super) const URI_MAX: usize = 380;
/// Longest code that is shown.
pub(super) const CODE_MAX: usize = 64;
/// Much longer ones are refused before; those that are not are cut here.
const USER_NAME_MAX: usize = 50;
/// All of it is shorter than this.
const TEXT_MAX: usize = 900;
const NEW_KEY_SHORT: &str = "A new key was added since: ask your administrator.\n";
const KEY_MAX: usize = 60;
const ELLIPSIS: &str = "...";

#[cfg(test)]
mod tests;
