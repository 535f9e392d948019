//! The questions, put to a real API server.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use http::Request;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::core::v1;
use kube::api::PostParams;
use kube::config::Kubeconfig;
use kube::core::PartialObjectMeta;
use kube::{Api, Client, Config};
use serde::Deserialize;

use super::{ClusterError, KubernetesApi, ServiceAccount, TokenOwner, connection};
use crate::clock::Instant;
use crate::sensitive::ServiceAccountToken;
use crate::telemetry::{Taken, metrics};

/// An API server that is silent for this long is not waited for: a mount has better uses for its time.
const TIME_OUT: Duration = Duration::from_secs(5);

/// Longest answer. Service accounts have a few KiB, key sets 2 KiB a key, and a node with many images less than 100.
const MAX_BYTES: usize = 512 * 1024;
/// The same for whoever lists whole clusters, page by page.
const MAX_LIST_BYTES: usize = 16 * 1024 * 1024;

const CANNOT_BE_BUILT: &str = "the client of the Kubernetes API cannot be built";

/// Extras of the owner of a bound token, as the API server's service-account authenticator writes them (KEP-1205).
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

#[derive(Clone)]
pub struct KubernetesClient {
    pub(super) client: Client,
    /// Where our own token is.
    token_file: Option<String>,
    /// When nobody waits for answers any more, if that is known.
    pub(super) until: Option<Instant>,
}

impl KubernetesClient {
    /// Connects as this pod's service account, or where there is a kubeconfig (`KUBECONFIG`, `~/.kube/config`), as that says.
    ///
    /// # Errors
    /// When there is neither, or the kubeconfig is wrong.
    pub async fn from_environment() -> anyhow::Result<Self> {
        Self::new(&Self::configuration().await?).context(CANNOT_BE_BUILT)
    }

    /// What [`KubernetesClient::from_environment`] connects with.
    ///
    /// # Errors
    /// As there.
    pub async fn configuration() -> anyhow::Result<Config> {
        Config::infer().await.context(
            "neither a service account of a pod nor a kubeconfig was found; run in a cluster, or set KUBECONFIG",
        )
    }

    /// The files that [`KubernetesClient::from_environment`] reads, at once or again and again, but for those of a pod's service
    /// account, which are below `/var/run/secrets`.
    pub fn files_of_environment() -> Vec<PathBuf> {
        let named = std::env::var_os("KUBECONFIG").map(|paths| std::env::split_paths(&paths).collect::<Vec<_>>());
        let of_user = || std::env::home_dir().map(|home| home.join(".kube/config"));
        let mut files = named.unwrap_or_else(|| of_user().into_iter().collect());
        // One that cannot be read is told of by whoever connects.
        let Ok(config) = Kubeconfig::read() else { return files };
        let of_clusters = config.clusters.into_iter().filter_map(|named| named.cluster?.certificate_authority);
        let of_users = config
            .auth_infos
            .into_iter()
            .filter_map(|named| named.auth_info)
            .flat_map(|user| [user.client_certificate, user.client_key, user.token_file].into_iter().flatten());
        files.extend(of_clusters.chain(of_users).map(PathBuf::from));
        files
    }

