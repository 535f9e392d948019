//! What owners of pods and operators are told after the first mount: Events, log lines and the audit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use devcloud::node::Class;
use devcloud::{Fault, FaultKind, Role};
use serde_json::Value;
use tokio::time::timeout;

use crate::admin::{free_ports, scraped, value, world};
use crate::support::{READY, REGION, ROLE, World, class, class_of, cloud, needs_mounts, start};

/// With the driver writing, which needs no rights.
const WRITES: &str = "--driver-writes-secrets=true";

/// The events so far, once there are so many.
async fn events(world: &World, count: usize) -> Vec<Value> {
    let all = async {
        loop {
            let events = world.cloud.events();
            if events.len() >= count {
                return events;
            }
            tokio::task::yield_now().await;
        }
    };
    in_time(all, "events").await
}

/// What is waited for and has not come after a minute never comes.
async fn in_time<T>(wanted: impl Future<Output = T>, what: &str) -> T {
    timeout(Duration::from_secs(60), wanted).await.unwrap_or_else(|_| panic!("no {what}"))
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"))
}

fn reasons(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| text(event, "reason")).collect()
}

/// The numbers, once one of them is as expected.
async fn counted(port: u16, series: &str, expected: &str) -> String {
    let wanted = async {
        loop {
            let text = scraped(port).await;
            if value(&text, series) == Some(expected) {
                return text;
            }
        }
    };
    in_time(wanted, series).await
}

/// The lines of a log that have a message.
fn lines(log: &str, message: &str) -> Vec<Value> {
    let all = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    all.filter(|line| line["message"] == message).collect()
}

#[tokio::test]
async fn aws_down_for_three_polls_is_told_once_and_so_is_its_end() {
    let (world, _, metrics) = world(&[WRITES]).await;
    world.cloud.put_secret(REGION, "shop/key", "one");
    world.cloud.put_secret(REGION, "shop/other", "one");
    let class = class_of(&["shop/key", "shop/other"]);
    world.ask(&class).await.expect("mounted");
    let failing = "secretmount_volumes{state=\"failing\"}";
    assert_eq!(value(&scraped(metrics).await, failing), Some("0"));

    // It is chance which secret meets the outage first.
    for secret in ["shop/key", "shop/other", "shop/key"] {
        world.cloud.inject(Fault::error("GetSecretValue", 500, "InternalServiceError", "x").subject(secret));
        world.ask(&class).await.expect_err("AWS is down");
        world.cloud.clear_faults();
    }
    assert_eq!(value(&scraped(metrics).await, failing), Some("1"));
    // The SDK is asked for a moment longer, which changes nothing here.
    world.ask(&class).await.expect("AWS is back");
    assert_eq!(value(&scraped(metrics).await, failing), Some("0"));

    // Events keep their order, so none is missing before this one.
    world.cloud.put_secret(REGION, "shop/key", "two");
    world.ask(&class).await.expect("mounted");
    let events = events(&world, 3).await;
    assert_eq!(reasons(&events), ["SecretRefreshFailed", "SecretRefreshRecovered", "SecretRotated"]);
    let event = &events[0];
    assert_eq!((text(event, "type"), text(&events[1], "type")), ("Warning", "Normal"));
    assert_eq!(text(event, "reportingController"), "secretmount.dev/provider");
    let pod = &event["regarding"];
    assert_eq!((text(pod, "kind"), text(pod, "name"), text(pod, "uid")), ("Pod", "web-0", &*world.pod.uid));
    let note = text(event, "note");
    assert!(
        note.starts_with("volume \"secrets\" keeps its files, because its refresh fails: AwsUnavailable: "),
        "{note}"
    );

    assert!(world.provider.logged("refresh recovered").await);
    let log = world.provider.log();
    let failed = lines(&log, "mount failed");
    assert_eq!((failed.len(), lines(&log, "refresh recovered").len()), (1, 1), "{log}");
    let expected = [
        ("operation", "remount"),
        ("grpc_code", "INTERNAL"),
        ("reason", "AwsUnavailable"),
        ("backend_code", "InternalServiceError"),
        ("region", REGION),
        ("auth", "irsa"),
        ("role_arn", ROLE),
        ("volume", "secrets"),
        ("secret_provider_class", "shop-db"),
    ];
    for (field, value) in expected {
        assert_eq!(failed[0][field], value, "{field} of {}", failed[0]);
    }
    let ids: BTreeSet<_> = world.cloud.calls().into_iter().filter_map(|call| call.request_id).collect();
    assert!(ids.contains(text(&failed[0], "backend_request_id")), "AWS knows the id");
    // Each try is counted, and so are the tries of each request. The last answer to an event is on its way.
    let created = "secretmount_kubernetes_requests_total{verb=\"create\",resource=\"events\",code=\"ok\"}";
    let text = counted(metrics, created, "3").await;
    let failed = "secretmount_mount_errors_total{operation=\"remount\",reason=\"AwsUnavailable\"}";
    assert_eq!(value(&text, failed), Some("3"));
    let (retries, requests) = (
        "secretmount_backend_request_retries_total{service=\"secretsmanager\",api=\"GetSecretValue\"}",
        "secretmount_backend_request_duration_seconds_count{service=\"secretsmanager\",api=\"GetSecretValue\"}",
    );
    let number = |series: &str| value(&text, series).and_then(|number| number.parse::<usize>().ok()).expect(series);
    assert_eq!(number(retries) + number(requests), world.cloud.count("GetSecretValue"));
    assert!(number(retries) > 0);
    let created = "secretmount_events_total{reason=\"SecretRefreshFailed\",result=\"created\"}";
    assert_eq!(value(&text, created), Some("1"));
}

