//! Proves who a mount is for. Nothing behind this room is reached without a [`Principal`], and only this room makes one.
//!
//! A token is accepted only if its signature verifies against the cluster's key set, with the algorithm of the key; its
//! issuer and audience are the expected ones; it is within its time; and everything it says of the pod equals what the
//! request says. The request is written by the driver from what kubelet says, but a pod's author can add attributes to it,
//! so the token has the last word.
//!
//! Not here: what a principal may do (AWS decides), where its token goes next (`credentials`).

mod claims;
mod keys;
mod principal;

pub use claims::TokenError;
pub use keys::{KeySet, Keys};
pub use principal::{Principal, Scope, VerifiedPod};

use std::sync::{Arc, OnceLock};

use claims::Claims;

use crate::clock::{Instant, WallClock};
use crate::cluster::{ClusterError, KubernetesApi};
use crate::reason::{Explained, Reason};
use crate::sensitive::ServiceAccountToken;

/// Longest token that is looked at, in bytes. Kubelet's have about 1,100.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The pod that a request is for, as its attributes say: unproved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedPod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub service_account: String,
}

/// Why nobody is proved. The messages name which part differs, never the token or its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error(
        "the mount request has no token for {audience} (it has {present}); add `audience: {audience}` to spec.tokenRequests of the CSIDriver secrets-store.csi.k8s.io"
    )]
    Missing { audience: String, present: String },
    #[error("the pod's token is refused")]
    Refused(#[from] TokenError),
    #[error("the pod's token cannot be proved, because the cluster's signing keys cannot be read")]
    NoKeys(#[source] ClusterError),
}

impl Explained for IdentityError {
    fn reason(&self) -> Reason {
        match self {
            Self::Missing { .. } => Reason::TokenMissing,
            Self::Refused(error) => error.reason(),
            Self::NoKeys(_) => Reason::KeysUnavailable,
        }
    }
}

/// Proves tokens of one cluster.
pub struct Identity {
    keys: Keys,
    issuer: String,
    /// The node this process runs on: given, or that of the first token that was proved, for kubelet mounts volumes of its
    /// own node's pods only.
    node: OnceLock<String>,
    clock: Arc<dyn WallClock>,
}

impl Identity {
    /// Reads the key set and, where `issuer` is not given, who issues tokens. `node` is the node this process runs on,
    /// where that is known.
    ///
    /// # Errors
    /// When the API server does not tell: then no token could be proved.
    pub async fn start(
        cluster: Arc<dyn KubernetesApi>,
        issuer: Option<String>,
        node: Option<String>,
        clock: Arc<dyn WallClock>,
    ) -> Result<Self, ClusterError> {
        let issuer = match issuer {
            Some(issuer) => issuer,
            None => cluster.issuer().await?,
        };
        let keys = Keys::start(cluster).await?;
        Ok(Self { keys, issuer, node: node.map_or_else(OnceLock::new, OnceLock::from), clock })
    }

    /// Proves that `token` was issued for `audience` and for exactly this pod.
    ///
    /// Waits for the key set where the token's key is not in it yet, until `deadline` at most.
    pub async fn prove(
        &self,
        pod: &ClaimedPod,
        token: ServiceAccountToken,
        audience: &str,
        deadline: Instant,
    ) -> Result<Principal, IdentityError> {
        if token.expose().len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong(token.expose().len()).into());
        }
        let header = claims::header(&token)?;
        let key = self.keys.find(&header.key_id, deadline).await.map_err(IdentityError::NoKeys)?;
        let key = key.ok_or(TokenError::UnknownKey)?;
        let claims = Claims::verified(&token, &header, &key)?;
        claims.check(&self.issuer, audience, self.clock.unix_seconds())?;
        claims.check_binding(pod, self.node.get().map(String::as_str))?;
        let proved = claims.into_pod(audience, token);
        if let Some(node) = &proved.node {
            self.node.get_or_init(|| node.clone());
        }
        Ok(Principal::Pod(proved))
    }
}

#[cfg(test)]
mod tests;
