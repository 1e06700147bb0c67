//! A screen as a picture: SVG with real text, no script, no link, nothing from outside.

use std::fmt::Write as _;

use crate::emulator::{Cell, Color, Emulator, Style};
use crate::safe::Glyph;

/// Width and height of a cell, and where the line stands in it, in pixels.
const WIDTH: u32 = 8;
const HEIGHT: u32 = 17;
const BASE: u32 = 13;
const MARGIN: u32 = 8;

const FOREGROUND: &str = "#d8d8d8";
const BACKGROUND: &str = "#181818";

/// The screen of an emulator.
pub(crate) fn svg(emulator: &Emulator) -> String {
    let (cols, rows) = emulator.size();
    let width = u32::from(cols) * WIDTH + 2 * MARGIN;
    let height = u32::from(rows) * HEIGHT + 2 * MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"ui-monospace,'DejaVu Sans Mono',Menlo,\
         Consolas,monospace\" font-size=\"13\" xml:space=\"preserve\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"4\" fill=\"{BACKGROUND}\"/>\n"
    );
    for (row, cells) in emulator.rows().enumerate() {
        let y = MARGIN + row as u32 * HEIGHT;
        let cells: Vec<Cell> = cells.collect();
        for run in runs(&cells) {
            run.write(&mut out, y);
        }
    }
    if let Some((col, row)) = emulator.cursor() {
        let x = MARGIN + u32::from(col.min(cols.saturating_sub(1))) * WIDTH;
        let y = MARGIN + u32::from(row) * HEIGHT;
        put(
            &mut out,
            format_args!(
                "<rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"{FOREGROUND}\" opacity=\"0.5\"/>\n"
            ),
        );
    }
    out.push_str("</svg>\n");
    out
}

/// Cells beside each other that look the same.
pub(crate) struct Run {
    pub(crate) col: u32,
    pub(crate) width: u32,
    pub(crate) text: String,
    pub(crate) style: Style,
}

/// The runs of a row without the blanks at its end. What is not ASCII stands alone: how wide a
/// font makes it is not known.
pub(crate) fn runs(cells: &[Cell]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut ascii = false;
    for (col, cell) in cells.iter().enumerate() {
        if cell.width == 0 {
            continue;
        }
        let (text, plain) = match cell.glyph {
            Glyph::Char(char) => (char.to_string(), matches!(char, ' '..='~')),
            Glyph::Mark(mark) => (format!("\u{25cc}{mark}"), false),
        };
        match runs.last_mut() {
            Some(run) if ascii && plain && run.style == cell.style => {
                run.text.push_str(&text);
                run.width += 1;
            }
            _ => runs.push(Run {
                col: col as u32,
                width: cell.width.into(),
                text,
                style: cell.style,
            }),
        }
        ascii = plain;
    }
    let is_blank = |run: &Run| {
        run.style.background.is_none()
            && !run.style.inverse
            && !run.style.underline
            && !run.style.strikethrough
            && run.text.bytes().all(|byte| byte == b' ')
    };
    while runs.last().is_some_and(is_blank) {
        runs.pop();
    }
    if let Some(last) = runs.last_mut()
        && last.style == Style::default()
    {
        let blanks = last.text.len() - last.text.trim_end_matches(' ').len();
        last.text.truncate(last.text.len() - blanks);
        last.width -= blanks as u32;
    }
    runs
}

impl Run {
    fn write(&self, out: &mut String, y: u32) {
        let style = self.style;
        let mut foreground = style.foreground.map(|color| css(color, style.bold));
        let mut background = style.background.map(|color| css(color, false));
        if style.inverse {
            let front = foreground.unwrap_or_else(|| FOREGROUND.into());
            foreground = Some(background.unwrap_or_else(|| BACKGROUND.into()));
            background = Some(front);
        }
        let x = MARGIN + self.col * WIDTH;
        if let Some(background) = background {
            let width = self.width * WIDTH;
            put(
                out,
                format_args!(
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{HEIGHT}\" fill=\"{background}\"/>\n"
                ),
            );
        }
        if self.text.trim().is_empty() && !style.underline && !style.strikethrough {
            return;
        }
        let foreground = foreground.unwrap_or_else(|| FOREGROUND.into());
        let y = y + BASE;
        put(
            out,
            format_args!("<text x=\"{x}\" y=\"{y}\" fill=\"{foreground}\""),
        );
        for (on, attribute) in [
            (style.bold, " font-weight=\"bold\""),
            (style.italic, " font-style=\"italic\""),
            (style.faint, " opacity=\"0.6\""),
        ] {
            out.push_str(if on { attribute } else { "" });
        }
        match (style.underline, style.strikethrough) {
            (true, true) => out.push_str(" text-decoration=\"underline line-through\""),
            (true, false) => out.push_str(" text-decoration=\"underline\""),
            (false, true) => out.push_str(" text-decoration=\"line-through\""),
            (false, false) => {}
        }
        if self.text.len() > 1 && self.text.is_ascii() {
            let length = self.text.len() as u32 * WIDTH;
            put(out, format_args!(" textLength=\"{length}\""));
        }
        put(out, format_args!(">{}</text>\n", escape(&self.text)));
    }
}

/// A colour as CSS writes it.
pub(crate) fn css(color: Color, bold: bool) -> String {
    match color {
        Color::Rgb(r, g, b) => format!("#{r:02x}{g:02x}{b:02x}"),
        Color::Indexed(index @ 0..=7) if bold => BASIC
            .get(usize::from(index) + 8)
            .copied()
            .unwrap_or_default()
            .into(),
        Color::Indexed(index @ 0..=15) => BASIC
            .get(usize::from(index))
            .copied()
            .unwrap_or_default()
            .into(),
        Color::Indexed(index @ 16..=231) => {
            let level = |digit: u8| match digit {
                0 => 0,
                _ => 55 + 40 * digit,
            };
            let index = index - 16;
            let (r, g, b) = (level(index / 36), level(index / 6 % 6), level(index % 6));
            format!("#{r:02x}{g:02x}{b:02x}")
        }
        Color::Indexed(index) => {
            let grey = 8 + 10 * (index - 232);
            format!("#{grey:02x}{grey:02x}{grey:02x}")
        }
    }
}

const BASIC: [&str; 16] = [
    "#282828", "#d05050", "#50a858", "#c8a030", "#5888d8", "#b068c0", "#38a8a8", "#d0d0d0",
    "#686868", "#f07070", "#70d078", "#e8c858", "#80acf8", "#d890e8", "#60d0d0", "#ffffff",
];

/// Text between tags or in an attribute.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(char),
        }
    }
    escaped
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok(), "a string takes all that is written");
}
