//! Secrets Manager: secrets with versions and the staging labels that move between them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value as Json, json};

use crate::encoding::{self, MIXED};
use crate::error::AwsError;
use crate::iam::{Iam, partition};
use crate::sigv4::Caller;

const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";
const PENDING: &str = "AWSPENDING";

/// Errors of the service itself, which are written a little differently from those of the front.
pub(crate) const ERRORS: [&str; 14] = [
    "AccessDeniedException",
    "DecryptionFailure",
    "EncryptionFailure",
    "InternalServiceError",
    "InvalidNextTokenException",
    "InvalidParameterException",
    "InvalidRequestException",
    "LimitExceededException",
    "MalformedPolicyDocumentException",
    "PreconditionNotMetException",
    "PublicPolicyException",
    "ResourceExistsException",
    "ResourceNotFoundException",
    "ValidationException",
];

/// What a secret holds. Printed only as redacted.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// `SecretString`
    Text(String),
    /// `SecretBinary`
    Binary(Vec<u8>),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text(redacted)",
            Self::Binary(_) => "Binary(redacted)",
        })
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes)
    }
}

/// Where a value was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// ARN of the secret, with its six random characters.
    pub arn: String,
    /// Id of the version that holds the value.
    pub version_id: String,
}

/// Account, Region and name.
type Key = (String, String, String);

#[derive(Debug, Default)]
pub(crate) struct Secrets(BTreeMap<Key, Secret>);

#[derive(Debug)]
struct Secret {
    arn: String,
    name: String,
    /// A resource policy lets other accounts read it.
    shared: bool,
    description: Option<String>,
    tags: BTreeMap<String, String>,
    created: f64,
    changed: f64,
    deleted: Option<f64>,
    versions: Vec<Stored>,
}

#[derive(Debug)]
struct Stored {
    id: String,
    value: Value,
    created: f64,
    stages: BTreeSet<String>,
}

impl Secrets {
    /// Creates a secret, or adds a version that becomes the current one. A planned deletion is called off.
    pub fn put(&mut self, account: &str, region: &str, name: &str, value: Value, shared: Option<bool>) -> Version {
        let key = (account.to_owned(), region.to_owned(), name.to_owned());
        let secret = self.0.entry(key).or_insert_with(|| Secret::new(account, region, name));
        if let Some(shared) = shared {
            secret.shared = shared;
        }
        secret.deleted = None;
        let version_id = encoding::uuid();
        secret.add(&version_id, value, &[CURRENT.to_owned()]);
        Version { arn: secret.arn.clone(), version_id }
    }

    /// Gives a secret, if there is one, these tags and no others.
    pub fn tag(&mut self, account: &str, region: &str, name: &str, tags: BTreeMap<String, String>) {
        let key = (account.to_owned(), region.to_owned(), name.to_owned());
        if let Some(secret) = self.0.get_mut(&key) {
            secret.tags = tags;
        }
    }

    pub fn schedule_deletion(&mut self, account: &str, region: &str, name: &str) {
        let key = (account.to_owned(), region.to_owned(), name.to_owned());
        if let Some(secret) = self.0.get_mut(&key) {
            secret.deleted = Some(encoding::now_precise() + 30.0 * 86_400.0);
        }
    }

    /// Finds by name, by ARN, or by an ARN without its random end.
    fn find(&self, caller: &Caller, id: &str) -> Option<Key> {
        let Some((account, region, name)) = arn_parts(id) else {
            let account = caller.principal.account.clone();
            let key = (account, caller.region.clone(), id.to_owned());
            return self.0.contains_key(&key).then_some(key);
        };
        if region != caller.region {
            return None;
        }
        let key = |name: &str| (account.to_owned(), region.to_owned(), name.to_owned());
        let whole = name.len().checked_sub(7).and_then(|end| name.get(..end));
        whole
            .map(key)
            .filter(|key| self.0.get(key).is_some_and(|secret| secret.arn == id))
            .or_else(|| Some(key(name)).filter(|key| self.0.contains_key(key)))
    }
}

