//! JSON Schemas of the keys of a grammar, for editors: <https://json-schema.org/draft/2020-12>
//!
//! They know one spelling of every key and word, that of the documents, where a mount takes more. So they help to write
//! a class; whether one is right, [`check`](super::check) says.

use serde_json::{Map, Value, json};

use crate::spec::Grammar;
use crate::spec::keys::{Key, Kind};

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
/// What `parse_bool` takes of texts.
const FLAGS: [&str; 10] = ["true", "false", "True", "False", "TRUE", "FALSE", "t", "f", "1", "0"];

/// Of a whole SecretProviderClass.
pub fn class(grammar: &Grammar) -> Value {
    let properties = grammar.parameters.iter().map(|key| (key.name.to_owned(), parameter(key)));
    let text_map = json!({"type": "object", "additionalProperties": {"type": "string"}});
    json!({
        "$schema": DRAFT,
        "title": format!("SecretProviderClass of the provider {}", grammar.provider),
        "description": "A class of the Secrets Store CSI driver. docs/parameters.md has all rules.",
        "type": "object",
        "required": ["apiVersion", "kind", "spec"],
        "properties": {
            "apiVersion": {"enum": ["secrets-store.csi.x-k8s.io/v1", "secrets-store.csi.x-k8s.io/v1alpha1"]},
            "kind": {"const": "SecretProviderClass"},
            "metadata": {"type": "object"},
            "spec": {
                "type": "object",
                "required": ["provider", "parameters"],
                "additionalProperties": false,
                "properties": {
                    "provider": {"const": grammar.provider},
                    "parameters": {
                        "description": "Texts: numbers and booleans stand in quotes.",
                        "type": "object",
                        "required": required(grammar.parameters),
                        "additionalProperties": false,
                        "properties": Map::from_iter(properties),
                    },
                    "secretObjects": {
                        "description": "Kubernetes Secrets that the driver makes of mounted files.",
                        "type": "array",
                        "items": {
                            "type": "object",
                            "additionalProperties": false,
                            "properties": {
                                "secretName": {"type": "string"},
                                "type": {"type": "string"},
                                "labels": text_map,
                                "annotations": text_map,
                                "data": {
                                    "type": "array",
                                    "items": {
                                        "type": "object",
                                        "additionalProperties": false,
                                        "properties": {
                                            "objectName": {
                                                "description": "Path of a mounted file.",
                                                "type": "string",
                                            },
                                            "key": {"type": "string"},
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    })
}

/// Of the text of one parameter, such as `objects`. `None` is for one that is no YAML.
pub fn text_of(grammar: &Grammar, parameter: &str) -> Option<Value> {
    let key = grammar.parameters.iter().find(|key| key.name == parameter)?;
    let Kind::Yaml(keys) = key.kind else { return None };
    let mut schema = json!({
        "$schema": DRAFT,
        "title": format!("The text of {parameter} in a SecretProviderClass of the provider {}", grammar.provider),
        "description": key.about,
    });
    merge(&mut schema, list(keys));
    Some(schema)
}

/// A parameter is text, whatever is in it, and an empty one is as good as none.
fn parameter(key: &Key) -> Value {
    let more = match key.kind {
        Kind::Text | Kind::Texts | Kind::TextMap | Kind::Map(_) | Kind::FlagOrMap(_) | Kind::List(_) => json!({}),
        Kind::Pattern(pattern) | Kind::Number(pattern) => json!({"pattern": format!("^$|{pattern}")}),
        Kind::OneOf(words) => json!({"enum": with_empty(words)}),
        Kind::Flag => json!({"enum": with_empty(&FLAGS)}),
        Kind::Yaml(keys) => json!({"contentMediaType": "application/yaml", "contentSchema": list(keys)}),
    };
    let mut schema = described(key, json!({"type": "string"}));
    merge(&mut schema, more);
    schema
}

fn list(keys: &[Key]) -> Value {
    json!({"type": "array", "items": map(keys)})
}

fn map(keys: &[Key]) -> Value {
    let properties = keys.iter().map(|key| (key.name.to_owned(), described(key, value(key.kind))));
    json!({
        "type": "object",
        "required": required(keys),
        "additionalProperties": false,
        "properties": Map::from_iter(properties),
    })
}

/// `null` is as good as none, and scalars are read as they are spelled.
fn value(kind: Kind) -> Value {
    let or_null = |schema: Value| json!({"anyOf": [schema, {"type": "null"}]});
    let words: Vec<Value> = [true.into(), false.into()].into_iter().chain(FLAGS.map(Value::from)).collect();
    let flag = json!({"enum": words});
    match kind {
        Kind::Text => json!({"type": ["string", "number", "boolean", "null"]}),
        Kind::Pattern(pattern) => json!({"type": ["string", "null"], "pattern": pattern}),
        Kind::Number(pattern) => json!({"type": ["string", "integer", "null"], "pattern": pattern}),
        Kind::OneOf(words) => or_null(json!({"enum": words})),
        Kind::Flag => or_null(flag),
        Kind::Texts => or_null(json!({"type": "array", "items": {"type": ["string", "number", "boolean"]}})),
        Kind::TextMap => {
            let texts = json!({"type": ["string", "number", "boolean", "null"]});
            or_null(json!({"type": "object", "additionalProperties": texts}))
        }
        Kind::Map(keys) => or_null(map(keys)),
        Kind::FlagOrMap(keys) => json!({"anyOf": [flag, map(keys), {"type": "null"}]}),
        Kind::List(keys) | Kind::Yaml(keys) => or_null(list(keys)),
    }
}

fn with_empty<'a>(words: &[&'a str]) -> Vec<&'a str> {
    words.iter().copied().chain([""]).collect()
}

fn described(key: &Key, schema: Value) -> Value {
    let mut described = json!({"description": key.about});
    if let (Some(default), Value::Object(members)) = (key.default, &mut described) {
        members.insert("default".into(), default.into());
    }
    merge(&mut described, schema);
    described
}

fn required(keys: &[Key]) -> Vec<&'static str> {
    keys.iter().filter(|key| key.is_required).map(|key| key.name).collect()
}

fn merge(schema: &mut Value, more: Value) {
    if let (Value::Object(schema), Value::Object(more)) = (schema, more) {
        schema.extend(more);
    }
}
