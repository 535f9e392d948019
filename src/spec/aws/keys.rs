//! Every parameter of a class and every key in one, as a table.

use crate::spec::keys::{Key, Kind};

const DIGITS_OF_ID: &str = "^[0-9]{1,10}$";
const NUMBER_OR_ID: &str = "^[0-9A-Za-z-]+$";
const PERMISSION: &str = "^[0-7]{4}$";
const REGION: &str = "^(us|eu|ap|sa|ca|me|af|il|mx|cn|eusc)(-[a-z]+)+-[0-9]+$";
const ROLE: &str = "^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$";
const REFRESH: &str = "^(never|0|([0-9.]+(ns|us|µs|ms|s|m|h))+)$";
const ENCODINGS: &[&str] = &["none", "base64", "base64url", "hex", "auto"];

pub const PARAMETERS: &[Key] = &[
    Key::new("objects", Kind::Yaml(OBJECT), "What is mounted: a YAML list of secrets and parameters.").required(),
    Key::new("region", Kind::Pattern(REGION), "AWS Region that is read, for objects without one of their own."),
    Key::new("prefix", Kind::Text, "Put before every objectName that is no ARN; files are called without it."),
    Key::new(
        "pathTranslation",
        Kind::Pattern("^([\\u0000-\\u007f]|[Ff][Aa][Ll][Ss][Ee])$"),
        "ASCII character that slashes in names of files become, or False for directories.",
    )
    .or("_"),
    Key::new("failoverRegion", Kind::Pattern(REGION), "A second Region, for when the first fails."),
    Key::new(
        "usePodIdentity",
        Kind::Flag,
        "Whether credentials come from EKS Pod Identity, as with auth: podIdentity.",
    )
    .or("false"),
    Key::new(
        "auth",
        Kind::OneOf(&["irsa", "podIdentity", "nodePublishSecret"]),
        "How the pod gets AWS credentials: IRSA, EKS Pod Identity, or keys in a Secret.",
    )
    .or("irsa"),
    Key::new("roleArn", Kind::Pattern(ROLE), "Role for IRSA, in place of the one in the service account's annotation."),
    Key::new("assumeRoles", Kind::Yaml(HOP), "Roles that are assumed one after another: a YAML list."),
    Key::new("templates", Kind::Yaml(TEMPLATE), "Files that are made of the others: a YAML list."),
    Key::new(
        "refreshInterval",
        Kind::Pattern(REFRESH),
        "How old what was read may be before a refresh asks AWS again, for objects without one of their own.",
    ),
    Key::new("fileLayout", Kind::OneOf(&["atomic", "files"]), "Whether all files of a volume change in one moment.")
        .or("atomic"),
    Key::new("filePermission", Kind::Pattern(PERMISSION), "Permission of files whose object has none.").or("0644"),
    Key::new("uid", Kind::Number(DIGITS_OF_ID), "Owner of all files."),
    Key::new("gid", Kind::Number(DIGITS_OF_ID), "Group of all files."),
    Key::new(
        "preferredAddressType",
        Kind::OneOf(&["auto", "ipv4", "ipv6"]),
        "The only address of the EKS Pod Identity agent that is tried.",
    )
    .or("auto"),
];

