//! Service account tokens from the writer's side: signing keys, and the claims kubelet's tokens have.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256};
use serde_json::{Map, Value, json};

use crate::encoding;
use crate::lock::lock;

/// A signed token. Printed only as redacted.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    text: String,
    expires: i64,
}

impl Token {
    /// The token itself, `header.claims.signature`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its end as kubelet writes it in `expirationTimestamp` (RFC 3339).
    pub fn expiration(&self) -> String {
        encoding::rfc3339(self.expires)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(redacted, until {})", self.expiration())
    }
}

/// What a token shall have other than kubelet's: everything that is `None` stays as it would be.
#[derive(Clone, Debug, Default)]
pub struct TokenOptions {
    /// `aud`; empty means `sts.amazonaws.com`.
    pub audiences: Vec<String>,
    /// `iss`
    pub issuer: Option<String>,
    /// `sub`
    pub subject: Option<String>,
    /// `exp`, in seconds from now; one hour otherwise.
    pub expires_in: Option<i64>,
    /// `nbf`, in seconds from now; now otherwise.
    pub not_before_in: Option<i64>,
    /// `iat`, in seconds from now; now otherwise.
    pub issued_in: Option<i64>,
    /// Name and uid of the node claim.
    pub node: Option<(String, String)>,
    /// Top-level claims that are added or replaced; `null` removes one.
    pub claims: Map<String, Value>,
    /// `alg` of the header. `none` leaves the signature out, `HS256` signs with the public key as the
    /// secret; with all others the signature is RS256, whatever the header says.
    pub algorithm: Option<String>,
    /// `kid` of the header; an empty one leaves it out.
    pub kid: Option<String>,
    /// Signed by a key that is in no key set.
    pub forged: bool,
}

impl TokenOptions {
    /// Kubelet's token for this audience.
    pub fn audience(audience: &str) -> Self {
        Self { audiences: vec![audience.into()], ..Self::default() }
    }

    /// Sets `iss`.
    #[must_use]
    pub fn issuer(mut self, issuer: &str) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Sets `sub`.
    #[must_use]
    pub fn subject(mut self, subject: &str) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Sets `exp`, in seconds from now.
    #[must_use]
    pub fn expires_in(mut self, seconds: i64) -> Self {
        self.expires_in = Some(seconds);
        self
    }

    /// Sets `nbf`, in seconds from now.
    #[must_use]
    pub fn not_before_in(mut self, seconds: i64) -> Self {
        self.not_before_in = Some(seconds);
        self
    }

    /// Sets `iat`, in seconds from now.
    #[must_use]
    pub fn issued_in(mut self, seconds: i64) -> Self {
        self.issued_in = Some(seconds);
        self
    }

    /// Sets the node claim.
    #[must_use]
    pub fn node(mut self, name: &str, uid: &str) -> Self {
        self.node = Some((name.into(), uid.into()));
        self
    }

    /// Adds or replaces a top-level claim; `null` removes it.
    #[must_use]
    pub fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims.insert(name.into(), value);
        self
    }

    /// Sets `alg` of the header.
    #[must_use]
    pub fn algorithm(mut self, algorithm: &str) -> Self {
        self.algorithm = Some(algorithm.into());
        self
    }

    /// Sets `kid` of the header.
    #[must_use]
    pub fn kid(mut self, kid: &str) -> Self {
        self.kid = Some(kid.into());
        self
    }

    /// Signs with a key that is in no key set.
    #[must_use]
    pub fn forged(mut self) -> Self {
        self.forged = true;
        self
    }
}

/// Whom a token is for. The API server can also issue tokens that are bound to no pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    pub namespace: String,
    pub service_account: (String, String),
    pub pod: Option<(String, String)>,
    pub node: Option<(String, String)>,
}