impl Secret {
    fn new(account: &str, region: &str, name: &str) -> Self {
        let now = encoding::now_precise();
        let end = encoding::random_text(6, MIXED);
        let partition = partition(region);
        Self {
            arn: format!("arn:{partition}:secretsmanager:{region}:{account}:secret:{name}-{end}"),
            name: name.into(),
            shared: false,
            description: None,
            tags: BTreeMap::new(),
            created: now,
            changed: now,
            deleted: None,
            versions: Vec::new(),
        }
    }

    fn add(&mut self, id: &str, value: Value, stages: &[String]) {
        let now = encoding::now_precise();
        self.changed = now;
        self.versions.push(Stored { id: id.into(), value, created: now, stages: BTreeSet::new() });
        for stage in stages {
            self.attach(id, stage);
        }
    }

    /// Moves a stage to this version. The version that loses AWSCURRENT becomes AWSPREVIOUS.
    fn attach(&mut self, id: &str, stage: &str) {
        let mut loser = None;
        for version in &mut self.versions {
            if version.id != id && version.stages.remove(stage) {
                loser = Some(version.id.clone());
            }
        }
        if let Some(version) = self.versions.iter_mut().find(|version| version.id == id) {
            version.stages.insert(stage.into());
            if stage == CURRENT {
                version.stages.remove(PENDING);
                version.stages.remove(PREVIOUS);
            }
        }
        if let Some(loser) = loser.filter(|_| stage == CURRENT) {
            self.attach(&loser, PREVIOUS);
        }
    }

    fn version(&self, id: Option<&str>, stage: Option<&str>) -> Result<&Stored, AwsError> {
        let by_id = |id: &str| {
            let found = self.versions.iter().find(|version| version.id == id);
            found.ok_or_else(|| missing_value(&format!("VersionId: {id}")))
        };
        match (id, stage) {
            (Some(id), None) => by_id(id),
            (Some(id), Some(stage)) => {
                let version = by_id(id)?;
                match version.stages.contains(stage) {
                    true => Ok(version),
                    false => Err(AwsError::bad(
                        "InvalidRequestException",
                        "You provided a VersionStage that is not associated to the provided VersionId.",
                    )),
                }
            }
            (None, stage) => {
                let stage = stage.unwrap_or(CURRENT);
                let mut versions = self.versions.iter();
                versions
                    .find(|version| version.stages.contains(stage))
                    .ok_or_else(|| missing_value(&format!("staging label: {stage}")))
            }
        }
    }

    fn refuse_deleted(&self, doing: &str) -> Result<(), AwsError> {
        match self.deleted {
            None => Ok(()),
            Some(_) => Err(AwsError::bad(
                "InvalidRequestException",
                format!("You can't {doing} because it was marked for deletion."),
            )),
        }
    }

    fn stages(&self) -> Json {
        let staged = self.versions.iter().filter(|v| !v.stages.is_empty());
        staged.map(|version| (version.id.clone(), json!(version.stages))).collect::<Map<_, _>>().into()
    }

    fn value(&self, version: &Stored) -> Json {
        let mut body = json!({"ARN": self.arn, "Name": self.name, "VersionId": version.id,
            "VersionStages": version.stages, "CreatedDate": version.created});
        match &version.value {
            Value::Text(text) => body["SecretString"] = json!(text),
            Value::Binary(bytes) => body["SecretBinary"] = json!(encoding::base64(bytes)),
        }
        body
    }

    fn description(&self) -> Json {
        let tags: Vec<Json> = self.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
        let mut body = json!({"ARN": self.arn, "Name": self.name, "CreatedDate": self.created,
            "LastChangedDate": self.changed, "Tags": tags});
        if let Some(description) = &self.description {
            body["Description"] = json!(description);
        }
        if let Some(deleted) = self.deleted {
            body["DeletedDate"] = json!(deleted);
        }
        body
    }
}