const OBJECT: &[Key] = &[
    Key::new("objectName", Kind::Text, "Name or ARN of a secret or parameter; this or find must be set."),
    Key::new(
        "objectType",
        Kind::OneOf(&["secretsmanager", "ssmparameter"]),
        "Service that keeps it; needed where objectName is no ARN.",
    ),
    Key::new("objectAlias", Kind::Text, "Name of the file, in place of objectName."),
    Key::new("objectVersion", Kind::Number(NUMBER_OR_ID), "Id of a secret's version, or number of a parameter's."),
    Key::new(
        "objectVersionLabel",
        Kind::Text,
        "Staging label of a secret, AWSCURRENT without one; or label of a parameter.",
    ),
    Key::new("filePermission", Kind::Pattern(PERMISSION), "Permission of its files: four octal digits in quotes."),
    Key::new("uid", Kind::Number(DIGITS_OF_ID), "Owner of its files."),
    Key::new("gid", Kind::Number(DIGITS_OF_ID), "Group of its files."),
    Key::new("jmesPath", Kind::List(JMES_PATH), "Parts of a JSON secret as files of their own."),
    Key::new("key", Kind::Text, "One key of a JSON secret, whose value the file has in place of the whole."),
    Key::new(
        "expandJson",
        Kind::FlagOrMap(SELECTION),
        "Whether every key of a JSON secret becomes a file, or which ones.",
    )
    .or("false"),
    Key::new("extractOnly", Kind::Flag, "Whether only parts become files, not the whole secret beside them.")
        .or("false"),
    Key::new("decode", Kind::OneOf(ENCODINGS), "Encoding that values are stored in.").or("none"),
    Key::new("pem", Kind::Map(PEM), "Files of a private key and its certificates, put in order."),
    Key::new("templateOnly", Kind::Flag, "Whether its files are only for the templates, and not written themselves.")
        .or("false"),
    Key::new("find", Kind::Map(FIND), "All that are called or tagged in a way, in place of objectName."),
    Key::new("rewrite", Kind::List(REWRITE), "What makes names of files of the names that are found."),
    Key::new(
        "previous",
        Kind::Number("^[0-9]{1,2}$"),
        "How many of the values before the current one are mounted too.",
    )
    .or("0"),
    Key::new("optional", Kind::Flag, "Whether the mount goes on without it where nothing is stored there.").or("false"),
    Key::new("verify", Kind::Map(VERIFY), "What a value must be like."),
    Key::new("region", Kind::Pattern(REGION), "AWS Region that it is read in."),
    Key::new("accountId", Kind::Number("^[0-9]{12}$"), "Account that it belongs to, where that is another one."),
    Key::new("failoverObject", Kind::Map(FAILOVER_OBJECT), "What is read in the failoverRegion."),
    Key::new(
        "refreshInterval",
        Kind::Pattern(REFRESH),
        "How old what was read may be before a refresh asks AWS again.",
    ),
];

const FAILOVER_OBJECT: &[Key] = &[
    Key::new("objectName", Kind::Text, "Name or ARN of what is read in the failoverRegion."),
    Key::new("objectVersion", Kind::Number(NUMBER_OR_ID), "The same as that of the object."),
    Key::new("objectVersionLabel", Kind::Text, "Label in the failoverRegion, in place of that of the object."),
];

const JMES_PATH: &[Key] = &[
    Key::new("path", Kind::Text, "A JMESPath expression."),
    Key::new("key", Kind::Text, "A key at the top, as it is, in place of path."),
    Key::new("objectAlias", Kind::Text, "Name of the file; with key it may be left out."),
    Key::new("filePermission", Kind::Pattern(PERMISSION), "Permission of the file, in place of that of the object."),
    Key::new("decode", Kind::OneOf(ENCODINGS), "Encoding that the value is stored in, in place of that of the object."),
];

const SELECTION: &[Key] = &[
    Key::new("include", Kind::Texts, "Patterns of keys that are taken, with * and ?; all keys without one."),
    Key::new("exclude", Kind::Texts, "Patterns of keys that are left out of those."),
    Key::new("prefix", Kind::Text, "Put before the name of every file."),
    Key::new("case", Kind::OneOf(&["keep", "lower", "upper"]), "Letters of the key in the name of the file.")
        .or("keep"),
];

const PEM: &[Key] = &[
    Key::new("from", Kind::Texts, "Keys of a JSON secret whose texts are taken together; the whole value without one."),
    Key::new("key", Kind::Text, "File with the private key."),
    Key::new("certificate", Kind::Text, "File with the certificate of the key."),
    Key::new("chain", Kind::Text, "File with who issued that, one after the other."),
    Key::new("fullChain", Kind::Text, "File with the certificate, then the chain."),
    Key::new("bundle", Kind::Text, "File with the key, then the certificate, then the chain."),
];

