//! The schemas in `schemas/` are those of the program, and agree with `check` about classes.

use std::fs;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use serde_json::Value;

use super::{class_of, manifests, secretmount, yaml_of_documents};

const SCHEMAS: [(&str, &str); 2] = [("class", "secretproviderclass-aws.json"), ("objects", "objects.json")];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(name)
}

fn validator(name: &str) -> Validator {
    let schema: Value = serde_json::from_slice(&fs::read(path(name)).expect("readable")).expect("JSON");
    jsonschema::draft202012::meta::validate(&schema).unwrap_or_else(|error| panic!("{name}: {error}"));
    jsonschema::draft202012::new(&schema).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_files_are_what_the_program_prints() {
    for (which, name) in SCHEMAS {
        let printed = secretmount(Path::new("/"), &["schema", which], "");
        assert!(printed.status.success());
        if std::env::var_os("UPDATE").is_some() {
            fs::write(path(name), &printed.stdout).expect("written");
        }
        let file = fs::read(path(name)).unwrap_or_default();
        assert!(file == printed.stdout, "renew it: cargo run -- schema {which} > schemas/{name}");
    }
}

/// Without places, as one document; those that are not YAML have none.
fn values(manifest: &str) -> Vec<Value> {
    let text = fs::read_to_string(Path::new(super::HERE).join(manifest)).expect("readable");
    serde_yaml::from_multiple(&text).unwrap_or_default()
}

/// Objects of a class that is one of ours.
fn objects(class: &Value) -> Option<Value> {
    let text = class["spec"]["parameters"]["objects"].as_str()?;
    serde_yaml::from_str(text).ok()
}

#[test]
fn classes_that_are_right_are_valid() {
    let (class, of_objects) = (validator(SCHEMAS[0].1), validator(SCHEMAS[1].1));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let examples = fs::read_dir(root.join("deploy/examples")).expect("a directory");
    let examples = examples.map(|entry| fs::read_to_string(entry.expect("readable").path()).expect("readable"));
    let documents = yaml_of_documents().into_iter().map(|(_, block)| block);
    let mut checked = 0;
    for text in examples.chain(documents) {
        let value: Value = serde_yaml::from_str(&text).expect("YAML");
        let value = match (value["kind"].as_str(), &value["parameters"], &value["objects"]) {
            (Some("SecretProviderClass"), ..) => value,
            (None, parameters @ Value::Object(_), _) => serde_json::from_str(&class_of(parameters)).expect("JSON"),
            (None, Value::Null, Value::String(_)) => serde_json::from_str(&class_of(&value)).expect("JSON"),
            _ => continue,
        };
        class.validate(&value).unwrap_or_else(|error| panic!("{text}{error} at {}", error.instance_path()));
        let objects = objects(&value).expect("a list");
        of_objects.validate(&objects).unwrap_or_else(|error| panic!("{text}{error} at {}", error.instance_path()));
        checked += 1;
    }
    assert!(checked >= 14, "{checked}");
}

/// What a schema can know. The rest is for `check` alone.
#[test]
fn mistakes_that_schemas_can_know_are_invalid() {
    let (class, of_objects) = (validator(SCHEMAS[0].1), validator(SCHEMAS[1].1));
    let mut invalid = Vec::new();
    for manifest in manifests("bad") {
        for value in values(&manifest) {
            let is_wrong = !class.is_valid(&value) || objects(&value).is_some_and(|list| !of_objects.is_valid(&list));
            if is_wrong && value["kind"] == "SecretProviderClass" {
                invalid.push(manifest.trim_start_matches("bad/").trim_end_matches(".yaml").to_owned());
            }
        }
    }
    for known in [
        "bad_auth",
        "bad_decode_and_case",
        "bad_flags",
        "bad_layout_and_interval",
        "bad_owner",
        "bad_path_translation",
        "bad_permission",
        "bad_place",
        "bad_region",
        "inner_type_is_wrong",
        "no_api_version",
        "no_objects",
        "no_parameters",
        "no_provider",
        "no_spec",
        "numbers_and_booleans_are_no_texts",
        "objects_are_a_map",
        "objects_without_a_bar",
        "provider_in_capitals",
        "several_objects",
        "unknown_fields_of_the_class",
        "unknown_key",
        "unknown_key_for_the_name",
        "unknown_keys_in_every_map",
        "unknown_parameter",
    ] {
        assert!(invalid.iter().any(|name| name == known), "{known} is valid");
    }
}