/// Answers one operation for a caller whose signature is good.
pub(crate) fn call(
    secrets: &mut Secrets,
    iam: &Iam,
    caller: &Caller,
    operation: &str,
    input: &Map<String, Json>,
) -> Result<Json, AwsError> {
    let mut desk = Desk { secrets, iam, caller, input: Input(input), action: format!("secretsmanager:{operation}") };
    match operation {
        "GetSecretValue" => desk.get_secret_value(),
        "BatchGetSecretValue" => desk.batch_get_secret_value(),
        "CreateSecret" => desk.create_secret(),
        "PutSecretValue" => desk.put_secret_value(),
        "UpdateSecret" => desk.update_secret(),
        "DescribeSecret" => desk.describe_secret(),
        "ListSecrets" => desk.list_secrets(),
        "ListSecretVersionIds" => desk.list_secret_version_ids(),
        "DeleteSecret" => desk.delete_secret(),
        "RestoreSecret" => desk.restore_secret(),
        "UpdateSecretVersionStage" => desk.update_secret_version_stage(),
        "TagResource" => desk.tag_resource(),
        "UntagResource" => desk.untag_resource(),
        _ => Err(AwsError::bad("UnknownOperationException", "")),
    }
}

struct Desk<'a> {
    secrets: &'a mut Secrets,
    iam: &'a Iam,
    caller: &'a Caller,
    input: Input<'a>,
    action: String,
}

