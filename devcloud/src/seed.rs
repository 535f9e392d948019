//! What a cloud shall contain from the start, written in JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::encoding;
use crate::iam::Role;
use crate::lock::lock;
use crate::secretsmanager::Value;
use crate::state::Shared;

/// Lists of all that can be put into a cloud. A misspelt field is an error.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Seed {
    roles: Vec<Role>,
    secrets: Vec<Secret>,
    parameters: Vec<Parameter>,
    nodes: Vec<Node>,
    service_accounts: Vec<ServiceAccount>,
    pods: Vec<Pod>,
    oidc: Vec<Oidc>,
    pod_identity: Vec<PodIdentity>,
}

/// A secret's first value, or its next.
#[derive(Debug, Deserialize)]
#[serde(try_from = "RawSecret")]
struct Secret {
    region: String,
    name: String,
    account: Option<String>,
    shared: bool,
    value: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSecret {
    region: String,
    name: String,
    text: Option<String>,
    base64: Option<String>,
    /// Another account than the cloud's own.
    account: Option<String>,
    /// Whether roles of other accounts can read it.
    #[serde(default)]
    shared: bool,
}

impl TryFrom<RawSecret> for Secret {
    type Error = &'static str;

    fn try_from(raw: RawSecret) -> Result<Self, Self::Error> {
        let value = match (raw.text, raw.base64) {
            (Some(text), None) => Value::Text(text),
            (None, Some(base64)) => {
                encoding::base64_decode(&base64).map(Value::Binary).ok_or("base64 is not base64")?
            }
            _ => return Err("a secret has either text or base64"),
        };
        Ok(Self { region: raw.region, name: raw.name, account: raw.account, shared: raw.shared, value })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameter {
    region: String,
    name: String,
    value: String,
    #[serde(rename = "type", default)]
    kind: ParameterKind,
    /// Labels of this version.
    #[serde(default)]
    labels: Vec<String>,
}

impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parameter({}, {}, redacted)", self.region, self.name)
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
enum ParameterKind {
    #[default]
    String,
    StringList,
    SecureString,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceAccount {
    namespace: String,
    name: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pod {
    namespace: String,
    name: String,
    service_account: String,
    node: String,
}

/// An identity provider of another cluster.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Oidc {
    pub issuer: String,
    pub audiences: Vec<String>,
    pub jwks: serde_json::Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PodIdentity {
    namespace: String,
    service_account: String,
    role_arn: String,
}

impl Seed {
    pub(crate) fn sow(self, shared: &Shared) {
        for provider in self.oidc {
            shared.register_oidc(&provider.issuer, provider.audiences, provider.jwks);
        }
        for parameter in self.parameters {
            let kind = format!("{:?}", parameter.kind);
            let Parameter { region, name, value, labels, .. } = &parameter;
            let version = shared.put_parameter(region, name, value, &kind);
            for label in labels {
                lock(&shared.aws).parameters.label(&shared.account, region, name, version, label);
            }
        }
        let mut aws = lock(&shared.aws);
        for role in self.roles {
            aws.iam.put_role(role);
        }
        for secret in self.secrets {
            let account = secret.account.as_ref().unwrap_or(&shared.account);
            let (region, name) = (&secret.region, &secret.name);
            let share = Some(secret.shared);
            aws.secrets.put(account, region, name, secret.value, share);
        }
        drop(aws);
        let mut cluster = lock(&shared.cluster);
        for node in &self.nodes {
            cluster.put_node(&node.name, &borrowed(&node.labels));
        }
        for account in &self.service_accounts {
            let annotations = borrowed(&account.annotations);
            cluster.put_service_account(&account.namespace, &account.name, &annotations);
        }
        for pod in &self.pods {
            cluster.put_pod(&pod.namespace, &pod.name, &pod.service_account, &pod.node);
        }
        for pair in self.pod_identity {
            let key = (pair.namespace, pair.service_account);
            cluster.associations.insert(key, pair.role_arn);
        }
    }
}

fn borrowed(map: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    map.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_read_and_a_typo_is_not() {
        let seed: Seed = serde_json::from_str(
            r#"{"roles": [{"arn": "arn:aws:iam::111122223333:role/web", "max_session": 7200,
                    "trust": ["pod_identity", {"role": {"arn": "arn:aws:iam::111122223333:role/x"}},
                        {"web_identity": {"subject": "system:serviceaccount:shop:*"}}],
                    "allow": [{"action": "ssm:*", "resource": "*"}]}],
                "secrets": [{"region": "eu-west-1", "name": "a", "text": "hunter2"},
                    {"region": "eu-west-1", "name": "b", "base64": "AAE=", "shared": true}],
                "parameters": [{"region": "eu-west-1", "name": "/p", "value": "hunter2", "type": "SecureString"}],
                "pods": [{"namespace": "shop", "name": "web-1", "service_account": "web", "node": "a"}]}"#,
        )
        .expect("readable");
        assert!(!format!("{seed:?}").contains("hunter2"));
        for wrong in [
            r#"{"secret": []}"#,
            r#"{"secrets": [{"region": "r", "name": "n"}]}"#,
            r#"{"secrets": [{"region": "r", "name": "n", "text": "t", "base64": ""}]}"#,
            r#"{"secrets": [{"region": "r", "name": "n", "text": "t", "txet": ""}]}"#,
        ] {
            serde_json::from_str::<Seed>(wrong).expect_err(wrong);
        }
    }
}
