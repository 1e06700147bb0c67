//! The result of cases as JUnit XML, which CI systems read.

use std::io::{self, Write};

use super::test::Done;

/// Writes one `testsuite` for each file of cases.
pub(super) fn write(done: &[Done], out: &mut dyn Write) -> io::Result<()> {
    let failures = |cases: &[&Done]| cases.iter().filter(|done| done.failure.is_some()).count();
    let all: Vec<&Done> = done.iter().collect();
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    writeln!(
        out,
        "<testsuites tests=\"{}\" failures=\"{}\">",
        all.len(),
        failures(&all)
    )?;
    let mut rest = all.as_slice();
    while let Some(first) = rest.first() {
        let size = rest
            .iter()
            .take_while(|done| done.file == first.file)
            .count();
        let (suite, after) = rest.split_at(size);
        rest = after;
        let name = first.file.display().to_string();
        writeln!(
            out,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\">",
            escaped(&name),
            suite.len(),
            failures(suite)
        )?;
        for done in suite {
            case(done, &name, out)?;
        }
        writeln!(out, "  </testsuite>")?;
    }
    writeln!(out, "</testsuites>")
}

fn case(done: &Done, file: &str, out: &mut dyn Write) -> io::Result<()> {
    write!(
        out,
        "    <testcase classname=\"{}\" name=\"{}\" file=\"{}\" line=\"{}\" time=\"{:.6}\"",
        escaped(file),
        escaped(&done.name),
        escaped(file),
        done.line,
        done.took.as_secs_f64()
    )?;
    match &done.failure {
        None => writeln!(out, "/>"),
        Some(failure) => writeln!(
            out,
            ">\n      <failure message=\"{}\">{}</failure>\n    </testcase>",
            escaped(failure.lines().next().unwrap_or_default()),
            escaped(failure)
        ),
    }
}

/// Text for XML 1.0; characters that it cannot carry become U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' | '\r' => out.push(character),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ if character < ' ' => out.push('\u{fffd}'),
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test stops where its preparation fails"
    )]

    use std::time::Duration;

    use super::*;

    #[test]
    fn what_xml_cannot_carry_is_replaced() {
        let done = |name: &str, failure: Option<&str>| Done {
            file: "a&b.test.toml".into(),
            line: 3,
            name: name.to_owned(),
            kind: "content",
            took: Duration::from_millis(1),
            failure: failure.map(str::to_owned),
        };
        let mut out = Vec::new();
        write(
            &[
                done("fine", None),
                done("<bad>", Some("a \"b\"\n\u{1b}[2J")),
            ],
            &mut out,
        )
        .unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuites tests=\"2\" failures=\"1\">\n  \
             <testsuite name=\"a&amp;b.test.toml\" tests=\"2\" failures=\"1\">\n    \
             <testcase classname=\"a&amp;b.test.toml\" name=\"fine\" file=\"a&amp;b.test.toml\" line=\"3\" time=\"0.001000\"/>\n    \
             <testcase classname=\"a&amp;b.test.toml\" name=\"&lt;bad&gt;\" file=\"a&amp;b.test.toml\" line=\"3\" time=\"0.001000\">\n      \
             <failure message=\"a &quot;b&quot;\">a &quot;b&quot;\n\u{fffd}[2J</failure>\n    </testcase>\n  \
             </testsuite>\n</testsuites>\n"
        );
    }
}
