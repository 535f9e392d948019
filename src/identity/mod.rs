//! Proves who a mount is for. Nothing behind this room is reached without a [`Principal`], and only this room makes one.
//!
//! A token is accepted only if its signature verifies against the cluster's key set, with the algorithm of the key, or where
//! no key set that we can read has its key, if the API server accepts it; its issuer and audience are the expected ones; it
//! is within its time; and everything it says of the pod equals what the request says. The request is written by the driver
//! from what kubelet says, but a pod's author can add attributes to it, so the token has the last word.
//!
//! Not here: what a principal may do (AWS decides), where its token goes next (`credentials`).

// Nothing that comes from outside may end the process.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

mod claims;
mod digest;
mod key_set;
mod keys;
mod principal;
mod proofs;
mod reviews;

pub use claims::TokenError;
pub use key_set::KeySet;
pub use keys::{KeySource, PublishedKeys};
pub use principal::{Principal, Scope, VerifiedPod};

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use claims::{Claims, TokenHeader};
use digest::Digest;
use key_set::VerifyingKey;
use keys::{Keys, Patience};
use proofs::{Proof, Proofs, Voucher};
use reviews::{Review, Reviews};
use tracing::warn;

use crate::clock::{Instant, WallClock};
use crate::cluster::{ClusterError, KubernetesApi};
use crate::config::TokenVerification;
use crate::reason::{Explained, Reason};
use crate::sensitive::ServiceAccountToken;
use crate::telemetry::{Cache, Got, metrics};

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
    #[error("the pod's token cannot be proved, because the cluster's key set lacks its key and no review is given")]
    NoReview(#[source] ClusterError),
}

impl Explained for IdentityError {
    fn reason(&self) -> Reason {
        match self {
            Self::Missing { .. } => Reason::TokenMissing,
            Self::Refused(error) => error.reason(),
            Self::NoReview(error @ ClusterError::Forbidden { .. }) => error.reason(),
            Self::NoKeys(_) | Self::NoReview(_) => Reason::KeysUnavailable,
        }
    }
}

impl IdentityError {
    /// How it is counted.
    fn word(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "claims",
            Self::Refused(error) => error.word(),
            Self::NoKeys(_) | Self::NoReview(_) => "unavailable",
        }
    }
}

/// What is known beforehand of the tokens to come.
#[derive(Clone, Default)]
pub struct Expectation {
    pub verification: TokenVerification,
    /// A key set to use instead of the API server's.
    pub keys: Option<KeySource>,
    /// Who issues tokens, where that is not to be asked.
    pub issuer: Option<String>,
    /// The node this process runs on, where that is known.
    pub node: Option<String>,
}

/// Proves tokens of one cluster.
pub struct Identity {
    /// `None` where the API server's word counts alone, or nobody's.
    keys: Option<Keys>,
    /// `None` where keys count alone, or nobody's word.
    reviews: Option<Reviews>,
    /// `None` where nothing is proved.
    issuer: Option<String>,
    proofs: Proofs,
    /// The node this process runs on: given, or that of the first token that was proved, for kubelet mounts volumes of its
    /// own node's pods only.
    node: OnceLock<String>,
    clock: Arc<dyn WallClock>,
}

impl Identity {
    /// Reads the key set and who issues tokens, as far as they are needed and not given.
    ///
    /// # Errors
    /// When they cannot be read: then no token could be proved.
    pub async fn start(
        cluster: Arc<dyn KubernetesApi>,
        expected: Expectation,
        clock: Arc<dyn WallClock>,
    ) -> Result<Self, ClusterError> {
        let verification = expected.verification;
        let issuer = match (verification, expected.issuer) {
            (TokenVerification::Off, _) => None,
            (_, Some(issuer)) => Some(issuer),
            (_, None) => Some(cluster.issuer().await?),
        };
        let is_named = expected.keys.is_some();
        let source = expected.keys.unwrap_or_else(|| KeySource::Cluster(cluster.clone()));
        let keys = match verification {
            TokenVerification::Off | TokenVerification::TokenReview => None,
            TokenVerification::Jwks => Some(Keys::start(source).await?),
            TokenVerification::Auto => match Keys::start(source).await {
                Ok(keys) => Some(keys),
                // Some clusters show their keys to nobody.
                Err(closed @ (ClusterError::Forbidden { .. } | ClusterError::NotFound { .. })) if !is_named => {
                    warn!(error = %closed, "every token is put to the API server, because its key set is closed to us");
                    None
                }
                Err(error) => return Err(error),
            },
        };
        let reviews = match verification {
            TokenVerification::Auto | TokenVerification::TokenReview => Some(Reviews::new(cluster)),
            TokenVerification::Jwks | TokenVerification::Off => None,
        };
        let node = expected.node.map_or_else(OnceLock::new, OnceLock::from);
        Ok(Self { keys, reviews, issuer, proofs: Proofs::default(), node, clock })
    }

    /// How many proofs are kept, and what they take in bytes.
    pub fn kept(&self) -> (usize, usize) {
        self.proofs.size()
    }

    /// How many keys tokens are verified with, and how long ago those were read. `None` where keys do not count.
    pub fn keys(&self) -> Option<(usize, Duration)> {
        self.keys.as_ref().map(Keys::now)
    }

