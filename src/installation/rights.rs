//! What the provider's service account may do. Nobody can say that of another account but the API server, to whoever may ask.

use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};

use super::facts::{Facts, provider_in};
use super::started::Started;
use super::{Check, Outcome};
use crate::cluster::objects::DaemonSet;
use crate::cluster::{ClusterError, KubernetesClient};
use crate::config::parse_bool;

/// One right, and what is missing without it.
struct Right {
    verb: &'static str,
    group: &'static str,
    /// Or a path.
    resource: &'static str,
    /// What mounts come to without it.
    without: &'static str,
    outcome: Outcome,
}

const KEYS: &str = "/openid/v1/jwks";
const ISSUER_DISCOVERY: &str = "kubectl create clusterrolebinding system:service-account-issuer-discovery \
    --clusterrole system:service-account-issuer-discovery --group system:serviceaccounts";

pub async fn checks(cluster: &KubernetesClient, facts: &Facts) -> Vec<Check> {
    let mut checks = Vec::new();
    for set in facts.ours() {
        let Some(started) = provider_in(set) else { continue };
        let account = account_of(set);
        let (mut granted, mut wrong) = (Vec::new(), Vec::new());
        for right in needed(started) {
            match is_allowed(cluster, &account, &right).await {
                Ok(true) => granted.push(right.to_string()),
                Ok(false) => wrong.push(missing(&account, &right)),
                Err(error) => {
                    wrong = vec![Check::unanswered(&format!("what {account} may do"), &error)];
                    granted.clear();
                    break;
                }
            }
        }
        if !granted.is_empty() {
            checks.push(Check::success(format!("{account} may {}", granted.join(", "))));
        }
        checks.append(&mut wrong);
    }
    if checks.is_empty() {
        let description = "could not find out what the provider may do: its DaemonSet names its service account".into();
        checks.push(Check { description, outcome: Outcome::Unknown, hint: None });
    }
    checks
}

/// Namespace and name.
struct Account {
    namespace: String,
    name: String,
}

fn account_of(set: &DaemonSet) -> Account {
    let name = match set.spec.template.spec.service_account_name.as_str() {
        "" => "default",
        name => name,
    };
    Account { namespace: set.metadata.namespace.clone(), name: name.into() }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "service account {}/{}", self.namespace, self.name)
    }
}

/// By what the provider is started with.
fn needed(started: Started<'_>) -> Vec<Right> {
    let mut rights = vec![Right {
        verb: "get",
        group: "",
        resource: "serviceaccounts",
        without: "IRSA by the annotation of a service account fails with KubernetesForbidden",
        outcome: Outcome::Warning,
    }];
    let verification = started.values("token-verification", "SECRETMOUNT_TOKEN_VERIFICATION").first().copied();
    let has_own_keys = started.is_set("token-keys", "SECRETMOUNT_TOKEN_KEYS");
    if matches!(verification, None | Some("auto" | "jwks")) && !has_own_keys {
        rights.push(Right {
            verb: "get",
            group: "",
            resource: KEYS,
            without: "no token can be proved, and aws.sock does not appear",
            outcome: Outcome::Error,
        });
    }
    if matches!(verification, None | Some("auto" | "token-review")) {
        let outcome = match verification {
            Some("token-review") => Outcome::Error,
            _ => Outcome::Warning,
        };
        rights.push(Right {
            verb: "create",
            group: "authentication.k8s.io",
            resource: "tokenreviews",
            without: "tokens whose key the key set lacks fail, as on EKS before 1.34",
            outcome,
        });
    }
    let tells =
        started.values("events", "SECRETMOUNT_EVENTS").first().is_none_or(|given| parse_bool(given) != Ok(false));
    if tells {
        rights.push(Right {
            verb: "create",
            group: "events.k8s.io",
            resource: "events",
            without: "nobody is told on a pod that its refresh fails",
            outcome: Outcome::Warning,
        });
    }
    let has_taint = started.is_set("startup-taint", "SECRETMOUNT_STARTUP_TAINT");
    if !started.is_set("aws-region", "AWS_REGION") || has_taint {
        rights.push(Right {
            verb: "get",
            group: "",
            resource: "nodes",
            without: "classes that name no region fail with RegionUnknown",
            outcome: Outcome::Warning,
        });
    }
    if has_taint {
        let without = "the startup taint stays on every node";
        let (outcome, verb) = (Outcome::Error, "patch");
        rights.push(Right { verb, group: "", resource: "nodes", without, outcome });
        rights.push(Right { verb: "get", group: "storage.k8s.io", resource: "csinodes", without, outcome });
    }
    rights
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/subject-access-review-v1>
async fn is_allowed(cluster: &KubernetesClient, account: &Account, right: &Right) -> Result<bool, ClusterError> {
    #[derive(Deserialize)]
    struct Review {
        #[serde(default)]
        status: Status,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Status {
        allowed: bool,
    }
    let mut spec = json!({
        "user": format!("system:serviceaccount:{}:{}", account.namespace, account.name),
        "groups": [
            "system:serviceaccounts", format!("system:serviceaccounts:{}", account.namespace), "system:authenticated",
        ],
    });
    match right.resource.starts_with('/') {
        true => spec["nonResourceAttributes"] = json!({"verb": right.verb, "path": right.resource}),
        false => {
            spec["resourceAttributes"] = json!({"verb": right.verb, "group": right.group, "resource": right.resource});
        }
    }
    let review: Value = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec});
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    Ok(cluster.create::<Review>("create subjectaccessreviews", path, &review).await?.status.allowed)
}

fn missing(account: &Account, right: &Right) -> Check {
    let description = format!("{account} may not {right}: {}", right.without);
    let hint = match right.resource.starts_with('/') {
        true => ISSUER_DISCOVERY.to_owned(),
        false => format!(
            "in the provider's ClusterRole: {{apiGroups: [\"{}\"], resources: [{}], verbs: [{}]}}",
            right.group, right.resource, right.verb
        ),
    };
    Check { description, outcome: right.outcome, hint: Some(hint) }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)
    }
}
