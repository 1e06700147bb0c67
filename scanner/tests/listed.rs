//! Lists of a name and its value, as tables, frames and logs print them.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use scanner::{Action, Mask, Options, Rule, Rules, RulesBuilder};

fn rules() -> Arc<Rules> {
    let names = ["ssn", "password", "phone", "token"];
    let fields = Rule::new("fields", Action::Mask(Mask::Redact));
    let fields = names.iter().fold(fields, |rule, name| rule.field(*name));
    Arc::new(RulesBuilder::new().rule(fields).build().unwrap())
}

/// Each text becomes the other one, however it is cut; in a terminal, too.
fn become_of(cases: &[(&str, &str)]) {
    let ordinary = "ordinary words, so that the line is read in blocks of many bytes each\n";
    for (text, out) in cases {
        for pty in [false, true] {
            let options = Options { pty };
            for size in [1, 2, 7, 64, 1000] {
                let got = support::scan(rules(), options, text, size);
                assert_eq!(String::from_utf8(got).unwrap(), *out, "{text} by {size}");
            }
            let long = format!("{0}\n{text}\n{0}", ordinary.repeat(12));
            let got = support::scan(rules(), options, &long, 1 << 16);
            let want = format!("{0}\n{out}\n{0}", ordinary.repeat(12));
            assert_eq!(String::from_utf8(got).unwrap(), want, "{text}");
        }
    }
}

#[test]
fn a_header_says_that_values_come() {
    become_of(&[
        (
            "+----------+------------+\n| Field    | Value      |\n+----------+------------+\n\
             | name     | ada        |\n| password | correct    |\n| city     | Lund south |\n\
             | ssn      | text       |\n+----------+------------+\n",
            "+----------+------------+\n| Field    | Value      |\n+----------+------------+\n\
             | name     | ada        |\n| password | *******    |\n| city     | Lund south |\n\
             | ssn      | ****       |\n+----------+------------+\n",
        ),
        (
            "| Property | Value |\n|---|---|\n| Password | horse |\n| City | Lund |\n",
            "| Property | Value |\n|---|---|\n| Password | ***** |\n| City | Lund |\n",
        ),
        (
            "   name   | setting\n----------+---------\n password | horse\n city     | Lund\n(2 rows)\n",
            "   name   | setting\n----------+---------\n password | *****\n city     | Lund\n(2 rows)\n",
        ),
        (
            "Key         Value\n---         -----\ncity        Lund token\npassword    battery staple\n\
             username    app\n",
            "Key         Value\n---         -----\ncity        Lund token\npassword    **************\n\
             username    app\n",
        ),
    ]);
    // Other headers say nothing of the kind.
    for text in [
        "+----------+-------------+\n| Command  | Description |\n+----------+-------------+\n\
         | login    | Sign in     |\n| password | Change it   |\n| phone    | Call        |\n\
         +----------+-------------+\n",
        "+----------+---------+\n| Column   | Type    |\n+----------+---------+\n\
         | password | text    |\n| phone    | text    |\n+----------+---------+\n",
        "Key         Value\n---         -----\ncity        Lund\n\npassword    change it\n",
    ] {
        become_of(&[(text, text)]);
    }
}

#[test]
fn a_box_has_a_line_under_each_row() {
    become_of(&[(
        "+----------+---------+\n| id       | 1       |\n+----------+---------+\n\
         | name     | ada     |\n+----------+---------+\n| password | correct |\n\
         +----------+---------+\n| phone    | horse   |\n+----------+---------+\n\
         | city     | Lund    |\n+----------+---------+\n",
        "+----------+---------+\n| id       | 1       |\n+----------+---------+\n\
         | name     | ada     |\n+----------+---------+\n| password | ******* |\n\
         +----------+---------+\n| phone    | *****   |\n+----------+---------+\n\
         | city     | Lund    |\n+----------+---------+\n",
    )]);
}

#[test]
fn values_stand_below_each_other() {
    become_of(&[
        // pandas prints a row so, and another one below it.
        (
            "id                     1\nssn             AB1-02-9\nphone       555 01 Ab Cd\n\
             city          Lund south\nName: 0, dtype: object\n\
             id                     2\nssn             AB1-02-9\nphone       555 01 Ab Cd\n\
             city          Lund south\nName: 1, dtype: object\n",
            "id                     1\nssn             ********\nphone       ************\n\
             city          Lund south\nName: 0, dtype: object\n\
             id                     2\nssn             ********\nphone       ************\n\
             city          Lund south\nName: 1, dtype: object\n",
        ),
        (
            "name   ada\nphone  Ab555 0101\ncity   Lund\nssn    AB1-2\n",
            "name   ada\nphone  **********\ncity   Lund\nssn    *****\n",
        ),
        // What looks like a header may be none.
        (
            "phone  Ab555 Ab0101\nssn    AB1-02-9\n",
            "phone  Ab555 Ab0101\nssn    ********\n",
        ),
    ]);
    let help = "  login       Log in to a registry\n  password    Change your password\n  \
                logout      Log out from a registry\n";
    become_of(&[(help, help)]);
}

