//! Who was proved.

use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use crate::sensitive::ServiceAccountToken;

/// What the key of everything that is remembered on somebody's behalf begins with: two principals of one scope have the same
/// rights, and may share what those give. Cheap to clone. Made by this room only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope(Arc<Account>);

/// Whose rights those are.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Account {
    pub(super) namespace: String,
    pub(super) service_account: String,
    pub(super) service_account_uid: String,
    /// Digest of the token, where tokens are not verified: then only the same token is the same caller.
    pub(super) token: Option<[u8; 32]>,
}

/// On whose behalf secrets are read, cheap to clone. Made by this room only, after proof; each kind of caller is a variant.
#[derive(Debug, Clone)]
pub enum Principal {
    /// A pod on this node, proved by its own bound token.
    Pod(Arc<VerifiedPod>),
}

impl Scope {
    /// One of `parts`, always the same for a scope.
    pub fn part(&self, parts: u8) -> u8 {
        let mut hasher = std::hash::DefaultHasher::new();
        (&self.0.namespace, &self.0.service_account).hash(&mut hasher);
        hasher.finish().checked_rem(parts.into()).unwrap_or_default() as u8
    }
}

#[cfg(test)]
impl Scope {
    pub fn for_test(namespace: &str, service_account: &str) -> Self {
        let (namespace, service_account) = (namespace.to_owned(), service_account.to_owned());
        let service_account_uid = format!("uid of {service_account}");
        Account { namespace, service_account, service_account_uid, token: None }.into()
    }
}

impl From<Account> for Scope {
    fn from(account: Account) -> Self {
        Self(Arc::new(account))
    }
}

impl Principal {
    pub fn namespace(&self) -> &str {
        match self {
            Self::Pod(pod) => &pod.scope.0.namespace,
        }
    }

    pub fn service_account(&self) -> &str {
        match self {
            Self::Pod(pod) => &pod.scope.0.service_account,
        }
    }

    /// Whom it shares with.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Pod(pod) => pod.scope.clone(),
        }
    }

    /// UID of the pod.
    pub fn pod_uid(&self) -> &str {
        match self {
            Self::Pod(pod) => &pod.uid,
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
            Self::Pod(pod) => pod.scope.0.service_account_uid == uid,
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
#[derive(Debug)]
pub struct VerifiedPod {
    pub(super) scope: Scope,
    pub(super) name: String,
    pub(super) uid: String,
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
