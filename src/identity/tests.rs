//! Tokens as an attacker would make them, against a key set of real keys.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::*;
use crate::clock::ManualClock;
use crate::cluster::ServiceAccount;

const AUDIENCE: &str = "sts.amazonaws.com";
const ISSUER: &str = "https://issuer.test";
const NOW: u64 = 1_800_000_000;

struct Key {
    id: &'static str,
    pair: KeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        Self { id, pair: KeyPair::generate(KeySize::Rsa2048).expect("generated") }
    }

    fn jwk(&self) -> Value {
        let public = self.pair.public_key();
        let n = URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero());
        let e = URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero());
        json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.id, "n": n, "e": e})
    }

    /// A compact JWS of any two texts.
    fn sign(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let random = aws_lc_rs::rand::SystemRandom::new();
        self.pair.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).expect("signed");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn token(&self, claims: &Value) -> ServiceAccountToken {
        self.sign(&json!({"alg": "RS256", "kid": self.id, "typ": "JWT"}).to_string(), &claims.to_string()).into()
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": [AUDIENCE], "sub": "system:serviceaccount:shop:web",
        "exp": NOW + 3600, "nbf": NOW, "iat": NOW, "jti": "1",
        "kubernetes.io": {
            "namespace": "shop", "node": {"name": "node-a", "uid": "n"}, "pod": {"name": "web-0", "uid": "p"},
            "serviceaccount": {"name": "web", "uid": "s"},
        },
    })
}

fn pod() -> ClaimedPod {
    ClaimedPod { namespace: "shop".into(), name: "web-0".into(), uid: "p".into(), service_account: "web".into() }
}

/// Publishes a key set that tests change, and counts who asks for it.
#[derive(Default)]
struct FakeCluster {
    keys: Mutex<Vec<Value>>,
    down: Mutex<bool>,
    asked: AtomicUsize,
}

#[async_trait]
impl KubernetesApi for FakeCluster {
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
        self.asked.fetch_add(1, Ordering::Relaxed);
        if *self.down.lock().expect("unpoisoned") {
            return Err(ClusterError::Unavailable { what: "get /openid/v1/jwks".into(), problem: "down".into() });
        }
        Ok(json!({"keys": *self.keys.lock().expect("unpoisoned")}).to_string())
    }

    async fn issuer(&self) -> Result<String, ClusterError> {
        Ok(ISSUER.into())
    }
}

struct World {
    key: Key,
    cluster: Arc<FakeCluster>,
    clock: Arc<ManualClock>,
    identity: Identity,
}

impl World {
    async fn new() -> Self {
        let key = Key::new("key-1");
        let cluster = Arc::new(FakeCluster { keys: Mutex::new(vec![key.jwk()]), ..FakeCluster::default() });
        let clock = Arc::new(ManualClock::at(UNIX_EPOCH + Duration::from_secs(NOW)));
        let identity =
            Identity::start(cluster.clone(), None, Some("node-a".into()), clock.clone()).await.expect("started");
        Self { key, cluster, clock, identity }
    }

    async fn prove(&self, token: ServiceAccountToken) -> Result<Principal, IdentityError> {
        self.prove_within(token, Duration::from_secs(60)).await
    }

