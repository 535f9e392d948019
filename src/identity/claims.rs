//! What a token says, and whether that can be believed.
//!
//! The rules are those of RFC 7515 and 7519 and, for the claims about pods, of KEP-1205 (bound service account tokens).
//! `jsonwebtoken` checks the signature; the claims are checked here, because the library accepts what is absent and reads a
//! clock of its own.

use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;

use super::ClaimedPod;
use super::digest::Digest;
use super::key_set::VerifyingKey;
use super::principal::{Account, VerifiedPod};
use crate::cluster::TokenOwner;
use crate::reason::Reason;
use crate::sensitive::ServiceAccountToken;

/// How far the clocks of the API server and of this node may be apart, in seconds.
const LEEWAY: u64 = 60;

/// Why a token proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("it has {0} bytes; {max} is the limit", max = super::MAX_TOKEN_BYTES)]
    TooLong(usize),
    #[error("it is not a signed JSON Web Token")]
    Malformed,
    #[error("its header asks for something that is not allowed ({0})")]
    Header(&'static str),
    #[error("the cluster has no key with its key id")]
    UnknownKey,
    #[error("its signature is wrong")]
    Signature,
    #[error("the API server does not accept it")]
    Review,
    #[error("a claim is missing or malformed: {0}")]
    Claim(&'static str),
    #[error("it is from another issuer than this cluster's; if that is right, set --token-issuer")]
    Issuer,
    #[error("it is for another audience than {0}")]
    Audience(String),
    #[error(
        "it expired more than {distance} before this node's time; if that is not so, correct the clock of the node"
    )]
    Expired { distance: &'static str },
    #[error("it becomes valid more than {distance} after this node's time; correct the clock of the node")]
    NotYet { distance: &'static str },
    #[error("its {0} is not the one of the request")]
    Mismatch(&'static str),
    #[error("it is for a pod on another node")]
    OtherNode,
}

const UNREADABLE: TokenError = TokenError::Claim("iss, aud, sub, exp and kubernetes.io are needed");

impl TokenError {
    /// How it is counted.
    pub fn word(&self) -> &'static str {
        match self {
            Self::UnknownKey | Self::Signature | Self::Review | Self::Header(_) => "signature",
            Self::TooLong(_) | Self::Malformed | Self::Claim(_) | Self::Issuer | Self::Audience(_) => "claims",
            Self::Expired { .. } | Self::NotYet { .. } => "expired",
            Self::Mismatch(_) | Self::OtherNode => "binding",
        }
    }

    pub fn reason(&self) -> Reason {
        match self {
            Self::TooLong(_)
            | Self::Malformed
            | Self::Header(_)
            | Self::UnknownKey
            | Self::Signature
            | Self::Review
            | Self::Claim(_)
            | Self::Issuer
            | Self::Audience(_) => Reason::TokenInvalid,
            Self::Expired { .. } | Self::NotYet { .. } => Reason::TokenExpired,
            Self::Mismatch(_) | Self::OtherNode => Reason::TokenMismatch,
        }
    }
}

/// The two members of a header that matter. Where a header names a key or a source of keys, it is not looked at.
#[derive(Debug)]
pub struct TokenHeader {
    pub key_id: String,
    pub algorithm: Algorithm,
}

/// Reads the header, which is not proved yet.
pub fn header(token: &ServiceAccountToken) -> Result<TokenHeader, TokenError> {
    #[derive(Deserialize)]
    struct Raw {
        alg: Algorithm,
        kid: Option<String>,
        typ: Option<String>,
        crit: Option<serde::de::IgnoredAny>,
        b64: Option<serde::de::IgnoredAny>,
        enc: Option<serde::de::IgnoredAny>,
        zip: Option<serde::de::IgnoredAny>,
    }
    let parts: Vec<&str> = token.expose().split('.').collect();
    let [encoded, _, _] = parts.as_slice() else { return Err(TokenError::Malformed) };
    let json = base64url(encoded).ok_or(TokenError::Malformed)?;
    // An algorithm that is none of the library's, such as `none`, is refused here.
    let raw: Raw = serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)?;
    if raw.crit.is_some() || raw.b64.is_some() || raw.enc.is_some() || raw.zip.is_some() {
        return Err(TokenError::Header("crit, b64, enc or zip"));
    }
    if raw.typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
        return Err(TokenError::Header("typ"));
    }
    let key_id = raw.kid.filter(|key_id| !key_id.is_empty()).ok_or(TokenError::Header("no kid"))?;
    Ok(TokenHeader { key_id, algorithm: raw.alg })
}

