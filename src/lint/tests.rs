use proptest::prelude::*;

use super::report::{Report, github, json, text};
use super::*;
use crate::reason::Reason;
use crate::spec::keys::{Key, Kind};
use crate::spec::{Examination, Grammar, Outcome, Parameters, SameFile, SpecError};

/// A grammar as small as one can be: what is called `wrong` is.
const GRAMMAR: Grammar = Grammar { provider: "test", parameters: PARAMETERS, examine };
const PARAMETERS: &[Key] = &[
    Key::new("objects", Kind::Yaml(&[Key::new("objectName", Kind::Text, "Its name.").required()]), "What is mounted.")
        .required(),
    Key::new("region", Kind::OneOf(&["here", "there"]), "Where it is.").or("here"),
];

fn examine(parameters: &Parameters) -> Examination {
    let wrong = |object: &str| SpecError::Object {
        object: object.into(),
        position: 1,
        problem: "has the objectName \"wrong\"".into(),
    };
    let objects = parameters.get("objects").map(String::as_str).unwrap_or_default();
    let errors: Vec<_> = objects.contains("wrong").then(|| wrong("x")).into_iter().collect();
    let outcome = errors.is_empty().then(Outcome::default);
    let same_files = vec![SameFile { path: "twice".into(), earlier: 1, later: 2 }];
    let same_files = if objects.contains("twice") { same_files } else { Vec::new() };
    Examination { errors, warnings: Vec::new(), same_files, outcome }
}

fn class(parameters: &str) -> String {
    format!(
        "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nspec:\n  provider: test\n  parameters:\n{parameters}"
    )
}

fn places(text: &str) -> Vec<(Rule, usize, usize, usize)> {
    let file = check(text, &GRAMMAR);
    file.all().map(|found| (found.rule, found.line, found.column, found.length)).collect()
}

#[test]
fn every_rule_is_documented_and_no_other() {
    let page = include_str!("../../docs/check.md");
    let headings = page.lines().filter_map(|line| line.strip_prefix("### "));
    let mut documented: Vec<&str> = headings.collect();
    let mut rules: Vec<&str> = Rule::OWN.iter().map(|rule| rule.as_str()).collect();
    documented.sort_unstable();
    rules.sort_unstable();
    assert_eq!(documented, rules);
    for rule in Rule::OWN {
        assert!(Reason::ALL.iter().all(|reason| reason.as_str() != rule.as_str()), "{rule} is two things");
        let severity =
            format!("### {rule}\n\n{}", if rule.severity() == Severity::Error { "Error" } else { "Warning" });
        assert!(page.contains(&severity), "docs/check.md says otherwise how bad {rule} is");
    }
}

#[test]
fn places_are_those_in_the_file_whatever_the_style() {
    let wrong = Rule::Mount(Reason::InvalidParameter);
    for (objects, place) in [
        ("    objects: |\n      - objectName: wrong\n", (7, 21, 5)),
        ("    objects: |-\n\n\n          - objectName: wrong", (9, 25, 5)),
        ("    objects: |3\n        - objectName: wrong\n", (7, 23, 5)),
        ("    objects: >\n      - {objectName:\n      wrong}\n", (8, 7, 5)),
        ("    objects: '[{objectName: wrong}]'\n", (6, 29, 5)),
        ("    objects: \"[{objectName:\n      wrong}]\"\n", (7, 7, 5)),
        ("    objects: \"- {'objectName': 'wro\\x6eg'}\"\n", (6, 14, 30)),
        ("    objects: '- {''objectName'': wrong}'\n", (6, 14, 27)),
        ("    objects: |\n      - objectName: wrong # größe\n# after\n", (7, 21, 5)),
        ("    objects: | # as a list\n      # größe\n      - {größe: 1, objectName: wrong}\n", (8, 32, 5)),
    ] {
        let found = places(&class(objects));
        assert!(found.contains(&(wrong, place.0, place.1, place.2)), "{objects}: {found:?}");
        let in_windows = class(objects).replace('\n', "\r\n");
        assert!(places(&in_windows).contains(&(wrong, place.0, place.1, place.2)), "{objects} with CRLF");
    }
}

