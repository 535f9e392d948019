//! What the driver asks for, as types.

use std::collections::BTreeMap;
use std::hash::Hash;

use serde::Deserialize;

use crate::identity::{ClaimedPod, IdentityError};
use crate::plan::FilePermission;
use crate::reason::{Explained, Reason};
use crate::sensitive::{MountSecrets, SecretBytes, ServiceAccountToken};
use crate::spec::Parameters;

/// Prefix of the attributes that kubelet adds about the pod.
const POD_ATTRIBUTES: &str = "csi.storage.k8s.io/";
const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";

/// One mount, as the driver describes it. Nothing of it is proved.
#[derive(Debug)]
pub struct MountRequest {
    pub pod: ClaimedPod,
    /// Name of the SecretProviderClass, for logs.
    pub class: String,
    /// The class's parameters, overridden by the pod's `volumeAttributes`.
    pub parameters: Parameters,
    pub target_path: String,
    /// Mode of files for which the class names none.
    pub default_permission: FilePermission,
    /// What came of `nodePublishSecretRef`.
    pub secrets: MountSecrets,
    tokens: BTreeMap<String, ServiceAccountToken>,
}

/// Why a request cannot be read. The texts never quote it, since it carries tokens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    #[error("the attributes of the mount request are not a JSON object of texts")]
    Attributes,
    #[error("the secrets of the mount request are not a JSON object of texts")]
    Secrets,
    #[error("the mount request says nothing of {0}; the CSIDriver secrets-store.csi.k8s.io needs podInfoOnMount: true")]
    NoPod(&'static str),
    #[error("the service-account tokens of the mount request are not in the form of kubelet")]
    Tokens,
    #[error("the permission of the mount request is not a decimal mode")]
    Permission,
}

impl Explained for InvalidRequest {
    fn reason(&self) -> Reason {
        match self {
            Self::Attributes | Self::Secrets | Self::NoPod(_) | Self::Tokens | Self::Permission => {
                Reason::InvalidRequest
            }
        }
    }
}

impl MountRequest {
    /// Reads a request. `attributes`, `secrets` and `permission` are JSON, as the driver sends them. Tokens are
    /// also among the secrets: there kubelet puts them for a CSIDriver with `serviceAccountTokenInSecrets` (KEP-5538).
    ///
    /// # Errors
    /// What is missing or malformed.
    pub fn parse(
        attributes: &str,
        secrets: &str,
        permission: &str,
        target_path: String,
    ) -> Result<Self, InvalidRequest> {
        let mut attributes: BTreeMap<String, String> =
            serde_json::from_str(attributes).map_err(|_| InvalidRequest::Attributes)?;
        let among_attributes = attributes.remove(TOKENS).map(ServiceAccountToken::from);
        let mut secrets = read_secrets(secrets)?;
        let tokens = tokens(tokens_among(&mut secrets)?.or(among_attributes))?;
        let pod = {
            let mut of_pod = |name: &'static str| {
                let value = attributes.remove(&format!("{POD_ATTRIBUTES}{name}"));
                value.filter(|value| !value.is_empty()).ok_or(InvalidRequest::NoPod(name))
            };
            ClaimedPod {
                namespace: of_pod("pod.namespace")?,
                name: of_pod("pod.name")?,
                uid: of_pod("pod.uid")?,
                service_account: of_pod("serviceAccount.name")?,
            }
        };
        let class = attributes.get("secretProviderClass").cloned().unwrap_or_default();
        attributes.retain(|name, _| !name.starts_with(POD_ATTRIBUTES));
        let mode: u32 = serde_json::from_str(permission).map_err(|_| InvalidRequest::Permission)?;
        let (default_permission, _) = FilePermission::from_mode(mode);
        Ok(Self { pod, class, parameters: attributes, target_path, default_permission, secrets, tokens })
    }

    /// Everything that it asks for and with. Tokens are left out: they change and ask for nothing else.
    pub fn demands(&self) -> impl Hash {
        let secrets: Vec<_> = self.secrets.iter().map(|(name, value)| (name, value.expose())).collect();
        (&self.parameters, self.default_permission.mode(), secrets)
    }

    /// The pod's token for the first of some audiences that it has one for, with that audience.
    ///
    /// # Errors
    /// Names the audiences that there are tokens for.
    pub fn token<'a>(&self, audiences: &'a [String]) -> Result<(&'a str, ServiceAccountToken), IdentityError> {
        let found = audiences.iter().find_map(|audience| Some((audience.as_str(), self.tokens.get(audience)?.clone())));
        found.ok_or_else(|| {
            let names: Vec<&str> = self.tokens.keys().map(String::as_str).collect();
            let present = if names.is_empty() { "none".into() } else { names.join(", ") };
            IdentityError::Missing { audience: audiences.join(" or "), present }
        })
    }
}

/// They are null or nothing where there are none.
fn read_secrets(json: &str) -> Result<MountSecrets, InvalidRequest> {
    if json.is_empty() {
        return Ok(MountSecrets::new());
    }
    let secrets: Option<BTreeMap<String, String>> = serde_json::from_str(json).map_err(|_| InvalidRequest::Secrets)?;
    Ok(secrets.unwrap_or_default().into_iter().map(|(name, value)| (name, SecretBytes::from(value))).collect())
}