#[tokio::test]
async fn another_cause_of_the_same_outage_is_told_too_and_each_only_once() {
    let world = World::with(&[WRITES]).await;
    world.cloud.put_secret(REGION, "shop/one", "1");
    world.cloud.put_secret(REGION, "shop/two", "2");
    let class = class_of(&["shop/one", "shop/two"]);
    world.ask(&class).await.expect("mounted");
    for secret in ["shop/one", "shop/two", "shop/one"] {
        let refusal = Fault::error("GetSecretValue", 400, "AccessDeniedException", "no").subject(secret);
        world.cloud.inject(refusal);
        for _ in 0..2 {
            world.ask(&class).await.expect_err("refused");
        }
        world.cloud.clear_faults();
    }
    world.ask(&class).await.expect("mounted");
    let events = events(&world, 3).await;
    assert_eq!(reasons(&events), ["SecretRefreshFailed", "SecretRefreshFailed", "SecretRefreshRecovered"]);
    assert!(world.provider.logged("refresh recovered").await);
    let log = world.provider.log();
    let failed: Vec<_> = lines(&log, "mount failed").iter().map(|line| text(line, "error").to_owned()).collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
    for (secret, (event, error)) in ["shop/one", "shop/two"].iter().zip(events.iter().zip(&failed)) {
        assert!(text(event, "note").contains(secret) && error.contains(secret), "{secret}: {event} {error}");
    }
}

