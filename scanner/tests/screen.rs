//! Screens: what a program paints where it puts the cursor.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use proptest::prelude::*;
use scanner::{
    Action, Detector, Mask, Options, Raw, Rule, Rules, RulesBuilder, Scanner, Step, Stream,
};

fn rules() -> Arc<Rules> {
    static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| {
        let rule = Rule::new("pii", Action::Mask(Mask::Redact))
            .field("ssn")
            .field("salary")
            .detector(Detector::Email);
        Arc::new(RulesBuilder::new().rule(rule).build().unwrap())
    });
    Arc::clone(&RULES)
}

fn scan(text: &str, size: usize) -> String {
    let out = support::scan(rules(), Options { pty: true }, text, size);
    String::from_utf8_lossy(&out).into_owned()
}

/// What leaves of `text` is `want`, in pieces of any size; how it is read, `scan` or `fed`.
fn leaves_as(read: fn(&str, usize) -> String, text: &str, want: &str) {
    for size in [1, 2, 3, 7, 1000] {
        assert_eq!(read(text, size), want, "{size}");
    }
}

const TABLE: &str = " id | salary | city \r\n----+--------+------\r\n  1 |    500 | Rome \r\n";
const MASKED: &str = " id | salary | city \r\n----+--------+------\r\n  1 |    *** | Rome \r\n";

#[test]
fn what_is_painted_in_a_protected_column_is_masked() {
    for (painted, shown) in [
        // One cell, of another row; its last digit alone; the digit that follows.
        ("\x1b[3;10H600", "\x1b[3;10H***"),
        ("\x1b[3;12H7", "\x1b[3;12H*"),
        ("\x1b[3;10H6\x1b[3;11H1", "\x1b[3;10H*\x1b[3;11H*"),
        // The cursor keeps its column when it goes up and down.
        ("\x1b[3;10H600\x1b[3D\x1b[5d", "\x1b[3;10H***\x1b[3D\x1b[5d"),
        ("\x1b[3;9H\x1b[B999", "\x1b[3;9H\x1b[B***"),
        ("\x1b[3;9H\x1b[7d999", "\x1b[3;9H\x1b[7d***"),
        // A row painted cell by cell, with and without separators.
        (
            "\x1b[4;1H  2 \x1b[4;5H|\x1b[4;10H777\x1b[4;14H|\x1b[4;16HOslo",
            "\x1b[4;1H  2 \x1b[4;5H|\x1b[4;10H***\x1b[4;14H|\x1b[4;16HOslo",
        ),
        (
            "\x1b[4;1H  2 |    777 | Oslo",
            "\x1b[4;1H  2 |    *** | Oslo",
        ),
        // Other columns pass, and so does the header.
        ("\x1b[3;3H9\x1b[3;16HBonn", "\x1b[3;3H9\x1b[3;16HBonn"),
        ("\x1b[1;7Hsalary", "\x1b[1;7Hsalary"),
        // What a detector knows is found in any column.
        ("\x1b[9;16Hjoe@example.com", "\x1b[9;16H***************"),
    ] {
        let text = format!("{TABLE}{painted}\r\n");
        leaves_as(scan, &text, &format!("{MASKED}{shown}\r\n"));
    }
}

#[test]
fn a_table_that_is_painted_itself_is_known() {
    let text = "\x1b[1;1H id | ssn \x1b[2;1H----+-----\x1b[3;1H  1 | abc \x1b[3;7Hxyz\x1b[9;1H";
    for size in [1, 4, 1000] {
        let got = scan(text, size);
        assert!(!got.contains("abc") && !got.contains("xyz"), "{got:?}");
        assert!(got.contains(" id | ssn "), "{got:?}");
    }
}

