//! A failure is told in four places, and they say the same: the message in the pod's events, the log, the numbers, and
//! `docs/errors.md`, which a unit test of `reason` compares. And the same cause says the same, on each try and on each node,
//! because kubelet counts equal messages as one event.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use devcloud::node::{Class, Driver, Mount, Node, Provider};
use devcloud::{DevCloud, Fault, FaultKind, Pod, Role, TokenOptions};
use futures_util::future::join_all;
use secretmount::reason::Reason;
use serde_json::Value;
use tonic::Code;

use crate::admin::{free_ports, get};
use crate::support::{AUDIENCE, READY, REGION, ROLE, ROLE_ANNOTATION, class, class_of, cloud, mount_for, start};

/// What only a real node or the process itself can bring about, or what takes seconds to come, has tests of its own: here.
const ELSEWHERE: [(Reason, &str); 14] = [
    (Reason::AgentThrottled, include_str!("pod_identity.rs")),
    (Reason::AgentUnavailable, include_str!("pod_identity.rs")),
    (Reason::AwsTimeout, include_str!("time.rs")),
    (Reason::ChownForbidden, include_str!("files.rs")),
    (Reason::Internal, include_str!("../../src/telemetry/record.rs")),
    (Reason::KeysUnavailable, include_str!("identity.rs")),
    (Reason::MemoryLimit, include_str!("../faults/memory.rs")),
    (Reason::NoSpace, include_str!("../faults/volumes.rs")),
    (Reason::ShuttingDown, include_str!("process.rs")),
    (Reason::TargetChanged, include_str!("../faults/overlap.rs")),
    (Reason::TargetNotTmpfs, include_str!("refusals.rs")),
    (Reason::TargetUnexpected, include_str!("refusals.rs")),
    (Reason::TlsFailed, include_str!("endpoints.rs")),
    (Reason::WriteFailed, include_str!("../faults/volumes.rs")),
];

const POLICY: &str = r#"
aws:
  - name: shops
    namespaces: ["shop"]
    auth: [irsa, podIdentity, nodePublishSecret]
    roles: ["arn:aws:iam::111122223333:role/*"]
    regions: ["eu-west-1"]
    objects: ["shop/*", "/shop/*", "bank/gold"]
"#;

/// Two nodes, each with its provider, and one cloud.
struct Fleet {
    cloud: DevCloud,
    pod: Pod,
    nodes: Vec<(Node, Provider, Driver, u16)>,
    _policy: tempfile::NamedTempFile,
}

impl Fleet {
    async fn start() -> Self {
        let cloud = cloud().await;
        // Classes name their Region.
        cloud.put_node("node-a", &[]);
        let policy = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(policy.path(), POLICY).expect("written");
        let policy_file = format!("--policy-file={}", policy.path().display());
        let agent = format!("--pod-identity-endpoint={}/v1/credentials", cloud.agent_url());
        let mut nodes = Vec::new();
        for port in free_ports() {
            let node = Node::new().expect("a node");
            let metrics = format!("--metrics-port={port}");
            let arguments = ["--driver-writes-secrets=true", &policy_file, &agent, &metrics];
            let provider = start(&cloud, &node, &arguments, &[]);
            let driver = provider.driver(READY).await.expect("serves");
            nodes.push((node, provider, driver, port));
        }
        let pod = cloud.put_pod("shop", "web-0", "web", "node-a");
        Self { cloud, pod, nodes, _policy: policy }
    }

    /// The message of two mounts on each node, which is one.
    async fn message(&self, reason: Reason, pod: &Pod, mount: impl Fn(&Path) -> Mount) -> String {
        let asked = self.nodes.iter().map(|(node, _, driver, _)| {
            let mount = mount(&node.unmounted(pod, "secrets").expect("a directory"));
            async move { [driver.mount(&mount).await, driver.mount(&mount).await] }
        });
        let mut messages = BTreeSet::new();
        for result in join_all(asked).await.into_iter().flatten() {
            let status = result.expect_err(reason.as_str());
            assert_eq!(status.code(), reason.code(), "{}", status.message());
            messages.insert(without_request_id(reason, status.message()));
        }
        assert_eq!(messages.len(), 1, "{reason}: {messages:#?}");
        messages.pop_first().expect("one")
    }