#[tokio::test]
async fn a_rotation_is_told_with_its_files_and_versions_unless_that_is_not_wanted() {
    let world = World::with(&[WRITES]).await;
    world.cloud.put_secret(REGION, "shop/one", "planted-one");
    world.cloud.put_secret(REGION, "shop/two", "planted-two");
    let class = class_of(&["shop/one", "shop/two"]);
    for _ in 0..3 {
        world.ask(&class).await.expect("mounted");
    }
    let version = world.cloud.put_secret(REGION, "shop/two", "planted-three").version_id;
    for _ in 0..3 {
        world.ask(&class).await.expect("mounted");
    }
    let fourth = world.cloud.put_secret(REGION, "shop/one", "planted-four").version_id;
    world.ask(&class).await.expect("mounted");
    world.cloud.inject(Fault::error("GetSecretValue", 400, "AccessDeniedException", "no").times(1));
    world.ask(&class).await.expect_err("refused");
    let events = events(&world, 3).await;
    assert_eq!(reasons(&events), ["SecretRotated", "SecretRotated", "SecretRefreshFailed"]);
    let notes: Vec<_> = events.iter().take(2).map(|event| text(event, "note")).collect();
    let expected = |file: &str, version: &str| format!("volume \"secrets\" has new files: {file} (version {version})");
    assert_eq!(notes, [expected("shop_two", &version), expected("shop_one", &fourth)]);

    let quiet = World::with(&[WRITES, "--event-on-rotation=false"]).await;
    quiet.cloud.put_secret(REGION, "shop/one", "1");
    quiet.ask(&class_of(&["shop/one"])).await.expect("mounted");
    quiet.cloud.put_secret(REGION, "shop/one", "2");
    quiet.ask(&class_of(&["shop/one"])).await.expect("mounted");
    quiet.cloud.inject(Fault::error("GetSecretValue", 400, "AccessDeniedException", "no").times(1));
    quiet.ask(&class_of(&["shop/one"])).await.expect_err("refused");
    // Events keep their order.
    assert_eq!(reasons(&self::events(&quiet, 1).await), ["SecretRefreshFailed"]);
}

#[tokio::test]
async fn what_is_missing_and_what_is_wrong_with_a_class_is_told_once() {
    let world = World::with(&[WRITES]).await;
    world.cloud.put_secret(REGION, "shop/one", "1");
    let objects = "- {objectName: shop/one, objectType: secretsmanager}\n\
                   - {objectName: shop/none, objectType: secretsmanager, optional: true}\n";
    let class = class(objects).with("regoin", "eu-west-1");
    let others = world.newcomer();
    for _ in 0..3 {
        world.ask(&class).await.expect("mounted");
        world.ask_as(&others, &class).await.expect("mounted");
    }
    // What comes last.
    world.cloud.put_secret(REGION, "shop/one", "2");
    world.ask(&class).await.expect("mounted");
    let events = events(&world, 4).await;
    let of = |reason: &str| events.iter().filter(|event| event["reason"] == reason).collect::<Vec<_>>();
    let missing = of("OptionalSecretMissing");
    let pods: BTreeSet<_> = missing.iter().map(|event| event["regarding"]["name"].as_str()).collect();
    assert_eq!((missing.len(), pods.len()), (2, 2), "once for each volume: {events:?}");
    let wrong = of("SecretProviderClassWarning");
    assert_eq!(wrong.len(), 1, "once for the class: {events:?}");
    assert!(text(wrong[0], "note").contains("regoin"), "{}", wrong[0]);
    assert_eq!((events.len(), events[3]["reason"].as_str()), (4, Some("SecretRotated")));
}

#[tokio::test]
async fn f83_an_api_server_that_takes_no_events_disturbs_no_mount() {
    for (fault, result) in [
        (Fault::forbidden("create events"), "forbidden"),
        (Fault::error("create events", 422, "Invalid", "no"), "failed"),
        (Fault::error("create events", 403, "Forbidden", "exceeded quota: no"), "failed"),
        // What was sent before, with an answer that was lost, is there.
        (Fault::error("create events", 409, "AlreadyExists", "no"), "created"),
    ] {
        let (world, _, metrics) = world(&[WRITES]).await;
        world.cloud.inject(fault);
        world.cloud.put_secret(REGION, "shop/one", "0");
        let class = class_of(&["shop/one"]);
        world.ask(&class).await.expect("mounted");
        for number in 1..=3 {
            world.cloud.put_secret(REGION, "shop/one", number.to_string());
            let answer = world.ask(&class).await.expect("refreshed");
            assert_eq!(answer.files[0].contents, number.to_string().as_bytes());
        }
        let series = format!("secretmount_events_total{{reason=\"SecretRotated\",result=\"{result}\"}}");
        counted(metrics, &series, "3").await;
        let warnings = world.provider.log().matches("owners of pods are told nothing").count();
        assert_eq!(warnings, usize::from(result == "forbidden"));
    }
}