/// Writes the claims as the API server does, then what the options change, and signs.
pub(crate) fn issue(keyring: &Keyring, issuer: &str, subject: &Subject, options: &TokenOptions) -> Token {
    let now = encoding::now();
    let at = |offset: Option<i64>, default: i64| now.saturating_add(offset.unwrap_or(default));
    let expires = at(options.expires_in, 3600);
    let audiences = match options.audiences.as_slice() {
        [] => vec!["sts.amazonaws.com".to_owned()],
        audiences => audiences.to_vec(),
    };
    let object = |(name, uid): &(String, String)| json!({"name": name, "uid": uid});
    let mut kubernetes = Map::new();
    kubernetes.insert("namespace".into(), subject.namespace.clone().into());
    if let Some(node) = options.node.as_ref().or(subject.node.as_ref()) {
        kubernetes.insert("node".into(), object(node));
    }
    if let Some(pod) = &subject.pod {
        kubernetes.insert("pod".into(), object(pod));
    }
    kubernetes.insert("serviceaccount".into(), object(&subject.service_account));

    let own_subject = format!("system:serviceaccount:{}:{}", subject.namespace, subject.service_account.0);
    let mut claims = Map::new();
    claims.insert("aud".into(), json!(audiences));
    claims.insert("exp".into(), json!(expires));
    claims.insert("iat".into(), json!(at(options.issued_in, 0)));
    claims.insert("iss".into(), json!(options.issuer.as_deref().unwrap_or(issuer)));
    claims.insert("jti".into(), json!(encoding::uuid()));
    claims.insert("kubernetes.io".into(), Value::Object(kubernetes));
    claims.insert("nbf".into(), json!(at(options.not_before_in, 0)));
    claims.insert("sub".into(), json!(options.subject.as_ref().unwrap_or(&own_subject)));
    for (name, value) in &options.claims {
        match value {
            Value::Null => claims.remove(name),
            value => claims.insert(name.clone(), value.clone()),
        };
    }
    Token { text: keyring.sign(&claims, options), expires }
}

/// The cluster's signing keys: one signs, all that are published verify.
#[derive(Clone)]
pub(crate) struct Keyring {
    current: Arc<SigningKey>,
    published: Vec<Arc<SigningKey>>,
    /// Held, so that a later rotation does not bring them back.
    withdrawn: Vec<Arc<SigningKey>>,
}

/// A key on loan from those this process has made. Making one takes a tenth of a second, and tests
/// start many clouds; so a key whose cloud is gone serves the next one. No two clouds at a time
/// have the same.
struct SigningKey(Arc<Material>);

struct Material {
    pair: RsaKeyPair,
    kid: String,
    der: Vec<u8>,
}

static SPARE: Mutex<Vec<Arc<Material>>> = Mutex::new(Vec::new());

impl Drop for SigningKey {
    fn drop(&mut self) {
        lock(&SPARE).push(Arc::clone(&self.0));
    }
}

impl std::ops::Deref for SigningKey {
    type Target = Material;

    fn deref(&self) -> &Material {
        &self.0
    }
}

impl SigningKey {
    fn borrow() -> Arc<Self> {
        let spare = lock(&SPARE).pop();
        Arc::new(Self(spare.unwrap_or_else(Material::generate)))
    }
}

impl Material {
    fn generate() -> Arc<Self> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key can be generated");
        let der: Vec<u8> = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())
            .map(|der| der.as_ref().to_vec())
            .unwrap_or_default();
        // The API server's own way to name its keys.
        let kid = encoding::base64url(&encoding::sha256(&der));
        Arc::new(Self { pair, kid, der })
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .expect("an RSA key signs any message");
        signature
    }

    fn jwk(&self) -> Value {
        let (modulus, exponent) = rsa_parts(self.pair.public_key().as_ref()).unwrap_or_default();
        json!({"use": "sig", "kty": "RSA", "kid": self.kid, "alg": "RS256",
            "n": encoding::base64url(modulus), "e": encoding::base64url(exponent)})
    }
}

impl Keyring {
    pub fn new() -> Self {
        let key = SigningKey::borrow();
        Self { current: Arc::clone(&key), published: vec![key], withdrawn: Vec::new() }
    }

    /// A new key signs from now on; the old ones still verify.
    pub fn rotate(&mut self) {
        // The old one is among the published or the withdrawn, so it cannot be the new one.
        self.current = SigningKey::borrow();
        self.published.push(Arc::clone(&self.current));
    }

    /// Tokens of this key no longer verify. If it is the signing key, it goes on signing.
    pub fn withdraw(&mut self, kid: &str) {
        let withdrawn = self.published.extract_if(.., |key| key.kid == kid);
        self.withdrawn.extend(withdrawn);
    }

    /// Ids of the published keys, oldest first.
    pub fn kids(&self) -> Vec<String> {
        self.published.iter().map(|key| key.kid.clone()).collect()
    }

