//! The cluster's signing keys, and when they are read again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use tokio::sync::{Mutex, watch};

use crate::clock::Instant;
use crate::cluster::{ClusterError, KubernetesApi};

/// Least time between two reads that unknown key ids ask for, so that forged tokens cannot make us ask more often.
const REFRESH_FLOOR: Duration = Duration::from_secs(10);
/// A key set beyond these is no key set of an API server.
const MAX_BYTES: usize = 256 * 1024;
const MAX_KEYS: usize = 64;

/// One public key, with what may be verified with it.
#[derive(Clone)]
pub struct VerifyingKey {
    key: Arc<DecodingKey>,
    algorithms: &'static [Algorithm],
}

impl VerifyingKey {
    pub fn key(&self) -> &DecodingKey {
        &self.key
    }

    pub fn algorithms(&self) -> &'static [Algorithm] {
        self.algorithms
    }

    /// `None` for what is not asymmetric, not RSA of 2048 to 8192 bits nor a NIST curve, or not for signatures.
    fn of(jwk: &Jwk) -> Option<Self> {
        use base64::Engine as _;
        use jsonwebtoken::jwk::{KeyAlgorithm, PublicKeyUse};
        if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
            return None;
        }
        let of_family: &[Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) => {
                let modulus = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(&rsa.n).ok()?;
                let bytes = modulus.iter().skip_while(|byte| **byte == 0).count();
                // An exponent of 1 would make every text a signature of itself.
                if !(256..=1024).contains(&bytes) || rsa.e == "AQ" {
                    return None;
                }
                &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512]
            }
            AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
                EllipticCurve::P256 => &[Algorithm::ES256],
                EllipticCurve::P384 => &[Algorithm::ES384],
                _ => return None,
            },
            _ => return None,
        };
        let algorithms = match jwk.common.key_algorithm {
            None => of_family,
            Some(KeyAlgorithm::RS256) => &[Algorithm::RS256],
            Some(KeyAlgorithm::RS384) => &[Algorithm::RS384],
            Some(KeyAlgorithm::RS512) => &[Algorithm::RS512],
            Some(KeyAlgorithm::ES256) => &[Algorithm::ES256],
            Some(KeyAlgorithm::ES384) => &[Algorithm::ES384],
            Some(_) => return None,
        };
        if !algorithms.iter().all(|algorithm| of_family.contains(algorithm)) {
            return None;
        }
        Some(Self { key: Arc::new(DecodingKey::from_jwk(jwk).ok()?), algorithms })
    }
}

/// A JSON Web Key Set (RFC 7517), reduced to what can verify a token.
#[derive(Clone, Default)]
pub struct KeySet(HashMap<String, VerifyingKey>);

impl KeySet {
    /// `None` for a text that is no key set of a sensible size. Entries that cannot be used are left out.
    pub fn parse(text: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Raw {
            keys: Vec<serde_json::Value>,
        }
        if text.len() > MAX_BYTES {
            return None;
        }
        let raw: Raw = serde_json::from_str(text).ok()?;
        if raw.keys.len() > MAX_KEYS {
            return None;
        }
        let usable = raw.keys.into_iter().filter_map(|entry| {
            let jwk: Jwk = serde_json::from_value(entry).ok()?;
            Some((jwk.common.key_id.clone()?, VerifyingKey::of(&jwk)?))
        });
        Some(Self(usable.collect()))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The key set of a cluster as it was last read.
pub struct Keys {
    cluster: Arc<dyn KubernetesApi>,
    state: std::sync::RwLock<KeySet>,
    /// When the set was last asked for. Held while asking.
    asked: Mutex<Instant>,
    /// How the last read ended. Whoever misses a key waits for the next change, so a read serves all of them at once.
    outcome: watch::Sender<Result<(), ClusterError>>,
}

impl Keys {
    pub async fn start(cluster: Arc<dyn KubernetesApi>) -> Result<Self, ClusterError> {
        let keys = read(&*cluster).await?;
        Ok(Self {
            cluster,
            state: std::sync::RwLock::new(keys),
            asked: Mutex::new(Instant::now()),
            outcome: watch::Sender::new(Ok(())),
        })
    }

    /// The key with that id. Where it is unknown, the set is read again, but not more often than every 10 s: a good token
    /// that was signed with a new key waits for that read rather than being refused.
    ///
    /// # Errors
    /// When the read failed: whether the key exists is then not known.
    pub async fn find(&self, id: &str, deadline: Instant) -> Result<Option<VerifyingKey>, ClusterError> {
        // Before the first look, so that no read between the two is missed.
        let mut outcome = self.outcome.subscribe();
        if let Some(key) = self.known(id) {
            return Ok(Some(key));
        }
        let reading = async {
            tokio::select! {
                biased;
                _ = outcome.changed() => outcome.borrow().clone(),
                mut asked = self.asked.lock() => {
                    tokio::time::sleep_until(*asked + REFRESH_FLOOR).await;
                    *asked = Instant::now();
                    let result = read(&*self.cluster).await.map(|fresh| {
                        *self.state.write().unwrap_or_else(std::sync::PoisonError::into_inner) = fresh;
                    });
                    let _ = self.outcome.send_replace(result.clone());
                    result
                }
            }
        };
        match tokio::time::timeout_at(deadline, reading).await {
            Ok(result) => result.map(|()| self.known(id)),
            Err(_) => Ok(None),
        }
    }

    fn known(&self, id: &str) -> Option<VerifyingKey> {
        self.state.read().unwrap_or_else(std::sync::PoisonError::into_inner).0.get(id).cloned()
    }
}

async fn read(cluster: &dyn KubernetesApi) -> Result<KeySet, ClusterError> {
    let text = cluster.key_set().await?;
    KeySet::parse(&text).filter(|keys| !keys.is_empty()).ok_or_else(|| ClusterError::Unavailable {
        what: "get /openid/v1/jwks".into(),
        problem: "the answer has no key that could verify a token".into(),
    })
}