    /// The node this process runs on, where that is known by now.
    pub fn node(&self) -> Option<&str> {
        self.node.get().map(String::as_str)
    }

    /// Proves that `token` was issued for `audience` and for exactly this pod.
    ///
    /// Where the token's key is not known yet, waits for the key set or the API server, until `deadline` at most.
    pub async fn prove(
        &self,
        pod: &ClaimedPod,
        token: ServiceAccountToken,
        audience: &str,
        deadline: Instant,
    ) -> Result<Principal, IdentityError> {
        let proved = self.proved(pod, token, audience, deadline).await;
        metrics().token(proved.as_ref().map_or_else(IdentityError::word, |_| "ok"));
        proved
    }

    async fn proved(
        &self,
        pod: &ClaimedPod,
        token: ServiceAccountToken,
        audience: &str,
        deadline: Instant,
    ) -> Result<Principal, IdentityError> {
        if token.expose().len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong(token.expose().len()).into());
        }
        let digest = digest::digest(&token);
        if self.keys.is_none() && self.reviews.is_none() {
            let claims = Claims::unverified(&token)?;
            self.check(&claims, pod, audience)?;
            return Ok(Principal::Pod(claims.to_pod(audience, token, Some(digest)).into()));
        }
        if let Some(keys) = &self.keys {
            keys.renew(deadline).await;
        }
        let known = self.proofs.get(&digest).filter(|proof| proof.counts(|id| self.known_key(id)));
        metrics().looked_for(Cache::Tokens, if known.is_some() { Got::Hit } else { Got::Miss }, 1);
        let proof = match known {
            Some(proof) => proof,
            None => {
                let proof = self.vouch(&token, digest, pod, audience, deadline).await?;
                self.proofs.put(digest, proof.clone(), self.clock.unix_seconds());
                proof
            }
        };
        self.check(&proof.claims, pod, audience)?;
        let proved = proof.claims.to_pod(audience, token, None);
        if let Some(node) = &proved.node {
            self.node.get_or_init(|| node.clone());
        }
        Ok(Principal::Pod(proved.into()))
    }

    /// Everything but who vouches for it.
    fn check(&self, claims: &Claims, pod: &ClaimedPod, audience: &str) -> Result<(), TokenError> {
        if let Some(issuer) = &self.issuer {
            claims.check_issuer(issuer)?;
        }
        claims.check(audience, self.clock.unix_seconds())?;
        claims.check_binding(pod, self.node.get().map(String::as_str))
    }

    fn known_key(&self, id: &str) -> Option<VerifyingKey> {
        self.keys.as_ref()?.known(id).ok().flatten()
    }

    /// Finds somebody who vouches for a token: its key, or the API server.
    async fn vouch(
        &self,
        token: &ServiceAccountToken,
        digest: Digest,
        pod: &ClaimedPod,
        audience: &str,
        deadline: Instant,
    ) -> Result<Proof, IdentityError> {
        let header = claims::header(token)?;
        if let Some(key) = self.known_key(&header.key_id) {
            return Ok(verified(token, header, key)?);
        }
        // Nobody is asked about a token that could not be accepted whoever vouched for it.
        let unverified = Claims::unverified(token)?;
        self.check(&unverified, pod, audience)?;

        let patience = if self.reviews.is_some() { Patience::None } else { Patience::UntilRead };
        let found = self.find_key(&header, patience, deadline).await;
        let (missing, reviews) = match (found, &self.reviews) {
            (Ok(Some(key)), _) => return Ok(verified(token, header, key)?),
            (Ok(None), reviews) => (TokenError::UnknownKey.into(), reviews),
            (Err(error), reviews) => (IdentityError::NoKeys(error), reviews),
        };
        let Some(reviews) = reviews else { return Err(missing) };
        match reviews.of(token, digest, audience).await {
            Ok(Review::Owner(owner)) => {
                unverified.check_owner(&owner)?;
                Ok(Proof { claims: Arc::new(unverified), voucher: Voucher::ApiServer(Instant::now()) })
            }
            Ok(Review::Refused) => Err(TokenError::Review.into()),
            Ok(Review::NotMade) => Err(missing),
            Err(error @ ClusterError::Forbidden { .. }) => {
                // What may not be reviewed may still be signed with a key that the next read shows.
                match self.find_key(&header, Patience::UntilRead, deadline).await {
                    Ok(Some(key)) => Ok(verified(token, header, key)?),
                    _ => Err(IdentityError::NoReview(error)),
                }
            }
            Err(error) => Err(IdentityError::NoReview(error)),
        }
    }

    async fn find_key(
        &self,
        header: &TokenHeader,
        patience: Patience,
        deadline: Instant,
    ) -> Result<Option<VerifyingKey>, ClusterError> {
        match &self.keys {
            Some(keys) => keys.find(&header.key_id, patience, deadline).await,
            None => Ok(None),
        }
    }
}

fn verified(token: &ServiceAccountToken, header: TokenHeader, key: VerifyingKey) -> Result<Proof, TokenError> {
    let claims = Arc::new(Claims::verified(token, &header, &key)?);
    Ok(Proof { claims, voucher: Voucher::Key(header.key_id, key) })
}

#[cfg(test)]
mod tests;