/// Claims of a Kubernetes token. A member that stands twice is an error of the parser.
#[derive(Deserialize)]
pub struct Claims {
    iss: String,
    aud: Audiences,
    sub: String,
    exp: u64,
    nbf: Option<u64>,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Kubernetes,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct Kubernetes {
    namespace: String,
    serviceaccount: Named,
    pod: Option<Named>,
    node: Option<Node>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    uid: String,
}

#[derive(Deserialize)]
struct Node {
    name: String,
}

impl Claims {
    /// Reads the claims after the signature has been verified with `key`, whose algorithm counts, not the header's.
    pub fn verified(token: &ServiceAccountToken, header: &TokenHeader, key: &VerifyingKey) -> Result<Self, TokenError> {
        if !key.algorithms().contains(&header.algorithm) {
            return Err(TokenError::Header("alg is not the key's"));
        }
        let mut validation = Validation::new(header.algorithm);
        // Only the signature: the claims are checked below, against a clock that is given.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        jsonwebtoken::decode::<Self>(token.expose(), key.key(), &validation).map(|token| token.claims).map_err(
            |error| {
                use jsonwebtoken::errors::ErrorKind;
                match error.kind() {
                    ErrorKind::InvalidSignature => TokenError::Signature,
                    ErrorKind::Json(_) => UNREADABLE,
                    _ => TokenError::Malformed,
                }
            },
        )
    }

    /// Reads the claims of a token that somebody else vouches for, or nobody.
    pub fn unverified(token: &ServiceAccountToken) -> Result<Self, TokenError> {
        let payload = token.expose().split('.').nth(1).and_then(base64url).ok_or(TokenError::Malformed)?;
        serde_json::from_slice(&payload).map_err(|_| UNREADABLE)
    }

    /// Whether they say of their owner what the API server says.
    pub fn check_owner(&self, owner: &TokenOwner) -> Result<(), TokenError> {
        let claims = &self.kubernetes;
        let is_same = owner.user == self.sub
            && owner.uid == claims.serviceaccount.uid
            && claims.pod.as_ref().is_some_and(|pod| {
                owner.pod_name.as_ref() == Some(&pod.name) && owner.pod_uid.as_ref() == Some(&pod.uid)
            });
        if is_same { Ok(()) } else { Err(TokenError::Review) }
    }

    /// Whether the token is still good after a time, in seconds since 1970.
    pub fn expires_after(&self, time: u64) -> bool {
        self.exp.saturating_add(LEEWAY) >= time
    }

    pub fn check_issuer(&self, issuer: &str) -> Result<(), TokenError> {
        if self.iss == issuer { Ok(()) } else { Err(TokenError::Issuer) }
    }

    /// Audience and time. `now` is in seconds since 1970.
    pub fn check(&self, audience: &str, now: u64) -> Result<(), TokenError> {
        let for_audience = match &self.aud {
            Audiences::One(one) => one == audience,
            Audiences::Many(many) => many.iter().any(|one| one == audience),
        };
        if !for_audience {
            return Err(TokenError::Audience(audience.into()));
        }
        if !self.expires_after(now) {
            return Err(TokenError::Expired { distance: roughly(now.saturating_sub(self.exp)) });
        }
        match self.nbf {
            Some(nbf) if nbf > now.saturating_add(LEEWAY) => {
                Err(TokenError::NotYet { distance: roughly(nbf.saturating_sub(now)) })
            }
            _ => Ok(()),
        }
    }

    /// Everything the request says of the pod, and the node where both are known.
    pub fn check_binding(&self, pod: &ClaimedPod, node: Option<&str>) -> Result<(), TokenError> {
        let claims = &self.kubernetes;
        let bound = claims.pod.as_ref().ok_or(TokenError::Claim("it is not bound to a pod"))?;
        let subject = format!("system:serviceaccount:{}:{}", pod.namespace, pod.service_account);
        for (what, claimed, requested) in [
            ("subject", &self.sub, &subject),
            ("namespace", &claims.namespace, &pod.namespace),
            ("service account", &claims.serviceaccount.name, &pod.service_account),
            ("pod name", &bound.name, &pod.name),
            ("pod UID", &bound.uid, &pod.uid),
        ] {
            if claimed != requested || claimed.is_empty() {
                return Err(TokenError::Mismatch(what));
            }
        }
        match (&claims.node, node) {
            (Some(of_token), Some(ours)) if of_token.name != ours => Err(TokenError::OtherNode),
            _ => Ok(()),
        }
    }

    /// To be called after all checks, with the audience of the first. `unproved` is the token's digest where nobody vouched
    /// for it.
    pub fn to_pod(&self, audience: &str, token: ServiceAccountToken, unproved: Option<Digest>) -> VerifiedPod {
        let Kubernetes { namespace, serviceaccount, pod, node } = &self.kubernetes;
        let (name, uid) = pod.as_ref().map(|pod| (pod.name.clone(), pod.uid.clone())).unwrap_or_default();
        let account = Account {
            namespace: namespace.clone(),
            service_account: serviceaccount.name.clone(),
            service_account_uid: serviceaccount.uid.clone(),
            token: unproved,
        };
        VerifiedPod {
            scope: account.into(),
            name,
            uid,
            // What is remembered for the node, such as its Region, is not taken from a token that nobody has looked at.
            node: node.as_ref().filter(|_| unproved.is_none()).map(|node| node.name.clone()),
            audience: audience.into(),
            token,
        }
    }
}

/// A distance in seconds in words that stay the same from try to try, for kubelet counts equal messages as one event.
fn roughly(seconds: u64) -> &'static str {
    match seconds {
        0..300 => "a minute",
        300..1_800 => "5 minutes",
        1_800..7_200 => "half an hour",
        7_200..86_400 => "2 hours",
        86_400.. => "a day",
    }
}

/// Strict: no padding, no white space, no left-over bits.
fn base64url(encoded: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(encoded).ok()
}