    async fn prove_within(&self, token: ServiceAccountToken, budget: Duration) -> Result<Principal, IdentityError> {
        self.identity.prove(&pod(), token, AUDIENCE, Instant::now() + budget).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_of_kubelet_proves_its_pod() {
    let world = World::new().await;
    let Principal::Pod(pod) = world.prove(world.key.token(&claims())).await.expect("proved");
    assert_eq!((pod.name(), pod.uid()), ("web-0", "p"));
    assert_eq!(world.cluster.asked.load(Ordering::Relaxed), 1, "the key was known");
}

#[tokio::test(start_paused = true)]
async fn a32_a33_a37_claims_that_are_not_exactly_right_are_refused() {
    let world = World::new().await;
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut claims = claims();
        change(&mut claims);
        claims
    };
    let without = |pointer: &str, name: &str| {
        changed(&|claims| {
            claims.pointer_mut(pointer).and_then(Value::as_object_mut).expect("an object").remove(name);
        })
    };
    let with =
        |pointer: &str, value: Value| changed(&|claims| *claims.pointer_mut(pointer).expect("there") = value.clone());
    let cases = [
        ("no issuer", without("", "iss"), Reason::TokenInvalid),
        ("no audience", without("", "aud"), Reason::TokenInvalid),
        ("no expiry", without("", "exp"), Reason::TokenInvalid),
        ("no subject", without("", "sub"), Reason::TokenInvalid),
        ("legacy", without("", "kubernetes.io"), Reason::TokenInvalid),
        ("unbound", without("/kubernetes.io", "pod"), Reason::TokenInvalid),
        ("issuer with a slash", with("/iss", json!("https://issuer.test/")), Reason::TokenInvalid),
        ("audience prefix", with("/aud", json!(["sts.amazonaws.com.attacker"])), Reason::TokenInvalid),
        ("another audience", with("/aud", json!(["pods.eks.amazonaws.com"])), Reason::TokenInvalid),
        ("empty audiences", with("/aud", json!([])), Reason::TokenInvalid),
        ("expired", with("/exp", json!(NOW - 61)), Reason::TokenExpired),
        ("not yet", with("/nbf", json!(NOW + 61)), Reason::TokenExpired),
        ("expiry as text", with("/exp", json!("1900000000")), Reason::TokenInvalid),
        ("expiry as fraction", with("/exp", json!(1.9e9)), Reason::TokenInvalid),
        ("huge expiry", with("/exp", json!(1e300)), Reason::TokenInvalid),
        ("negative expiry", with("/exp", json!(-1)), Reason::TokenInvalid),
        ("subject", with("/sub", json!("system:serviceaccount:shop:admin")), Reason::TokenMismatch),
        ("namespace", with("/kubernetes.io/namespace", json!("other")), Reason::TokenMismatch),
        ("service account", with("/kubernetes.io/serviceaccount/name", json!("admin")), Reason::TokenMismatch),
        ("pod name", with("/kubernetes.io/pod/name", json!("web-1")), Reason::TokenMismatch),
        ("pod uid", with("/kubernetes.io/pod/uid", json!("q")), Reason::TokenMismatch),
        ("node", with("/kubernetes.io/node/name", json!("node-b")), Reason::TokenMismatch),
    ];
    for (what, claims, reason) in cases {
        let error = world.prove(world.key.token(&claims)).await.expect_err(what);
        assert_eq!(error.reason(), reason, "{what}: {error}");
    }
    for (what, claims) in [
        ("ours second", with("/aud", json!(["x", AUDIENCE]))),
        ("one audience as text", with("/aud", json!(AUDIENCE))),
        ("expired within the leeway", with("/exp", json!(NOW - 59))),
        ("no node", without("/kubernetes.io", "node")),
        ("no nbf", without("", "nbf")),
    ] {
        world.prove(world.key.token(&claims)).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a34_a35_headers_and_encodings_of_attackers_are_refused() {
    let world = World::new().await;
    let good = world.key.token(&claims()).expose().to_owned();
    let (signed, signature) = good.rsplit_once('.').expect("three parts");
    let (_, body) = signed.split_once('.').expect("three parts");
    let with_header = |header: Value| format!("{}.{body}.{signature}", URL_SAFE_NO_PAD.encode(header.to_string()));
    let hmac = {
        let header = Header { kid: Some("key-1".into()), ..Header::new(Algorithm::HS256) };
        let public = world.key.jwk()["n"].to_string();
        jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(public.as_bytes())).expect("signed")
    };
    let resigned = |header: &str, claims: &str| world.key.sign(header, claims);
    let text = claims().to_string();
    let doubled = text.replacen('{', "{\"sub\":\"system:serviceaccount:shop:web\",", 1);
    let header = r#"{"alg":"RS256","kid":"key-1"}"#;
    let mut tampered = good.clone().into_bytes();
    let middle = signed.len() / 2;
    tampered[middle] = if tampered[middle] == b'A' { b'B' } else { b'A' };
    for (what, token) in [
        ("alg none", with_header(json!({"alg": "none", "kid": "key-1"}))),
        ("alg None, no signature", format!("{}.{body}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"None","kid":"key-1"}"#))),
        ("HS256 with the public key", hmac),
        ("PS256", with_header(json!({"alg": "PS256", "kid": "key-1"}))),
        ("RS512, not the key's", with_header(json!({"alg": "RS512", "kid": "key-1"}))),
        ("crit", resigned(r#"{"alg":"RS256","kid":"key-1","crit":["b64"]}"#, &text)),
        ("another typ", resigned(r#"{"alg":"RS256","kid":"key-1","typ":"at+jwt"}"#, &text)),
        ("no kid", with_header(json!({"alg": "RS256"}))),
        (
            "kid twice",
            format!("{}.{body}.{signature}", URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","kid":"x","kid":"key-1"}"#)),
        ),
        ("kid twice, signed", resigned(r#"{"alg":"RS256","kid":"x","kid":"key-1"}"#, &text)),
        ("claim twice", resigned(header, &doubled)),
        ("no claims", resigned(header, "")),
        ("claims of another shape", resigned(header, "[]")),
        ("own key", with_header(json!({"alg": "RS256", "kid": "key-1", "jwk": world.key.jwk()}))),
        ("five parts", format!("{good}.x.y")),
        ("two parts", signed.to_owned()),
        ("padding", format!("{good}=")),
        ("new line", format!("{good}\n")),
        ("leading space", format!(" {good}")),
        ("no signature", format!("{signed}.")),
        ("tampered", String::from_utf8(tampered).expect("ASCII")),
        ("empty", String::new()),
        ("1 MB", "x".repeat(1 << 20)),
    ] {
        let error = world.prove(token.clone().into()).await.expect_err(what);
        assert_eq!(error.reason(), Reason::TokenInvalid, "{what}: {error}");
        assert!(token.is_empty() || !error.to_string().contains(&token), "{what}");
    }
    assert_eq!(world.cluster.asked.load(Ordering::Relaxed), 1, "none of them made us ask for keys");
}

#[tokio::test(start_paused = true)]
async fn a_forged_token_with_a_known_key_id_is_refused() {
    let world = World::new().await;
    let forged = Key::new("key-1").token(&claims());
    assert_eq!(world.prove(forged).await.expect_err("forged"), TokenError::Signature.into());
}

#[tokio::test(start_paused = true)]
async fn f3_a_token_of_a_new_key_waits_for_one_read_of_the_key_set() {
    let world = Arc::new(World::new().await);
    let new = Key::new("key-2");
    world.cluster.keys.lock().expect("unpoisoned").push(new.jwk());
    let token = new.token(&claims());
    let proofs: Vec<_> = (0..110)
        .map(|_| {
            let (world, token) = (world.clone(), token.clone());
            tokio::spawn(async move { world.prove(token).await })
        })
        .collect();
    for proof in proofs {
        proof.await.expect("ran").expect("proved after the read");
    }
    assert_eq!(world.cluster.asked.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn f4_unknown_key_ids_cannot_make_us_ask_more_often_than_every_ten_seconds() {
    let world = Arc::new(World::new().await);
    let started = Instant::now();
    let stranger = Key::new("stranger");
    for _ in 0..5 {
        let error = world.prove(stranger.token(&claims())).await.expect_err("unknown");
        assert_eq!(error, TokenError::UnknownKey.into());
    }
    let reads = world.cluster.asked.load(Ordering::Relaxed) as u64 - 1;
    assert!(reads <= started.elapsed().as_secs() / 10, "{reads} reads in {:?}", started.elapsed());
    // Known keys do not queue behind them.
    let before = Instant::now();
    world.prove(world.key.token(&claims())).await.expect("proved");
    assert_eq!(Instant::now(), before);
    // A budget that ends earlier is kept.
    let before = Instant::now();
    world.prove_within(stranger.token(&claims()), Duration::from_secs(2)).await.expect_err("unknown");
    assert!(before.elapsed() <= Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn f2_known_keys_outlive_an_api_server_that_is_down() {
    let world = World::new().await;
    *world.cluster.down.lock().expect("unpoisoned") = true;
    world.prove(world.key.token(&claims())).await.expect("the key is known");
    let error = world.prove(Key::new("key-2").token(&claims())).await.expect_err("unknown key");
    assert_eq!(error.reason(), Reason::KeysUnavailable);
    *world.cluster.down.lock().expect("unpoisoned") = false;
    world.prove(world.key.token(&claims())).await.expect("the key set was kept");
}

#[tokio::test(start_paused = true)]
async fn f8_a_wrong_clock_is_named_with_its_distance() {
    let world = World::new().await;
    world.clock.rewind(Duration::from_secs(600));
    let error = world.prove(world.key.token(&claims())).await.expect_err("not yet");
    assert!(crate::reason::chain(&error).contains("more than 5 minutes after this node's time"), "{error}");
    world.clock.advance(Duration::from_secs(600 + 3600 + 600));
    let error = world.prove(world.key.token(&claims())).await.expect_err("expired");
    assert!(crate::reason::chain(&error).contains("more than 5 minutes before this node's time"), "{error}");
}

#[test]
fn f7_key_sets_are_bounded_and_bad_keys_left_out() {
    let key = Key::new("good").jwk();
    let with = |name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        key["kid"] = json!("bad");
        key
    };
    let bad = [
        json!({"kty": "oct", "kid": "bad", "k": "AAAA", "alg": "HS256"}),
        json!({"kty": "OKP", "kid": "bad", "crv": "Ed25519", "x": "AAAA"}),
        with("e", json!("AQ")),
        with("n", json!("AQAB")),
        with("n", json!("A".repeat(3000))),
        with("use", json!("enc")),
        with("alg", json!("ES256")),
        with("alg", json!("HS256")),
        json!({"kty": "RSA"}),
        json!("text"),
        json!(null),
    ];
    let mut keys = bad.to_vec();
    keys.push(key.clone());
    let parsed = KeySet::parse(&json!({ "keys": keys }).to_string()).expect("a set");
    assert_eq!(parsed.len(), 1);
    let many: Vec<Value> = vec![key; 65];
    for text in
        ["", "[]", "{}", &json!({ "keys": many }).to_string(), &format!("{{\"keys\":[]}}{}", " ".repeat(300_000))]
    {
        assert!(KeySet::parse(text).is_none());
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parsers_panic(text in "\\PC{0,80}|[a-zA-Z0-9_.-]{0,80}") {
        let _ = claims::header(&text.clone().into());
        let _ = KeySet::parse(&text);
    }
}
