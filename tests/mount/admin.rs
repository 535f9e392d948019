//! What operators see of the process: its health and its numbers.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use devcloud::node::{Node, Provider};
use devcloud::{Fault, FaultKind};
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{READY, REGION, World, class_of, cloud, needs_mounts, start};

/// Ports that nobody has, and that nobody is given meanwhile: connections have theirs from 32768 on.
pub fn free_ports() -> [u16; 2] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let free = || loop {
        // Whatever else is tested on this machine begins elsewhere.
        let place = std::process::id().wrapping_mul(61).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed).into());
        let port = 20_000 + (place % 10_000) as u16;
        if TcpListener::bind(("::", port)).is_ok() {
            return port;
        }
    };
    [free(), free()]
}

/// Status and body.
pub async fn get(port: u16, path: &str, accept: &str) -> (u16, String) {
    let mut stream = connected(port).await.expect("somebody listens");
    let question = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
    stream.write_all(question.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.split(' ').nth(1).expect("a status").parse().expect("a number"), body.to_owned())
}

async fn connected(port: u16) -> std::io::Result<TcpStream> {
    TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await
}

/// A port is opened beside the socket, and not before it.
async fn is_open(provider: &Provider, port: u16) {
    assert!(provider.logged(&format!("\"message\":\"listening\",\"port\":{port}")).await, "{}", provider.log());
}

pub async fn world(more: &[&str]) -> (World, u16, u16) {
    let [health, metrics] = free_ports();
    let ports = [format!("--health-port={health}"), format!("--metrics-port={metrics}")];
    let arguments: Vec<&str> = ports.iter().map(String::as_str).chain(more.iter().copied()).collect();
    let world = World::with(&arguments).await;
    is_open(&world.provider, health).await;
    is_open(&world.provider, metrics).await;
    (world, health, metrics)
}

/// The numbers, as they are now.
pub async fn scraped(port: u16) -> String {
    get(port, "/metrics", "").await.1
}

/// The value of a series, as it is written.
pub fn value<'a>(text: &'a str, series: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
}

#[tokio::test]
async fn it_is_ready_as_long_as_the_driver_can_reach_it_and_alive_in_any_case() {
    let (world, health, _) = world(&["--driver-writes-secrets=true"]).await;
    assert_eq!(get(health, "/livez", "*/*").await, (200, "ok\n".into()));
    let (status, body) = get(health, "/readyz?verbose", "*/*").await;
    assert!(status == 200 && body.starts_with("[+] ") && body.ends_with("aws.sock ok\nok\n"), "{body}");

    let socket = world.node.providers_dir().join("aws.sock");
    // Another process puts its own socket there, on which nobody answers.
    let hidden = socket.with_extension("hidden");
    std::fs::rename(&socket, &hidden).expect("moved");
    let stranger = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
    let (status, body) = get(health, "/readyz", "*/*").await;
    assert!(status == 503 && body.contains("aws.sock: ") && body.ends_with("not ready\n"), "{body}");
    assert_eq!(get(health, "/livez", "*/*").await.0, 200);
    drop(stranger);
    std::fs::rename(&hidden, &socket).expect("moved back");
    assert_eq!(get(health, "/readyz", "*/*").await.0, 200);

    assert_eq!(get(health, "/metrics", "*/*").await.0, 404, "each port has its own pages");
}

#[tokio::test]
async fn f1_who_waits_for_the_api_server_lives_and_is_not_ready() {
    let (cloud, node) = (cloud().await, Node::new().expect("a node"));
    cloud.inject(Fault::new(FaultKind::Reset).service("kubernetes"));
    let [health, _] = free_ports();
    let provider = start(&cloud, &node, &[&format!("--health-port={health}")], &[]);
    is_open(&provider, health).await;
    assert_eq!(get(health, "/livez", "").await.0, 200);
    let (status, body) = get(health, "/readyz", "").await;
    assert!(status == 503 && body.contains("it cannot be dialled"), "{body}");
    cloud.clear_faults();
    provider.driver(READY).await.expect("it serves in the end");
    assert_eq!(get(health, "/readyz", "").await.0, 200);
}

#[tokio::test]
async fn one_port_for_both_ends_the_start() {
    let (cloud, node) = (cloud().await, Node::new().expect("a node"));
    let provider = start(&cloud, &node, &["--health-port=8989", "--metrics-port=8989"], &[]);
    let Err(error) = provider.driver(READY).await else { panic!("it serves") };
    let error = error.to_string();
    assert!(error.contains("give them two ports"), "{error}");
}

