//! What the byte machine looks at, counted for the test that says that it is linear: a measure
//! that does not depend on the machine. Counted are bytes that a search passes, bytes that are
//! moved, and turns of the two loops; a release build counts nothing.

#[cfg(test)]
std::thread_local! {
    static DONE: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// So many bytes were looked at.
#[cfg(test)]
pub(crate) fn count(bytes: usize) {
    DONE.set(DONE.get() + bytes as u64);
}

#[cfg(not(test))]
#[inline(always)]
pub(crate) fn count(_bytes: usize) {}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

    use std::sync::Arc;

    use bytes::Bytes;

    use super::DONE;
    use crate::{
        Action, Checksum, Detector, Mask, Options, Raw, Rule, Rules, RulesBuilder, Scanner, Stream,
        Way,
    };

    fn rules(own: bool) -> Arc<Rules> {
        let mut rule = Rule::new("r", Action::Mask(Mask::Redact))
            .field("ssn")
            .field("password");
        for detector in Detector::ALL {
            rule = rule.detector(detector);
        }
        if own {
            rule = rule.own_detector("staff", r"\b[A-Z]{2}-\d{3,5}\b", Checksum::None);
        }
        Arc::new(RulesBuilder::new().rule(rule).build().unwrap())
    }

    /// How much is looked at for each byte of `text`, which comes in pieces of 8 KiB.
    fn work(rules: &Arc<Rules>, text: &str) -> u64 {
        work_in_pieces(rules, text, 8192)
    }

    fn work_in_pieces(rules: &Arc<Rules>, text: &str, size: usize) -> u64 {
        DONE.set(0);
        let options = Options::default();
        let mut scanner = Scanner::new(Arc::clone(rules), options).with_way(Way::Bytes);
        for piece in text.as_bytes().chunks(size) {
            scanner.feed(Stream::Stdout, Raw::new(Bytes::copy_from_slice(piece)));
            while scanner.next_step().is_some() {}
        }
        scanner.end();
        DONE.get() / text.len() as u64
    }

    /// One line, 100,000 columns, any depth: four times as much takes four times the work, and
    /// each byte is looked at a bounded number of times.
    #[test]
    fn work_is_linear() {
        let heads = [
            ("", "x"),
            ("", "a,"),
            ("", "["),
            ("", "\""),
            ("", "="),
            ("", ":"),
            ("", "<a "),
            ("", "4111 "),
            ("", "a@"),
            ("", "a."),
            ("", " | "),
            ("", "ssn "),
            ("", "AB-1 "),
            ("", "x\n"),
            ("", "ssn: x "),
            ("", "some_column,"),
            ("", "{\"ssn\":[1],"),
            ("{\"ssn\":", "["),
            ("{\"ssn\":", "[1,"),
            ("{\"ssn\":\"", "x"),
            ("password=", "x1"),
            ("id,ssn,c\n1,2,", "x"),
            ("id|ssn|c\n", "1|2|3|4|"),
            ("id|ssn|c\n", "1|2|3\n"),
            ("id,ssn,c\n1,2,\"", "a,\"\""),
            (" id | ssn | c\n----+-----+---\n 1 | 2 | ", "x "),
            ("NAME   SSN   AGE\njoe   ", "x  "),
            ("-[ RECORD 1 ]\nssn | ", "x"),
            ("<ssn>", "x1 "),
            ("INSERT INTO t (", "some_column, "),
            ("INSERT INTO t (id, ssn) VALUES (", "1, "),
            ("INSERT INTO t (id, ssn) VALUES ", "(1, 'a'), "),
            ("[\"ssn\"]=>\nstring(99999999) \"", "x\n"),
            ("ssn: |\n", "  x\n"),
            ("data:\n  a: ", "QUJD"),
        ];
        let mut over = Vec::new();
        for own in [false, true] {
            let rules = rules(own);
            for (head, tail) in heads {
                let text = |size: usize| format!("{head}{}", tail.repeat(size / tail.len()));
                let (short, long) = (work(&rules, &text(1 << 18)), work(&rules, &text(1 << 20)));
                if long > short + short / 4 + 2 || long > MOST {
                    over.push((head, tail, own, short, long));
                }
            }
        }
        assert!(over.is_empty(), "{over:#?}");
    }

    /// A value that is not whole is not looked at from its beginning for each piece.
    #[test]
    fn small_pieces_cost_no_more() {
        let rules = rules(false);
        for (head, tail) in [
            ("{\"ssn\":\"", "x"),
            ("INSERT INTO t (id, ssn) VALUES (1, '", "x"),
            ("INSERT INTO t (id, ssn) VALUES (1, '", "some text\n"),
            ("INSERT INTO t (id, ssn) VALUES ('", "it''s "),
        ] {
            let text = format!("{head}{}", tail.repeat((1 << 15) / tail.len()));
            let done = work_in_pieces(&rules, &text, 16);
            assert!(done <= MOST, "{head}{tail}: {done}");
        }
    }

    /// A line of 10 MiB costs for each byte what a short one does.
    #[test]
    fn ten_mebibytes_in_one_line_cost_no_more() {
        let rules = rules(false);
        for tail in ["word ", "{\"id\":1,\"ssn\":\"131-45-1438\"},", "1,"] {
            let text = |size: usize| tail.repeat(size / tail.len());
            let (short, long) = (work(&rules, &text(1 << 16)), work(&rules, &text(10 << 20)));
            assert!(long <= short + short / 4 + 2, "{tail}: {short} {long}");
        }
    }

    /// How often a byte is looked at, at most.
    const MOST: u64 = 64;
}
