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
use crate::cluster::{ServiceAccount, TokenOwner};

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

/// Publishes a key set that tests change, reviews tokens as tests say, and counts who asks.
#[derive(Default)]
struct FakeCluster {
    keys: Mutex<Vec<Value>>,
    /// Why neither keys nor reviews are given.
    closed: Mutex<Option<ClusterError>>,
    /// Whose every token is, for the reviewer.
    owner: Mutex<Option<TokenOwner>>,
    may_not_review: Mutex<bool>,
    asked: AtomicUsize,
    reviewed: AtomicUsize,
}

impl FakeCluster {
    fn close(&self, error: Option<ClusterError>) {
        *self.closed.lock().expect("unpoisoned") = error;
    }

    fn publish(&self, keys: &[&Key]) {
        *self.keys.lock().expect("unpoisoned") = keys.iter().map(|key| key.jwk()).collect();
    }

    fn review_as(&self, owner: Option<TokenOwner>) {
        *self.owner.lock().expect("unpoisoned") = owner;
    }

    fn answer<T>(&self, answer: T) -> Result<T, ClusterError> {
        self.closed.lock().expect("unpoisoned").clone().map_or(Ok(answer), Err)
    }
}

fn down() -> Option<ClusterError> {
    Some(ClusterError::Unavailable { what: "get /openid/v1/jwks".into(), problem: "down".into() })
}

fn forbidden(what: &str) -> ClusterError {
    ClusterError::Forbidden { what: what.into() }
}

/// Who has the token of [`claims`].
fn owner() -> TokenOwner {
    TokenOwner {
        user: "system:serviceaccount:shop:web".into(),
        uid: "s".into(),
        pod_name: Some("web-0".into()),
        pod_uid: Some("p".into()),
    }
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
        self.answer(json!({"keys": *self.keys.lock().expect("unpoisoned")}).to_string())
    }

    async fn issuer(&self) -> Result<String, ClusterError> {
        Ok(ISSUER.into())
    }

    async fn review_token(&self, _: &ServiceAccountToken, audience: &str) -> Result<Option<TokenOwner>, ClusterError> {
        self.reviewed.fetch_add(1, Ordering::Relaxed);
        assert_eq!(audience, AUDIENCE);
        tokio::task::yield_now().await; // others come meanwhile
        if *self.may_not_review.lock().expect("unpoisoned") {
            return Err(forbidden("create tokenreviews"));
        }
        self.answer(self.owner.lock().expect("unpoisoned").clone())
    }
}

struct World {
    key: Key,
    cluster: Arc<FakeCluster>,
    clock: Arc<ManualClock>,
    identity: Identity,
}

impl World {
    /// Where only keys count.
    async fn new() -> Self {
        Self::with(TokenVerification::Jwks).await
    }

    async fn with(verification: TokenVerification) -> Self {
        let key = Key::new("key-1");
        let cluster = Arc::new(FakeCluster { keys: Mutex::new(vec![key.jwk()]), ..FakeCluster::default() });
        Self::on(key, cluster, verification).await.expect("started")
    }

    async fn on(key: Key, cluster: Arc<FakeCluster>, verification: TokenVerification) -> Result<Self, ClusterError> {
        let clock = Arc::new(ManualClock::at(UNIX_EPOCH + Duration::from_secs(NOW)));
        let expected = Expectation { verification, node: Some("node-a".into()), ..Expectation::default() };
        let identity = Identity::start(cluster.clone(), expected, clock.clone()).await?;
        Ok(Self { key, cluster, clock, identity })
    }