impl Desk<'_> {
    /// The secret the caller names, if its policies allow the action. Whether a secret exists is told
    /// only to those who may know.
    fn allowed(&self, id: &str, action: &str, stage: Option<&str>) -> Result<&Secret, AwsError> {
        let principal = &self.caller.principal;
        let found = self.secrets.find(self.caller, id);
        let secret = found.as_ref().and_then(|key| self.secrets.0.get(key));
        let resource = match (secret, arn_parts(id)) {
            (Some(secret), _) => secret.arn.clone(),
            (None, Some(_)) => id.to_owned(),
            (None, None) => self.arn_to_be(id),
        };
        if !self.iam.allows(principal, action, &resource, stage) {
            return Err(AwsError::denied(self.caller, action, id, "identity-based"));
        }
        let foreign = arn_parts(id).is_some_and(|(account, _, _)| account != principal.account);
        if foreign && !secret.is_some_and(|secret| secret.shared) {
            return Err(AwsError::denied(self.caller, action, id, "resource-based"));
        }
        secret.ok_or_else(missing_secret)
    }

    fn allowed_mut(&mut self) -> Result<&mut Secret, AwsError> {
        let id = self.input.need("SecretId")?;
        self.allowed(id, &self.action, None)?;
        let key = self.secrets.find(self.caller, id).ok_or_else(missing_secret)?;
        self.secrets.0.get_mut(&key).ok_or_else(missing_secret)
    }

    /// For actions that know no single resource.
    fn allowed_at_all(&self, action: &str) -> Result<(), AwsError> {
        match self.iam.allows(&self.caller.principal, action, "*", None) {
            true => Ok(()),
            false => Err(AwsError::denied(self.caller, action, "*", "identity-based")),
        }
    }

    /// ARN of a secret that does not exist, as policies may describe it.
    fn arn_to_be(&self, name: &str) -> String {
        let (region, account) = (&self.caller.region, &self.caller.principal.account);
        let partition = partition(region);
        format!("arn:{partition}:secretsmanager:{region}:{account}:secret:{name}-??????")
    }

    fn get_secret_value(&self) -> Result<Json, AwsError> {
        let id = self.input.need("SecretId")?;
        let (version, stage) = (self.input.text("VersionId")?, self.input.text("VersionStage")?);
        if version.is_some_and(|id| !(32..=64).contains(&id.len())) {
            let text = "Invalid length for parameter VersionId: it must be between 32 and 64";
            return Err(AwsError::bad("InvalidParameterException", text));
        }
        let secret = self.allowed(id, &self.action, stage)?;
        secret.refuse_deleted("perform this operation on the secret")?;
        Ok(secret.value(secret.version(version, stage)?))
    }

    fn batch_get_secret_value(&self) -> Result<Json, AwsError> {
        let bad = |text: &str| Err(AwsError::bad("InvalidParameterException", text));
        let ids = self.input.texts("SecretIdList")?;
        let filters = self.filters()?;
        match (ids.is_empty(), filters.is_empty()) {
            (true, true) => {
                return bad("You must specify either SecretIdList or Filters.");
            }
            (false, false) => {
                return bad("You can't specify both SecretIdList and Filters.");
            }
            _ if ids.len() > 20 => {
                return Err(AwsError::bad(
                    "ValidationException",
                    "1 validation error detected: Value at 'secretIdList' failed to satisfy constraint: \
                     Member must have length less than or equal to 20",
                ));
            }
            (false, true) if self.input.0.contains_key("MaxResults") => {
                return bad("You can't use MaxResults with SecretIdList.");
            }
            _ => {}
        }
        self.allowed_at_all(&self.action)?;
        // A set: answered once each, and not in the order of the question.
        let (ids, next): (BTreeSet<String>, _) = match filters.is_empty() {
            true => (ids.into_iter().map(str::to_owned).collect(), None),
            false => {
                self.allowed_at_all("secretsmanager:ListSecrets")?;
                let found: Vec<&Secret> = self.filtered(&filters, false).collect();
                let (page, next) = self.input.page(&found, 20)?;
                (page.iter().map(|secret| secret.arn.clone()).collect(), next)
            }
        };
        let (mut values, mut errors) = (Vec::new(), Vec::new());
        for id in ids.iter().rev() {
            let read = self.allowed(id, "secretsmanager:GetSecretValue", None).and_then(|secret| {
                secret.refuse_deleted("perform this operation on the secret")?;
                Ok(secret.value(secret.version(None, None)?))
            });
            match read {
                Ok(value) => values.push(value),
                Err(error) => errors.push(json!({"SecretId": id, "ErrorCode": error.code, "Message": error.message})),
            }
        }
        let mut body = json!({"SecretValues": values, "Errors": errors});
        if let Some(next) = next {
            body["NextToken"] = json!(next);
        }
        Ok(body)
    }

    fn create_secret(&mut self) -> Result<Json, AwsError> {
        let name = self.input.need("Name")?;
        let sound = |character: char| character.is_ascii_alphanumeric() || "/_+=.@-".contains(character);
        if name.len() > 512 || !name.chars().all(sound) {
            let text = "Invalid name. Must be a valid name containing alphanumeric characters, or any of \
                        the following: -/_+=.@!";
            return Err(AwsError::bad("ValidationException", text));
        }
        let (region, account) = (&self.caller.region, &self.caller.principal.account);
        let resource = self.arn_to_be(name);
        if !self.iam.allows(&self.caller.principal, &self.action, &resource, None) {
            return Err(AwsError::denied(self.caller, &self.action, name, "identity-based"));
        }
        let key = (account.clone(), region.clone(), name.to_owned());
        match self.secrets.0.get(&key) {
            None => {}
            Some(Secret { deleted: None, .. }) => {
                let text = format!("The operation failed because the secret {name} already exists.");
                return Err(AwsError::bad("ResourceExistsException", text));
            }
            Some(_) => {
                let text = "You can't create this secret because a secret with this name is already \
                            scheduled for deletion.";
                return Err(AwsError::bad("InvalidRequestException", text));
            }
        }
        let mut secret = Secret::new(account, region, name);
        secret.description = self.input.text("Description")?.map(str::to_owned);
        secret.tags = self.input.tags();
        let mut body = json!({"ARN": secret.arn, "Name": name});
        if let Some(value) = self.input.value()? {
            let id = self.input.request_token()?;
            secret.add(&id, value, &[CURRENT.to_owned()]);
            body["VersionId"] = json!(id);
        }
        self.secrets.0.insert(key, secret);
        Ok(body)
    }

    fn put_secret_value(&mut self) -> Result<Json, AwsError> {
        let value = self.input.value()?.ok_or_else(|| {
            let text = "You must provide either SecretString or SecretBinary.";
            AwsError::bad("InvalidRequestException", text)
        })?;
        let id = self.input.request_token()?;
        let stages: Vec<String> = match self.input.texts("VersionStages")? {
            stages if stages.is_empty() => vec![CURRENT.into()],
            stages => stages.into_iter().map(str::to_owned).collect(),
        };
        let secret = self.allowed_mut()?;
        secret.refuse_deleted("perform this operation on the secret")?;
        match secret.versions.iter().find(|version| version.id == id) {
            None => secret.add(&id, value, &stages),
            Some(known) if known.value == value => {}
            Some(_) => {
                let text = "You can't use the same ClientRequestToken with another value.";
                return Err(AwsError::bad("ResourceExistsException", text));
            }
        }
        let stages = secret.version(Some(&id), None).map(|v| v.stages.clone())?;
        Ok(json!({"ARN": secret.arn, "Name": secret.name, "VersionId": id, "VersionStages": stages}))
    }

    fn update_secret(&mut self) -> Result<Json, AwsError> {
        let value = self.input.value()?;
        let id = self.input.request_token()?;
        let description = self.input.text("Description")?.map(str::to_owned);
        let secret = self.allowed_mut()?;
        secret.refuse_deleted("perform this operation on the secret")?;
        if description.is_some() {
            secret.description = description;
        }
        let mut body = json!({"ARN": secret.arn, "Name": secret.name});
        if let Some(value) = value {
            secret.add(&id, value, &[CURRENT.to_owned()]);
            body["VersionId"] = json!(id);
        }
        Ok(body)
    }

    fn describe_secret(&self) -> Result<Json, AwsError> {
        let secret = self.allowed(self.input.need("SecretId")?, &self.action, None)?;
        let mut body = secret.description();
        body["VersionIdsToStages"] = secret.stages();
        Ok(body)
    }

    fn list_secrets(&self) -> Result<Json, AwsError> {
        self.allowed_at_all(&self.action)?;
        let filters = self.filters()?;
        let deleted = self.input.flag("IncludePlannedDeletion");
        let found: Vec<&Secret> = self.filtered(&filters, deleted).collect();
        let (page, next) = self.input.page(&found, 100)?;
        let list: Vec<Json> = page
            .iter()
            .map(|secret| {
                let mut body = secret.description();
                body["SecretVersionsToStages"] = secret.stages();
                body
            })
            .collect();
        let mut body = json!({"SecretList": list});
        if let Some(next) = next {
            body["NextToken"] = json!(next);
        }
        Ok(body)
    }

    fn list_secret_version_ids(&self) -> Result<Json, AwsError> {
        let secret = self.allowed(self.input.need("SecretId")?, &self.action, None)?;
        let all = self.input.flag("IncludeDeprecated");
        let versions: Vec<&Stored> =
            secret.versions.iter().filter(|version| all || !version.stages.is_empty()).collect();
        let (page, next) = self.input.page(&versions, 100)?;
        let list: Vec<Json> = page
            .iter()
            .map(|version| {
                json!({"VersionId": version.id, "VersionStages": version.stages,
                    "CreatedDate": version.created})
            })
            .collect();
        let mut body = json!({"ARN": secret.arn, "Name": secret.name, "Versions": list});
        if let Some(next) = next {
            body["NextToken"] = json!(next);
        }
        Ok(body)
    }

    fn delete_secret(&mut self) -> Result<Json, AwsError> {
        let bad = |text: &str| Err(AwsError::bad("InvalidParameterException", text));
        let id = self.input.need("SecretId")?;
        let force = self.input.flag("ForceDeleteWithoutRecovery");
        let days = self.input.0.get("RecoveryWindowInDays").map(Json::as_i64);
        let days = match days {
            Some(_) if force => {
                return bad("You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.");
            }
            None => 30,
            Some(Some(days @ 7..=30)) => days,
            Some(_) => {
                return bad("The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).");
            }
        };
        let now = encoding::now_precise();
        let secret = self.allowed_mut()?;
        if !force {
            secret.refuse_deleted("perform this operation on the secret")?;
        }
        let date = if force { now } else { now + days as f64 * 86_400.0 };
        secret.deleted = Some(date);
        let body = json!({"ARN": secret.arn, "Name": secret.name, "DeletionDate": date});
        if force && let Some(key) = self.secrets.find(self.caller, id) {
            self.secrets.0.remove(&key);
        }
        Ok(body)
    }

    fn restore_secret(&mut self) -> Result<Json, AwsError> {
        let secret = self.allowed_mut()?;
        secret.deleted = None;
        Ok(json!({"ARN": secret.arn, "Name": secret.name}))
    }

    fn update_secret_version_stage(&mut self) -> Result<Json, AwsError> {
        let bad = |text: String| Err(AwsError::bad("InvalidParameterException", text));
        let stage = self.input.need("VersionStage")?.to_owned();
        let from = self.input.text("RemoveFromVersionId")?.map(str::to_owned);
        let to = self.input.text("MoveToVersionId")?.map(str::to_owned);
        let secret = self.allowed_mut()?;
        secret.refuse_deleted("perform this operation on the secret")?;
        for id in from.iter().chain(&to) {
            secret.version(Some(id), None)?;
        }
        let holder = secret.versions.iter().find(|v| v.stages.contains(&stage));
        let holder = holder.map(|version| version.id.clone());
        if from.is_some() && from != holder {
            return bad(format!(
                "The parameter RemoveFromVersionId can't be of a version that staging label {stage} is not \
                 attached to."
            ));
        }
        if let (Some(to), Some(holder), None) = (&to, &holder, &from)
            && to != holder
        {
            return bad(format!(
                "The parameter RemoveFromVersionId can't be empty. Staging label {stage} is currently attached \
                 to version {holder}, so you must explicitly reference that version in RemoveFromVersionId."
            ));
        }
        match to {
            Some(to) => secret.attach(&to, &stage),
            None if stage == CURRENT => {
                return bad("You can't remove staging label AWSCURRENT without moving it.".into());
            }
            None => {
                for version in &mut secret.versions {
                    version.stages.remove(&stage);
                }
            }
        }
        Ok(json!({"ARN": secret.arn, "Name": secret.name}))
    }

    fn tag_resource(&mut self) -> Result<Json, AwsError> {
        let tags = self.input.tags();
        self.allowed_mut()?.tags.extend(tags);
        Ok(json!({}))
    }

    fn untag_resource(&mut self) -> Result<Json, AwsError> {
        let keys = self.input.texts("TagKeys")?;
        let keys: Vec<String> = keys.into_iter().map(str::to_owned).collect();
        self.allowed_mut()?.tags.retain(|key, _| !keys.contains(key));
        Ok(json!({}))
    }

    /// Names of filters with their values.
    fn filters(&self) -> Result<Vec<(&str, Vec<&str>)>, AwsError> {
        let filters = self.input.0.get("Filters").and_then(Json::as_array);
        let mut parsed = Vec::new();
        for filter in filters.into_iter().flatten() {
            let name = filter["Key"].as_str().unwrap_or_default();
            let known = ["all", "description", "name", "owning-service", "primary-region", "tag-key", "tag-value"];
            if !known.contains(&name) {
                let text = format!(
                    "1 validation error detected: Value '{name}' at 'filters.1.member.key' failed to satisfy \
                     constraint: Member must satisfy enum value set: [description, name, tag-key, tag-value, \
                     primary-region, owning-service, all]"
                );
                return Err(AwsError::bad("ValidationException", text));
            }
            let values = filter["Values"]
                .as_array()
                .map_or_else(Vec::new, |values| values.iter().filter_map(Json::as_str).collect());
            parsed.push((name, values));
        }
        Ok(parsed)
    }

    /// The caller's own secrets of the Region that every filter lets through.
    fn filtered<'s>(&'s self, filters: &'s [(&str, Vec<&str>)], deleted: bool) -> impl Iterator<Item = &'s Secret> {
        let own = self.secrets.0.iter().filter(move |((account, region, _), secret)| {
            *account == self.caller.principal.account
                && *region == self.caller.region
                && (deleted || secret.deleted.is_none())
        });
        own.map(|(_, secret)| secret).filter(move |secret| {
            filters.iter().all(|(name, values)| {
                values.iter().any(|value| match value.strip_prefix('!') {
                    Some(value) => !passes(secret, name, value),
                    None => passes(secret, name, value),
                })
            })
        })
    }
}