#[tokio::test]
async fn mounts_refreshes_and_their_calls_are_counted() {
    needs_mounts!();
    let (world, _, metrics) = world(&["--max-age=1h"]).await;
    world.cloud.put_secret(REGION, "shop/key", "planted-secret");
    let volume = world.publish();
    let class = class_of(&["shop/key"]);
    world.mount(&class, &volume).await.expect("mounted");
    world.mount(&class, &volume).await.expect("refreshed");
    world.ask_as(&world.newcomer(), &class_of(&["shop/key"])).await.expect_err("no tmpfs");

    let (status, text) = get(metrics, "/metrics", "application/openmetrics-text;version=1.0.0").await;
    assert!(status == 200 && text.ends_with("# EOF\n"));
    for (series, expected) in [
        ("secretmount_mounts_total{operation=\"mount\",grpc_code=\"OK\"}", "1"),
        ("secretmount_mounts_total{operation=\"remount\",grpc_code=\"OK\"}", "1"),
        ("secretmount_mount_duration_seconds_count{operation=\"remount\"}", "1"),
        ("secretmount_backend_requests_total{service=\"sts\",api=\"AssumeRoleWithWebIdentity\",code=\"ok\"}", "1"),
        ("secretmount_cache_requests_total{cache=\"secrets\",result=\"hit\"}", "1"),
        ("secretmount_token_verifications_total{result=\"ok\"}", "3"),
        ("secretmount_volume_writes_total{result=\"changed\"}", "1"),
        ("secretmount_volume_writes_total{result=\"unchanged\"}", "1"),
        ("secretmount_volumes{state=\"current\"}", "1"),
        ("secretmount_volumes{state=\"failing\"}", "0"),
        ("secretmount_socket_listening", "1"),
        ("secretmount_mounts_in_flight", "0"),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series} in {text}");
    }
    let written: u64 = value(&text, "secretmount_volume_written_bytes").and_then(|it| it.parse().ok()).expect("there");
    assert!(written > 0, "{text}");
    for planted in ["planted-secret", "shop/key", "web-0"] {
        assert!(!text.contains(planted), "{planted} is on the page");
    }

    let (_, old) = get(metrics, "/metrics", "text/plain").await;
    assert!(old.contains("# TYPE secretmount_mounts_total counter\n") && !old.contains("# EOF"), "{old}");
}

#[tokio::test]
async fn what_fails_is_seen_until_it_is_mended() {
    needs_mounts!();
    let (world, _, metrics) = world(&["--failed-refresh-pause=1ms"]).await;
    world.cloud.put_secret(REGION, "shop/key", "one");
    let volume = world.publish();
    let class = class_of(&["shop/key"]);
    world.mount(&class, &volume).await.expect("mounted");
    let oldest = "secretmount_failing_volume_oldest_timestamp_seconds";
    let scrape = async || get(metrics, "/metrics", "").await.1;
    assert_eq!(value(&scrape().await, oldest), None);

    world.cloud.inject(Fault::on("GetSecretValue", FaultKind::Reset));
    world.mount(&class, &volume).await.expect_err("AWS is down");
    let text = scrape().await;
    assert_eq!(value(&text, "secretmount_volumes{state=\"failing\"}"), Some("1"));
    assert!(value(&text, oldest).is_some(), "{text}");
    let failed = "secretmount_mount_errors_total{operation=\"remount\",reason=\"AwsUnavailable\"}";
    assert_eq!(value(&text, failed), Some("1"));

    world.cloud.clear_faults();
    // It is left alone for a moment after its failure.
    while world.mount(&class, &volume).await.is_err() {
        tokio::task::yield_now().await;
    }
    let text = scrape().await;
    assert_eq!(value(&text, "secretmount_volumes{state=\"failing\"}"), Some("0"));
    assert_eq!(value(&text, oldest), None);

    // Whatever fails counts, also what AWS is not asked for; and only as long as there is a volume.
    world.mount(&class_of(&[]), &volume).await.expect_err("a class without objects");
    let text = scrape().await;
    let states = |text: &str| {
        ["current", "failing"]
            .map(|state| format!("secretmount_volumes{{state=\"{state}\"}}"))
            .map(|series| value(text, &series).map(str::to_owned))
    };
    assert_eq!(states(&text), [Some("0".into()), Some("1".into())]);
    volume.unmount().expect("unmounted");
    let text = scrape().await;
    assert_eq!(states(&text), [Some("0".into()), Some("0".into())]);
    assert_eq!(value(&text, oldest), None);
}

