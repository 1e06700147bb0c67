//! The pages that a person sees: the code, who to be, what came of it. No script, no outside parts.

use super::flow::{Typed, shown};
use super::people::PEOPLE;

/// Where a person types the code.
#[must_use]
pub fn enter(wrong: bool) -> String {
    let hint = if wrong {
        "<p class=bad>No sign-in waits for that code. It may be too old: run the command again.</p>"
    } else {
        ""
    };
    page(&format!(
        "<h1>Sign in</h1>{hint}
<form method=get action=/device>
<label for=code>The code that your terminal shows</label>
<input id=code name=user_code autofocus autocomplete=off spellcheck=false placeholder=XXXX-XXXX>
<button>Go on</button>
</form>"
    ))
}

/// Where a person picks who to be, and confirms or denies.
#[must_use]
pub fn confirm(user_code: &str) -> String {
    let code = escape(&shown(user_code));
    let mut people = String::new();
    for (index, person) in PEOPLE.iter().enumerate() {
        let groups = if person.groups.is_empty() {
            "no group".to_owned()
        } else {
            person.groups.join(", ")
        };
        let checked = if index == 0 { " checked" } else { "" };
        people.push_str(&format!(
            "<label class=person><input type=radio name=person value=\"{name}\"{checked}>
<span><b>{name}</b> {full} <small>{groups}; {note}</small></span></label>\n",
            name = escape(person.name),
            full = escape(person.full_name),
            groups = escape(&groups),
            note = escape(person.note),
        ));
    }
    page(&format!(
        "<h1>Is this your sign-in?</h1>
<p>The <b>bastion</b> asks to sign you in. Your terminal must show this code:</p>
<p class=code>{code}</p>
<form method=post action=/device>
<input type=hidden name=user_code value=\"{code}\">
<fieldset><legend>Who are you today?</legend>
{people}</fieldset>
<button name=decision value=confirm>Confirm</button>
<button name=decision value=deny class=plain>Deny</button>
</form>"
    ))
}

/// What came of a decision.
#[must_use]
pub fn decided(typed: Typed, name: Option<&str>) -> String {
    match (typed, name) {
        (Typed::Waiting, Some(name)) => page(&format!(
            "<h1>Signed in as {}</h1><p>Go back to your terminal.</p>",
            escape(name)
        )),
        (Typed::Waiting, None) => {
            page("<h1>Denied</h1><p>Nobody was signed in. You can close this page.</p>")
        }
        (Typed::Decided, _) => page(
            "<h1>Already decided</h1><p>This code was used before. Go back to your terminal.</p>",
        ),
        (Typed::Unknown, _) => enter(true),
    }
}

fn page(body: &str) -> String {
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8>
<meta name=viewport content=\"width=device-width,initial-scale=1\">
<title>Demo sign-in</title><style>{STYLE}</style>
<main>{body}</main>
<footer>The demo's provider: it asks for no password, on purpose, and answers on this machine only.
Never use it for anything else.</footer></html>\n"
    )
}

const STYLE: &str = "
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:30rem;margin:12vh auto;padding:0 1rem}
h1{font-size:1.4rem}label{display:block;margin:.4rem 0}
input:not([type]){font:1.4rem ui-monospace,monospace;letter-spacing:.1em;width:100%;
box-sizing:border-box;padding:.4rem;text-transform:uppercase}
.code{font:1.8rem ui-monospace,monospace;letter-spacing:.1em}
.person{display:flex;gap:.6rem;align-items:baseline}small{display:block;opacity:.7}
fieldset{border:1px solid #8886;border-radius:.4rem;margin:1rem 0}
button{font:inherit;padding:.5rem 1.2rem;margin:.6rem .4rem 0 0;border-radius:.4rem;
border:1px solid #2563eb;background:#2563eb;color:#fff;cursor:pointer}
.plain{background:none;color:inherit;border-color:#8888}
.bad{color:#c2410c}footer{font-size:.8rem;opacity:.6;margin-top:3rem}
";

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_stays_text() {
        let page = confirm("<B>\"'&");
        assert!(!page.contains("<B>"), "{page}");
        assert!(page.contains("&lt;B&gt;&quot;"), "{page}");
    }

    #[test]
    fn everybody_is_offered() {
        let page = confirm("BCDFGHJK");
        assert!(page.contains("BCDF-GHJK"));
        for person in &PEOPLE {
            assert!(page.contains(&format!("value=\"{}\"", person.name)));
        }
    }
}