    /// Connects as the given configuration says. No request is made.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        Self::taking(config, MAX_BYTES)
    }

    /// The same for long lists, all of which together take no longer than `longest`: what is asked later has no answer.
    pub fn for_lists(config: &Config, longest: Duration) -> anyhow::Result<Self> {
        let client = Self::taking(config, MAX_LIST_BYTES).context(CANNOT_BE_BUILT)?;
        Ok(Self { until: Some(Instant::now() + longest), ..client })
    }

    fn taking(config: &Config, max_bytes: usize) -> anyhow::Result<Self> {
        let token_file = config.auth_info.token_file.clone();
        Ok(Self { client: connection::client(config, max_bytes)?, token_file, until: None })
    }

    pub(super) async fn ask<T>(
        asked: (&'static str, &'static str),
        what: String,
        answer: impl Future<Output = Result<T, kube::Error>> + Send,
    ) -> Result<T, ClusterError> {
        Self::ask_within(TIME_OUT, asked, what, answer).await
    }

    /// Waits for an answer, and counts it as that to a verb and a resource.
    pub(super) async fn ask_within<T>(
        time_out: Duration,
        (verb, resource): (&'static str, &'static str),
        what: String,
        answer: impl Future<Output = Result<T, kube::Error>> + Send,
    ) -> Result<T, ClusterError> {
        let answer = tokio::time::timeout(time_out, answer).await;
        metrics().kubernetes_request(verb, resource, taken(&answer));
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Api(status))) => Err(refusal(verb, what, status.code, &status.reason, &status.message)),
            Ok(Err(error)) => Err(ClusterError::Unavailable { what, problem: kind_of(&error).into() }),
            Err(_) => Err(ClusterError::Unavailable { what, problem: format!("no answer in {time_out:?}") }),
        }
    }

    /// The `iss` of the token that kubelet mounts for this process.
    async fn issuer_of_own_token(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Issued {
            iss: String,
        }
        let token = tokio::fs::read_to_string(self.token_file.as_ref()?).await.ok().map(ServiceAccountToken::from)?;
        let issued: Issued = jsonwebtoken::dangerous::insecure_decode_claims(token.expose().trim()).ok()?;
        Some(issued.iss)
    }

    /// A document that is no object. No right but that to its path is needed.
    pub async fn get_text(&self, document: &'static str, path: &str) -> Result<String, ClusterError> {
        let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError);
        let answer = async { self.client.request_text(request?).await };
        Self::ask(("get", document), format!("get {path}"), answer).await
    }

    async fn metadata<K>(
        &self,
        api: Api<K>,
        kind: &'static str,
        name: &str,
    ) -> Result<PartialObjectMeta<K>, ClusterError>
    where
        K: Clone + serde::de::DeserializeOwned + std::fmt::Debug + kube::Resource<DynamicType = ()>,
    {
        let scope = api.namespace().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        // In a box: those around it would each hold room for it.
        let answer = Box::pin(api.get_metadata(name));
        Self::ask(("get", kind), format!("get {kind} {scope}{name}"), answer).await
    }
}

#[async_trait]
impl KubernetesApi for KubernetesClient {
    async fn service_account(&self, namespace: &str, name: &str) -> Result<ServiceAccount, ClusterError> {
        let api: Api<v1::ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let found = self.metadata(api, "serviceaccounts", name).await?.metadata;
        Ok(ServiceAccount { uid: found.uid.unwrap_or_default(), annotations: found.annotations.unwrap_or_default() })
    }

    async fn node_labels(&self, name: &str) -> Result<BTreeMap<String, String>, ClusterError> {
        let api: Api<v1::Node> = Api::all(self.client.clone());
        Ok(self.metadata(api, "nodes", name).await?.metadata.labels.unwrap_or_default())
    }

    async fn node_of_pod(&self, namespace: &str, name: &str) -> Result<Option<String>, ClusterError> {
        let api: Api<v1::Pod> = Api::namespaced(self.client.clone(), namespace);
        let pod = Self::ask(("get", "pods"), format!("get pods {namespace}/{name}"), api.get(name)).await?;
        Ok(pod.spec.and_then(|spec| spec.node_name))
    }

    async fn key_set(&self) -> Result<String, ClusterError> {
        self.get_text("jwks", "/openid/v1/jwks").await
    }

    async fn issuer(&self) -> Result<String, ClusterError> {
        #[derive(Deserialize)]
        struct Discovery {
            issuer: String,
        }
        let path = "/.well-known/openid-configuration";
        let text = match self.get_text("openid-configuration", path).await {
            Ok(text) => text,
            Err(closed @ (ClusterError::Forbidden { .. } | ClusterError::NotFound { .. })) => {
                return self.issuer_of_own_token().await.ok_or(closed);
            }
            Err(error) => return Err(error),
        };
        let discovery: Discovery = serde_json::from_str(&text).map_err(|_| ClusterError::Unavailable {
            what: format!("get {path}"),
            problem: "the answer names no issuer".into(),
        })?;
        Ok(discovery.issuer)
    }

    async fn review_token(
        &self,
        token: &ServiceAccountToken,
        audience: &str,
    ) -> Result<Option<TokenOwner>, ClusterError> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                audiences: Some(vec![audience.to_owned()]),
                token: Some(token.expose().to_owned()),
            },
            ..TokenReview::default()
        };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let answer = async { api.create(&PostParams::default(), &review).await };
        let status = Self::ask(("create", "tokenreviews"), "create tokenreviews".into(), answer)
            .await?
            .status
            .unwrap_or_default();
        // An authenticator that knows nothing of audiences names none, and then nobody has looked at ours.
        let is_for_audience = status.audiences.unwrap_or_default().iter().any(|one| one == audience);
        let Some(user) = status.user.filter(|_| is_for_audience && status.authenticated == Some(true)) else {
            return Ok(None);
        };
        let extra = |name: &str| match user.extra.as_ref()?.get(name)?.as_slice() {
            [one] => Some(one.clone()),
            _ => None,
        };
        Ok(Some(TokenOwner {
            pod_name: extra(POD_NAME),
            pod_uid: extra(POD_UID),
            user: user.username.unwrap_or_default(),
            uid: user.uid.unwrap_or_default(),
        }))
    }
}