#[test]
fn an_empty_value_takes_none_of_the_next_field() {
    become_of(&[
        (
            "level=info user=ada password= city=\"Lund south\" ssn=AB1\n",
            "level=info user=ada password= city=\"Lund south\" ssn=***\n",
        ),
        (
            "msg=\"signed in\" password= phone= token=Ab1 city=Lund\n",
            "msg=\"signed in\" password= phone= token=*** city=Lund\n",
        ),
        // A blank behind the sign, and no field before it.
        ("password= a=b\n", "password= \"***\"\n"),
        (
            "[name] => ada\n[phone] => \n[city] => Lund\n[token] =>\n)\nx\n",
            "[name] => ada\n[phone] => \n[city] => Lund\n[token] =>\n)\nx\n",
        ),
        (
            "[phone] => \nAb1\n[city] => Lund\n",
            "[phone] => \nx**\n[city] => Lund\n",
        ),
    ]);
}

#[test]
fn frames_are_aligned_at_the_right() {
    become_of(&[
        (
            "     name      phone            city\n0     ada     555-01            Lund\n\
             1   bo j.   Ab5-0101  Lund south, it\n2      cy             Lund south, it\n",
            "     name      phone            city\n0     ada     ******            Lund\n\
             1   bo j.   ********  Lund south, it\n2      cy             Lund south, it\n",
        ),
        // Nothing else ends with its header: it may be the rest of a value.
        (
            "phone  x      name\nab      long name\n",
            "phone  x      name\n**      long name\n",
        ),
        (
            "name  phone     city\nada   55  01  north\n",
            "name  phone     city\nada   **  **  *****\n",
        ),
    ]);
}

#[test]
fn what_a_name_is_follows_it() {
    become_of(&[
        ("Your password is: Ab1\n", "Your password is: x**\n"),
        ("The new token is: Ab1 Cd\n", "The new token is: x**\n"),
        (
            "2026 app[1]: your password is: Ab1\n",
            "2026 app[1]: your password is: x**\n",
        ),
        (
            "This is: x\nthe password is long: x\n",
            "This is: x\nthe password is long: x\n",
        ),
    ]);
}

#[test]
fn references_and_parameters_are_no_values() {
    become_of(&[
        (
            "      TOKEN:  <set to the key 'token' in secret 'app'>  Optional: false\n",
            "      TOKEN:  <set to the key 'token' in secret 'app'>  Optional: false\n",
        ),
        (
            "WHERE \"users\".\"ssn\" = $1 LIMIT $2  [[\"ssn\", \"Ab1\"], [\"LIMIT\", 1]]\n",
            "WHERE \"users\".\"ssn\" = $1 LIMIT $2  [[\"ssn\", \"***\"], [\"LIMIT\", 1]]\n",
        ),
        ("\"password\" = $1$ab$cd x\n", "\"password\" = \"***\"\n"),
    ]);
}

#[test]
fn commands_of_redis_have_names_and_values() {
    become_of(&[
        (
            "1.1 [0 127.0.0.1:1] \"hset\" \"user:1\" \"password\" \"Ab1 cd\" \"city\" \"Lund\"\n",
            "1.1 [0 127.0.0.1:1] \"hset\" \"user:1\" \"password\" \"***\" \"city\" \"Lund\"\n",
        ),
        (
            "1.1 [0 127.0.0.1:1] \"set\" \"user:1:password\" \"Ab1\\\"x\"\n",
            "1.1 [0 127.0.0.1:1] \"set\" \"user:1:password\" \"***\"\n",
        ),
        (
            "1.1 [0 127.0.0.1:1] \"hmget\" \"user:1\" \"password\" \"city\"\n",
            "1.1 [0 127.0.0.1:1] \"hmget\" \"user:1\" \"password\" \"city\"\n",
        ),
    ]);
}

/// The title of a box is no row of it.
#[test]
fn a_title_is_no_row() {
    for indent in ["", " ", "    ", "- "] {
        let lines = |value: &str| {
            let rule = "+----+----------+";
            ["| Users |", rule, "| id | password |", rule, value, rule]
                .map(|line| format!("{indent}{line}\n"))
                .concat()
        };
        let text = lines("|  1 | hunter2x |");
        for size in [1, 7, text.len()] {
            let got = support::scan(rules(), Options { pty: false }, &text, size);
            let got = String::from_utf8(got).unwrap();
            assert!(!got.contains("hunter"), "{got}");
        }
    }
}