#[tokio::test]
async fn f83_an_api_server_that_hangs_with_events_disturbs_no_mount() {
    let (world, _, metrics) = world(&[WRITES]).await;
    world.cloud.inject(Fault::on("create events", FaultKind::Hang));
    world.cloud.put_secret(REGION, "shop/one", "0");
    let class = class_of(&["shop/one"]);
    world.ask(&class).await.expect("mounted");
    // More than wait in the queue: nobody is waited for, and what finds no room is counted.
    for number in 1..=300 {
        world.cloud.put_secret(REGION, "shop/one", number.to_string());
        world.ask(&class).await.expect("refreshed");
    }
    let series = "secretmount_events_total{reason=\"SecretRotated\",result=\"dropped\"}";
    let text = scraped(metrics).await;
    let dropped: usize = value(&text, series).and_then(|number| number.parse().ok()).expect("there");
    assert!(dropped > 0, "{text}");
    assert!(world.cloud.events().is_empty());
}

#[tokio::test]
async fn without_events_the_api_server_hears_nothing() {
    let (world, _, metrics) = world(&[WRITES, "--events=false"]).await;
    world.cloud.put_secret(REGION, "shop/one", "0");
    let class = class_of(&["shop/one"]);
    world.ask(&class).await.expect("mounted");
    world.cloud.put_secret(REGION, "shop/one", "1");
    world.ask(&class).await.expect("refreshed");
    let text = scraped(metrics).await;
    assert!(text.contains("\nsecretmount_mounts_total{") && !text.contains("\nsecretmount_events_total{"), "{text}");
    assert_eq!(world.cloud.count("create events"), 0);
}

#[tokio::test]
async fn the_start_says_which_settings_are_not_as_by_default_and_why() {
    let world = World::on(cloud().await, &[WRITES], &[("SECRETMOUNT_EVENTS", "false"), ("NODE_NAME", "node-a")]).await;
    let log = world.provider.log();
    let starting = lines(&log, "starting");
    let settings = text(&starting[0], "settings");
    for told in
        ["--driver-writes-secrets=true (flag)", "--events=false (SECRETMOUNT_EVENTS)", "--node-name=node-a (NODE_NAME)"]
    {
        assert!(settings.contains(told), "{told} is not in {settings}");
    }
    assert!(!settings.contains("--mount-deadline"), "{settings}");
}

/// The lines of a kind in the audit.
fn audit(log: &str, kind: &str) -> Vec<Value> {
    let all = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    all.filter(|line| line["target"] == "secretmount::audit" && line["kind"] == kind).collect()
}

/// How often each request id is in some lines.
fn ids(lines: &[Value]) -> BTreeMap<String, usize> {
    let mut ids = BTreeMap::new();
    for line in lines {
        *ids.entry(text(line, "backend_request_id").to_owned()).or_default() += 1;
    }
    ids
}

/// How many values were asked for with each request that AWS has answered.
fn asked(world: &World, api: &str) -> BTreeMap<String, usize> {
    let calls = world.cloud.calls().into_iter().filter(|call| call.api == api);
    let of = |call: devcloud::Call| Some((call.request_id?, call.subject.map_or(0, |names| names.split(',').count())));
    calls.filter_map(of).collect()
}

/// What a delivery is made of.
fn objects(line: &Value) -> Vec<Value> {
    serde_json::from_str(text(line, "objects")).expect("JSON")
}