fn passes(secret: &Secret, filter: &str, value: &str) -> bool {
    let value_lower = value.to_lowercase();
    let starts = |text: &str| text.to_lowercase().starts_with(&value_lower);
    let description = secret.description.as_deref().unwrap_or_default();
    let words = |text: &str| text.to_lowercase().contains(&value_lower);
    match filter {
        "name" => secret.name.starts_with(value),
        "description" => words(description),
        "tag-key" => secret.tags.keys().any(|key| key.starts_with(value)),
        "tag-value" => secret.tags.values().any(|tag| tag.starts_with(value)),
        "all" => {
            starts(&secret.name)
                || words(description)
                || secret.tags.iter().any(|(key, tag)| starts(key) || starts(tag))
        }
        _ => false,
    }
}

/// Reads fields of a request; a field of the wrong kind is refused, not ignored.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a>(pub &'a Map<String, Json>);

impl<'a> Input<'a> {
    pub fn text(&self, name: &str) -> Result<Option<&'a str>, AwsError> {
        match self.0.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong_kind(name)),
        }
    }

    pub fn need(&self, name: &str) -> Result<&'a str, AwsError> {
        let text = self.text(name)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| {
            let mut field = name.to_owned();
            if let Some(first) = field.get_mut(..1) {
                first.make_ascii_lowercase();
            }
            let text = format!(
                "1 validation error detected: Value null at '{field}' failed to satisfy constraint: Member \
                 must not be null"
            );
            AwsError::bad("ValidationException", text)
        })
    }

    pub fn texts(&self, name: &str) -> Result<Vec<&'a str>, AwsError> {
        match self.0.get(name) {
            None | Some(Json::Null) => Ok(Vec::new()),
            Some(Json::Array(items)) => {
                items.iter().map(|item| item.as_str().ok_or_else(|| wrong_kind(name))).collect()
            }
            Some(_) => Err(wrong_kind(name)),
        }
    }

    pub fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Json::as_bool).unwrap_or(false)
    }

    /// One page of a list and the token for the next. `longest` is also the default length.
    pub fn page<'l, T>(&self, list: &'l [T], longest: usize) -> Result<(&'l [T], Option<String>), AwsError> {
        let start = match self.text("NextToken")? {
            None => 0,
            Some(token) => page_start(token)
                .ok_or_else(|| AwsError::bad("InvalidNextTokenException", "The NextToken value is invalid."))?,
        };
        let length = match self.0.get("MaxResults") {
            None | Some(Json::Null) => longest,
            Some(length) => match length.as_u64() {
                Some(length) if (1..=longest as u64).contains(&length) => length as usize,
                _ => {
                    let text = format!(
                        "1 validation error detected: Value at 'maxResults' failed to satisfy constraint: \
                         Member must be between 1 and {longest}"
                    );
                    return Err(AwsError::bad("ValidationException", text));
                }
            },
        };
        let rest = list.get(start..).unwrap_or_default();
        let page = &rest[..length.min(rest.len())];
        let next = (rest.len() > length).then(|| encoding::base64(format!("page:{}", start + length).as_bytes()));
        Ok((page, next))
    }

    fn value(&self) -> Result<Option<Value>, AwsError> {
        match (self.text("SecretString")?, self.text("SecretBinary")?) {
            (None, None) => Ok(None),
            (Some(text), None) => Ok(Some(text.into())),
            (None, Some(bytes)) => {
                let bytes = encoding::base64_decode(bytes);
                Ok(Some(bytes.ok_or_else(|| wrong_kind("SecretBinary"))?.into()))
            }
            (Some(_), Some(_)) => Err(AwsError::bad(
                "InvalidParameterException",
                "You can't specify both a binary secret value and a string secret value in the same secret.",
            )),
        }
    }

    /// The id of a new version.
    fn request_token(&self) -> Result<String, AwsError> {
        match self.text("ClientRequestToken")? {
            None => Ok(encoding::uuid()),
            Some(token) if (32..=64).contains(&token.len()) => Ok(token.to_owned()),
            Some(_) => {
                Err(AwsError::bad("InvalidParameterException", "ClientRequestToken must be 32-64 characters long."))
            }
        }
    }

    fn tags(&self) -> BTreeMap<String, String> {
        let tags = self.0.get("Tags").and_then(Json::as_array);
        let pairs = tags.into_iter().flatten().filter_map(|tag| {
            let value = tag["Value"].as_str().unwrap_or_default();
            Some((tag["Key"].as_str()?.to_owned(), value.to_owned()))
        });
        pairs.collect()
    }
}

