//! Tokens from the reader's side: taking a JWT apart and checking it against a key set.

use std::collections::BTreeMap;

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Map, Value};

use crate::encoding;

/// Identity providers that IAM knows, by issuer.
#[derive(Debug, Default)]
pub(crate) struct Providers(BTreeMap<String, Provider>);

/// An OIDC provider with the audiences registered for it.
#[derive(Clone, Debug)]
pub(crate) struct Provider {
    pub audiences: Vec<String>,
    /// `None`: the cloud's own cluster, whose keys are looked up afresh at each call.
    pub keys: Option<Value>,
}

impl Providers {
    pub fn put(&mut self, issuer: &str, provider: Provider) {
        self.0.insert(issuer.into(), provider);
    }

    pub fn get(&self, issuer: &str) -> Option<&Provider> {
        self.0.get(issuer)
    }
}

/// A token taken apart. Nothing in it is true before `verify` says so.
pub(crate) struct Jwt<'a> {
    header: Map<String, Value>,
    pub claims: Map<String, Value>,
    signed: &'a str,
    signature: Vec<u8>,
}

/// Why a signature does not count.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unverified {
    NoSuchKey,
    WrongSignature,
}

impl<'a> Jwt<'a> {
    pub fn parse(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let object = |part: &str| {
            let bytes = encoding::base64url_decode(part)?;
            serde_json::from_slice::<Map<String, Value>>(&bytes).ok()
        };
        Some(Self {
            header: object(header)?,
            claims: object(claims)?,
            signed,
            signature: encoding::base64url_decode(signature)?,
        })
    }

    pub fn text(&self, claim: &str) -> &str {
        self.claims.get(claim).and_then(Value::as_str).unwrap_or_default()
    }

    /// A time claim in whole seconds.
    pub fn time(&self, claim: &str) -> Option<i64> {
        let value = self.claims.get(claim)?;
        value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
    }

    pub fn audiences(&self) -> Vec<&str> {
        match self.claims.get("aud") {
            Some(Value::String(audience)) => vec![audience],
            Some(Value::Array(audiences)) => audiences.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// Checks the signature with the key that the header names, or with any when it names none.
    pub fn verify(&self, jwks: &Value) -> Result<(), Unverified> {
        let kid = self.header.get("kid").and_then(Value::as_str);
        let algorithm = self.header.get("alg").and_then(Value::as_str).unwrap_or("");
        let keys = jwks["keys"].as_array().map_or(&[][..], Vec::as_slice);
        let mut candidates = keys.iter().filter(|key| kid.is_none() || key["kid"].as_str() == kid).peekable();
        if candidates.peek().is_none() {
            return Err(Unverified::NoSuchKey);
        }
        match candidates.any(|key| self.verifies(algorithm, key) == Some(true)) {
            true => Ok(()),
            false => Err(Unverified::WrongSignature),
        }
    }

    /// The key decides which algorithms are possible, not the token.
    fn verifies(&self, algorithm: &str, key: &Value) -> Option<bool> {
        let part = |name: &str| encoding::base64url_decode(key[name].as_str()?);
        let message = self.signed.as_bytes();
        match (algorithm, key["kty"].as_str()?) {
            ("RS256", "RSA") => {
                let (n, e) = (part("n")?, part("e")?);
                let key = PublicKeyComponents { n, e };
                let verdict = key.verify(&RSA_PKCS1_2048_8192_SHA256, message, &self.signature);
                Some(verdict.is_ok())
            }
            ("ES256", "EC") if key["crv"] == "P-256" => {
                let point = [vec![4], part("x")?, part("y")?].concat();
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
                Some(key.verify(message, &self.signature).is_ok())
            }
            _ => None,
        }
    }
}

/// `namespace/name` of the token's unproved subject, for the log.
pub(crate) fn service_account_of(token: &str) -> Option<String> {
    let jwt = Jwt::parse(token)?;
    let (namespace, name) = jwt.text("sub").strip_prefix("system:serviceaccount:")?.split_once(':')?;
    Some(format!("{namespace}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Keyring, TokenOptions};

    #[test]
    fn only_the_published_key_that_is_named_verifies() {
        let mut keyring = Keyring::new();
        let claims = Map::new();
        let token = keyring.sign(&claims, &TokenOptions::default());
        let jwt = Jwt::parse(&token).expect("a token");
        assert_eq!(jwt.verify(&keyring.jwks()), Ok(()));

        let forged = keyring.sign(&claims, &TokenOptions::default().forged());
        let jwt = Jwt::parse(&forged).expect("a token");
        assert_eq!(jwt.verify(&keyring.jwks()), Err(Unverified::WrongSignature));

        keyring.rotate();
        let jwt = Jwt::parse(&token).expect("a token");
        assert_eq!(jwt.verify(&keyring.jwks()), Ok(()), "old keys stay published");
        keyring.withdraw(&keyring.kids()[0]);
        assert_eq!(jwt.verify(&keyring.jwks()), Err(Unverified::NoSuchKey));
    }

    #[test]
    fn an_unsigned_token_and_one_signed_with_the_public_key_do_not_verify() {
        let keyring = Keyring::new();
        for algorithm in ["none", "HS256", "RS512"] {
            let token = keyring.sign(&Map::new(), &TokenOptions::default().algorithm(algorithm));
            let jwt = Jwt::parse(&token).expect("a token");
            assert_eq!(jwt.verify(&keyring.jwks()), Err(Unverified::WrongSignature));
        }
    }

    #[test]
    fn an_es256_token_of_a_registered_provider_verifies() {
        use aws_lc_rs::rand::SystemRandom;
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let point = pair.public_key().as_ref();
        let jwks = serde_json::json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k",
            "x": encoding::base64url(&point[1..33]), "y": encoding::base64url(&point[33..])}]});
        let signed = format!("{}.{}", encoding::base64url(br#"{"alg":"ES256","kid":"k"}"#), encoding::base64url(b"{}"));
        let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("signed");
        let token = format!("{signed}.{}", encoding::base64url(signature.as_ref()));
        let jwt = Jwt::parse(&token).expect("a token");
        assert_eq!(jwt.verify(&jwks), Ok(()));
    }

    #[test]
    fn what_is_no_token_is_not_parsed() {
        for text in ["", "a", "a.b.c", "..", "e30.e30", "W10.W10.AA"] {
            assert!(Jwt::parse(text).is_none(), "{text:?}");
        }
    }
}
