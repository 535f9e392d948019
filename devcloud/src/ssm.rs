//! Systems Manager Parameter Store.
//!
//! Answers to several names come in an order of their own, as from AWS: who maps answers to questions
//! by position finds out here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value as Json, json};

use crate::encoding::{self, MIXED};
use crate::error::AwsError;
use crate::iam::{Iam, partition};
use crate::secretsmanager::{self, Input, Secrets};
use crate::sigv4::Caller;

/// Parameters under this path are secrets of Secrets Manager.
const SECRET_REFERENCE: &str = "/aws/reference/secretsmanager/";

/// Account, Region and name.
type Key = (String, String, String);

#[derive(Debug, Default)]
pub(crate) struct Parameters {
    known: BTreeMap<Key, Vec<Revision>>,
    /// Those that roles of other accounts may read.
    shared: BTreeSet<Key>,
    tags: BTreeMap<Key, BTreeMap<String, String>>,
}

#[derive(Clone)]
struct Revision {
    version: u64,
    value: String,
    kind: String,
    labels: BTreeSet<String>,
    modified: f64,
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revision({}, {}, redacted)", self.version, self.kind)
    }
}

impl Parameters {
    /// Writes a new version and gives its number.
    pub fn put(&mut self, account: &str, region: &str, name: &str, value: &str, kind: &str) -> u64 {
        let key = (account.to_owned(), region.to_owned(), name.to_owned());
        let revisions = self.known.entry(key).or_default();
        let version = revisions.last().map_or(1, |last| last.version + 1);
        revisions.push(Revision {
            version,
            value: value.into(),
            kind: kind.into(),
            labels: BTreeSet::new(),
            modified: encoding::now_precise(),
        });
        if revisions.len() > 100 {
            revisions.remove(0);
        }
        version
    }

    /// Lets roles of other accounts read a parameter, or no longer.
    pub fn share(&mut self, account: &str, region: &str, name: &str, shared: bool) {
        let key = (account.to_owned(), region.to_owned(), name.to_owned());
        match shared {
            true => self.shared.insert(key),
            false => self.shared.remove(&key),
        };
    }

    /// Gives a parameter these tags and no others.
    pub fn tag(&mut self, account: &str, region: &str, name: &str, tags: BTreeMap<String, String>) {
        self.tags.insert((account.to_owned(), region.to_owned(), name.to_owned()), tags);
    }

    /// Moves a label to a version, if there is one.
    pub fn label(&mut self, account: &str, region: &str, name: &str, version: u64, label: &str) {
        let key = (account.to_owned(), region.to_owned(), name.to_owned());
        for revision in self.known.get_mut(&key).into_iter().flatten() {
            revision.labels.remove(label);
            if revision.version == version {
                revision.labels.insert(label.to_owned());
            }
        }
    }
}

/// Answers one operation for a caller whose signature is good.
pub(crate) fn call(
    parameters: &mut Parameters,
    secrets: &mut Secrets,
    iam: &Iam,
    caller: &Caller,
    operation: &str,
    input: &Map<String, Json>,
) -> Result<Json, AwsError> {
    let mut desk = Desk { parameters, secrets, iam, caller, action: format!("ssm:{operation}") };
    let input = Input(input);
    match operation {
        "GetParameter" => {
            let name = input.need("Name")?;
            desk.allow(name)?;
            let found = desk.find_any(name, input.flag("WithDecryption"))?;
            Ok(json!({"Parameter": found}))
        }
        "GetParameters" => desk.get_several(input),
        "GetParametersByPath" => desk.by_path(input),
        "DescribeParameters" => desk.describe(input),
        "PutParameter" => desk.put(input),
        "LabelParameterVersion" => desk.label(input),
        "GetParameterHistory" => desk.history(input),
        "DeleteParameter" => desk.delete(input),
        "DeleteParameters" => desk.delete_several(input),
        _ => Err(AwsError::bad("UnknownOperationException", "")),
    }
}

struct Desk<'a> {
    parameters: &'a mut Parameters,
    secrets: &'a mut Secrets,
    iam: &'a Iam,
    caller: &'a Caller,
    action: String,
}