#[tokio::test]
async fn each_volume_is_told_by_its_names_where_that_is_wanted_and_as_long_as_it_is_there() {
    needs_mounts!();
    let (world, _, metrics) = world(&["--metrics-per-volume"]).await;
    world.cloud.put_secret(REGION, "shop/key", "one");
    let volume = world.publish();
    let class = class_of(&["shop/key"]);
    let scrape = async || get(metrics, "/metrics", "").await.1;
    assert!(!scrape().await.contains("secretmount_volume_consecutive_failures"));
    world.mount(&class, &volume).await.expect("mounted");
    let labels = r#"{pod_namespace="shop",pod_name="web-0",volume="secrets",secret_provider_class="shop-db"}"#;
    let (success, failures) = (
        format!("secretmount_volume_last_success_timestamp_seconds{labels}"),
        format!("secretmount_volume_consecutive_failures{labels}"),
    );
    let text = scrape().await;
    assert_eq!(value(&text, &failures), Some("0"), "{text}");
    assert!(value(&text, &success).is_some_and(|time| time.parse::<f64>().is_ok_and(|time| time > 1e9)), "{text}");

    world.cloud.inject(Fault::on("GetSecretValue", FaultKind::Reset));
    for _ in 0..2 {
        world.mount(&class, &volume).await.expect_err("AWS is down");
    }
    assert_eq!(value(&scrape().await, &failures), Some("2"));
    volume.unmount().expect("unmounted");
    assert!(!scrape().await.contains("secretmount_volume_consecutive_failures"), "its pod has gone");
}

#[tokio::test]
async fn f82_a_flood_of_the_ports_neither_stops_mounts_nor_probes() {
    let (world, health, metrics) = world(&["--driver-writes-secrets=true"]).await;
    world.cloud.put_secret(REGION, "shop/key", "one");
    let mut slow = Vec::new();
    for number in 0..500 {
        let port = if number % 2 == 0 { health } else { metrics };
        let mut stream = connected(port).await.expect("somebody listens");
        // Half a question, and then nothing. Who is cut off may see it here already.
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost:").await;
        slow.push(stream);
    }
    world.ask(&class_of(&["shop/key"])).await.expect("mounted");
    assert_eq!(get(health, "/readyz", "*/*").await.0, 200);
    assert_eq!(get(metrics, "/metrics", "*/*").await.0, 200);
    // Whole questions, each of which looks at all volumes; who is cut off gets nothing.
    let whole = (0..500).map(|_| raw(metrics, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"));
    let during = async {
        world.ask(&class_of(&["shop/key"])).await.expect("mounted");
        get(health, "/readyz", "*/*").await.0
    };
    let (answers, ready) = tokio::join!(join_all(whole), during);
    assert!(ready == 200 && answers.iter().any(|status| status == "200"), "{ready} {answers:?}");
    assert_eq!(get(metrics, "/metrics", "*/*").await.0, 200);
    let long = format!("/{}", "x".repeat(64 * 1024));
    assert_ne!(raw(health, &format!("GET {long} HTTP/1.1\r\n\r\n")).await, "200");
    assert_eq!(raw(health, "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await, "405");
}

/// The status of whatever comes, if anything does.
async fn raw(port: u16, question: &str) -> String {
    let mut stream = connected(port).await.expect("somebody listens");
    let _ = stream.write_all(question.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a24_many_hostile_names_make_no_series() {
    let (world, _, metrics) = world(&["--driver-writes-secrets=true"]).await;
    let series = async || get(metrics, "/metrics", "").await.1.lines().count();
    world.ask(&class_of(&["shop/none"])).await.expect_err("missing");
    let before = series().await;
    for number in 0..50 {
        let name = format!("shop/\u{1b}[31m\"}}{number}");
        world.ask_as(&world.newcomer(), &class_of(&[&name])).await.expect_err("refused");
    }
    assert!(series().await <= before + 20, "{before} lines before, {} after", series().await);
}

#[tokio::test]
async fn a_port_that_is_taken_does_not_keep_it_from_serving() {
    let taken = std::net::TcpListener::bind("[::]:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let flag = format!("--metrics-port={port}");
    let world = World::with(&["--driver-writes-secrets=true", &flag]).await;
    world.cloud.put_secret(REGION, "shop/key", "one");
    world.ask(&class_of(&["shop/key"])).await.expect("mounted");
}