/// Takes what kubelet put among the secrets out of them.
fn tokens_among(secrets: &mut MountSecrets) -> Result<Option<ServiceAccountToken>, InvalidRequest> {
    let Some(json) = secrets.remove(TOKENS) else { return Ok(None) };
    let json = String::from_utf8(json.expose().to_vec()).map_err(|_| InvalidRequest::Tokens)?;
    Ok(Some(ServiceAccountToken::from(json)).filter(|tokens| !tokens.expose().is_empty()))
}

/// `{"<audience>": {"token": "…", "expirationTimestamp": "…"}}`, absent where the CSIDriver has no `tokenRequests`.
/// <https://kubernetes-csi.github.io/docs/token-requests.html>
fn tokens(json: Option<ServiceAccountToken>) -> Result<BTreeMap<String, ServiceAccountToken>, InvalidRequest> {
    #[derive(Deserialize)]
    struct Issued {
        token: String,
    }
    let Some(json) = json.filter(|json| !json.expose().is_empty()) else { return Ok(BTreeMap::new()) };
    let issued: BTreeMap<String, Issued> = serde_json::from_str(json.expose()).map_err(|_| InvalidRequest::Tokens)?;
    Ok(issued.into_iter().map(|(audience, issued)| (audience, ServiceAccountToken::from(issued.token))).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn attributes() -> serde_json::Value {
        json!({
            "csi.storage.k8s.io/pod.name": "web", "csi.storage.k8s.io/pod.namespace": "shop",
            "csi.storage.k8s.io/pod.uid": "1", "csi.storage.k8s.io/serviceAccount.name": "web",
            "csi.storage.k8s.io/ephemeral": "true", "secretProviderClass": "shop-db", "region": "eu-west-1",
            TOKENS: json!({"sts.amazonaws.com": {"token": "hunter2", "expirationTimestamp": "2026-01-01T00:00:00Z"}}).to_string(),
        })
    }

    #[test]
    fn a_request_of_the_driver_is_read_without_printing_its_tokens() {
        let request = MountRequest::parse(&attributes().to_string(), "null", "420", "/target".into()).expect("valid");
        assert_eq!((request.pod.namespace.as_str(), request.class.as_str()), ("shop", "shop-db"));
        assert_eq!(request.default_permission.mode(), 0o644);
        let audiences = ["other".to_owned(), "sts.amazonaws.com".to_owned()];
        let (audience, token) = request.token(&audiences).expect("present");
        assert_eq!((audience, token.expose()), ("sts.amazonaws.com", "hunter2"));
        assert!(!request.parameters.keys().any(|name| name.starts_with(POD_ATTRIBUTES)));
        assert!(!format!("{request:?}").contains("hunter2"));
    }

    #[test]
    fn tokens_among_the_secrets_count_and_nothing_else_of_them_is_taken_for_an_attribute() {
        let token = |text: &str| json!({"sts.amazonaws.com": {"token": text}}).to_string();
        let secrets = json!({TOKENS: token("of-secrets"), "region": "us-east-1"}).to_string();
        let request = MountRequest::parse(&attributes().to_string(), &secrets, "420", String::new()).expect("valid");
        let audiences = ["sts.amazonaws.com".to_owned()];
        assert_eq!(request.token(&audiences).expect("present").1.expose(), "of-secrets");
        assert_eq!(request.parameters["region"], "eu-west-1");
        assert_eq!(request.secrets.keys().collect::<Vec<_>>(), ["region"]);
        for none in ["", "null", "{}", &json!({TOKENS: ""}).to_string()] {
            let request = MountRequest::parse(&attributes().to_string(), none, "420", String::new()).expect("valid");
            assert_eq!(request.token(&audiences).expect("present").1.expose(), "hunter2", "{none}");
        }
        for wrong in ["[]", "{\"a\":1}", "x", &json!({TOKENS: "{"}).to_string()] {
            let error = MountRequest::parse(&attributes().to_string(), wrong, "420", String::new()).expect_err(wrong);
            assert!(matches!(error, InvalidRequest::Secrets | InvalidRequest::Tokens), "{error}");
        }
    }

    #[test]
    fn f10_a_missing_token_is_named_with_what_to_add() {
        let request = MountRequest::parse(&attributes().to_string(), "null", "420", String::new()).expect("valid");
        let error = request.token(&["pods.eks.amazonaws.com".to_owned()]).expect_err("absent");
        assert_eq!(error.reason(), Reason::TokenMissing);
        let text = error.to_string();
        assert!(
            text.contains("pods.eks.amazonaws.com (it has sts.amazonaws.com)") && text.contains("tokenRequests"),
            "{text}"
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        for name in ["pod.name", "pod.namespace", "pod.uid", "serviceAccount.name"] {
            let mut without = attributes();
            without[format!("{POD_ATTRIBUTES}{name}")] = "".into();
            let error = MountRequest::parse(&without.to_string(), "", "420", String::new()).expect_err(name);
            assert_eq!(error, InvalidRequest::NoPod(name));
        }
        for (attributes, permission) in
            [("", "420"), ("[]", "420"), ("{\"a\":1}", "420"), (&*attributes().to_string(), "0644x")]
        {
            assert!(
                MountRequest::parse(attributes, "", permission, String::new()).is_err(),
                "{attributes} {permission}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(attributes in "\\PC{0,60}|[{}\":,a-z.]{0,60}", permission in "\\PC{0,8}") {
            let _ = MountRequest::parse(&attributes, &attributes, &permission, String::new());
        }
    }
}