impl Desk<'_> {
    fn allow(&self, asked: &str) -> Result<(), AwsError> {
        let (name, selector) = parse(asked);
        let arn = match asked.starts_with("arn:") {
            true => asked[..asked.len() - selector.map_or(0, |selector| selector.len() + 1)].to_owned(),
            false => arn(self.caller, name),
        };
        let principal = &self.caller.principal;
        if !self.iam.allows(principal, &self.action, &arn, None) {
            return Err(AwsError::denied(self.caller, &self.action, &arn, "identity-based"));
        }
        let account = arn.split(':').nth(4).unwrap_or_default();
        let is_shared = |name: &str| {
            self.parameters.shared.contains(&(account.to_owned(), self.caller.region.clone(), name.to_owned()))
        };
        if account != principal.account && !is_shared(name) && !is_shared(&format!("/{name}")) {
            return Err(AwsError::denied(self.caller, &self.action, &arn, "resource-based"));
        }
        Ok(())
    }

    fn key(&self, name: &str) -> Key {
        self.key_in(&self.caller.principal.account, name)
    }

    fn key_in(&self, account: &str, name: &str) -> Key {
        (account.to_owned(), self.caller.region.clone(), name.to_owned())
    }

    /// A parameter by name or ARN, with or without `:version` or `:label`.
    fn find(&self, asked: &str, decrypt: bool) -> Result<Json, AwsError> {
        let (name, selector) = parse(asked);
        let by_arn = asked.starts_with("arn:");
        if by_arn && asked.split(':').nth(3) != Some(&self.caller.region) {
            return Err(AwsError::bad("ParameterNotFound", ""));
        }
        let own = self.caller.principal.account.as_str();
        let account = if by_arn { asked.split(':').nth(4).unwrap_or_default() } else { own };
        let known = &self.parameters.known;
        let (name, revisions) = known
            .get_key_value(&self.key_in(account, name))
            .or_else(|| known.get_key_value(&self.key_in(account, &format!("/{name}"))).filter(|_| by_arn))
            .map(|((_, _, name), revisions)| (name, revisions))
            .ok_or_else(|| AwsError::bad("ParameterNotFound", ""))?;
        let revision = match selector {
            None => revisions.last(),
            Some(selector) => revisions
                .iter()
                .find(|revision| revision.labels.contains(selector) || revision.version.to_string() == selector),
        };
        let revision = revision.ok_or_else(|| {
            let text = format!("Systems Manager could not find version {} of {name}", selector.unwrap_or("1"));
            AwsError::bad("ParameterVersionNotFound", text)
        })?;
        let mut body = self.body(name, revision, decrypt);
        if account != own {
            // What another account shares is known by its ARN only.
            let arn = asked[..asked.len() - selector.map_or(0, |selector| selector.len() + 1)].to_owned();
            (body["Name"], body["ARN"]) = (json!(arn), json!(arn));
        }
        if let Some(selector) = selector {
            body["Selector"] = json!(format!(":{selector}"));
        }
        Ok(body)
    }

    fn get_several(&mut self, input: Input<'_>) -> Result<Json, AwsError> {
        let names = input.texts("Names")?;
        if names.is_empty() || names.len() > 10 {
            let text = format!(
                "1 validation error detected: Value '[{}]' at 'names' failed to satisfy constraint: Member must \
                 have length less than or equal to 10",
                names.join(", ")
            );
            return Err(AwsError::bad("ValidationException", text));
        }
        for name in &names {
            self.allow(name)?;
        }
        let names: BTreeSet<&str> = names.into_iter().collect();
        let (mut found, mut invalid) = (Vec::new(), Vec::new());
        for name in names {
            match self.find_any(name, input.flag("WithDecryption")) {
                Ok(parameter) => found.push(parameter),
                Err(error) if error.code.starts_with("Parameter") => invalid.push(name),
                Err(error) => return Err(error),
            }
        }
        // The opposite of the alphabet is nobody's order by chance.
        found.reverse();
        Ok(json!({"Parameters": found, "InvalidParameters": invalid}))
    }

    /// A parameter of the store, or a secret that is asked for as a parameter.
    fn find_any(&mut self, asked: &str, decrypt: bool) -> Result<Json, AwsError> {
        let Some(id) = asked.strip_prefix(SECRET_REFERENCE) else {
            return self.find(asked, decrypt);
        };
        if !decrypt {
            let text = "WithDecryption flag must be True for retrieving a Secret Manager secret.";
            return Err(AwsError::bad("ValidationException", text));
        }
        let (id, selector) = id.split_once(':').unwrap_or((id, ""));
        let mut input = Map::new();
        input.insert("SecretId".into(), id.into());
        match selector {
            "" => {}
            version if version.len() >= 32 => drop(input.insert("VersionId".into(), version.into())),
            stage => drop(input.insert("VersionStage".into(), stage.into())),
        }
        let secret =
            secretsmanager::call(self.secrets, self.iam, self.caller, "GetSecretValue", &input).map_err(|error| {
                match error.code.as_ref() {
                    "ResourceNotFoundException" => AwsError::bad("ParameterNotFound", ""),
                    _ => error,
                }
            })?;
        let name = format!("{SECRET_REFERENCE}{id}");
        Ok(json!({"ARN": arn(self.caller, &name), "DataType": "text", "Name": name, "Type": "SecureString",
            "Value": secret["SecretString"], "Version": 0, "LastModifiedDate": secret["CreatedDate"],
            "SourceResult": secret.to_string()}))
    }

    fn body(&self, name: &str, revision: &Revision, decrypt: bool) -> Json {
        let value = match revision.kind.as_str() {
            "SecureString" if !decrypt => ciphertext(),
            _ => revision.value.clone(),
        };
        json!({"ARN": arn(self.caller, name), "DataType": "text", "Name": name,
            "Type": revision.kind, "Value": value, "Version": revision.version,
            "LastModifiedDate": revision.modified})
    }

    fn by_path(&self, input: Input<'_>) -> Result<Json, AwsError> {
        let path = input.need("Path")?;
        if !path.starts_with('/') {
            let text = "The parameter doesn't meet the parameter name requirements. The parameter name must \
                        begin with a forward slash \"/\". It can't be prefixed with \\\"aws\\\" or \\\"ssm\\\" \
                        (case-insensitive). It must use only letters, numbers, or the following symbols: . \
                        (period), - (hyphen), _ (underscore). Special characters are not allowed. All \
                        sub-paths, if specified, must use the forward slash symbol \"/\". Valid example: \
                        /get/parameters2-/by1./path0_.";
            return Err(AwsError::bad("ValidationException", text));
        }
        self.allow(path)?;
        let (recursive, decrypt) = (input.flag("Recursive"), input.flag("WithDecryption"));
        let prefix = format!("{}/", path.trim_end_matches('/'));
        let (mut kinds, mut labels) = (Vec::new(), Vec::new());
        let filters = input.0.get("ParameterFilters").and_then(Json::as_array);
        for filter in filters.into_iter().flatten() {
            let values = filter["Values"].as_array().into_iter().flatten();
            let values = values.filter_map(Json::as_str);
            match filter["Key"].as_str() {
                Some("Type") => kinds.extend(values),
                Some("Label") => labels.extend(values),
                _ => {
                    let text = "The filter key is not valid. Valid filter keys include: [Type, KeyId, Label]";
                    return Err(AwsError::bad("InvalidFilterKey", text));
                }
            }
        }
        let mut found = Vec::new();
        for ((account, region, name), revisions) in &self.parameters.known {
            let own = *account == self.caller.principal.account && *region == self.caller.region;
            let below =
                name.strip_prefix(&prefix).is_some_and(|rest| !rest.is_empty() && (recursive || !rest.contains('/')));
            if !own || !below {
                continue;
            }
            let label = |revision: &&Revision| labels.iter().any(|l| revision.labels.contains(*l));
            let revision = match labels.is_empty() {
                true => revisions.last(),
                false => revisions.iter().find(label),
            };
            if let Some(revision) = revision
                && (kinds.is_empty() || kinds.contains(&revision.kind.as_str()))
            {
                found.push(self.body(name, revision, decrypt));
            }
        }
        page(input, "Parameters", &found, 10)
    }

    /// Names without values. It knows no single resource.
    fn describe(&self, input: Input<'_>) -> Result<Json, AwsError> {
        if !self.iam.allows(&self.caller.principal, &self.action, "*", None) {
            return Err(AwsError::denied(self.caller, &self.action, "*", "identity-based"));
        }
        let filters = input.0.get("ParameterFilters").and_then(Json::as_array);
        let mut passes = Vec::new();
        for filter in filters.into_iter().flatten() {
            let values: Vec<&str> =
                filter["Values"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
            passes.push(Filter::parse(filter["Key"].as_str().unwrap_or_default(), filter["Option"].as_str(), values)?);
        }
        let own =
            |(account, region, _): &Key| *account == self.caller.principal.account && *region == self.caller.region;
        let nothing = BTreeMap::new();
        let found: Vec<Json> = self
            .parameters
            .known
            .iter()
            .filter(|(key, _)| own(key))
            .filter(|(key, _)| {
                let tags = self.parameters.tags.get(key).unwrap_or(&nothing);
                passes.iter().all(|filter| filter.passes(&key.2, tags))
            })
            .filter_map(|((_, _, name), revisions)| Some((name, revisions.last()?)))
            .map(|(name, revision)| {
                json!({"ARN": arn(self.caller, name), "Name": name, "Type": revision.kind,
                    "Version": revision.version, "LastModifiedDate": revision.modified, "DataType": "text",
                    "Tier": "Standard", "Policies": []})
            })
            .collect();
        page(input, "Parameters", &found, 50)
    }

    fn put(&mut self, input: Input<'_>) -> Result<Json, AwsError> {
        let name = input.need("Name")?;
        let value = input.need("Value")?;
        self.allow(name)?;
        let sound = |character: char| character.is_ascii_alphanumeric() || "_.-/".contains(character);
        if !name.chars().all(sound) {
            let text = "Parameter name: can't be prefixed with \"ssm\" (case-insensitive) and must use only \
                        letters, numbers and the following symbols: .-_/";
            return Err(AwsError::bad("ValidationException", text));
        }
        if name.contains('/') && !name.starts_with('/') {
            let text = format!("Parameter name must be a fully qualified name: {name}");
            return Err(AwsError::bad("ValidationException", text));
        }
        let key = self.key(name);
        let known = self.parameters.known.get(&key).and_then(|known| known.last());
        if known.is_some() && !input.flag("Overwrite") {
            let text = "The parameter already exists. To overwrite this value, set the overwrite option in the \
                        request to true.";
            return Err(AwsError::bad("ParameterAlreadyExists", text));
        }
        let kind = match (input.text("Type")?, known) {
            (Some(kind @ ("String" | "StringList" | "SecureString")), _) => kind.to_owned(),
            (None, Some(known)) => known.kind.clone(),
            (None, None) => {
                let text = "A parameter type is required when you create a parameter.";
                return Err(AwsError::bad("ValidationException", text));
            }
            (Some(kind), _) => {
                let text = format!(
                    "1 validation error detected: Value '{kind}' at 'type' failed to satisfy constraint: Member \
                     must satisfy enum value set: [SecureString, StringList, String]"
                );
                return Err(AwsError::bad("ValidationException", text));
            }
        };
        let (account, region, _) = key;
        let version = self.parameters.put(&account, &region, name, value, &kind);
        Ok(json!({"Version": version, "Tier": "Standard"}))
    }

    fn label(&mut self, input: Input<'_>) -> Result<Json, AwsError> {
        let name = input.need("Name")?;
        self.allow(name)?;
        let labels = input.texts("Labels")?;
        let wanted = input.0.get("ParameterVersion").and_then(Json::as_u64);
        let key = self.key(name);
        let revisions = self.parameters.known.get_mut(&key).ok_or_else(|| AwsError::bad("ParameterNotFound", ""))?;
        let version = wanted.or(revisions.last().map(|last| last.version));
        if !revisions.iter().any(|revision| Some(revision.version) == version) {
            let text = format!("Systems Manager could not find version {version:?} of {name}");
            return Err(AwsError::bad("ParameterVersionNotFound", text));
        }
        // A label looks like no version, and stands at one version only.
        let sound = |label: &str| {
            let first = label.chars().next();
            first.is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
                && label.len() <= 100
                && !label.to_lowercase().starts_with("aws")
                && !label.to_lowercase().starts_with("ssm")
        };
        let (good, bad): (Vec<&str>, Vec<&str>) = labels.into_iter().partition(|label| sound(label));
        for revision in revisions {
            for label in &good {
                revision.labels.remove(*label);
                if Some(revision.version) == version {
                    revision.labels.insert((*label).to_owned());
                }
            }
        }
        Ok(json!({"InvalidLabels": bad, "ParameterVersion": version}))
    }

    fn history(&self, input: Input<'_>) -> Result<Json, AwsError> {
        let name = input.need("Name")?;
        self.allow(name)?;
        let decrypt = input.flag("WithDecryption");
        let revisions =
            self.parameters.known.get(&self.key(name)).ok_or_else(|| AwsError::bad("ParameterNotFound", ""))?;
        let list: Vec<Json> = revisions
            .iter()
            .map(|revision| {
                let mut body = self.body(name, revision, decrypt);
                body["Labels"] = json!(revision.labels);
                body["Tier"] = json!("Standard");
                body
            })
            .collect();
        page(input, "Parameters", &list, 50)
    }

    fn delete(&mut self, input: Input<'_>) -> Result<Json, AwsError> {
        let name = input.need("Name")?;
        self.allow(name)?;
        match self.parameters.known.remove(&self.key(name)) {
            Some(_) => Ok(json!({})),
            None => Err(AwsError::bad("ParameterNotFound", "")),
        }
    }

    fn delete_several(&mut self, input: Input<'_>) -> Result<Json, AwsError> {
        let names = input.texts("Names")?;
        for name in &names {
            self.allow(name)?;
        }
        let (deleted, invalid): (Vec<&str>, Vec<&str>) =
            names.into_iter().partition(|name| self.parameters.known.remove(&self.key(name)).is_some());
        Ok(json!({"DeletedParameters": deleted, "InvalidParameters": invalid}))
    }
}