    /// What the logs say of a reason, and how often the numbers count it, by node.
    async fn told(&self, reason: Reason) -> Vec<(BTreeSet<String>, u64)> {
        let mut told = Vec::new();
        for (_, provider, _, port) in &self.nodes {
            // Once for each outage and cause where it is a refresh that fails.
            assert!(provider.logged(&format!("\"reason\":\"{reason}\"")).await, "{}", provider.log());
            let log = provider.log();
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let of_reason = lines.filter(|line| line["message"] == "mount failed" && line["reason"] == reason.as_str());
            let errors = of_reason
                .inspect(|line| assert_eq!(line["grpc_code"], as_grpc_writes_it(reason.code())))
                .map(|line| without_request_id(reason, line["error"].as_str().expect("a text")));
            let errors = errors.collect();
            let (_, page) = get(*port, "/metrics", "*/*").await;
            let label = format!("reason=\"{reason}\"");
            let series =
                page.lines().filter(|line| line.starts_with("secretmount_mount_errors_total") && line.contains(&label));
            let counts = series.map(|line| line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok()));
            told.push((errors, counts.map(|count| count.expect("a number")).sum()));
        }
        told
    }
}

/// `NOT_FOUND`, and not `NotFound` as the library has it.
fn as_grpc_writes_it(code: Code) -> String {
    let name = format!("{code:?}");
    let words =
        name.chars().flat_map(|letter| [letter.is_uppercase().then_some('_'), Some(letter.to_ascii_uppercase())]);
    words.flatten().skip(1).collect()
}

/// AWS's id of a request is in the message only where AWS itself failed, for its support.
fn without_request_id(reason: Reason, message: &str) -> String {
    let may_have = matches!(reason, Reason::AwsThrottled | Reason::AwsUnavailable);
    match message.split_once(", request ") {
        Some((before, after)) if may_have => format!("{before}{}", after.find(']').map_or("", |end| &after[end..])),
        Some(_) => panic!("{reason} has a request id: {message}"),
        None => message.to_owned(),
    }
}

