//! The questions, put to a real API server.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use http::Request;
use k8s_openapi::api::core::v1;
use kube::core::PartialObjectMeta;
use kube::{Api, Client, Config};
use serde::Deserialize;

use super::{ClusterError, KubernetesApi, ServiceAccount};

/// An API server that is silent for this long is not waited for: a mount has better uses for its time.
const TIME_OUT: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct KubernetesClient(Client);

impl KubernetesClient {
    /// Connects as this pod's service account, or where there is a kubeconfig (`KUBECONFIG`, `~/.kube/config`), as that says.
    ///
    /// # Errors
    /// When there is neither, or the kubeconfig is wrong.
    pub async fn from_environment() -> anyhow::Result<Self> {
        let config = Config::infer().await.context(
            "neither a service account of a pod nor a kubeconfig was found; run in a cluster, or set KUBECONFIG",
        )?;
        Self::new(config).context("the client of the Kubernetes API cannot be built")
    }

    /// Connects as the given configuration says. No request is made.
    pub fn new(mut config: Config) -> anyhow::Result<Self> {
        config.connect_timeout = Some(Duration::from_secs(3));
        // These would close idle connections too, and `ask` bounds every request.
        config.read_timeout = None;
        config.write_timeout = None;
        // HTTPS_PROXY is for AWS. A kubeconfig would take it too, and the client is built without support for it.
        config.proxy_url = None;
        Ok(Self(Client::try_from(config)?))
    }

    async fn ask<T>(
        what: String,
        answer: impl Future<Output = Result<T, kube::Error>> + Send,
    ) -> Result<T, ClusterError> {
        match tokio::time::timeout(TIME_OUT, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Api(status))) if status.code == 401 => {
                let problem = "it does not accept this provider's own credentials".into();
                Err(ClusterError::Unavailable { what, problem })
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => Err(ClusterError::Forbidden { what }),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Err(ClusterError::NotFound { what }),
            Ok(Err(kube::Error::Api(status))) => {
                Err(ClusterError::Unavailable { what, problem: format!("HTTP {}", status.code) })
            }
            Ok(Err(error)) => Err(ClusterError::Unavailable { what, problem: kind_of(&error).into() }),
            Err(_) => Err(ClusterError::Unavailable { what, problem: format!("no answer in {TIME_OUT:?}") }),
        }
    }

    async fn get_text(&self, path: &str) -> Result<String, ClusterError> {
        let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError);
        let answer = async { self.0.request_text(request?).await };
        Self::ask(format!("get {path}"), answer).await
    }

    async fn metadata<K>(&self, api: Api<K>, kind: &str, name: &str) -> Result<PartialObjectMeta<K>, ClusterError>
    where
        K: Clone + serde::de::DeserializeOwned + std::fmt::Debug + kube::Resource<DynamicType = ()>,
    {
        let scope = api.namespace().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        Self::ask(format!("get {kind} {scope}{name}"), api.get_metadata(name)).await
    }
}

#[async_trait]
impl KubernetesApi for KubernetesClient {
    async fn service_account(&self, namespace: &str, name: &str) -> Result<ServiceAccount, ClusterError> {
        let api: Api<v1::ServiceAccount> = Api::namespaced(self.0.clone(), namespace);
        let found = self.metadata(api, "serviceaccounts", name).await?.metadata;
        Ok(ServiceAccount { uid: found.uid.unwrap_or_default(), annotations: found.annotations.unwrap_or_default() })
    }

    async fn node_labels(&self, name: &str) -> Result<BTreeMap<String, String>, ClusterError> {
        let api: Api<v1::Node> = Api::all(self.0.clone());
        Ok(self.metadata(api, "nodes", name).await?.metadata.labels.unwrap_or_default())
    }

    async fn node_of_pod(&self, namespace: &str, name: &str) -> Result<Option<String>, ClusterError> {
        let api: Api<v1::Pod> = Api::namespaced(self.0.clone(), namespace);
        let pod = Self::ask(format!("get pods {namespace}/{name}"), api.get(name)).await?;
        Ok(pod.spec.and_then(|spec| spec.node_name))
    }

    async fn key_set(&self) -> Result<String, ClusterError> {
        self.get_text("/openid/v1/jwks").await
    }

    async fn issuer(&self) -> Result<String, ClusterError> {
        #[derive(Deserialize)]
        struct Discovery {
            issuer: String,
        }
        let path = "/.well-known/openid-configuration";
        let text = self.get_text(path).await?;
        let discovery: Discovery = serde_json::from_str(&text).map_err(|_| ClusterError::Unavailable {
            what: format!("get {path}"),
            problem: "the answer names no issuer".into(),
        })?;
        Ok(discovery.issuer)
    }
}

/// What went wrong, without addresses or payload: the same words each time, so that kubelet counts one event.
fn kind_of(error: &kube::Error) -> &'static str {
    match error {
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => "an answer that is no Kubernetes object",
        kube::Error::Auth(_) => "this provider's own credentials could not be read",
        _ => "no connection",
    }
}