fn page_start(token: &str) -> Option<usize> {
    let text = String::from_utf8(encoding::base64_decode(token)?).ok()?;
    text.strip_prefix("page:")?.parse().ok()
}

/// Account, Region and the rest of a secret's ARN.
fn arn_parts(id: &str) -> Option<(&str, &str, &str)> {
    let mut parts = id.strip_prefix("arn:")?.splitn(6, ':');
    let (_partition, service) = (parts.next()?, parts.next()?);
    let (region, account) = (parts.next()?, parts.next()?);
    let (kind, name) = (parts.next()?, parts.next()?);
    (service == "secretsmanager" && kind == "secret").then_some((account, region, name))
}

fn missing_secret() -> AwsError {
    AwsError::bad("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
}

fn missing_value(which: &str) -> AwsError {
    AwsError::bad(
        "ResourceNotFoundException",
        format!("Secrets Manager can't find the specified secret value for {which}"),
    )
}

fn wrong_kind(name: &str) -> AwsError {
    let text = format!("The value of {name} has the wrong type");
    AwsError::bad("SerializationException", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> Secret {
        let mut secret = Secret::new("111122223333", "eu-west-1", "shop/db");
        for id in ["one", "two", "three"] {
            secret.add(id, id.into(), &[CURRENT.to_owned()]);
        }
        secret
    }

    fn stages(secret: &Secret) -> Vec<Vec<&str>> {
        let versions = secret.versions.iter();
        versions.map(|version| version.stages.iter().map(String::as_str).collect()).collect()
    }

    #[test]
    fn a_new_version_moves_current_and_previous() {
        assert_eq!(stages(&secret()), [vec![], vec![PREVIOUS], vec![CURRENT]]);
    }

    #[test]
    fn moving_current_back_makes_the_loser_previous() {
        let mut secret = secret();
        secret.attach("two", CURRENT);
        assert_eq!(stages(&secret), [vec![], vec![CURRENT], vec![PREVIOUS]]);
        secret.attach("one", "blue");
        secret.attach("two", "blue");
        assert_eq!(stages(&secret), [vec![], vec![CURRENT, "blue"], vec![PREVIOUS]]);
    }

    #[test]
    fn an_arn_is_found_whole_and_without_its_end() {
        let mut secrets = Secrets::default();
        let put = secrets.put("111122223333", "cn-north-1", "a-bcdefg", "x".into(), None);
        assert!(put.arn.starts_with("arn:aws-cn:secretsmanager:cn-north-1:111122223333:secret:a-bcdefg-"));
        let iam = Iam::new("111122223333");
        let principal = iam.keys(crate::iam::ADMIN_ACCESS_KEY_ID).expect("the admin").principal.clone();
        let caller = Caller { principal, region: "cn-north-1".into() };
        let short = &put.arn[..put.arn.len() - 7];
        for id in [put.arn.as_str(), short, "a-bcdefg"] {
            assert!(secrets.find(&caller, id).is_some(), "{id}");
        }
        assert!(secrets.find(&caller, &put.arn.replace("north-1", "northwest-1")).is_none());
        assert!(secrets.find(&caller, "a").is_none());
        assert!(secrets.find(&caller, "arn:aws-cn:secretsmanager:::secret:é").is_none());
    }

    #[test]
    fn values_are_not_printed() {
        let mut secrets = Secrets::default();
        secrets.put("1", "r", "n", "hunter2".into(), None);
        let printed = format!("{secrets:?}");
        assert!(printed.contains("redacted") && !printed.contains("hunter2"));
    }
}