/// What has left before the output ends.
fn fed(text: &str, size: usize) -> String {
    let mut scanner = Scanner::new(rules(), Options { pty: true });
    let mut out = Vec::new();
    for piece in text.as_bytes().chunks(size) {
        scanner.feed(Stream::Stdout, Raw::new(Bytes::copy_from_slice(piece)));
        while let Some(step) = scanner.next_step() {
            if let Step::Pass { bytes, .. } = step {
                out.extend_from_slice(bytes.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What `less` sends when it begins, and after a table that ends on the first page.
const LESS: &str = "\x1b[?1049h\x1b[22;0;0t\x1b[?1h\x1b=\r";
const END: &str = "(1 row)\r\n\r\n\x1b[7m(END)\x1b[27m\x1b[K";

#[test]
fn rows_that_a_pager_paints_again_stay_masked() {
    for (painted, shown) in [
        // Back by a line: the row stands alone, the prompt leaves at once.
        (
            "\r\x1b[K\x1b[H\x1bM  7 |    900 | Rome \r\n\x1b[12;1H\r\x1b[K:\x1b[K",
            "\r\x1b[K\x1b[H\x1bM  7 |    *** | Rome \r\n\x1b[12;1H\r\x1b[K:\x1b[K",
        ),
        // To another place.
        (
            "\r\x1b[K...skipping...\r\n 70 |  90000 | Oslo \r\n 71 |        | Bonn \r\n:\x1b[K",
            "\r\x1b[K...skipping...\r\n 70 |  ***** | Oslo \r\n 71 |        | Bonn \r\n:\x1b[K",
        ),
        // A window of the row, or the rest of it in the next line; cut at the right.
        (
            "\r\x1b[H\x1b[2J\x1b[H   900 | Rome \r\n  9000 | Bonn \r\n:\x1b[K",
            "\r\x1b[H\x1b[2J\x1b[H   *** | Rome \r\n  **** | Bonn \r\n:\x1b[K",
        ),
        (
            "\r\x1b[K\x1b[H\x1bM  7 |    90\x1b[7m>\x1b[27m\r\n:\x1b[K",
            // The 7 may be the end of a salary.
            "\r\x1b[K\x1b[H\x1bM  * |    **\x1b[7m*\x1b[27m\r\n:\x1b[K",
        ),
        // Text that is no row.
        (
            "\r\x1b[K900 and more\r\n\x1b[H\x1bM(80 rows)\r\n:\x1b[K",
            "\r\x1b[K900 and more\r\n\x1b[H\x1bM(80 rows)\r\n:\x1b[K",
        ),
    ] {
        for size in [1, 3, 1000] {
            let got = fed(&format!("{LESS}{TABLE}{END}{painted}"), size);
            let got = got.replace("\x1b[7m", "").replace("\x1b[27m", "");
            let want = format!("{LESS}{MASKED}{END}{shown}");
            let want = want.replace("\x1b[7m", "").replace("\x1b[27m", "");
            assert_eq!(got, want, "{size}");
        }
    }
}

#[test]
fn rows_of_two_tables_come_back() {
    let other = " id | ssn \r\n----+-----\r\n  1 | abc \r\n(1 row)\r\n\r\n:\x1b[K";
    let back = "\r\x1b[K\x1b[H\x1bM  2 |    900 | Rome \r\n\x1b[H\x1bM  2 | xyz \r\n\x1b[12;1H\r\x1b[K:\x1b[K";
    for size in [1, 5, 1000] {
        let got = fed(&format!("{LESS}{TABLE}{END}\r\x1b[K{other}{back}"), size);
        assert!(
            !got.contains("900") && !got.contains("xyz") && !got.contains("abc"),
            "{got}"
        );
        assert!(got.contains("Rome") && got.ends_with(":\x1b[K"), "{got}");
    }
}

/// Cells that nobody aligned are told by their order: of CSV, of tables with bars, at stops of tabs.
#[test]
fn rows_that_are_not_aligned_come_back() {
    // A search, as `less` echoes its word.
    let search = "/\x1b[KD\x08D\x1b[Ka\x08a\x1b[Kn\x08n\x1b[K\r\x1b[K\x1b[H\x1b[2J\x1b[H";
    let back = "\x1b[7m(END)\x1b[27m\x1b[K\r\x1b[K\x1b[H\x1bM";
    for (header, row, shown) in [
        ("id,ssn,city", "1,x1y2,Lund", "1,****,Lund"),
        ("id;ssn;city", "1;\"x1;y2\";Lund", "1;\"*****\";Lund"),
        ("ssn,city", "x1y2,Lund", "****,Lund"),
        ("id\tssn\tcity", "1\tx1y2\tLund", "1\t****\tLund"),
        ("id|ssn|city", "1|x1y2|Lund", "1|****|Lund"),
        ("|id |ssn |city", "|1 |x1y2 |Lund", "|1 |**** |Lund"),
        ("id | ssn | city", "17 | x1y2 | Lund", "17 | **** | Lund"),
        (
            "| id | ssn | city |\r\n|---|---|---|",
            "| 17 | x1y2z3 | Lund |",
            "| 17 | ****** | Lund |",
        ),
        (
            "id      ssn     city",
            "1       x1y2z3x1y2      Lund",
            "1       **********      Lund",
        ),
    ] {
        for between in [search, back, "\r\n\r\n", "a word\r\n".repeat(9).as_str()] {
            // What is typed there stands under a column.
            if between == search && header.contains("  ") {
                continue;
            }
            let whole = |row: &str| {
                let rows = format!("{row}\r\n{row}\r\n");
                format!("{LESS}{header}\r\n{rows}{between}{rows}:\x1b[K")
            };
            leaves_as(fed, &whole(row), &whole(shown));
        }
    }
}

/// Rows that are cut at the right, or begin in any column: `less -S`.
#[test]
fn parts_of_rows_that_are_not_aligned_stay_masked() {
    for (header, rows, shown) in [
        (
            "id,ssn,city,mail",
            "1,x1y2,Lund>\r\n2,x3y4,Ro>\r\n",
            "1,****,Lund>\r\n*,****,Ro>\r\n",
        ),
        (
            "| id | ssn | city |\r\n|---|---|---|",
            "| 1 | x1y2z3x1 | L>\r\n1y2z3 | Newport News |\r\n",
            "| * | ******** | L>\r\n***** | ************ |\r\n",
        ),
    ] {
        let whole = |rows: &str| format!("{LESS}{header}\r\n:\x1b[K\r\x1b[K{rows}");
        leaves_as(fed, &whole(rows), &whole(shown));
    }
}

/// An editor, in which no line waits.
#[test]
fn rows_of_csv_in_an_editor_stay_masked() {
    let start = "\x1b[?1049h\x1b[1;24r\x1b[H\x1b[2J";
    let search = "\x1b[24;1H/\x1b[24;2HDan\r\x1b[1;1H\x1b[H\x1b[2J";
    for (header, row, shown) in [
        ("id,ssn,city", "1,x1y2,Lund", "1,****,Lund"),
        ("ssn,city", "x1y2,Lund", "****,Lund"),
    ] {
        let whole = |row: &str| {
            format!("{start}{header}\r\n{row}\r\n\r\n{search}{row}\x1b[2;1H{row}\x1b[9;1H")
        };
        leaves_as(fed, &whole(row), &whole(shown));
    }
}

/// `more` writes a row over its prompt.
#[test]
fn a_row_over_a_prompt_is_masked() {
    let table = "NAME   SALARY   CITY\r\njoe    500      Rome\r\n";
    let masked = "NAME   SALARY   CITY\r\njoe    ***      Rome\r\n";
    for prompt in ["--More--(18%)\r", "--More--(18%)\r             \r", "abc\r"] {
        let text = format!("{table}{prompt}eve    700      Oslo\r\n");
        let want = format!("{masked}{prompt}eve    ***      Oslo\r\n");
        leaves_as(scan, &text, &want);
    }
}

/// A shell in a multiplexer, whose screen is the alternate one all day.
#[test]
fn a_prompt_on_the_alternate_screen_leaves_at_once() {
    let start = "\x1b[?1049h\x1b[1;24r\x1b[H";
    for prompt in ["db=> ", "user@host:~$ ", "> "] {
        let got = fed(&format!("{start}{TABLE}(1 row)\r\n\r\n{prompt}"), 7);
        assert!(got.ends_with(prompt), "{got}");
    }
}

/// A window of a table whose columns are all alike, where only one of them is protected, and one
/// that a line shows at one place alone.
#[test]
fn a_window_of_a_wide_table_stays_masked() {
    for (width, name) in [(6, "salary"), (9, "salary")] {
        let mut names = vec![format!("{:<width$}", "c"); 120];
        names.push(format!("{name:<width$}"));
        names.extend(vec![format!("{:<width$}", "d"); 30]);
        let row: Vec<String> = (0..151).map(|k| format!("{:>width$}", 500 + k)).collect();
        let rule = vec!["-".repeat(width + 2); 151].join("+");
        let head = names.join(" | ");
        let row = row.join(" | ");
        let table = format!(" {head} \r\n{rule}\r\n {row} \r\n");
        let at = row.find("620").unwrap();
        let window = row.get(at - 30..at + 40).unwrap();
        for size in [1000, 100_000] {
            let out = scan(&format!("{LESS}{table}\x1b[5;1H{window}\r\n:\x1b[K"), size);
            assert!(!out.contains("620"), "{size}: {out}");
        }
    }
}

/// What a pager asks is told by the erasure behind it, also where the line ends there.
#[test]
fn a_question_and_the_end_of_its_line_may_be_cut_apart() {
    let text = format!("\x1bMNAME   SALARY   CITY\r\n:\x1b[K\r{TABLE}");
    let want = scan(&text, usize::MAX);
    assert!(want.ends_with(MASKED), "{want:?}");
    leaves_as(scan, &text, &want);
}

/// A row that broke off says nothing of the rows under a header that is painted then.
#[test]
fn a_header_that_is_painted_begins_a_table() {
    let before = "x| id | ssn \n----+-----\n id | ssn \n----+-----\n\x1b[3;10H ";
    let text = format!("{before}{TABLE}");
    leaves_as(scan, &text, &scan(&text, usize::MAX));
}

/// Under a table, where a line turns out to be no row after its beginning has left.
#[test]
fn a_name_and_its_value_under_a_table_are_read_as_text() {
    for (line, shown) in [
        ("ssn\x1b[2C131-45-1438", "ssn\x1b[2C***********"),
        ("ssn  x1", "ssn  **"),
        ("ssn: a b c", "ssn: x**"),
    ] {
        let text = format!("{TABLE}{line}\r\n");
        leaves_as(scan, &text, &format!("{MASKED}{shown}\r\n"));
    }
}

#[test]
fn what_is_painted_between_spaces_is_masked() {
    let table = "NAME   SALARY   CITY\r\njoe    500      Rome\r\n";
    let got = scan(&format!("{table}\x1b[2;8H600\x1b[2;17HOslo\x1b[9;1H"), 3);
    assert!(!got.contains("600") && got.contains("Oslo"), "{got}");
}

/// A value that is painted in pieces, in the pieces that come after the cursor went away.
#[test]
fn a_value_that_is_put_together_on_the_screen_is_masked() {
    let rule = Rule::new("pii", Action::Mask(Mask::Redact))
        .field("ssn")
        .detector(Detector::UsSsn)
        .detector(Detector::Email);
    let rules = Arc::new(RulesBuilder::new().rule(rule).build().unwrap());
    for (painted, shown) in [
        // The cursor stands there already, or a blank before.
        (
            "\x1b[5;10H131\x1b[5;13H-45-1438",
            "\x1b[5;10H***\x1b[5;13H********",
        ),
        (
            "\x1b[5;10Hssn:\x1b[5;15Hx1y2",
            "\x1b[5;10Hssn:\x1b[5;15H****",
        ),
        // From its end to its beginning, and around its middle.
        (
            "\x1b[5;13H-45-1438\x1b[5;10H131",
            "\x1b[5;13H-45-1438\x1b[5;10H***",
        ),
        (
            "\x1b[5;10H131\x1b[5;17H1438\x1b[6;1H \x1b[5;13H-45-",
            "\x1b[5;10H131\x1b[5;17H1438\x1b[6;1H \x1b[5;13H****",
        ),
        // What `watch` and `vi` paint of it again: one digit, two after going back, its rest.
        (
            "\x1b[H\x1b[2Jof 131-45-1438\x1b[24;80H\x1b[1;14H9\x1b[24;80H",
            "\x1b[H\x1b[2Jof ***********\x1b[24;80H\x1b[1;14H*\x1b[24;80H",
        ),
        (
            "\x1b[4;1H131-45-1438\x1b[9d\x1b[4d\x08\x0899",
            "\x1b[4;1H***********\x1b[9d\x1b[4d\x08\x08**",
        ),
        (
            "\x1b[4;1H131-45-1438\r\n\x1b[A\x1b[5C5-1499",
            "\x1b[4;1H***********\r\n\x1b[A\x1b[5C******",
        ),
        // Blanks are taken out, a row scrolls, the cursor is saved.
        (
            "\x1b[4;1H131  -45\x1b[4;4H\x1b[2P\x1b[4;7H-1438",
            "\x1b[4;1H131  -45\x1b[4;4H\x1b[2P\x1b[4;7H*****",
        ),
        (
            "\x1b[1;9r\x1b[3;1H131-45-1438\x1b[9;1H\n\x1b[2;11H9",
            "\x1b[1;9r\x1b[3;1H***********\x1b[9;1H\n\x1b[2;11H*",
        ),
        (
            "\x1b[3;1H131-45-143\x1b7\x1b[9;1Hx\x1b88",
            "\x1b[3;1H131-45-143\x1b7\x1b[9;1Hx\x1b8*",
        ),
        // A name and what stands behind it, with other things in between; what was erased.
        (
            "\x1b[5;3Hssn:\x1b[7;1H[ OK ]\x1b[5;20Hx1y2",
            "\x1b[5;3Hssn:\x1b[7;1H[ OK ]\x1b[5;20H****",
        ),
        (
            "\x1b[5;3H131\x1b[5;1H\x1b[K\x1b[5;6H-45-1438",
            "\x1b[5;3H131\x1b[5;1H\x1b[K\x1b[5;6H-45-1438",
        ),
        (
            "\x1b[5;10H131\x1b[6;13H-45-1438\x1b[7;1Hjoe\x1b[8;4H@example.com",
            "\x1b[5;10H131\x1b[6;13H-45-1438\x1b[7;1Hjoe\x1b[8;4H@example.com",
        ),
        (
            "\x1b[7;4H@example.com\x1b[7;1Hjoe",
            "\x1b[7;4H@example.com\x1b[7;1H***",
        ),
        // The screen is another one.
        (
            "\x1b[?1049h\x1b[5;10H131\x1b[?1049l\x1b[5;13H-45-1438",
            "\x1b[?1049h\x1b[5;10H131\x1b[?1049l\x1b[5;13H-45-1438",
        ),
    ] {
        for size in [1, 2, 7, 1000] {
            let text = format!("{painted}\x1b[9;1H");
            let got = support::scan(Arc::clone(&rules), Options { pty: true }, &text, size);
            let got = String::from_utf8_lossy(&got).into_owned();
            assert_eq!(got, format!("{shown}\x1b[9;1H"), "{size}");
        }
    }
}

/// `watch -n1 psql …`: ncurses moves over blanks, and paints what changes.
#[test]
fn a_table_in_watch_stays_masked() {
    let text = "\x1b[?1049h\x1b[22;0;0t\x1b[1;24r\x1b(B\x1b[m\x1b[4l\x1b[?7h\x1b[H\x1b[2J\
        Every 1.0s: psql\x1b[1;53Hvm: Thu Nov 26 10:18:09 2026\
        \x1b[3;2Hid |  name  | salary | city\x1b[4d\x08----+--------+--------+------\
        \x1b[5;3H1 | Ada    | 550697 | Lund\x1b[6;3H2 | Miyata | 889018 | Rome\
        \x1b[7;1H(2 rows)\x1b[24;80H\x1b[1;74H10\x1b[5;20H711\x1b[24;80H";
    for size in [1, 3, 1000] {
        let got = scan(text, size);
        for value in ["550697", "889018", "711"] {
            assert!(!got.contains(value), "{size}: {got:?}");
        }
        assert!(got.contains("Miyata") && got.contains("Rome"), "{got:?}");
    }
}

/// What is typed behind a name, on a line or into a field of a screen, is shown at once; not what
/// the target began to say itself.
#[test]
fn typed_keys_behind_a_name_are_shown() {
    for (before, keys, shown) in [
        (
            "\x1b[2J\x1b[5;3Hssn:\x1b[7;1H<OK>\x1b[5;20H",
            "131",
            "\x1b[5;20H131",
        ),
        ("ssn: ", "131", "ssn: 131"),
        ("to joe@examp", "le.com", "to "),
        ("ssn: 131-45-143", "8", "ssn: "),
    ] {
        let got = typed(before, keys);
        assert!(got.ends_with(shown), "{got:?}");
    }
}

/// What has left where the target echoes `keys`, which come one by one.
fn typed(before: &'static str, keys: &'static str) -> String {
    let mut scanner = Scanner::new(rules(), Options { pty: true });
    let mut shown = Vec::new();
    let mut feed = |scanner: &mut Scanner, text: &'static [u8]| {
        scanner.feed(Stream::Stdout, Raw::new(Bytes::from_static(text)));
        while let Some(step) = scanner.next_step() {
            if let Step::Pass { bytes, .. } = step {
                shown.extend_from_slice(bytes.as_bytes());
            }
        }
    };
    feed(&mut scanner, before.as_bytes());
    for key in keys.as_bytes().chunks(1) {
        scanner.typed(key);
        feed(&mut scanner, key);
    }
    String::from_utf8_lossy(&shown).into_owned()
}

fn cases() -> u32 {
    std::env::var("LAWS_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(3000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    /// Neither do cuts show on a screen.
    #[test]
    fn cuts_do_not_show(
        parts in prop::collection::vec(prop::sample::select(vec![
            TABLE, " id | ssn \n----+-----\n", "| id | ssn |\n+----+-----+\n", "\x1b[3;10H", "\x1b[1;1H", "\x1b[B", "\x1b[5d", "\x1b[9G",
            "\x1b[2C", "\x1b[K", "\x1b[H", "\r", "\n", "\r\n", " ", "|", " | ", "500", "x", "ssn", "salary", ":", "joe@example.com", "宮",
            "\x08", "\x1b[?1049l", "\x1bM", "\x1b[1;9r", "\x1b>", "(1 row)\r\n\r\n", ":\x1b[K", "  1 |    500 | Rome ", "500 | Rome ", "NAME   SALARY   CITY\r\n", "joe    500      Rome", "131-45-1438", "=", "\"", "{", "\x1b[?1049h", "\x1b[4b",
            "\x1b[3;7H", "\x1b[3d", "\x1b[2D", "\x1b[2X", "\x1b[P", "\x1b[3@", "\x1b[1K", "\x1b[2J", "\x1b[L", "\x1b[M", "\x1bD", "\x1b7", "\x1b8", "\x1b[A", "\t", "ssn: ", "131-", "45-1438", "joe", "@example.com",
        ]), 0..24),
        size in 1..9usize,
    ) {
        let text = parts.concat();
        prop_assert_eq!(scan(&text, size), scan(&text, usize::MAX));
    }
}
