//! A cloud on real sockets: what a client sees of faults, latency and the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use devcloud::{DevCloud, Fault, FaultKind, Options, Role, TokenOptions};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const ROLE: &str = "arn:aws:iam::111122223333:role/web";

/// The whole answer, head and body. Connections close after one request.
async fn http(method: &str, url: &str, headers: &str, body: &str) -> std::io::Result<String> {
    let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a URL with a path");
    let mut stream = TcpStream::connect(host).await?;
    let length = body.len();
    let request = format!(
        "{method} /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n\
         {headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn get(url: String) -> std::io::Result<String> {
    http("GET", &url, "", "").await
}

fn body(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").expect("a whole head");
    serde_json::from_str(body).expect("JSON")
}

async fn cloud() -> DevCloud {
    let cloud = DevCloud::start(Options::default()).await.expect("started");
    cloud.put_role(Role::new(ROLE).trust_service_account("shop", "web").trust_pod_identity());
    cloud.associate_pod_identity("shop", "web", ROLE);
    cloud
}

#[tokio::test]
async fn a_pods_token_is_worth_keys_at_sts_and_at_the_agent() {
    let cloud = cloud().await;
    let pod = cloud.put_pod("shop", "web-1", "web", "node-a");
    let token = cloud.token(&pod, "sts.amazonaws.com");
    let form = format!(
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={ROLE}&RoleSessionName=me&WebIdentityToken={}",
        token.as_str()
    );
    let kind = "content-type: application/x-www-form-urlencoded\r\n";
    let url = format!("{}/", cloud.aws_url());
    let answer = http("POST", &url, kind, &form).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("<AssumedRoleUser>"));

    let url = format!("{}/v1/credentials", cloud.agent_url());
    let token = cloud.token(&pod, "pods.eks.amazonaws.com");
    let header = format!("authorization: {}\r\n", token.as_str());
    let answer = http("GET", &url, &header, "").await.expect("answered");
    assert_eq!(body(&answer)["AccountId"], "111122223333");

    cloud.delete_pod("shop", "web-1");
    let answer = http("GET", &url, &header, "").await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");

    let sessions = cloud.sessions();
    let tagged = sessions.iter().find(|session| !session.tags.is_empty());
    assert_eq!(tagged.expect("the agent's").tags["kubernetes-pod-name"], "web-1");
    let calls = cloud.calls();
    assert_eq!(calls[0].api, "AssumeRoleWithWebIdentity");
    assert_eq!(calls[0].subject.as_deref(), Some(ROLE));
    assert_eq!(calls[2].code.as_deref(), Some("InvalidTokenException"));
    assert_eq!(calls[2].subject.as_deref(), Some("shop/web"));
}

