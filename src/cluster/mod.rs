//! What is asked of the Kubernetes API: six questions on the way of a mount, none of them about secrets; what `raw` reads of it
//! for those who look at nodes and at the installation; and what it is told of pods.
//!
//! Not here: what an annotation means (`credentials`), whether a token is genuine (`identity`).

mod authorization;
mod client;
mod connection;
mod events;
pub mod objects;
mod raw;
mod trust;

pub use client::KubernetesClient;
pub use events::{PodEvent, PodEvents};
pub use objects::CSI_DRIVER;

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::reason::{Explained, Reason};
use crate::sensitive::ServiceAccountToken;

/// The Kubernetes API as far as we need it, so that a fake is short.
#[async_trait]
pub trait KubernetesApi: Send + Sync + 'static {
    /// Needs `get` on `serviceaccounts`.
    async fn service_account(&self, namespace: &str, name: &str) -> Result<ServiceAccount, ClusterError>;

    /// Needs `get` on `nodes`.
    async fn node_labels(&self, name: &str) -> Result<BTreeMap<String, String>, ClusterError>;

    /// Name of the node a pod is bound to. Needs `get` on `pods`.
    async fn node_of_pod(&self, namespace: &str, name: &str) -> Result<Option<String>, ClusterError>;

    /// The JSON Web Key Set (RFC 7517) of the keys that sign service-account tokens, as text. Every service account may read
    /// it, through the cluster role `system:service-account-issuer-discovery`.
    async fn key_set(&self) -> Result<String, ClusterError>;

    /// The issuer that the discovery document names (OpenID Connect Discovery 1.0, section 3), or where that is closed to us,
    /// the one of our own token.
    async fn issuer(&self) -> Result<String, ClusterError>;

    /// Whose token that is, if the API server accepts it for this audience. Needs `create` on `tokenreviews`.
    async fn review_token(
        &self,
        token: &ServiceAccountToken,
        audience: &str,
    ) -> Result<Option<TokenOwner>, ClusterError>;
}

/// Who has a token, as the API server says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenOwner {
    /// `system:serviceaccount:<namespace>:<name>`.
    pub user: String,
    /// Of the service account.
    pub uid: String,
    /// Of the pod that the token is bound to.
    pub pod_name: Option<String>,
    pub pod_uid: Option<String>,
}

/// What a service account says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceAccount {
    pub uid: String,
    pub annotations: BTreeMap<String, String>,
}

/// Why the API server gave no answer. `what` names the request, such as `get serviceaccounts shop/web`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    #[error("Kubernetes forbids this provider to {what}; grant it in a ClusterRole of the provider's service account")]
    Forbidden { what: String },
    #[error("Kubernetes has no such object ({what})")]
    NotFound { what: String },
    #[error("Kubernetes has such an object already ({what})")]
    Exists { what: String },
    /// Of what was asked, and not for want of a right: by a quota, say, or a proxy. The same again would be refused as well,
    /// until somebody has changed something.
    #[error("Kubernetes refuses to {what}: HTTP {status}")]
    Refused { what: String, status: u16 },
    /// It has answered that it cannot now.
    #[error("the Kubernetes API did not answer: {what}: HTTP {status}")]
    Failing { what: String, status: u16 },
    /// It cannot be reached, is silent, or says nothing of use.
    #[error("the Kubernetes API did not answer: {what}: {problem}")]
    Unavailable { what: String, problem: String },
    #[error("{place} cannot be used as the cluster's key set: {problem}")]
    NoKeySet { place: String, problem: String },
}

impl Explained for ClusterError {
    fn reason(&self) -> Reason {
        match self {
            Self::Forbidden { .. } => Reason::KubernetesForbidden,
            Self::NotFound { .. } => Reason::ServiceAccountNotFound,
            Self::Exists { .. } | Self::Refused { .. } | Self::Failing { .. } | Self::Unavailable { .. } => {
                Reason::KubernetesUnavailable
            }
            Self::NoKeySet { .. } => Reason::KeysUnavailable,
        }
    }
}