/// One of `ParameterFilters`, as far as they are known here.
enum Filter<'a> {
    Name { begins: bool, values: Vec<&'a str> },
    Path { recursive: bool, values: Vec<&'a str> },
    Tag { key: &'a str, values: Vec<&'a str> },
}

impl<'a> Filter<'a> {
    fn parse(key: &'a str, option: Option<&str>, values: Vec<&'a str>) -> Result<Self, AwsError> {
        let wrong = || {
            let text = format!("The following filter option is not valid for {key}.");
            Err(AwsError::bad("InvalidFilterOption", text))
        };
        match (key, option) {
            ("Name", None | Some("Equals")) => Ok(Self::Name { begins: false, values }),
            ("Name", Some("BeginsWith")) => Ok(Self::Name { begins: true, values }),
            ("Path", None | Some("OneLevel")) => Ok(Self::Path { recursive: false, values }),
            ("Path", Some("Recursive")) => Ok(Self::Path { recursive: true, values }),
            (key, None | Some("Equals")) if key.starts_with("tag:") => Ok(Self::Tag { key: &key[4..], values }),
            ("Name" | "Path", _) => wrong(),
            (key, _) if key.starts_with("tag:") => wrong(),
            _ => Err(AwsError::bad("InvalidFilterKey", format!("The following filter key is not valid: {key}"))),
        }
    }

    fn passes(&self, name: &str, tags: &BTreeMap<String, String>) -> bool {
        match self {
            Self::Name { begins: true, values } => values.iter().any(|value| name.starts_with(value)),
            Self::Name { begins: false, values } => values.contains(&name),
            Self::Path { recursive, values } => values.iter().any(|path| {
                let below = name.strip_prefix(path.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/'));
                below.is_some_and(|rest| !rest.is_empty() && (*recursive || !rest.contains('/')))
            }),
            Self::Tag { key, values } => {
                tags.get(*key).is_some_and(|tag| values.is_empty() || values.contains(&tag.as_str()))
            }
        }
    }
}

fn page(input: Input<'_>, field: &str, list: &[Json], longest: usize) -> Result<Json, AwsError> {
    let (page, next) = input.page(list, longest).map_err(|error| match error.code.as_ref() {
        "InvalidNextTokenException" => AwsError::bad("InvalidNextToken", error.message),
        _ => error,
    })?;
    let mut body = json!({field: page});
    if let Some(next) = next {
        body["NextToken"] = json!(next);
    }
    Ok(body)
}

/// Takes `name:selector`, with the name plain or inside an ARN, apart.
fn parse(asked: &str) -> (&str, Option<&str>) {
    let rest = match asked.strip_prefix("arn:") {
        None => asked,
        Some(_) => {
            let resource = asked.splitn(6, ':').nth(5).unwrap_or_default();
            let name = resource.strip_prefix("parameter").unwrap_or_default();
            // The ARN of `/a/b` and that of `a` both have one slash after `parameter`.
            match name.get(1..) {
                Some(plain) if !plain.contains('/') => plain,
                _ => name,
            }
        }
    };
    match rest.split_once(':') {
        Some((name, selector)) => (name, Some(selector)),
        None => (rest, None),
    }
}

fn arn(caller: &Caller, name: &str) -> String {
    let (region, account) = (&caller.region, &caller.principal.account);
    let slash = if name.starts_with('/') { "" } else { "/" };
    format!("arn:{}:ssm:{region}:{account}:parameter{slash}{name}", partition(region))
}

/// Looks like what KMS makes, and is nothing.
fn ciphertext() -> String {
    format!("AQICAHh{}", encoding::random_text(185, MIXED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_arns_are_taken_apart_with_their_selectors() {
        assert_eq!(parse("/a/b:3"), ("/a/b", Some("3")));
        assert_eq!(parse("a"), ("a", None));
        let arn = "arn:aws:ssm:eu-west-1:111122223333:parameter";
        assert_eq!(parse(&format!("{arn}/a/b:blue")), ("/a/b", Some("blue")));
        assert_eq!(parse(&format!("{arn}/a")), ("a", None));
        assert_eq!(parse("arn:"), ("", None));
    }
}
