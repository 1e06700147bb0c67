//! Recordings as pages: a player over a [film](crate::film), in one file that needs nothing
//! else, or served to the browser on this machine.
//!
//! A recording is hostile input here too. What comes from one is JSON in a data block, in which
//! no `<` and no control character is left, or text that was escaped; the policy of every page
//! allows the one script and the one style sheet of ours and nothing else, from nowhere.

pub(crate) mod serve;

use std::io::{self, Write};

use aws_lc_rs::digest;
use data_encoding::BASE64;
use serde::Serialize;

use crate::film::Film;
use crate::player::Player;
use crate::safe;
use crate::svg::escape;

const SCRIPT: &str = include_str!("web/player.js");
const STYLE: &str = include_str!("web/style.css");

/// Writes a recording that was read to its end as one page.
pub(crate) fn export(player: &mut Player, output: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let film = player.film();
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; base-uri 'none'; form-action 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    write!(
        output,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n{}",
        escape(film.title()),
        stage(&film, "")?,
    )?;
    write!(output, "<script type=\"application/json\" id=\"parts\">[")?;
    let mut number = 0;
    while let Some(part) = player.part(number) {
        let comma = if number > 0 { ",\n" } else { "" };
        write!(output, "{comma}{}", data(&part)?)?;
        number += 1;
    }
    write!(
        output,
        "]</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )?;
    output.flush()
}

/// The player's elements, and what it has to know.
fn stage(film: &Film, parts: &str) -> io::Result<String> {
    let title = escape(film.title());
    let speeds = ["0.1", "0.5", "1", "2", "4", "8", "16", "64"].map(|speed| {
        let selected = if speed == "1" { " selected" } else { "" };
        format!("<option value=\"{speed}\"{selected}>{speed}x</option>")
    });
    Ok(format!(
        "<h1>{title}</h1>\n<div id=\"frame\"><div id=\"screen\" data-parts=\"{}\"></div></div>\n\
         <div id=\"bar\"><button id=\"toggle\" type=\"button\">play</button>\
         <input id=\"seek\" type=\"range\" min=\"0\" step=\"1\" aria-label=\"place\">\
         <span id=\"clock\"></span><span id=\"wall\"></span>\
         <select id=\"speed\" aria-label=\"speed\">{}</select>\
         <label><input id=\"idle\" type=\"checkbox\"> short pauses</label>\
         <span id=\"chapter\"></span><span id=\"told\"></span></div>\n\
         <div id=\"chapters\"></div>\n\
         <p class=\"dim\">space: play, pause &middot; arrows: 5 s, 1 min &middot; , . one step \
         &middot; [ ] markers and commands &middot; home, end</p>\n\
         <script type=\"application/json\" id=\"film\">{}</script>\n",
        escape(parts),
        speeds.concat(),
        data(film)?,
    ))
}

/// JSON that may stand in a script element.
fn data(value: &impl Serialize) -> io::Result<String> {
    Ok(safe::json(value)?.replace('<', "\\u003c"))
}

/// A source of a content security policy.
fn hash(text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    format!("sha256-{}", BASE64.encode(hash.as_ref()))
}