    pub fn jwks(&self) -> Value {
        json!({"keys": self.published.iter().map(|key| key.jwk()).collect::<Vec<_>>()})
    }

    pub fn sign(&self, claims: &Map<String, Value>, options: &TokenOptions) -> String {
        let algorithm = options.algorithm.as_deref().unwrap_or("RS256");
        let mut header = Map::new();
        header.insert("alg".into(), algorithm.into());
        let kid = options.kid.as_ref().unwrap_or(&self.current.kid);
        if !kid.is_empty() {
            header.insert("kid".into(), kid.as_str().into());
        }
        let signed = format!(
            "{}.{}",
            encoding::base64url(Value::Object(header).to_string().as_bytes()),
            encoding::base64url(Value::Object(claims.clone()).to_string().as_bytes())
        );
        let signature = match algorithm {
            "none" => Vec::new(),
            "HS256" => encoding::hmac_sha256(&self.current.der, signed.as_bytes()),
            _ if options.forged => unpublished().sign(signed.as_bytes()),
            _ => self.current.sign(signed.as_bytes()),
        };
        format!("{signed}.{}", encoding::base64url(&signature))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keyring").field(&self.kids()).finish()
    }
}

/// One forger per process is enough: generating a key takes a while.
fn unpublished() -> &'static SigningKey {
    static FORGER: OnceLock<Arc<SigningKey>> = OnceLock::new();
    FORGER.get_or_init(SigningKey::borrow)
}

/// Modulus and exponent of a DER `RSAPublicKey`, a sequence of two integers.
fn rsa_parts(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sequence, _) = der_value(der, 0x30)?;
    let (modulus, rest) = der_value(sequence, 0x02)?;
    let (exponent, _) = der_value(rest, 0x02)?;
    Some((without_sign(modulus), without_sign(exponent)))
}

fn without_sign(number: &[u8]) -> &[u8] {
    number.strip_prefix(&[0]).unwrap_or(number)
}

/// Content of the first value, which must have this tag, and what follows it.
fn der_value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (length as usize, rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked((length & 0x7f) as usize)?;
            let long = bytes.iter().fold(0, |sum, &byte| sum << 8 | byte as usize);
            (long, rest)
        }
        _ => return None,
    };
    if first != tag {
        return None;
    }
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(token: &Token) -> Value {
        let claims = token.as_str().split('.').nth(1).and_then(encoding::base64url_decode);
        serde_json::from_slice(&claims.expect("base64")).expect("JSON")
    }

    #[test]
    fn a_token_has_the_claims_of_kubelets_tokens() {
        let subject = Subject {
            namespace: "shop".into(),
            service_account: ("web".into(), "sa-uid".into()),
            pod: Some(("web-1".into(), "pod-uid".into())),
            node: Some(("node-a".into(), "node-uid".into())),
        };
        let keyring = Keyring::new();
        let token = issue(&keyring, "https://issuer", &subject, &TokenOptions::default());
        let claims = claims(&token);
        assert_eq!(claims["sub"], "system:serviceaccount:shop:web");
        assert_eq!(claims["aud"], json!(["sts.amazonaws.com"]));
        assert_eq!(
            claims["kubernetes.io"],
            json!({"namespace": "shop", "node": {"name": "node-a", "uid": "node-uid"},
                "pod": {"name": "web-1", "uid": "pod-uid"},
                "serviceaccount": {"name": "web", "uid": "sa-uid"}})
        );
        assert!(!format!("{token:?}").contains(token.as_str()));
    }

    #[test]
    fn a_null_claim_is_left_out() {
        let options = TokenOptions::default().claim("nbf", Value::Null).claim("x", json!(1));
        let token = issue(&Keyring::new(), "i", &Subject::default(), &options);
        let claims = claims(&token);
        assert!(claims.get("nbf").is_none());
        assert_eq!(claims["x"], 1);
    }

    #[test]
    fn a_rotation_never_brings_back_a_key_of_the_same_cloud() {
        let mut keyring = Keyring::new();
        let mut seen = keyring.kids();
        for _ in 0..2 {
            keyring.rotate();
            let kids = keyring.kids();
            let fresh = kids.last().expect("the new key").clone();
            assert!(!seen.contains(&fresh));
            keyring.withdraw(&fresh);
            seen.push(fresh);
        }
        let other = Keyring::new();
        assert!(!seen.contains(&other.kids()[0]), "nor does another cloud have it");
    }
}