#[tokio::test]
async fn the_kubernetes_api_can_be_served_over_tls_and_certificates_can_have_rsa_keys() {
    let options = Options { kubernetes_tls: true, rsa_certificates: true, ..Options::default() };
    let cloud = DevCloud::start(options).await.expect("started");
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(cloud.ca_pem().as_bytes()).expect("a certificate");
    roots.add(authority).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("known");
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let address = cloud.kubernetes_address();
    let stream = TcpStream::connect(address).await.expect("connected");
    let tls = TlsConnector::from(Arc::new(config));
    let mut stream = tls.connect(ServerName::from(address.ip()), stream).await.expect("shaken hands");
    stream.write_all(b"GET /version HTTP/1.1\r\nhost: api\r\nconnection: close\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(cloud.kubernetes_url(), format!("https://{address}"));
    assert!(cloud.kubeconfig().contains("certificate-authority-data: "));
}

#[tokio::test]
async fn the_key_set_follows_rotation_and_withdrawal() {
    let cloud = cloud().await;
    let pod = cloud.put_pod("shop", "web-1", "web", "node-a");
    let old = cloud.key_ids();
    cloud.rotate_keys();
    assert_eq!(cloud.key_ids().len(), 2);
    cloud.withdraw_key(&old[0]);
    let keys = get(format!("{}/openid/v1/jwks", cloud.kubernetes_url())).await;
    let keys = keys.expect("answered");
    assert!(keys.contains("content-type: application/jwk-set+json"));
    assert_eq!(body(&keys)["keys"][0]["kid"], json!(cloud.key_ids()[0]));
    assert_eq!(body(&keys)["keys"][0]["e"], "AQAB");

    let url = format!("{}/apis/authentication.k8s.io/v1/tokenreviews", cloud.kubernetes_url());
    let token = cloud.token_with(&pod, TokenOptions::audience("a").kid(&old[0]));
    let review = json!({"spec": {"token": token.as_str(), "audiences": ["a"]}}).to_string();
    let answer = http("POST", &url, "", &review).await.expect("answered");
    assert!(body(&answer)["status"]["error"].is_string());
    assert_eq!(cloud.count("create tokenreviews"), 1);
}

#[tokio::test]
async fn events_are_kept_and_patched() {
    let cloud = cloud().await;
    let url = format!("{}/apis/events.k8s.io/v1/namespaces/shop/events", cloud.kubernetes_url());
    let event = json!({"metadata": {"name": "web-1.17"}, "reason": "Failed", "note": "first"});
    let answer = http("POST", &url, "", &event.to_string()).await;
    assert!(answer.expect("answered").starts_with("HTTP/1.1 201"));
    let patch = json!({"note": null, "series": {"count": 2}}).to_string();
    let kind = "content-type: application/merge-patch+json\r\n";
    let one = format!("{url}/web-1.17");
    http("PATCH", &one, kind, &patch).await.expect("answered");
    let missing = http("PATCH", &format!("{url}/other"), kind, &patch).await;
    assert!(missing.expect("answered").starts_with("HTTP/1.1 404"));
    let events = cloud.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["series"]["count"], 2);
    assert!(events[0].get("note").is_none());
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_a_call_without_a_status() {
    let cloud = cloud().await;
    cloud.inject(Fault::on("get version", FaultKind::Hang));
    let url = format!("{}/version", cloud.kubernetes_url());
    let hanging = tokio::spawn(get(url));
    cloud.wait_for_call("get version").await;
    assert_eq!(cloud.calls()[0].finished, None);
    hanging.abort();
    let gone = async {
        while cloud.calls()[0].finished.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(5), gone).await.expect("noticed");
    assert_eq!(cloud.calls()[0].status, None);
}

#[tokio::test]
async fn faults_break_answers_in_their_own_way() {
    let cloud = cloud().await;
    let url = || format!("{}/version", cloud.kubernetes_url());
    let once = |kind| cloud.inject(Fault::on("get version", kind).times(1));

    once(FaultKind::Reset);
    let error = get(url()).await.expect_err("no answer");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);

    once(FaultKind::TruncateAfter(7));
    let answer = get(url()).await.expect("the connection ends in order");
    let (_, cut) = answer.split_once("\r\n\r\n").expect("a whole head");
    assert_eq!(cut.len(), 7);

    cloud.inject(Fault::error("get version", 403, "Forbidden", "no").times(1));
    let refused = get(url()).await.expect("answered");
    assert_eq!(body(&refused)["kind"], "Status");
    assert_eq!(body(&refused)["reason"], "Forbidden");

    once(FaultKind::RawResponse { status: 502, body: "<html>".into(), content_type: "text/html".into() });
    let raw = get(url()).await.expect("answered");
    assert!(raw.starts_with("HTTP/1.1 502") && raw.ends_with("<html>"), "{raw}");

    cloud.set_latency_of("get version", Duration::from_millis(50));
    let started = Instant::now();
    get(url()).await.expect("answered");
    assert!(started.elapsed() >= Duration::from_millis(50));
    let statuses: Vec<_> = cloud.calls().iter().map(|call| call.status).collect();
    assert_eq!(statuses, [None, Some(200), Some(403), Some(502), Some(200)]);
}

#[tokio::test]
async fn a_bearer_token_can_be_required() {
    let cloud = cloud().await;
    cloud.put_service_account("shop", "web", &[]);
    cloud.require_kubernetes_token("open-sesame");
    assert!(cloud.kubeconfig().contains("open-sesame"));
    let url = format!("{}/api/v1/namespaces/shop/serviceaccounts/web", cloud.kubernetes_url());
    let answer = get(url.clone()).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let header = "authorization: Bearer open-sesame\r\n";
    let answer = http("GET", &url, header, "").await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn the_end_closes_everything() {
    let first = cloud().await;
    let url = format!("{}/version", first.kubernetes_url());
    first.inject(Fault::new(FaultKind::Hang));
    let hanging = tokio::spawn(get(url.clone()));
    first.wait_for_call("get version").await;
    timeout(Duration::from_secs(5), first.shutdown()).await.expect("open connections do not hold it up");
    let _ = hanging.await.expect("no panic");
    get(url).await.expect_err("closed");

    let second = cloud().await;
    let url = format!("{}/version", second.kubernetes_url());
    let clone = second.clone();
    drop(second);
    get(url.clone()).await.expect("a clone keeps it open");
    drop(clone);
    let closed = async { while get(url.clone()).await.is_ok() {} };
    timeout(Duration::from_secs(5), closed).await.expect("closed");
}

#[tokio::test]
async fn nothing_secret_is_printed() {
    let cloud = cloud().await;
    cloud.put_secret("eu-west-1", "shop/db", "canary-text");
    cloud.put_secret("eu-west-1", "shop/key", b"canary-bytes".to_vec());
    cloud.put_parameter("eu-west-1", "/shop/db", "canary-parameter", true);
    cloud.require_kubernetes_token("canary-bearer");
    let pod = cloud.put_pod("shop", "web-1", "web", "node-a");
    let token = cloud.token(&pod, "pods.eks.amazonaws.com");
    let header = format!("authorization: {}\r\n", token.as_str());
    let answer = http("GET", &format!("{}/v1/credentials", cloud.agent_url()), &header, "").await;
    let keys = body(&answer.expect("answered"));
    let printed = format!("{cloud:?} {token:?} {:?} {:?}", cloud.calls(), cloud.sessions());
    assert!(printed.contains("shop/db"), "nothing printed would prove nothing");
    for secret in [keys["SecretAccessKey"].as_str(), keys["Token"].as_str(), Some(token.as_str()), Some("canary")] {
        assert!(!printed.contains(secret.expect("a text")));
    }
}
