//! Keys that verify tokens, as a JSON Web Key Set lists them.

use std::collections::HashMap;
use std::sync::Arc;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

/// A key set beyond these is no key set of an API server.
const MAX_BYTES: usize = 256 * 1024;
const MAX_KEYS: usize = 64;

/// One public key, with what may be verified with it.
#[derive(Clone)]
pub struct VerifyingKey {
    key: Arc<DecodingKey>,
    algorithms: &'static [Algorithm],
    /// RFC 7638, with SHA-256.
    thumbprint: Arc<str>,
}

impl VerifyingKey {
    pub fn key(&self) -> &DecodingKey {
        &self.key
    }

    pub fn algorithms(&self) -> &'static [Algorithm] {
        self.algorithms
    }

    /// Whether it is that key and verifies the same, whatever its id and whenever it was read.
    pub fn is(&self, other: &Self) -> bool {
        self.thumbprint == other.thumbprint && self.algorithms == other.algorithms
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
        let thumbprint = jwk.thumbprint(ThumbprintHash::SHA256).ok()?.into();
        Some(Self { key: Arc::new(DecodingKey::from_jwk(jwk).ok()?), algorithms, thumbprint })
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

    pub fn get(&self, id: &str) -> Option<&VerifyingKey> {
        self.0.get(id)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