const FIND: &[Key] = &[
    Key::new("path", Kind::Text, "Names that have this and a slash in front."),
    Key::new("recursive", Kind::Flag, "Whether names with more slashes after that count too.").or("false"),
    Key::new("namePrefix", Kind::Text, "Names that begin so."),
    Key::new("nameRegexp", Kind::Text, "Names in which this is found."),
    Key::new("tags", Kind::TextMap, "Those that have all of these tags."),
];

const REWRITE: &[Key] = &[
    Key::new("regexp", Kind::Text, "What is replaced.").required(),
    Key::new("replacement", Kind::Text, "What stands there then; $1 or ${name} is what a group has found."),
];

const VERIFY: &[Key] = &[
    Key::new("notEmpty", Kind::Flag, "Whether it must have at least one byte.").or("false"),
    Key::new("json", Kind::Flag, "Whether it must be JSON.").or("false"),
    Key::new("keys", Kind::Texts, "Keys that it must have at the top as JSON."),
    Key::new("regexp", Kind::Text, "Regular expression that must be found in it."),
    Key::new("pem", Kind::Flag, "Whether it must be PEM.").or("false"),
    Key::new("notExpired", Kind::Flag, "Whether its certificates must not have ended.").or("false"),
];

const TEMPLATE: &[Key] = &[
    Key::new("path", Kind::Text, "Name of the file.").required(),
    Key::new(
        "format",
        Kind::OneOf(&["dotenv", "json", "properties", "toml", "yaml"]),
        "How names and texts are written; this or content.",
    ),
    Key::new("content", Kind::Text, "Text with values in it, between [[ and ]]; this or format."),
    Key::new("files", Kind::Texts, "Patterns of the files that are in it, with * and ?; all files without one."),
    Key::new("filePermission", Kind::Pattern(PERMISSION), "Permission of the file."),
    Key::new("uid", Kind::Number(DIGITS_OF_ID), "Owner of the file."),
    Key::new("gid", Kind::Number(DIGITS_OF_ID), "Group of the file."),
];

