//! Captured outputs of real tools, scanned by the example filter and judged by `samples/judge.py`.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::disallowed_methods)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The filter, which cargo builds beside the tests.
fn filter() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let target = exe.parent().and_then(Path::parent).unwrap();
    let filter = target.join("examples").join("scan");
    assert!(
        filter.exists(),
        "build it first: cargo build --release -p scanner --examples"
    );
    filter
}

/// The judge's report over the cases in `folder`.
fn judge(folder: &str, more: &[&str]) -> String {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let output = Command::new("python3")
        .arg(tests.join("samples/judge.py"))
        .args(["--verbose", "--cases"])
        .arg(tests.join(folder))
        .args(more)
        .arg("--")
        .arg(filter())
        .arg("--policy")
        .arg(tests.join("samples/policy.json"))
        .arg("{pty}")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report = String::from_utf8(output.stdout).unwrap();
    eprintln!("{report}");
    report
}

/// The number that follows `name` in the report's last lines.
fn figure(report: &str, name: &str) -> f64 {
    let after = report.rsplit_once(name).unwrap().1.trim_start();
    after
        .split(|c: char| c != '.' && !c.is_ascii_digit())
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn nothing_leaks_in_the_samples() {
    let report = judge("samples/cases", &[]);
    assert_eq!(figure(&report, "leaks "), 0.0);
    assert_eq!(figure(&report, "split-variant "), 0.0);
    assert_eq!(figure(&report, "late "), 0.0);
    assert!(figure(&report, "SCORE ") >= 97.0);
}

/// Our own captures. Those that are marked hard are known to leak and are only counted.
#[test]
fn nothing_leaks_in_our_own_captures() {
    let json = std::env::temp_dir().join(format!("scanner-cases-{}.json", std::process::id()));
    let report = judge(
        "cases",
        &[
            "--chunkings",
            "whole,odd,byte",
            "--json",
            json.to_str().unwrap(),
        ],
    );
    let results: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    std::fs::remove_file(&json).unwrap();
    assert_eq!(figure(&report, "split-variant "), 0.0);
    for case in results.as_array().unwrap() {
        let hard = case.get("hard").unwrap().as_bool().unwrap();
        let leaked = case.get("leaked").unwrap().as_u64().unwrap();
        assert!(hard || leaked == 0, "{}", case.get("id").unwrap());
        let structure = case.get("structure").unwrap().as_bool().unwrap();
        assert!(
            hard || structure,
            "structure of {}",
            case.get("id").unwrap()
        );
    }
}