#[tokio::test]
async fn every_value_that_aws_gave_out_has_one_line_and_each_delivery_names_the_requests_it_came_from() {
    let world = World::with(&[WRITES, "--max-age=1h"]).await;
    let secret = world.cloud.put_secret(REGION, "shop/db", r#"{"user": "planted-user", "password": "planted-word"}"#);
    world.cloud.put_secret(REGION, "shop/key", "planted-key");
    world.cloud.put_parameter(REGION, "/shop/host", "planted-host", false);
    world.cloud.put_parameter(REGION, "/shop/port", "planted-port", false);
    let class = class(
        "- {objectName: shop/db, objectType: secretsmanager, expandJson: true, extractOnly: true}\n\
         - {objectName: shop/key, objectType: secretsmanager}\n\
         - {objectName: /shop/host, objectType: ssmparameter}\n\
         - {objectName: /shop/port, objectType: ssmparameter}\n",
    )
    .with("templates", "[{path: all.env, format: dotenv}]");
    // A first mount, refreshes that ask nobody and bring nothing new, another pod with the same rights, and refusals.
    for _ in 0..3 {
        world.ask(&class).await.expect("mounted");
    }
    let other = world.cloud.put_pod("shop", "web-1", "web", "node-a");
    world.ask_as(&other, &class).await.expect("mounted");
    world.ask(&class_of(&["shop/none"])).await.expect_err("missing");
    world.ask(&class_of(&["bank/gold"])).await.expect_err("refused");
    world.ask(&class_of(&["shop/key", "shop/db"])).await.expect("changed");

    assert!(world.provider.logged_times("\"kind\":\"delivered\"", 3).await);
    let log = world.provider.log();
    let (reads, deliveries) = (audit(&log, "read"), audit(&log, "delivered"));
    let mut expected = asked(&world, "GetSecretValue");
    assert!(expected.len() >= 6, "{expected:?}");
    expected.extend(asked(&world, "GetParameters"));
    assert_eq!(ids(&reads), expected);
    let codes: BTreeSet<_> = reads.iter().map(|line| text(line, "code")).collect();
    assert_eq!(codes, BTreeSet::from(["ok", "ResourceNotFoundException", "AccessDeniedException"]));
    let read = reads.iter().find(|line| text(line, "object") == secret.arn).expect("read");
    let who = (text(read, "role"), text(read, "pod_namespace"), text(read, "service_account"));
    assert_eq!((who, text(read, "object_version")), ((ROLE, "shop", "web"), &*secret.version_id));

    assert_eq!(deliveries.len(), 3, "two first mounts and a change: {deliveries:?}");
    let ok = reads.iter().filter(|line| text(line, "code") == "ok");
    let ok: BTreeSet<_> = ok.map(|line| text(line, "backend_request_id")).collect();
    for delivery in &deliveries {
        for object in objects(delivery) {
            assert!(ok.contains(text(&object, "request_id")), "{object} was read by nobody");
        }
    }
    let first = &deliveries[0];
    let whose = (text(first, "pod_name"), text(first, "pod_uid"), text(first, "volume"));
    assert_eq!(whose, ("web-0", &*world.pod.uid, "secrets"));
    assert_eq!(text(first, "templates"), r#"["all.env"]"#);
    let of_first = objects(first);
    assert_eq!((text(&of_first[0], "object"), text(&of_first[0], "version")), (&*secret.arn, &*secret.version_id));
    let files: Vec<_> = of_first.iter().map(|object| object["files"].to_string()).collect();
    assert_eq!(files, [r#"["password","user"]"#, r#"["shop_key"]"#, r#"["_shop_host"]"#, r#"["_shop_port"]"#]);
    for planted in ["planted-user", "planted-word", "planted-key", "planted-host", "planted-port"] {
        assert!(!log.contains(planted), "{planted} is in the log");
    }
}

#[tokio::test]
async fn secrets_of_a_batch_have_a_line_each() {
    let world = World::with(&[WRITES, "--batch-get-secret-value"]).await;
    let may = Role::new(ROLE)
        .trust_service_account("shop", "web*")
        .allow("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:*:*:secret:shop/*")
        .allow("secretsmanager:BatchGetSecretValue", "*");
    world.cloud.put_role(may);
    let names: Vec<String> = (0..3).map(|number| format!("shop/{number}")).collect();
    names.iter().for_each(|name| drop(world.cloud.put_secret(REGION, name, name.as_str())));
    world.ask(&class_of(&["shop/0", "shop/1", "shop/2"])).await.expect("mounted");
    world.ask(&class_of(&["shop/0", "shop/1", "shop/2", "shop/none"])).await.expect_err("missing");
    assert!(world.provider.logged("ResourceNotFoundException").await);
    let reads = audit(&world.provider.log(), "read");
    let batches: BTreeSet<_> = world
        .cloud
        .calls()
        .into_iter()
        .filter(|call| call.api == "BatchGetSecretValue")
        .filter_map(|call| call.request_id)
        .collect();
    let (of_batches, alone): (Vec<_>, Vec<_>) = ids(&reads).into_iter().partition(|(id, _)| batches.contains(id));
    assert_eq!(of_batches.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [3, 3]);
    assert_eq!(alone.into_iter().collect::<BTreeMap<_, _>>(), asked(&world, "GetSecretValue"));
}

#[tokio::test]
async fn the_audit_can_be_switched_off_by_itself() {
    let mounted = async |filter: &str| {
        let world = World::with(&[WRITES, filter]).await;
        world.cloud.put_secret(REGION, "shop/key", "one");
        for class in [class_of(&["shop/key"]), Class::of("other", "").with("region", REGION)] {
            let _ = world.ask(&class).await;
        }
        assert!(world.provider.logged("mount failed").await, "what was delivered is told before");
        world.provider.log()
    };
    let log = mounted("--log-level=info,secretmount::audit=off").await;
    assert!(log.contains("\"message\":\"mounted\"") && !log.contains("secretmount::audit\",\"kind"), "{log}");
    let log = mounted("--log-level=warn,secretmount::audit=info,secretmount::grpc=info").await;
    assert!(!log.contains("\"message\":\"mounted\""), "{log}");
    assert_eq!((audit(&log, "read").len(), audit(&log, "delivered").len()), (1, 1), "{log}");
}

#[tokio::test]
async fn what_the_driver_cannot_take_is_no_rotation() {
    let (world, ..) = world(&[WRITES]).await;
    let names: Vec<String> = (0..5).map(|number| format!("shop/{number}")).collect();
    let put = |text: &str| {
        for name in &names {
            world.cloud.put_secret(REGION, name, text);
        }
    };
    put("small");
    let class = class_of(&names.iter().map(String::as_str).collect::<Vec<_>>());
    world.ask(&class).await.expect("mounted");
    put(&"x".repeat(1_000_000));
    world.ask(&class).await.expect_err("more than the driver takes in an answer");
    put("other");
    world.ask(&class).await.expect("mounted");
    let told = ["SecretRefreshFailed", "SecretRotated", "SecretRefreshRecovered"];
    assert_eq!(reasons(&events(&world, 3).await), told);
}

#[tokio::test]
async fn a_provider_that_has_just_started_tells_of_a_refresh_that_goes_wrong_at_once() {
    needs_mounts!();
    let mut world = World::with(&[]).await;
    world.cloud.put_secret(REGION, "shop/key", "one");
    let volume = world.publish();
    world.mount(&class_of(&["shop/key"]), &volume).await.expect("mounted");
    world.provider.kill().await.expect("killed");
    let [_, metrics] = free_ports();
    let successor = start(&world.cloud, &world.node, &[&format!("--metrics-port={metrics}")], &[]);
    let driver = successor.driver(READY).await.expect("serves");
    let mount = world.mount_of(&class_of(&[]), volume.path());
    for _ in 0..2 {
        driver.mount(&mount).await.expect_err("a class without objects");
    }
    assert_eq!(reasons(&events(&world, 1).await), ["SecretRefreshFailed"]);
    assert_eq!(value(&scraped(metrics).await, "secretmount_volumes{state=\"failing\"}"), Some("1"));
    assert_eq!(lines(&successor.log(), "mount failed").len(), 1, "{}", successor.log());
}