/// An answer that is no success.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#api-verbs>
fn refusal(verb: &str, what: String, status: u16, reason: &str, message: &str) -> ClusterError {
    match status {
        401 => {
            let problem = "it does not accept this provider's own credentials".into();
            ClusterError::Unavailable { what, problem }
        }
        403 if is_for_want_of_a_right(verb, message) => ClusterError::Forbidden { what },
        404 => ClusterError::NotFound { what },
        // Of a quota that somebody else changes at the same time, the reason is Conflict.
        409 if reason == "AlreadyExists" => ClusterError::Exists { what },
        400 | 403 | 405 | 406 | 410..=428 => ClusterError::Refused { what, status },
        status => ClusterError::Failing { what, status },
    }
}

/// Whether a 403 is that of the authorizer, whose words are `User "…" cannot create resource "events" …`. What is written also
/// passes quotas, policies and webhooks, and namespaces that end: these refuse with the same status and reason, in any words.
/// Nothing but rights stands in the way of reading.
fn is_for_want_of_a_right(verb: &str, message: &str) -> bool {
    matches!(verb, "get" | "list") || (message.contains("User \"") && message.contains("\" cannot "))
}

/// How an answer is counted.
fn taken<T, L>(answer: &Result<Result<T, kube::Error>, L>) -> Taken {
    match answer {
        Ok(Ok(_)) => Taken::Ok,
        Ok(Err(kube::Error::Api(status))) => Taken::Status(status.code),
        Ok(Err(_)) => Taken::NotReached,
        Err(_) => Taken::TimedOut,
    }
}

/// What went wrong, without addresses or payload: the same words each time, so that kubelet counts one event.
fn kind_of(error: &kube::Error) -> &'static str {
    match error {
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => "an answer that is no Kubernetes object",
        kube::Error::Auth(_) => "this provider's own credentials could not be read",
        kube::Error::Service(error) if error.is::<http_body_util::LengthLimitError>() => "an answer that is too long",
        _ => "no connection",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_is_told_from_what_admission_refuses() {
        let refused = |verb, message| refusal(verb, "it".into(), 403, "Forbidden", message);
        let of_authorizer = "events.events.k8s.io is forbidden: User \"system:serviceaccount:kube-system:secretmount\" \
                             cannot create resource \"events\" in API group \"events.k8s.io\" in the namespace \"shop\"";
        for (verb, message) in [("create", of_authorizer), ("get", ""), ("list", "by a proxy")] {
            assert!(matches!(refused(verb, message), ClusterError::Forbidden { .. }), "{verb}: {message}");
        }
        for message in [
            "events \"a\" is forbidden: exceeded quota: few, requested: count/events=1, used: count/events=1, limited: 1",
            "events \"a\" is forbidden: status unknown for quota: few, resources: count/events.events.k8s.io",
            "events \"a\" is forbidden: failed quota: few: must specify limits.cpu",
            "insufficient quota to consume: pods",
            "unable to create new content in namespace shop because it is being terminated",
            "admission webhook \"no.example.com\" denied the request: the User cannot have it",
        ] {
            assert!(matches!(refused("create", message), ClusterError::Refused { status: 403, .. }), "{message}");
        }
    }

    #[test]
    fn what_may_pass_is_told_from_what_stays() {
        let told = |status, reason| refusal("create", "it".into(), status, reason, "");
        assert!(matches!(told(409, "AlreadyExists"), ClusterError::Exists { .. }));
        for (status, reason) in
            [(407, ""), (408, ""), (409, "Conflict"), (429, "TooManyRequests"), (500, ""), (503, "")]
        {
            assert!(matches!(told(status, reason), ClusterError::Failing { .. }), "{status}");
        }
        for status in [400, 405, 406, 413, 422] {
            assert!(matches!(told(status, ""), ClusterError::Refused { .. }), "{status}");
        }
    }
}
