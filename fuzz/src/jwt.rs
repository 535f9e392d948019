//! Tokens as the cluster's own signer would make them of any header and claims.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secretmount::clock::{Instant, WallClock};
use secretmount::cluster::{ClusterError, KubernetesApi, ServiceAccount, TokenOwner};
use secretmount::config::TokenVerification;
use secretmount::identity::{ClaimedPod, Expectation, Identity};
use secretmount::sensitive::ServiceAccountToken;
use serde_json::{Value, json};

const NOW: u64 = 1_800_000_000;
const LEEWAY: u64 = 60;
const AUDIENCE: &str = "sts.amazonaws.com";
const ISSUER: &str = "https://issuer.test";

static WORLD: LazyLock<World> = LazyLock::new(World::new);

/// A header on the first line, then claims. What is accepted is what a slow and simple check accepts too.
pub fn jwt(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    assert!(!WORLD.accepts(text), "nobody has signed that");
    let Some((header, claims)) = text.split_once('\n') else { return };
    let is_accepted = WORLD.accepts(&WORLD.sign(header, claims));
    assert!(!is_accepted || is_right(header, claims), "accepted: {text}");
    if (header, claims) == (HEADER, CLAIMS) {
        assert!(is_accepted, "what kubelet sends is accepted");
    }
}

const HEADER: &str = r#"{"alg":"ES256","kid":"key","typ":"JWT"}"#;
const CLAIMS: &str = r#"{"iss":"https://issuer.test","aud":["sts.amazonaws.com"],"sub":"system:serviceaccount:shop:web","exp":1800003600,"nbf":1800000000,"kubernetes.io":{"namespace":"shop","node":{"name":"node-a","uid":"n"},"pod":{"name":"web-0","uid":"p"},"serviceaccount":{"name":"web","uid":"s"}}}"#;

fn is_right(header: &str, claims: &str) -> bool {
    let (Ok(header), Ok(claims)) = (serde_json::from_str::<Value>(header), serde_json::from_str::<Value>(claims))
    else {
        return false;
    };
    let is_plain = ["crit", "b64", "enc", "zip"].iter().all(|name| header[name].is_null());
    let is_jwt = header["typ"].is_null() || header["typ"].as_str().is_some_and(|typ| typ.eq_ignore_ascii_case("JWT"));
    let is_ours = header["alg"] == "ES256" && header["kid"] == "key" && claims["iss"] == ISSUER;
    let is_for_us = match &claims["aud"] {
        Value::Array(audiences) => audiences.iter().any(|audience| audience == AUDIENCE),
        audience => audience == AUDIENCE,
    };
    let is_in_time = claims["exp"].as_u64().is_some_and(|end| end.saturating_add(LEEWAY) >= NOW)
        && (claims["nbf"].is_null() || claims["nbf"].as_u64().is_some_and(|begin| begin <= NOW + LEEWAY));
    let bound = &claims["kubernetes.io"];
    let is_of_pod = claims["sub"] == "system:serviceaccount:shop:web"
        && bound["namespace"] == "shop"
        && bound["serviceaccount"]["name"] == "web"
        && bound["pod"]["name"] == "web-0"
        && bound["pod"]["uid"] == "p";
    let is_here = bound["node"].is_null() || bound["node"]["name"] == "node-a";
    is_plain && is_jwt && is_ours && is_for_us && is_in_time && is_of_pod && is_here
}

struct World {
    key: EcdsaKeyPair,
    identity: Identity,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn new() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let (x, y) = key.public_key().as_ref()[1..].split_at(32);
        let [x, y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        let keys = json!({"keys": [{"kty": "EC", "crv": "P-256", "use": "sig", "kid": "key", "x": x, "y": y}]});
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let expected = Expectation {
            verification: TokenVerification::Auto,
            issuer: Some(ISSUER.into()),
            node: Some("node-a".into()),
            ..Expectation::default()
        };
        let cluster = Arc::new(Cluster(keys.to_string()));
        let identity = runtime.block_on(Identity::start(cluster, expected, Arc::new(Noon))).expect("started");
        Self { key, identity, runtime }
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).expect("signed");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn accepts(&self, token: &str) -> bool {
        let [namespace, name, uid, service_account] = ["shop", "web-0", "p", "web"].map(str::to_owned);
        let pod = ClaimedPod { namespace, name, uid, service_account };
        let token = ServiceAccountToken::from(token.to_owned());
        let proof = async {
            let deadline = Instant::now() + Duration::from_secs(60);
            self.identity.prove(&pod, token, AUDIENCE, deadline).await.is_ok()
        };
        self.runtime.block_on(proof)
    }
}

#[derive(Debug)]
struct Noon;

impl WallClock for Noon {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(NOW)
    }
}

/// Publishes a key set, and accepts no token itself.
struct Cluster(String);

#[async_trait]
impl KubernetesApi for Cluster {
    async fn service_account(&self, _: &str, _: &str) -> Result<ServiceAccount, ClusterError> {
        Ok(ServiceAccount::default())
    }

    async fn node_labels(&self, _: &str) -> Result<BTreeMap<String, String>, ClusterError> {
        Ok(BTreeMap::new())
    }

    async fn node_of_pod(&self, _: &str, _: &str) -> Result<Option<String>, ClusterError> {
        Ok(None)
    }

    async fn key_set(&self) -> Result<String, ClusterError> {
        Ok(self.0.clone())
    }

    async fn issuer(&self) -> Result<String, ClusterError> {
        Ok(ISSUER.into())
    }

    async fn review_token(&self, _: &ServiceAccountToken, _: &str) -> Result<Option<TokenOwner>, ClusterError> {
        Ok(None)
    }
}