const HOP: &[Key] = &[
    Key::new("roleArn", Kind::Pattern(ROLE), "The role.").required(),
    Key::new(
        "externalId",
        Kind::Pattern("^[A-Za-z0-9_+=,.@:/-]{2,1224}$"),
        "What its trust policy asks for in sts:ExternalId.",
    ),
    Key::new("sessionTags", Kind::TextMap, "Tags of the session."),
    Key::new("transitiveTagKeys", Kind::Texts, "Keys of those tags that the sessions after it have too."),
    Key::new("durationSeconds", Kind::Number("^[0-9]{3,5}$"), "How long the session lasts, from 900 on.").or("3600"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::spec::Parameters;
    use crate::spec::aws::raw;

    fn by_place(keys: &[Key], place: &str, found: &mut BTreeMap<String, Vec<String>>) {
        for key in keys {
            let Some(below) = key.kind.keys() else { continue };
            let place = if place.is_empty() { key.name.to_owned() } else { format!("{place}.{}", key.name) };
            let mut names: Vec<_> = below.iter().map(|key| key.name.to_ascii_lowercase()).collect();
            names.sort();
            by_place(below, &place, found);
            found.insert(place, names);
        }
    }

    #[test]
    fn the_table_has_the_keys_that_are_read_and_no_others() {
        let mut in_table = BTreeMap::new();
        by_place(PARAMETERS, "", &mut in_table);
        let read = raw::keys_by_place().into_iter().map(|(place, keys)| {
            let mut keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
            keys.sort();
            (place.to_owned(), keys)
        });
        assert_eq!(in_table, read.collect());
    }

    /// A class with one key set to a word, in the entry or map that it belongs to.
    fn with(place: &[&str], key: &str, word: &str) -> Parameters {
        let mut object = serde_json::json!({"objectName": "a", "objectType": "secretsmanager"});
        let mut template = serde_json::json!({"path": "t", "format": "json"});
        let mut class = Parameters::new();
        match place {
            [] => {
                let agent = if key == "preferredAddressType" { "true" } else { "" };
                class.insert("usePodIdentity".into(), agent.into());
                class.insert(key.to_owned(), word.to_owned());
            }
            ["objects"] => object[key] = word.into(),
            ["objects", "jmesPath"] => object["jmesPath"] = serde_json::json!([{"key": "k", key: word}]),
            ["objects", map] => object[*map] = serde_json::json!({key: word}),
            ["templates"] => template[key] = word.into(),
            other => panic!("there is no example for {other:?}"),
        }
        class.insert("objects".into(), serde_json::json!([object]).to_string());
        class.insert("templates".into(), serde_json::json!([template]).to_string());
        class
    }

    fn said(parameters: &Parameters) -> String {
        let examination = (super::super::GRAMMAR.examine)(parameters);
        let errors = examination.errors.iter().map(ToString::to_string);
        errors.chain(examination.warnings).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn words_are_those_that_are_read() {
        let mut places = vec![(Vec::new(), PARAMETERS)];
        let mut words_seen = 0;
        while let Some((place, keys)) = places.pop() {
            for key in keys {
                let below = [place.as_slice(), &[key.name]].concat();
                places.extend(key.kind.keys().map(|keys| (below, keys)));
                let Kind::OneOf(words) = key.kind else { continue };
                let refused = said(&with(&place, key.name, "no-such-word"));
                for word in words {
                    assert_eq!(said(&with(&place, key.name, word)), "", "{place:?} {} {word}", key.name);
                    assert!(refused.contains(word), "{place:?} {}: {refused}", key.name);
                    words_seen += 1;
                }
                assert!(key.default.is_none_or(|default| words.contains(&default)), "{}", key.name);
            }
        }
        assert!(words_seen > 20);
    }

    #[test]
    fn every_parameter_and_every_key_is_documented() {
        let page = include_str!("../../../docs/parameters.md");
        let mut all = PARAMETERS.to_vec();
        while let Some(key) = all.pop() {
            let names = [format!("`{}`", key.name), format!("`{}: ", key.name)];
            assert!(names.iter().any(|name| page.contains(name)), "docs/parameters.md has no {}", key.name);
            assert!(key.about.ends_with('.'), "{}", key.about);
            all.extend(key.kind.keys().unwrap_or_default());
        }
    }

    #[test]
    fn the_table_of_the_documents_has_the_keys_of_classes_and_objects_and_errors_that_are_documented() {
        let page = include_str!("../../../docs/parameters.md");
        let table = page.split_once("\n## All of them at a glance\n").expect("there").1;
        let table = table.split_once("\n## ").expect("not the last").0;
        let (of_class, of_object) = table.split_once("\nOf an object:\n").expect("two tables");
        let names = |table: &str| {
            let cells = table
                .lines()
                .filter_map(|line| line.strip_prefix("| `")?.split_once(" |").map(|(cell, _)| cell.to_owned()));
            let mut names: Vec<String> = cells
                .flat_map(|cell| cell.split(", ").map(|name| name.trim_matches('`').to_owned()).collect::<Vec<_>>())
                .collect();
            names.sort();
            names
        };
        let known = |keys: &[Key]| {
            let mut names: Vec<String> = keys.iter().map(|key| key.name.to_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(names(of_class), known(PARAMETERS));
        let objects = PARAMETERS.iter().find(|key| key.name == "objects").and_then(|key| key.kind.keys());
        assert_eq!(names(of_object), known(objects.expect("a list")));
        let errors = include_str!("../../../docs/errors.md").to_lowercase();
        for link in table.split("](errors.md#").skip(1).filter_map(|rest| rest.split_once(')')) {
            assert!(errors.contains(&format!("### {}\n", link.0)), "docs/errors.md has no {}", link.0);
        }
    }
}
