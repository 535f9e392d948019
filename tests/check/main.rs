//! `secretmount check` and `secretmount schema`, as a person and a pipeline meet them: the real program, its output
//! word for word and its exit code.
//!
//! `bad/` has a manifest for each mistake, and beside it what is said of it; `good/` the same for what is no mistake.
//! `UPDATE=1 cargo test --test check` writes the texts anew: read what has changed before you commit it.

mod schemas;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use secretmount::config::Limits;
use secretmount::lint::{self, Rule, printable};
use secretmount::plan::FilePermission;
use secretmount::spec::Parameters;
use secretmount::spec::aws::{Class, GRAMMAR};
use serde_json::Value;

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/check");

fn secretmount(directory: &Path, arguments: &[&str], stdin: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretmount"));
    command.args(arguments).current_dir(directory).env_remove("NO_COLOR");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let _ = child.stdin.take().expect("a pipe").write_all(stdin.as_bytes()); // it need not read it
    child.wait_with_output().expect("it ends")
}

fn check(arguments: &[&str]) -> (String, i32) {
    check_in(Path::new(HERE), arguments, "")
}

fn check_in(directory: &Path, arguments: &[&str], stdin: &str) -> (String, i32) {
    let output = secretmount(directory, &[&["check"], arguments].concat(), stdin);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    (text, output.status.code().expect("it ends by itself"))
}

fn manifests(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(Path::new(HERE).join(directory)).expect("a directory");
    let names = entries.map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"));
    let names: BTreeSet<String> = names.filter(|name| !name.ends_with(".txt")).collect();
    names.into_iter().map(|name| format!("{directory}/{name}")).collect()
}

/// Compares with the text beside the manifest, or writes it.
fn compare(manifest: &str, said: &str) {
    let golden = Path::new(HERE).join(manifest).with_extension("txt");
    if std::env::var_os("UPDATE").is_some() {
        return fs::write(&golden, said).expect("written");
    }
    let expected = fs::read_to_string(&golden).unwrap_or_else(|error| panic!("{}: {error}", golden.display()));
    assert_eq!(said, expected, "{manifest}; UPDATE=1 writes it anew");
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let manifests = manifests("bad");
    assert!(manifests.len() >= 40, "{}", manifests.len());
    for manifest in manifests {
        let (said, code) = check(&[&manifest]);
        compare(&manifest, &said);
        assert_eq!(code, i32::from(said.contains(": error[")), "{manifest}");
        let is_printable = |c: char| c == '\n' || !(c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c));
        assert!(said.chars().all(is_printable), "{manifest}");
        assert_eq!(check(&["--strict", &manifest]).1, 1, "{manifest}");
    }
}

#[test]
fn what_is_right_is_summed_up() {
    for manifest in manifests("good") {
        let (said, code) = check(&["--strict", &manifest]);
        compare(&manifest, &said);
        assert_eq!(code, 0, "{manifest}: {said}");
        assert_eq!(check(&["-q", &manifest]), (String::new(), 0));
    }
}