    /// How often the key set was read, and tokens were reviewed.
    fn asked(&self) -> (usize, usize) {
        (self.cluster.asked.load(Ordering::Relaxed), self.cluster.reviewed.load(Ordering::Relaxed))
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

/// Claims with one of them taken out or replaced.
fn without(pointer: &str, name: &str) -> Value {
    let mut claims = claims();
    claims.pointer_mut(pointer).and_then(Value::as_object_mut).expect("an object").remove(name);
    claims
}

fn with(pointer: &str, value: Value) -> Value {
    let mut claims = claims();
    *claims.pointer_mut(pointer).expect("there") = value;
    claims
}

/// What the cluster would never sign, signed all the same.
fn wrong_claims() -> Vec<(&'static str, Value, Reason)> {
    use Reason::{TokenExpired, TokenInvalid, TokenMismatch};
    vec![
        ("no issuer", without("", "iss"), TokenInvalid),
        ("no audience", without("", "aud"), TokenInvalid),
        ("no expiry", without("", "exp"), TokenInvalid),
        ("no subject", without("", "sub"), TokenInvalid),
        ("legacy", without("", "kubernetes.io"), TokenInvalid),
        ("unbound", without("/kubernetes.io", "pod"), TokenInvalid),
        ("bound to nothing", with("/kubernetes.io/pod", Value::Null), TokenInvalid),
        ("no uid of the pod", without("/kubernetes.io/pod", "uid"), TokenInvalid),
        ("no uid of the account", without("/kubernetes.io/serviceaccount", "uid"), TokenInvalid),
        ("uid as number", with("/kubernetes.io/pod/uid", json!(1)), TokenInvalid),
        ("issuer with a slash", with("/iss", json!("https://issuer.test/")), TokenInvalid),
        ("issuer in capitals", with("/iss", json!("https://ISSUER.test")), TokenInvalid),
        ("two issuers", with("/iss", json!([ISSUER])), TokenInvalid),
        ("audience prefix", with("/aud", json!(["sts.amazonaws.com.attacker"])), TokenInvalid),
        ("another audience", with("/aud", json!(["pods.eks.amazonaws.com"])), TokenInvalid),
        ("empty audiences", with("/aud", json!([])), TokenInvalid),
        ("audience as object", with("/aud", json!({AUDIENCE: true})), TokenInvalid),
        ("audiences within audiences", with("/aud", json!([[AUDIENCE]])), TokenInvalid),
        ("expired", with("/exp", json!(NOW - 61)), TokenExpired),
        ("expired in 1970", with("/exp", json!(0)), TokenExpired),
        ("not yet", with("/nbf", json!(NOW + 61)), TokenExpired),
        ("expiry as text", with("/exp", json!("1900000000")), TokenInvalid),
        ("expiry as fraction", with("/exp", json!(1.9e9)), TokenInvalid),
        ("huge expiry", with("/exp", json!(1e300)), TokenInvalid),
        ("negative expiry", with("/exp", json!(-1)), TokenInvalid),
        ("begin as text", with("/nbf", json!("0")), TokenInvalid),
        ("subject", with("/sub", json!("system:serviceaccount:shop:admin")), TokenMismatch),
        ("subject with a space", with("/sub", json!("system:serviceaccount:shop:web ")), TokenMismatch),
        ("subject of a user", with("/sub", json!("web")), TokenMismatch),
        ("namespace", with("/kubernetes.io/namespace", json!("other")), TokenMismatch),
        ("service account", with("/kubernetes.io/serviceaccount/name", json!("admin")), TokenMismatch),
        ("pod name", with("/kubernetes.io/pod/name", json!("web-1")), TokenMismatch),
        ("pod uid", with("/kubernetes.io/pod/uid", json!("q")), TokenMismatch),
        ("empty pod uid", with("/kubernetes.io/pod/uid", json!("")), TokenMismatch),
        ("node", with("/kubernetes.io/node/name", json!("node-b")), TokenMismatch),
    ]
}

/// Headers, encodings and signatures that nobody but an attacker makes, for keys of which `key` is one.
fn wrong_forms(key: &Key) -> Vec<(&'static str, String)> {
    let good = key.token(&claims()).expose().to_owned();
    let (signed, signature) = good.rsplit_once('.').expect("three parts");
    let (head, body) = signed.split_once('.').expect("three parts");
    let with_header = |header: Value| format!("{}.{body}.{signature}", URL_SAFE_NO_PAD.encode(header.to_string()));
    let hmac = {
        let header = Header { kid: Some("key-1".into()), ..Header::new(Algorithm::HS256) };
        let public = key.jwk()["n"].to_string();
        jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(public.as_bytes())).expect("signed")
    };
    let resigned = |header: &str, claims: &str| key.sign(header, claims);
    let text = claims().to_string();
    let doubled = text.replacen('{', "{\"sub\":\"system:serviceaccount:shop:web\",", 1);
    let doubled_within = text.replacen("\"namespace\":", "\"namespace\":\"shop\",\"namespace\":", 1);
    let header = r#"{"alg":"RS256","kid":"key-1"}"#;
    // What stands for the same bytes with another last letter, which a lenient decoder takes.
    let loose = |part: &str| {
        let last = part.chars().last().expect("not empty");
        let next = char::from_u32(u32::from(last) + 1).expect("a letter");
        format!("{}{next}", &part[..part.len() - 1])
    };
    let mut tampered = good.clone().into_bytes();
    let middle = signed.len() / 2;
    tampered[middle] = if tampered[middle] == b'A' { b'B' } else { b'A' };
    let of_another = key.token(&with("/jti", json!("2"))).expose().rsplit_once('.').expect("three parts").1.to_owned();
    vec![
        ("alg none", with_header(json!({"alg": "none", "kid": "key-1"}))),
        ("alg None, no signature", format!("{}.{body}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"None","kid":"key-1"}"#))),
        ("no alg", with_header(json!({"kid": "key-1"}))),
        ("alg in small letters", with_header(json!({"alg": "rs256", "kid": "key-1"}))),
        ("two algs", with_header(json!({"alg": ["RS256"], "kid": "key-1"}))),
        ("HS256 with the public key", hmac),
        ("PS256", with_header(json!({"alg": "PS256", "kid": "key-1"}))),
        ("RS512, not the key's", with_header(json!({"alg": "RS512", "kid": "key-1"}))),
        ("ES256 with zeros", {
            let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","kid":"key-1"}"#);
            format!("{header}.{body}.{}", URL_SAFE_NO_PAD.encode([0; 64]))
        }),
        ("crit", resigned(r#"{"alg":"RS256","kid":"key-1","crit":["b64"]}"#, &text)),
        ("b64", resigned(r#"{"alg":"RS256","kid":"key-1","b64":false}"#, &text)),
        ("zip", resigned(r#"{"alg":"RS256","kid":"key-1","zip":"DEF"}"#, &text)),
        ("enc", resigned(r#"{"alg":"RS256","kid":"key-1","enc":"A256GCM"}"#, &text)),
        ("another typ", resigned(r#"{"alg":"RS256","kid":"key-1","typ":"at+jwt"}"#, &text)),
        ("no kid", with_header(json!({"alg": "RS256"}))),
        ("empty kid", resigned(r#"{"alg":"RS256","kid":""}"#, &text)),
        ("kid as number", resigned(r#"{"alg":"RS256","kid":1}"#, &text)),
        ("kid twice", with_header_text(r#"{"alg":"RS256","kid":"x","kid":"key-1"}"#, body, signature)),
        ("kid twice, signed", resigned(r#"{"alg":"RS256","kid":"x","kid":"key-1"}"#, &text)),
        ("alg twice, signed", resigned(r#"{"alg":"RS256","alg":"RS256","kid":"key-1"}"#, &text)),
        ("claim twice", resigned(header, &doubled)),
        ("claim twice within another", resigned(header, &doubled_within)),
        ("no claims", resigned(header, "")),
        ("claims of another shape", resigned(header, "[]")),
        ("a token in a token", resigned(header, &good)),
        ("own key", with_header(json!({"alg": "RS256", "kid": "key-1", "jwk": key.jwk()}))),
        ("a source of keys", with_header(json!({"alg": "RS256", "kid": "key-1", "jku": "https://attacker.test/"}))),
        ("header of another shape", with_header(json!(["RS256", "key-1"]))),
        ("five parts", format!("{good}.x.y")),
        ("two parts", signed.to_owned()),
        ("padding", format!("{good}=")),
        ("new line", format!("{good}\n")),
        ("leading space", format!(" {good}")),
        ("a space within", format!("{head}. {body}.{signature}")),
        ("left-over bits in the signature", format!("{signed}.{}", loose(signature))),
        ("no signature", format!("{signed}.")),
        ("half a signature", format!("{signed}.{}", &signature[..signature.len() / 2])),
        ("a longer signature", format!("{signed}.{signature}AAAA")),
        ("the signature of another token", format!("{signed}.{of_another}")),
        ("signature of zeros", format!("{signed}.{}", URL_SAFE_NO_PAD.encode([0; 256]))),
        ("forged", Key::new("key-1").token(&claims()).expose().to_owned()),
        ("tampered", String::from_utf8(tampered).expect("ASCII")),
        ("empty", String::new()),
        ("dots", "..".into()),
        ("not ASCII", "ä.ö.ü".into()),
        ("one byte too long", format!("{good}{}", "A".repeat(MAX_TOKEN_BYTES + 1 - good.len()))),
        ("1 MB", "x".repeat(1 << 20)),
    ]
}

fn with_header_text(header: &str, body: &str, signature: &str) -> String {
    format!("{}.{body}.{signature}", URL_SAFE_NO_PAD.encode(header))
}

#[tokio::test(start_paused = true)]
async fn a31_to_a37_tokens_of_attackers_are_refused_cold_and_warm_and_nobody_is_asked_about_them() {
    for verification in [TokenVerification::Jwks, TokenVerification::Auto] {
        let world = World::with(verification).await;
        let mut table: Vec<(&str, String, Reason)> = wrong_claims()
            .into_iter()
            .map(|(what, claims, reason)| (what, world.key.token(&claims).expose().to_owned(), reason))
            .collect();
        let forms = wrong_forms(&world.key).into_iter();
        table.extend(forms.map(|(what, token)| (what, token, Reason::TokenInvalid)));
        assert!(table.len() >= 60, "{}", table.len());
        // An API server that takes everything must not get to hear of them either.
        world.cluster.review_as(Some(owner()));
        for temperature in ["cold", "warm"] {
            for (what, token, reason) in &table {
                let error = world.prove(token.clone().into()).await.expect_err(what);
                assert_eq!(error.reason(), *reason, "{verification:?}, {temperature}, {what}: {error}");
                assert!(token.is_empty() || !crate::reason::chain(&error).contains(token), "{what}");
            }
            assert_eq!(world.asked(), (1, 0), "{verification:?}, {temperature}");
            world.prove(world.key.token(&claims())).await.expect("the good one");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a34_key_ids_are_compared_and_nothing_else_is_done_with_them() {
    let world = World::with(TokenVerification::Auto).await;
    for id in ["../../etc/passwd", "key-1' OR '1'='1", "KEY-1", "key-1 ", "key-1\u{0}", "https://attacker.test/keys"] {
        let token = world.key.sign(&json!({"alg": "RS256", "kid": id}).to_string(), &claims().to_string());
        assert_eq!(world.prove(token.into()).await.expect_err(id), TokenError::Review.into());
    }
}

#[tokio::test(start_paused = true)]
async fn a33_claims_that_are_right_in_other_ways_are_accepted() {
    let world = World::new().await;
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
    world.cluster.close(down());
    world.prove(world.key.token(&claims())).await.expect("the key is known");
    let error = world.prove(Key::new("key-2").token(&claims())).await.expect_err("unknown key");
    assert_eq!(error.reason(), Reason::KeysUnavailable);
    world.cluster.close(None);
    world.prove(world.key.token(&claims())).await.expect("the key set was kept");
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn f2_keys_of_yesterday_prove_nothing() {
    let world = World::new().await;
    world.cluster.close(down());
    tokio::time::advance(23 * 60 * MINUTE).await;
    world.prove(world.key.token(&claims())).await.expect("a key of today");
    tokio::time::advance(2 * 60 * MINUTE).await;
    let error = world.prove(world.key.token(&claims())).await.expect_err("too old, also what was proved with it");
    assert_eq!(error.reason(), Reason::KeysUnavailable);
    world.cluster.close(None);
    tokio::time::advance(MINUTE).await;
    world.prove(world.key.token(&claims())).await.expect("the set was read again");
}

#[tokio::test(start_paused = true)]
async fn f5_a_withdrawn_key_is_dead_within_the_hour_though_no_unknown_key_comes() {
    let world = World::new().await;
    let token = world.key.token(&claims());
    world.prove(token.clone()).await.expect("proved");
    world.cluster.publish(&[&Key::new("key-2")]);
    tokio::time::advance(49 * MINUTE).await;
    world.prove(token.clone()).await.expect("nobody has looked yet");
    assert_eq!(world.asked().0, 1);
    tokio::time::advance(10 * MINUTE).await;
    assert_eq!(world.prove(token).await.expect_err("withdrawn"), TokenError::UnknownKey.into());
}

#[tokio::test(start_paused = true)]
async fn f5_a_key_that_was_replaced_under_its_id_takes_what_it_proved_with_it() {
    let world = World::new().await;
    let token = world.key.token(&claims());
    world.prove(token.clone()).await.expect("proved");
    world.cluster.publish(&[&Key::new("key-1")]);
    tokio::time::advance(51 * MINUTE).await;
    assert_eq!(world.prove(token).await.expect_err("another key"), TokenError::Signature.into());
}

#[tokio::test(start_paused = true)]
async fn f6_while_the_keys_cannot_be_read_the_old_ones_are_used_and_reads_stay_apart() {
    let world = World::new().await;
    world.cluster.close(down());
    tokio::time::advance(51 * MINUTE).await;
    for _ in 0..100 {
        world.prove(world.key.token(&claims())).await.expect("the old keys");
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    assert_eq!(world.asked().0, 2, "one read in ten seconds");
}

#[tokio::test(start_paused = true)]
async fn f7_a_key_set_that_makes_no_sense_does_not_replace_one_that_does() {
    let world = World::new().await;
    world.cluster.publish(&[]);
    tokio::time::advance(51 * MINUTE).await;
    world.prove(world.key.token(&claims())).await.expect("the old keys");
    assert_eq!(world.asked().0, 2);
}

#[tokio::test(start_paused = true)]
async fn f85_a_token_whose_key_no_key_set_has_is_put_to_the_api_server() {
    let world = World::with(TokenVerification::Auto).await;
    let token = Key::new("of-the-signer").token(&claims());
    assert_eq!(world.prove(token.clone()).await.expect_err("refused"), TokenError::Review.into());
    world.cluster.review_as(Some(owner()));
    let before = Instant::now();
    for _ in 0..100 {
        let Principal::Pod(pod) = world.prove(token.clone()).await.expect("accepted");
        assert_eq!((pod.name(), pod.uid()), ("web-0", "p"));
    }
    assert_eq!((world.asked(), before.elapsed()), ((1, 2), Duration::ZERO), "remembered, and nobody waits for a read");
    // The word of the API server counts for five minutes.
    world.cluster.review_as(None);
    tokio::time::advance(4 * MINUTE).await;
    world.prove(token.clone()).await.expect("remembered");
    tokio::time::advance(2 * MINUTE).await;
    assert_eq!(world.prove(token).await.expect_err("asked anew"), TokenError::Review.into());
    // Keys that are known need no word of his.
    world.prove(world.key.token(&claims())).await.expect("proved");
    assert_eq!(world.asked().1, 3);
}

#[tokio::test(start_paused = true)]
async fn f85_calls_of_one_pod_that_come_together_are_one_review() {
    let world = World::with(TokenVerification::TokenReview).await;
    world.cluster.review_as(Some(owner()));
    let signer = Key::new("of-the-signer");
    let (one, other) = (signer.token(&claims()), signer.token(&with("/jti", json!("2"))));
    let calls = (0..20).map(|number| world.prove(if number % 2 == 0 { one.clone() } else { other.clone() }));
    for result in futures_util::future::join_all(calls).await {
        result.expect("accepted");
    }
    assert_eq!(world.asked().1, 2);
}

#[tokio::test(start_paused = true)]
async fn f3_calls_with_one_token_of_an_unknown_key_wait_together_for_the_next_read() {
    let world = World::with(TokenVerification::Jwks).await;
    let token = Key::new("key-2").token(&claims());
    world.prove(token.clone()).await.expect_err("reads the set");
    let began = Instant::now();
    let calls = (0..20).map(|_| world.prove(token.clone()));
    for result in futures_util::future::join_all(calls).await {
        assert_eq!(result.expect_err("unknown"), TokenError::UnknownKey.into());
    }
    assert!(began.elapsed() <= Duration::from_secs(11), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn f85_a_review_that_says_anything_else_of_the_owner_is_no_proof() {
    let world = World::with(TokenVerification::TokenReview).await;
    let token = world.key.token(&claims());
    let changes: [fn(&mut TokenOwner); 6] = [
        |owner| owner.user = "system:serviceaccount:shop:admin".into(),
        |owner| owner.uid = "t".into(),
        |owner| owner.pod_name = Some("web-1".into()),
        |owner| owner.pod_uid = Some("q".into()),
        |owner| owner.pod_name = None,
        |owner| owner.pod_uid = None,
    ];
    for change in changes {
        let mut other = owner();
        change(&mut other);
        world.cluster.review_as(Some(other.clone()));
        let error = world.prove(token.clone()).await.expect_err("another owner");
        assert_eq!(error, TokenError::Review.into(), "{other:?}");
    }
    world.cluster.review_as(Some(owner()));
    world.prove(token).await.expect("proved");
    assert_eq!(world.asked(), (0, 7), "no key set is read");
}

#[tokio::test(start_paused = true)]
async fn f85_where_reviews_are_forbidden_that_is_said_and_new_keys_are_waited_for() {
    let world = World::with(TokenVerification::Auto).await;
    *world.cluster.may_not_review.lock().expect("unpoisoned") = true;
    let new = Key::new("key-2");
    let error = world.prove(new.token(&claims())).await.expect_err("unknown");
    assert_eq!(error.reason(), Reason::KubernetesForbidden);
    assert!(crate::reason::chain(&error).contains("create tokenreviews; grant it"), "{error}");
    world.cluster.publish(&[&world.key, &new]);
    world.prove(new.token(&claims())).await.expect("the next read shows the key");
}

#[tokio::test(start_paused = true)]
async fn f4_a_flood_of_unknown_keys_costs_the_api_server_two_hundred_reviews_and_five_a_second() {
    let world = World::with(TokenVerification::Auto).await;
    let signer = Key::new("of-the-signer");
    for number in 0..1_000 {
        let mut claims = claims();
        claims["jti"] = json!(number.to_string());
        world.prove(signer.token(&claims)).await.expect_err("refused");
    }
    assert_eq!(world.asked(), (1, 200));
    world.prove(world.key.token(&claims())).await.expect("known keys need neither");
    tokio::time::advance(Duration::from_secs(2)).await;
    for _ in 0..100 {
        world.prove(signer.token(&claims())).await.expect_err("refused");
    }
    assert_eq!(world.asked(), (1, 210));
    // After a while all pods of a node pass at once again.
    tokio::time::advance(MINUTE).await;
    world.cluster.review_as(Some(owner()));
    for number in 0..200 {
        let mut claims = claims();
        claims["jti"] = json!(number.to_string());
        world.prove(signer.token(&claims)).await.expect("reviewed");
    }
    assert_eq!(world.asked(), (2, 410));
}

#[tokio::test(start_paused = true)]
async fn f4_nobody_is_asked_about_a_token_that_could_not_be_accepted_anyway() {
    let world = World::with(TokenVerification::Auto).await;
    world.cluster.review_as(Some(owner()));
    let signer = Key::new("of-the-signer");
    tokio::time::advance(MINUTE).await;
    for (pointer, value) in [
        ("/iss", json!("https://attacker.test")),
        ("/aud", json!(["other"])),
        ("/exp", json!(NOW - 100)),
        ("/sub", json!("system:serviceaccount:shop:admin")),
        ("/kubernetes.io/pod/uid", json!("q")),
        ("/kubernetes.io/node/name", json!("node-b")),
    ] {
        let mut claims = claims();
        *claims.pointer_mut(pointer).expect("there") = value;
        world.prove(signer.token(&claims)).await.expect_err(pointer);
    }
    assert_eq!(world.asked(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn f1_a_cluster_that_shows_its_keys_to_nobody_is_asked_about_every_token() {
    let cluster = Arc::new(FakeCluster::default());
    cluster.close(Some(forbidden("get /openid/v1/jwks")));
    let keys_only = World::on(Key::new("key-1"), cluster.clone(), TokenVerification::Jwks).await;
    assert_eq!(keys_only.err(), Some(forbidden("get /openid/v1/jwks")));
    let world = World::on(Key::new("key-1"), cluster.clone(), TokenVerification::Auto).await.expect("started");
    cluster.close(None);
    cluster.review_as(Some(owner()));
    world.prove(world.key.token(&claims())).await.expect("reviewed");
    // One that is only down will answer yet.
    cluster.close(down());
    let down = World::on(Key::new("key-1"), cluster, TokenVerification::Auto).await;
    assert!(matches!(down.err(), Some(ClusterError::Unavailable { .. })));
}

#[tokio::test(start_paused = true)]
async fn f2_a_token_of_an_unknown_key_while_the_api_server_is_down_is_neither_accepted_nor_refused() {
    let world = World::with(TokenVerification::Auto).await;
    world.cluster.close(down());
    tokio::time::advance(MINUTE).await;
    let error = world.prove(Key::new("key-2").token(&claims())).await.expect_err("unknown");
    assert_eq!(error.reason(), Reason::KeysUnavailable);
}

#[tokio::test(start_paused = true)]
async fn p10_without_verification_nothing_is_shared_between_tokens() {
    let world = World::with(TokenVerification::Off).await;
    let mut scopes = std::collections::HashSet::new();
    for number in 0..3 {
        let mut claims = claims();
        claims["jti"] = json!(number.to_string());
        let token = Key::new("anybody").token(&claims);
        for _ in 0..2 {
            let principal = world.prove(token.clone()).await.expect("nobody looks");
            assert_eq!(principal.node(), None, "nothing of the node is learned from it");
            scopes.insert(principal.scope());
        }
    }
    assert_eq!((scopes.len(), world.asked()), (3, (0, 0)));
    // What the token says of itself must be right all the same: that finds mistakes.
    let mut other = claims();
    other["kubernetes.io"]["pod"]["uid"] = json!("q");
    let error = world.prove(world.key.token(&other)).await.expect_err("another pod");
    assert_eq!(error.reason(), Reason::TokenMismatch);
    let proved = World::new().await;
    let first = proved.prove(proved.key.token(&claims())).await.expect("proved").scope();
    let mut again = claims();
    again["jti"] = json!("2");
    assert_eq!(first, proved.prove(proved.key.token(&again)).await.expect("proved").scope(), "proof lets share");
}

#[tokio::test(start_paused = true)]
async fn keys_of_a_file_are_read_instead_of_the_api_servers() {
    let (file, cluster) = (tempfile::NamedTempFile::new().expect("a file"), Arc::new(FakeCluster::default()));
    let key = Key::new("key-1");
    let clock = Arc::new(ManualClock::at(UNIX_EPOCH + Duration::from_secs(NOW)));
    let start = || {
        let expected = Expectation {
            verification: TokenVerification::Jwks,
            keys: Some(KeySource::File(file.path().to_owned())),
            ..Expectation::default()
        };
        Identity::start(cluster.clone(), expected, clock.clone())
    };
    let error = start().await.err().expect("an empty file");
    assert!(error.to_string().contains("no key that could verify a token"), "{error}");
    std::fs::write(file.path(), json!({"keys": [key.jwk()]}).to_string()).expect("written");
    let identity = start().await.expect("started");
    let deadline = Instant::now() + MINUTE;
    identity.prove(&pod(), key.token(&claims()), AUDIENCE, deadline).await.expect("proved");
    assert_eq!(cluster.asked.load(Ordering::Relaxed), 0);
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
        let _ = Claims::unverified(&text.clone().into());
        let _ = KeySet::parse(&text);
    }
}
