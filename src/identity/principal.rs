//! Who was proved.

use crate::sensitive::ServiceAccountToken;

/// On whose behalf secrets are read. Made by this room only, after proof; each kind of caller is a variant.
#[derive(Debug, Clone)]
pub enum Principal {
    /// A pod on this node, proved by its own bound token.
    Pod(VerifiedPod),
}

impl Principal {
    pub fn namespace(&self) -> &str {
        match self {
            Self::Pod(pod) => &pod.namespace,
        }
    }

    pub fn service_account(&self) -> &str {
        match self {
            Self::Pod(pod) => &pod.service_account,
        }
    }

    /// Node of the pod, where its token names one.
    pub fn node(&self) -> Option<&str> {
        match self {
            Self::Pod(pod) => pod.node.as_deref(),
        }
    }

    /// Whether a service account with this UID is still the one that was proved. One that is deleted and made anew has
    /// another UID, and the tokens of the old one prove nothing about it.
    pub fn is_of_account(&self, uid: &str) -> bool {
        match self {
            Self::Pod(pod) => pod.service_account_uid == uid,
        }
    }

    /// What that token is for.
    pub fn audience(&self) -> &str {
        match self {
            Self::Pod(pod) => &pod.audience,
        }
    }

    /// The token that was proved, to be exchanged for credentials.
    pub fn token(&self) -> &ServiceAccountToken {
        match self {
            Self::Pod(pod) => &pod.token,
        }
    }
}

/// A pod whose token has proved it.
#[derive(Debug, Clone)]
pub struct VerifiedPod {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) service_account: String,
    pub(super) service_account_uid: String,
    pub(super) node: Option<String>,
    pub(super) audience: String,
    pub(super) token: ServiceAccountToken,
}

impl VerifiedPod {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn uid(&self) -> &str {
        &self.uid
    }
}