#[test]
fn the_examples_have_no_mistakes() {
    let (said, code) = check(&["--strict", "../../deploy/examples", "../../deploy/manifests"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(said.matches(": ok · ").count(), 4, "{said}");
}

/// Classes as they stand in the documents, parts of one made whole.
#[test]
fn the_classes_of_the_documents_have_no_mistakes() {
    let mut classes = 0;
    for (page, block) in yaml_of_documents() {
        let value: Value = serde_yaml::from_str(&block).unwrap_or_else(|error| panic!("{page}: {error}"));
        let class = match (value["kind"].as_str(), &value["parameters"], &value["objects"]) {
            (Some("SecretProviderClass"), ..) => block,
            (None, parameters @ Value::Object(_), _) => class_of(parameters),
            (None, Value::Null, Value::String(_)) => class_of(&value),
            _ => continue,
        };
        let (said, code) = check_in(Path::new(HERE), &["--strict", "-"], &class);
        assert!(code == 0 && said.contains("<stdin>: ok · "), "{page}: {said}");
        classes += 1;
    }
    assert!(classes >= 10, "{classes}");
}

/// The page shows what is really said, of the files in `page/`.
#[test]
fn the_page_shows_what_is_said() {
    let page = include_str!("../../docs/check.md");
    let (said, _) = check_in(&Path::new(HERE).join("page"), &["deploy/"], "");
    assert!(page.contains(&format!("```console\n$ secretmount check deploy/\n{said}```")), "{said}");

    let (said, _) = check_in(&Path::new(HERE).join("page"), &["-o", "json", "deploy/orders.yaml"], "");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let shown = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block");
    let shown: Value = serde_json::from_str(shown).expect("JSON");
    assert_eq!(shown, said);

    let readme = include_str!("../../README.md");
    let class = readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a class");
    let here = tempfile::tempdir().expect("a directory");
    fs::write(here.path().join("class.yaml"), class).expect("written");
    let (said, _) = check_in(here.path(), &["class.yaml"], "");
    assert!(readme.contains(&format!("```console\n$ secretmount check class.yaml\n{said}```")), "{said}");
}

/// Of the classes that the official provider was recorded with, it refuses those that a mount refuses, in the same
/// words.
#[test]
fn a_mount_and_a_check_agree() {
    let recorded: Value = serde_json::from_str(include_str!("../official/cases.json")).expect("JSON");
    let cases = recorded["cases"].as_array().expect("a list");
    let mut refused = 0;
    for case in cases {
        let parameters: Parameters = serde_json::from_value(case["parameters"].clone()).expect("texts");
        let permission = FilePermission::from_mode(0o644).0;
        let class = Class::parse(&parameters, permission, &Limits::DEFAULT);
        let class = class.and_then(|class| class.plan(class.region().unwrap_or(&"eu-north-1".parse().expect("one"))));
        let checked = lint::check(&class_of(&case["parameters"]), &GRAMMAR);
        let mut errors = checked.all().filter(|found| matches!(found.rule, Rule::Mount(_)));
        match class {
            Ok(_) => assert!(errors.next().is_none(), "{}: {:?}", case["id"], checked),
            Err(error) => {
                let error = printable(&error.to_string());
                assert!(errors.any(|found| error.starts_with(&found.message)), "{}: {error} {checked:?}", case["id"]);
                refused += 1;
            }
        }
    }
    assert!(cases.len() > 800 && refused > 100, "{refused} of {}", cases.len());
}

pub fn class_of(parameters: &Value) -> String {
    let spec = serde_json::json!({"provider": "aws", "parameters": parameters});
    let class = serde_json::json!({
        "apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClass", "spec": spec,
    });
    class.to_string()
}

/// Every block of YAML, with the name of its page.
pub fn yaml_of_documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = fs::read_dir(root.join("docs")).expect("a directory").map(|entry| entry.expect("readable").path());
    let pages: Vec<PathBuf> = pages.chain([root.join("README.md")]).collect();
    let mut blocks = Vec::new();
    for page in pages.iter().filter(|page| page.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(page).expect("readable");
        let of_page = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```"));
        blocks.extend(of_page.map(|(block, _)| (page.display().to_string(), block.to_owned())));
    }
    blocks
}

#[test]
fn all_files_are_checked_in_one_run() {
    let (said, code) = check(&["bad", "good", "-q"]);
    assert_eq!(code, 1);
    for manifest in manifests("bad") {
        assert!(said.contains(&manifest), "{manifest}");
    }
    assert!(!said.contains("good/"), "{said}");
}

#[test]
fn exit_codes_tell_what_happened() {
    let here = tempfile::tempdir().expect("a directory");
    let (good, bad) = (format!("{HERE}/good/plain.yaml"), format!("{HERE}/bad/bad_region.yaml"));
    let warning = format!("{HERE}/bad/sync_file_missing.yaml");
    fs::write(here.path().join("latin.yaml"), b"a: \xe9").expect("written");
    fs::write(here.path().join("big.yaml"), "a: b\n".repeat(2_000_000)).expect("written");
    for (arguments, code, text) in [
        (&[good.as_str()][..], 0, "0 errors in 1 class"),
        (&[&warning], 0, "1 warning in 1 class"),
        (&[&warning, "--strict"], 1, "1 warning in 1 class"),
        (&[&bad, &good], 1, "2 errors in 2 classes"),
        (&[&bad, "missing.yaml"], 1, "; 1 file could not be read"),
        (&["missing.yaml", &good], 3, "missing.yaml: error[Unreadable]: this cannot be read: No such file"),
        (&["latin.yaml"], 3, "latin.yaml: error[Unreadable]: this is not UTF-8"),
        (&["big.yaml"], 3, "has more than 8388608 bytes"),
        (&[], 2, ""),
        (&["--output", "xml", &good], 2, ""),
    ] {
        let (said, seen) = check_in(here.path(), arguments, "");
        assert!(seen == code && said.contains(text), "{arguments:?} gave {seen}: {said}");
    }
}

#[test]
fn directories_are_walked_in_order_and_links_that_lead_back_are_not() {
    let here = tempfile::tempdir().expect("a directory");
    let class = fs::read_to_string(format!("{HERE}/good/plain.yaml")).expect("readable");
    for path in ["b.yml", "a/z.json", "a/y.YAML", ".hidden/x.yaml", "a/.x.yaml", "c.txt"] {
        let path = here.path().join(path);
        fs::create_dir_all(path.parent().expect("one")).expect("made");
        fs::write(path, &class).expect("written");
    }
    std::os::unix::fs::symlink("..", here.path().join("a/up")).expect("linked");
    std::os::unix::fs::symlink("../b.yml", here.path().join("a/link.yaml")).expect("linked");
    std::os::unix::fs::symlink("nowhere", here.path().join("a/none.yaml")).expect("linked");
    let (said, code) = check_in(here.path(), &["."], "");
    let files: Vec<_> = said.lines().filter_map(|line| line.split_once(": ok").map(|(file, _)| file)).collect();
    assert_eq!(files, ["./a/link.yaml", "./a/y.YAML", "./a/z.json", "./b.yml"]);
    assert!(code == 3 && said.contains("./a/none.yaml: error[Unreadable]"), "{said}");
}

#[test]
fn standard_input_is_read() {
    let class = fs::read_to_string(format!("{HERE}/bad/bad_region.yaml")).expect("readable");
    let (said, code) = check_in(Path::new(HERE), &["-"], &class);
    assert!(code == 1 && said.starts_with("<stdin>:7:13: error[InvalidParameter]: region \"eu-west\""), "{said}");
    let (said, code) = check_in(Path::new(HERE), &["-"], "");
    assert_eq!((said.as_str(), code), ("0 errors in 0 classes\n", 0));
}

#[test]
fn programs_get_one_document() {
    let (said, code) = check(&["-o", "json", "bad/same_file.yaml", "good/failover_and_roles.yaml", "missing.yaml"]);
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(code, 1);
    let expected = serde_json::json!({
        "errors": 1, "warnings": 0, "unreadable": 1, "classes": 2, "skipped": 0,
        "files": [
            {
                "file": "bad/same_file.yaml", "skipped": 0, "leftOut": 0, "diagnostics": [],
                "classes": [{
                    "name": "shop-db", "namespace": null, "line": 2,
                    "files": ["shop_db"], "hasMoreFiles": false,
                    "needs": [
                        {"action": "secretsmanager:GetSecretValue", "on": ["shop/db"]},
                        {"action": "ssm:GetParameters", "on": ["shop_db"]},
                    ],
                    "diagnostics": [{
                        "rule": "SameFile", "severity": "error", "line": 9, "column": 22,
                        "message": "the file \"shop_db\" of object 1 is replaced by that of object 2",
                        "help": "give one of them another objectAlias, if both are needed",
                        "docs": "docs/check.md#samefile",
                    }],
                }],
            },
            {
                "file": "good/failover_and_roles.yaml", "skipped": 0, "leftOut": 0, "diagnostics": [],
                "classes": [{
                    "name": "shop-db", "namespace": null, "line": 2, "diagnostics": [],
                    "files": ["_shop_host", "db", "old-host"], "hasMoreFiles": false,
                    "needs": [
                        {"action": "secretsmanager:GetSecretValue", "on": ["shop/db", "shop/db-standby"]},
                        {"action": "ssm:GetParameters", "on": ["/shop/host"]},
                        {"action": "sts:AssumeRole", "on": [
                            "arn:aws:iam::111122223333:role/hub", "arn:aws:iam::444455556666:role/spoke"
                        ]},
                        {"action": "sts:TagSession", "on": ["arn:aws:iam::111122223333:role/hub"]},
                    ],
                }],
            },
            {
                "file": "missing.yaml", "skipped": 0, "leftOut": 0, "classes": [],
                "diagnostics": [{
                    "rule": "Unreadable", "severity": "error", "line": 1, "column": 1, "help": null,
                    "message": "this cannot be read: No such file or directory (os error 2)",
                    "docs": "docs/check.md#unreadable",
                }],
            },
        ],
    });
    assert_eq!(said, expected);
}

#[test]
fn a17_no_output_lets_a_name_speak_for_itself() {
    let here = tempfile::tempdir().expect("a directory");
    let class = fs::read_to_string(format!("{HERE}/bad/hostile_names.yaml")).expect("readable");
    for name in ["::error file=x,line=1::boo.yaml", "a%0A\u{1b}[31m\u{202e}.yaml", "##[error]x.yaml"] {
        fs::write(here.path().join(name), &class).expect("written");
    }
    for output in ["text", "json", "github"] {
        let (said, code) = check_in(here.path(), &["-o", output, "--color", "never", "."], "");
        assert_eq!(code, 1);
        assert!(!said.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{said}");
    }
    let (said, _) = check_in(here.path(), &["-o", "github", "."], "");
    for line in said.lines() {
        let is_ours = line.starts_with("::error file=./") || line.contains(" errors in 3 classes");
        assert!(is_ours && !line.contains("file=./::"), "{line}");
    }
    assert!(said.contains("::error file=./%3A%3Aerror file=x%2Cline=1%3A%3Aboo.yaml,line="), "{said}");
    let (said, _) = check_in(here.path(), &["::error file=x,line=1::boo.yaml"], "");
    assert!(said.lines().all(|line| !line.starts_with("::")), "{said}");
}

#[test]
fn annotations_are_escaped() {
    let (said, _) = check(&["-o", "github", "bad/unknown_key.yaml"]);
    let annotation = "::error file=bad/unknown_key.yaml,line=10,col=9,endColumn=20,title=UnknownKey::\
        unknown key `objectAlais` in object 1%0Adid you mean `objectAlias`?";
    assert_eq!(said.lines().collect::<Vec<_>>(), [annotation, "1 error in 1 class"]);
}

#[test]
fn colours_are_for_terminals_and_for_who_asks() {
    let colored =
        |arguments: &[&str]| check(&[arguments, &["bad/unknown_key.yaml"]].concat()).0.contains("\u{1b}[1;31merror");
    assert_eq!([&[][..], &["--color", "never"], &["--color=always"]].map(colored), [false, false, true]);
}

/// Most that is said of one file; the rest counts.
#[test]
fn a_file_full_of_mistakes_is_cut() {
    let objects: String = (0..400).map(|number| format!("      - {{objectName: n{number}}}\n")).collect();
    let class = fs::read_to_string(format!("{HERE}/good/plain.yaml")).expect("readable");
    let class = format!("{}    objects: |\n{objects}", class.split("    objects:").next().expect("a beginning"));
    let (said, code) = check_in(Path::new(HERE), &["-"], &class);
    assert_eq!((said.matches(": error[").count(), code), (200, 1));
    assert!(said.contains("<stdin>: 200 more are not shown\n400 errors in 1 class"), "{said}");
}