#[test]
fn other_documents_are_counted() {
    let class = class("    objects: x\n");
    let other = class.replace("provider: test", "provider: other");
    let pod = "kind: Pod\n";
    let list = format!("apiVersion: v1\nkind: List\nitems:\n- {pod}- {}", class.replace('\n', "\n  ").trim_end());
    for (text, classes, skipped) in [
        (String::new(), 0, 0),
        ("# nothing\n---\n---\n".into(), 0, 0),
        (class.clone(), 1, 0),
        (format!("{pod}---\n{class}--- # more\n{other}...\n{class}"), 2, 2),
        (list, 1, 1),
        (class.replace("secrets-store.csi.x-k8s.io", "example.org"), 0, 1),
        ("just text".into(), 0, 1),
    ] {
        let file = check(&text, &GRAMMAR);
        assert_eq!((file.classes.len(), file.skipped, file.diagnostics.len()), (classes, skipped, 0), "{text}");
    }
}

#[test]
fn a09_bombs_and_depths_end() {
    let mut laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    let mut merges = "m0: &m0 {k0: 0}\n".to_owned();
    for level in 1..100 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs += &format!("a{level}: &a{level} [{aliases}]\n");
        merges += &format!("m{level}: &m{level} {{<<: *m{}, k{level}: 0}}\n", level - 1);
    }
    let inner = class(&format!("    objects: |\n      {}", laughs.replace('\n', "\n      ")));
    let deep = format!("a: {}", "[".repeat(100_000));
    let deep_list = "apiVersion: v1\nkind: List\nitems: &a\n- apiVersion: v1\n  kind: List\n  items: [*a]\n".to_owned();
    for bomb in [laughs, merges, inner, deep, deep_list, "- ".repeat(100_000), "{".repeat(10_000)] {
        let file = check(&bomb, &GRAMMAR);
        assert!(file.all().count() <= 200);
    }
}

#[test]
fn a17_what_is_shown_cannot_steer_a_terminal() {
    let hostile = "\u{1b}[31m\u{7}\u{202e}\u{200b}\u{feff}\r\n\u{85}";
    assert_eq!(printable(hostile), r"\u{1b}[31m\u{7}\u{202e}\u{200b}\u{feff}\u{d}\u{a}\u{85}");
    assert_eq!(printable("größe 鍵 é"), "größe 鍵 é");
}

proptest! {
    #[test]
    fn every_place_is_in_the_file_and_nothing_panics(
        text in "(\u{feff})?(---\n|\\.\\.\\.\n|kind: SecretProviderClass\n|apiVersion: secrets-store.csi.x-k8s.io/v1\n|spec:\n|  provider: test\n|  parameters:\n|    objects: [|>]?-?\n|      - objectName: (wrong|twice|\\PC{0,5})\n|[-a-z:{}\\[\\]&*<>|!%@`'\"#, \r\n\t0-9]|\\PC){0,24}",
    ) {
        holds(&text)?;
        holds(&class(&format!("    objects: |\n      {text}")))?;
        holds(&class(&format!("    objects: {text}wrong")))?;
        holds(&class(&format!("    objects: wrong\n{text}")))?;
    }
}

fn holds(text: &str) -> Result<(), TestCaseError> {
    let file = check(text, &GRAMMAR);
    let lines: Vec<&str> = text.split('\n').collect();
    for found in file.all() {
        let line = lines.get(found.line - 1);
        prop_assert!(line.is_some(), "{found:?} of {text:?}");
        let characters = line.map_or(0, |line| line.chars().count());
        prop_assert!(found.column <= characters + 1, "{found:?} of {text:?}");
        prop_assert!(found.source.start <= found.source.text.chars().count(), "{found:?}");
        prop_assert!(found.source.length >= 1 && found.length >= 1);
    }
    let report = Report { files: vec![("x".into(), file)] };
    for shown in [text_of(&report), json(&report), github(&report)] {
        let is_plain = |c: char| c == '\n' || printable(&c.to_string()) == c.to_string();
        prop_assert!(shown.chars().all(is_plain), "{shown:?}");
    }
    Ok(())
}

fn text_of(report: &Report) -> String {
    text(report, false, false)
}