#[tokio::test]
async fn each_mistake_is_told_alike_in_all_places_on_each_try_and_on_each_node() {
    let fleet = Fleet::start().await;
    let (cloud, pod) = (&fleet.cloud, &fleet.pod);
    let put = |name: &str, value: &str| drop(cloud.put_secret(REGION, name, value));
    put("shop/db", r#"{"username": "u", "password": "hunter2"}"#);
    for name in
        ["shop/text", "shop/gone", "shop/slow", "shop/busy", "shop/down", "shop/sealed", "shop/odd", "shop/late"]
    {
        put(name, "hunter2!");
    }
    put("bank/gold", "hunter2");
    let large: Vec<String> = (0..5).map(|number| format!("shop/large-{number}")).collect();
    large.iter().for_each(|name| put(name, &"x".repeat(1_000_000)));
    cloud.delete_secret(REGION, "shop/gone");
    let error = |name: &str, code: &str| Fault::error("GetSecretValue", 400, code, "no").subject(name);
    for fault in [
        error("shop/busy", "ThrottlingException"),
        Fault::error("GetSecretValue", 500, "InternalServiceError", "no").subject("shop/down"),
        error("shop/sealed", "DecryptionFailure"),
        error("shop/late", "ExpiredTokenException"),
        Fault::on("GetSecretValue", FaultKind::Hang).subject("shop/slow"),
        Fault::on("GetSecretValue", answer("{}")).subject("shop/odd"),
        Fault::forbidden("get serviceaccounts").subject("shop/forbidden"),
        Fault::error("get serviceaccounts", 500, "InternalError", "no").subject("shop/broken"),
    ] {
        cloud.inject(fault);
    }
    cloud.put_role(Role::new("arn:aws:iam::111122223333:role/stranger"));

    let plain = |objects: &str| (class(objects), pod.clone());
    let secret = |more: &str| plain(&format!("- {{objectName: shop/db, objectType: secretsmanager{more}}}"));
    let text = |more: &str| plain(&format!("- {{objectName: shop/text, objectType: secretsmanager{more}}}"));
    let named = |name: &str| (class_of(&[name]), pod.clone());
    let as_account = |account: &str, annotations: &[(&str, &str)]| {
        cloud.put_service_account("shop", account, annotations);
        (class_of(&["shop/db"]), cloud.put_pod("shop", &format!("{account}-0"), account, "node-a"))
    };
    // Where a pod starts, what may pass is tried on until its time is over. Who refreshes is told at once.
    for (node, _, driver, _) in &fleet.nodes {
        let target = node.unmounted(pod, "secrets").expect("a directory");
        driver.mount(&mount_for(cloud, pod, &class_of(&["shop/db"]), &target)).await.expect("mounted");
    }

    let with = |(class, pod): (Class, Pod), name: &str, value: &str| (class.with(name, value), pod);
    let gone = as_account("gone", &[]);
    let in_bank = (class_of(&["shop/db"]), cloud.put_pod("bank", "vault-0", "vault", "node-a"));
    let files = "- {objectName: shop/db, objectType: secretsmanager, objectAlias: tls}\n\
        - {objectName: shop/text, objectType: secretsmanager, objectAlias: tls/key}";
    let many: String =
        (0..501).map(|number| format!("- {{objectName: n{number}, objectType: secretsmanager}}\n")).collect();
    let without_region = (Class::of("shop-db", "- {objectName: shop/db, objectType: secretsmanager}"), pod.clone());
    let large = (class_of(&large.iter().map(String::as_str).collect::<Vec<_>>()), pod.clone());
    let by_class = [
        (Reason::InvalidParameter, plain("- {objectName: shop/db}")),
        (Reason::InvalidObjects, plain("- objectName: [")),
        (Reason::InvalidFileName, secret(", objectAlias: ../b")),
        (Reason::DuplicateFile, with(plain(files), "pathTranslation", "False")),
        (Reason::InvalidJmesPath, secret(", jmesPath: [{path: 'a-b', objectAlias: c}]")),
        (Reason::InvalidTemplate, with(secret(""), "templates", "- {path: made, content: '[[ x'}")),
        (Reason::ConflictingSettings, with(with(secret(""), "auth", "irsa"), "usePodIdentity", "true")),
        (Reason::LimitExceeded, plain(&many)),
        (Reason::NotJson, text(", jmesPath: [{path: a, objectAlias: b}]")),
        (Reason::DecodeFailed, text(", decode: base64")),
        (Reason::InvalidPem, text(", pem: {key: tls.key, certificate: tls.crt}")),
        (Reason::ValueRejected, text(", verify: {json: true}")),
        (Reason::JsonKeyNotFound, secret(", jmesPath: [{path: usrname, objectAlias: user}]")),
        (Reason::SecretVersionNotFound, secret(", objectVersionLabel: NONE")),
        (Reason::SecretNotFound, named("shop/none")),
        (Reason::SecretPendingDeletion, named("shop/gone")),
        (Reason::SecretAccessDenied, named("bank/gold")),
        (Reason::ParameterNotFound, plain("- {objectName: /shop/none, objectType: ssmparameter}")),
        (
            Reason::AssumeRoleDenied,
            as_account("strange", &[(ROLE_ANNOTATION, "arn:aws:iam::111122223333:role/stranger")]),
        ),
        (Reason::RoleMissing, as_account("plain", &[])),
        (Reason::ServiceAccountNotFound, gone),
        (Reason::KubernetesForbidden, as_account("forbidden", &[(ROLE_ANNOTATION, ROLE)])),
        (Reason::KubernetesUnavailable, as_account("broken", &[(ROLE_ANNOTATION, ROLE)])),
        (Reason::PodIdentityMissing, with(secret(""), "usePodIdentity", "true")),
        (Reason::CredentialsMissing, with(secret(""), "auth", "nodePublishSecret")),
        (Reason::RegionUnknown, without_region),
        (Reason::NamespaceNotAllowed, in_bank),
        (Reason::RoleNotAllowed, with(secret(""), "roleArn", "arn:aws:iam::444455556666:role/web")),
        (Reason::RegionNotAllowed, with(secret(""), "region", "us-east-1")),
        (Reason::ObjectNotAllowed, named("vault/key")),
        (Reason::ResponseTooLarge, large),
        (Reason::AwsThrottled, named("shop/busy")),
        (Reason::AwsUnavailable, named("shop/down")),
        (Reason::DecryptDenied, named("shop/sealed")),
        (Reason::CredentialsExpired, named("shop/late")),
        (Reason::AnswerMismatch, named("shop/odd")),
        (Reason::BudgetSpent, named("shop/slow")),
    ];
    cloud.delete_service_account("shop", "gone");
    let mut messages = Vec::new();
    for (reason, (class, pod)) in by_class {
        let mount = |target: &Path| mount_for(cloud, &pod, &class, target);
        let hurried = |target: &Path| mount(target).timeout(Duration::from_secs(4));
        let message = match reason {
            Reason::BudgetSpent | Reason::KubernetesUnavailable => fleet.message(reason, &pod, hurried).await,
            _ => fleet.message(reason, &pod, mount).await,
        };
        messages.push((reason, message));
    }

    let good = class_of(&["shop/db"]);
    let with_token = |target: &Path, options: TokenOptions| {
        Mount::new(pod, &good, target).token(AUDIENCE, &cloud.token_with(pod, options))
    };
    let options = || TokenOptions::audience(AUDIENCE);
    let other = cloud.put_pod("shop", "web-1", "web", "node-a");
    messages.push((
        Reason::InvalidRequest,
        fleet.message(Reason::InvalidRequest, pod, |target| mount_for(cloud, pod, &good, target).permission("x")).await,
    ));
    messages.push((
        Reason::TokenMissing,
        fleet.message(Reason::TokenMissing, pod, |target| Mount::new(pod, &good, target)).await,
    ));
    messages.push((
        Reason::TokenInvalid,
        fleet.message(Reason::TokenInvalid, pod, |target| with_token(target, options().forged())).await,
    ));
    messages.push((
        Reason::TokenExpired,
        fleet.message(Reason::TokenExpired, pod, |target| with_token(target, options().expires_in(-120))).await,
    ));
    let of_other = |target: &Path| Mount::new(pod, &good, target).token(AUDIENCE, &cloud.token(&other, AUDIENCE));
    messages.push((Reason::TokenMismatch, fleet.message(Reason::TokenMismatch, pod, of_other).await));

    for (reason, message) in &messages {
        let text = message.strip_prefix(&format!("{reason}: ")).unwrap_or_else(|| panic!("{reason}: {message}"));
        assert!(message.len() <= 700 && !message.contains(['\n', '\u{1b}']), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
        for (errors, count) in fleet.told(*reason).await {
            // A message that is too long for an event is cut there, and only there.
            let start = text.trim_end_matches('…');
            assert!(errors.len() == 1 && errors.iter().all(|error| error.starts_with(start)), "{message}: {errors:#?}");
            assert_eq!(count, 2, "{reason} is counted");
        }
    }
    let provoked: Vec<Reason> = messages.iter().map(|(reason, _)| *reason).collect();
    for reason in Reason::ALL {
        let elsewhere = ELSEWHERE.iter().map(|(reason, _)| reason);
        let times = provoked.iter().chain(elsewhere).filter(|one| *one == reason).count();
        assert_eq!(times, 1, "{reason} is provoked here, or elsewhere");
    }
    for (reason, tests) in ELSEWHERE {
        assert!(tests.contains(&format!("\"{reason}")), "{reason} has its test elsewhere");
    }
}

fn answer(body: &str) -> FaultKind {
    FaultKind::RawResponse { status: 200, body: body.into(), content_type: "application/x-amz-json-1.1".into() }
}

#[tokio::test]
async fn every_reason_has_its_series_before_its_first_error() {
    let (cloud, node) = (cloud().await, Node::new().expect("a node"));
    let [port, _] = free_ports();
    let provider = start(&cloud, &node, &["--driver-writes-secrets=true", &format!("--metrics-port={port}")], &[]);
    provider.driver(READY).await.expect("serves");
    let (_, page) = get(port, "/metrics", "*/*").await;
    for reason in Reason::ALL {
        for operation in ["mount", "remount"] {
            let series = format!("secretmount_mount_errors_total{{operation=\"{operation}\",reason=\"{reason}\"}} 0\n");
            assert!(page.contains(&series), "{series}");
        }
    }
}
