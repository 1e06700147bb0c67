//! Reads what a command wrote on standard input and writes what may leave: the scanner as a
//! filter. `scan --policy FILE [--pty] [--explain]`, where FILE is JSON as in
//! `scanner/tests/samples/policy.json`.

#![expect(clippy::disallowed_methods, reason = "an example opens its files")]

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use scanner::{
    Action, Detector, Mask, Options, Raw, Rule, Rules, RulesBuilder, Scanner, Step, Stream,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut policy = None;
    let mut pty = false;
    let mut explain = false;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--policy" => policy = args.next(),
            "--pty" => pty = true,
            "--explain" => explain = true,
            other => return Err(format!("unknown argument {other:?}; try --policy FILE").into()),
        }
    }
    let policy = policy.ok_or("--policy FILE is missing")?;
    let rules = Arc::new(rules(&std::fs::read_to_string(policy)?)?);
    let mut scanner = Scanner::new(Arc::clone(&rules), Options { pty });
    let mut input = io::stdin().lock();
    let mut output = io::stdout().lock();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let size = input.read(&mut buffer)?;
        match size {
            0 => scanner.end(),
            _ => {
                let piece = Bytes::copy_from_slice(buffer.get(..size).unwrap_or_default());
                scanner.feed(Stream::Stdout, Raw::new(piece));
            }
        }
        while let Some(step) = scanner.next_step() {
            if let Step::Pass { bytes, .. } = step {
                output.write_all(bytes.as_bytes())?;
            }
        }
        output.flush()?;
        if explain {
            let mut errors = io::stderr().lock();
            for v in scanner.take_verdicts() {
                let rule = rules.rule_name(v.rule).unwrap_or("?");
                writeln!(
                    errors,
                    "{} {} {} at {}+{}, line {}",
                    rule,
                    v.field,
                    v.format,
                    v.offset,
                    v.length,
                    v.row + 1
                )?;
            }
        }
        if size == 0 {
            return Ok(());
        }
    }
}

/// The rules that a neutral policy in JSON says.
fn rules(json: &str) -> Result<Rules, Box<dyn std::error::Error>> {
    let policy: serde_json::Value = serde_json::from_str(json)?;
    let mut builder = RulesBuilder::new().token_key(b"example key, not a secret");
    for (name, field) in policy
        .get("fields")
        .and_then(|f| f.as_object())
        .into_iter()
        .flatten()
    {
        let mask = field
            .get("mask")
            .and_then(|m| m.as_str())
            .unwrap_or("redact")
            .parse::<Mask>()?;
        let mut rule = Rule::new(name, Action::Mask(mask)).field(name);
        for alias in field
            .get("aliases")
            .and_then(|a| a.as_array())
            .into_iter()
            .flatten()
        {
            rule = rule.field(alias.as_str().unwrap_or_default());
        }
        builder = builder.rule(rule);
    }
    let mut detectors = Rule::new("detectors", Action::Mask(Mask::Redact));
    let mut any = false;
    for name in policy
        .get("detectors")
        .and_then(|d| d.as_array())
        .into_iter()
        .flatten()
    {
        let name = match name.as_str().unwrap_or_default() {
            "credit_card" => "payment-card".to_owned(),
            "aws_access_key" => "aws-key".to_owned(),
            other => other.replace('_', "-"),
        };
        detectors = detectors.detector(name.parse::<Detector>()?);
        any = true;
    }
    if any {
        builder = builder.rule(detectors);
    }
    Ok(builder.build()?)
}
