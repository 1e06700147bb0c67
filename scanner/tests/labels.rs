//! Names that stand apart from their values: in markup, above them, in a comment's way.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;

use scanner::{Action, Mask, Options, Rule, Rules, RulesBuilder};

fn rules() -> Arc<Rules> {
    let rule = Rule::new("r", Action::Mask(Mask::Redact))
        .field("ssn")
        .field("password");
    Arc::new(RulesBuilder::new().rule(rule).build().unwrap())
}

fn scan(text: &str, pty: bool, size: usize) -> String {
    String::from_utf8(support::scan(rules(), Options { pty }, text, size)).unwrap()
}

#[track_caller]
fn gives(text: &str, out: &str) {
    for size in 1..text.len() {
        assert_eq!(scan(text, false, size), out, "in pieces of {size}");
    }
    let (text, out) = (text.replace('\n', "\r\n"), out.replace('\n', "\r\n"));
    for (pty, size) in [
        (false, 1),
        (false, text.len()),
        (true, 1),
        (true, text.len()),
    ] {
        assert_eq!(scan(&text, pty, size), out, "{pty}, in pieces of {size}");
    }
}

/// Elements around a name, or around a name and its colon.
#[test]
fn markup_may_stand_between_a_name_and_its_value() {
    for (text, out) in [
        (
            "<p><b>Password:</b> x1 x2</p>\n<p>x3</p>\n",
            "<p><b>Password:</b> ***</p>\n<p>x3</p>\n",
        ),
        (
            "<li><strong>SSN</strong>: x1</li><li>x3</li>\n",
            "<li><strong>SSN</strong>: ***</li><li>x3</li>\n",
        ),
        (
            "<b>SSN</b> : <i>x1</i>, <i>x3</i>\n",
            "<b>SSN</b> : <i>***</i>, <i>x3</i>\n",
        ),
        (
            "<label for=\"p\">Password:</label>&nbsp;<br> x1\nx3\n",
            "<label for=\"p\">Password:</label>&nbsp;<br> ***\nx3\n",
        ),
        (
            "<div class=\"form-label\">SSN</div>\n  <div>x1</div> <div>x3</div>\n",
            "<div class=\"form-label\">SSN</div>\n  <div>***</div> <div>x3</div>\n",
        ),
        (
            "<span class=key>ssn</span> is <b>x3</b>\n",
            "<span class=key>ssn</span> is <b>x3</b>\n",
        ),
        (
            "<map><entry>\n  <string>ssn</string>\n  <string>x1</string>\n</entry><entry><string>city</string><string>x3</string></entry></map>\n",
            "<map><entry>\n  <string>ssn</string>\n  <string>***</string>\n</entry><entry><string>city</string><string>x3</string></entry></map>\n",
        ),
        (
            "<list><string>ssn</string><string>x3</string></list> <b>SSN</b> <b>x3</b>\n",
            "<list><string>ssn</string><string>x3</string></list> <b>SSN</b> <b>x3</b>\n",
        ),
        (
            "{\"a\":\"<b>Password:</b> x1\",\"b\":\"x3<br>\",\"c\":\"<b>SSN:</b> x2\\n<i>x3</i>\"}\n",
            "{\"a\":\"<b>Password:</b> ***\",\"b\":\"x3<br>\",\"c\":\"<b>SSN:</b> ***\\n<i>x3</i>\"}\n",
        ),
    ] {
        gives(text, out);
    }
}

/// Lines that say what stands in those below them.
#[test]
fn a_line_above_may_name_a_value() {
    for (text, out) in [
        // INI and TOML.
        (
            "[a]\nvalue = x3\n[db.password]\nvalue = \"x1\"\n# c\n\nold=x2\n[b]\nvalue = x3\n",
            "[a]\nvalue = x3\n[db.password]\nvalue = \"***\"\n# c\n\nold=***\n[b]\nvalue = x3\n",
        ),
        // Terraform.
        (
            "variable \"db_password\" {\n  type    = string\n  default = \"x1\"\n}\nvariable \"city\" {\n  default = \"x3\"\n}\noutput \"ssn\" { value = \"x2\" }\n",
            "variable \"db_password\" {\n  type    = string\n  default = \"***\"\n}\nvariable \"city\" {\n  default = \"x3\"\n}\noutput \"ssn\" { value = \"***\" }\n",
        ),
        // YAML.
        (
            "a:\n  ? ssn\n  : x1\n  ? \"password\"\n  # c\n  : \"x2\"\n  b: x3\n? city\n: x3\n",
            "a:\n  ? ssn\n  : x**\n  ? \"password\"\n  # c\n  : \"***\"\n  b: x3\n? city\n: x3\n",
        ),
        // pydantic.
        (
            "2 validation errors for User\nuser.ssn\n  Input is bad [type=int, input_value='x1 x2', input_type=str]\ncity\n  Input is bad [type=int, input_value='x3', input_type=str]\n",
            "2 validation errors for User\nuser.ssn\n  Input is bad [type=int, input_value='***', input_type=str]\ncity\n  Input is bad [type=int, input_value='x3', input_type=str]\n",
        ),
    ] {
        gives(text, out);
    }
}

/// Comments, quotes of all kinds, and other colons.
#[test]
fn little_may_stand_between_a_name_and_its_value() {
    for (text, out) in [
        (
            "{\"ssn\": /* a */ \"x1\", \"password\":/**/12, \"b\": /* c */ \"x3\"}\n",
            "{\"ssn\": /* a */ \"***\", \"password\":/**/\"***\", \"b\": /* c */ \"x3\"}\n",
        ),
        (
            "{\n  \"ssn\": // a\n    \"x1\",\n  \"b\": \"x3\"\n}\n",
            "{\n  \"ssn\": // a\n    \"***\",\n  \"b\": \"x3\"\n}\n",
        ),
        (
            "my ssn: “x1 x2” and “password”: „x1 x2“, city: “x3”\n",
            "my ssn: “***” and “password”: „***“, city: “x3”\n",
        ),
        (
            "name：x3 ssn：x1\nssn：x2\n",
            "name：x3 ssn：***\nssn：***\n",
        ),
        (
            "password='x1'\"x2\"\\'x4 a='x3' password=\"x1\"'x2';b\n",
            "password='***'*** a='x3' password=\"***\"***;b\n",
        ),
    ] {
        gives(text, out);
    }
}
