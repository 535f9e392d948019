//! The first command of the README does what it says.

use std::process::{Command, Output};

fn demo(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_secretmount-demo"))
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .expect("run")
}

/// What the secrets of the demo hold; none of it may be printed.
const VALUES: [&str; 7] = ["alice", "correct horse", "battery staple", "the first", "kkkk", "db2.shop", "green"];

#[test]
fn it_walks_through_all_steps_without_printing_a_value() {
    let output = demo(&[], &[]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for step in [
        "1/7",
        "class \"shop-db\"",
        "class \"shop-nested\"",
        "class \"shop-pinned\"",
        "class \"shop-config\"",
        "3/7",
        "4/7",
        "refused: TokenInvalid",
        "refused: TokenMismatch",
        "explained: JsonKeyNotFound",
    ] {
        assert!(text.contains(step), "{step} is not in {text}");
    }
    assert!(!VALUES.iter().any(|value| text.contains(value)), "{text}");
}

#[test]
fn programs_get_one_json_document() {
    let output = demo(&["--output", "json"], &[]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["ok"], true);
    assert_eq!(document["apiVersion"], "secretmount.dev/cli/v1");
    let steps = document["steps"].as_array().expect("a list");
    assert_eq!(steps.len(), 10);
    let text = document.to_string();
    assert!(!VALUES.iter().any(|value| text.contains(value)), "{text}");
}
