//! The `sql` command as a program: its name, its options, its statuses.
#![expect(clippy::unwrap_used, reason = "a failed test")]

use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        demo::sql::data::create(&folder.path().join("shop.db")).unwrap();
        symlink(env!("CARGO_BIN_EXE_demo"), folder.path().join("sql")).unwrap();
        Self(folder)
    }

    fn sql(&self, words: &[&str], stdin: &str) -> Output {
        let mut child = Command::new(self.0.path().join("sql"))
            .args(words)
            .env_clear()
            .env("HOME", self.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(stdin.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    }

    fn prints(&self, words: &[&str], stdin: &str, expected: &str) {
        let seen = self.sql(words, stdin);
        let out = String::from_utf8(seen.stdout).unwrap();
        let err = String::from_utf8(seen.stderr).unwrap();
        assert_eq!((out.as_str(), err.as_str()), (expected, ""), "{words:?}");
        assert_eq!(seen.status.code(), Some(0), "{words:?}");
    }
}

#[test]
fn formats() {
    let home = Home::new();
    let query = "select id, employee, bonus from payroll where id in (2, 3)";
    home.prints(
        &[query],
        "",
        concat!(
            " id |    employee     | bonus \n",
            "----+-----------------+-------\n",
            "  2 | Ben Castell     |  1900\n",
            "  3 | Clara Johansson |      \n",
            "(2 rows)\n\n"
        ),
    );
    home.prints(
        &["-At", query],
        "",
        "2|Ben Castell|1900\n3|Clara Johansson|\n",
    );
    home.prints(
        &["-AtF", ";", query],
        "",
        "2;Ben Castell;1900\n3;Clara Johansson;\n",
    );
    home.prints(
        &["--csv", query],
        "",
        "id,employee,bonus\n2,Ben Castell,1900\n3,Clara Johansson,\n",
    );
    home.prints(
        &["--json", query],
        "",
        concat!(
            "[{\"id\":2,\"employee\":\"Ben Castell\",\"bonus\":1900},\n",
            "{\"id\":3,\"employee\":\"Clara Johansson\",\"bonus\":null}]\n"
        ),
    );
}

#[test]
fn statements_from_everywhere() {
    let home = Home::new();
    let script = "\\dt\ncreate table t (a);\ninsert into t values (1), (2);\nupdate t set a = 3;\n\
                  select *\nfrom t;\ndelete from t where a = 3; select count(*) from t";
    let expected =
        "customers\norders\npayroll\nCREATE TABLE\nINSERT 0 2\nUPDATE 2\n3\n3\nDELETE 2\n0\n";
    home.prints(&["-At"], script, expected);
    home.prints(
        &["-At", "-c", "select 1", "-c", "select 2; select 3"],
        "",
        "1\n2\n3\n",
    );
    let file = home.0.path().join("f.sql");
    std::fs::write(&file, "select x'00ff' as bytes").unwrap();
    home.prints(&["-Atf", file.to_str().unwrap()], "", "\\x00ff\n");
    home.prints(&["-At"], "\\d payroll\n", "id|integer\nemployee|text\ntitle|text\nmanager|text\nsalary|integer\nbonus|integer\niban|text\n");
}

#[test]
fn mistakes_have_one_line_and_a_status() {
    let home = Home::new();
    let table: [(&[&str], &str, i32, &str); 5] = [
        (&["select * from nowhere"], "", 1, "ERROR:  no such table"),
        (&[], "select 1 +;\nselect 2;\n", 1, "ERROR:  "),
        (
            &["-d", "/nowhere/x.db", "select 1"],
            "",
            1,
            "ERROR:  cannot open /nowhere/x.db",
        ),
        (&["--csv", "--json", "select 1"], "", 2, "error: "),
        (&[], "\\x\n", 1, "ERROR:  unknown command"),
    ];
    for (words, stdin, status, line) in table {
        let seen = home.sql(words, stdin);
        let err = String::from_utf8(seen.stderr).unwrap();
        assert_eq!(seen.status.code(), Some(status), "{words:?} {err}");
        assert!(err.starts_with(line), "{words:?} {err}");
        assert_eq!(seen.stdout, b"", "{words:?}");
    }
}
