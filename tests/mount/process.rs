//! The process: its settings, its socket, its start and its end.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use devcloud::node::Node;
use devcloud::{Fault, FaultKind};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tonic::Code;

use crate::support::{AUDIENCE, READY, World, assert_refused, class_of, cloud, is_final, needs_mounts, start};

#[tokio::test]
async fn the_driver_learns_who_serves_it() {
    let world = World::driver_writes().await;
    let version = world.driver.version().await.expect("answered");
    let seen = (version.version.as_str(), version.runtime_name.as_str(), version.runtime_version.as_str());
    assert_eq!(seen, ("v1alpha1", "secretmount", env!("CARGO_PKG_VERSION")));
    let log = world.provider.log();
    assert!(!log.contains("IMDS"), "the node's metadata service is nobody's business here: {log}");
    let mode = std::fs::metadata(world.provider.socket()).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn the_arguments_of_the_official_daemonset_are_enough() {
    let cloud = cloud().await;
    let node = Node::new().expect("a node");
    let volume = format!("-provider-volume={}", node.providers_dir().display());
    let provider = devcloud::node::Provider::start(
        std::path::Path::new(env!("CARGO_BIN_EXE_secretmount")),
        &[&volume, "--driver-writes-secrets=true", "--qps=5", "-burst=10"],
        &cloud,
        &node,
        "aws.sock",
        &[],
    )
    .expect("started");
    let driver = provider.driver(READY).await.expect("serves");
    driver.version().await.expect("answered");
    assert!(provider.log().contains("--qps has no effect"), "{}", provider.log());
}

/// As in a pod of the official DaemonSet, which mounts kubelet's pods and says nothing of where they are.
#[tokio::test]
async fn kubelets_directory_is_found_from_the_target_where_its_pods_are_mounted_into_the_provider() {
    needs_mounts!();
    let cloud = cloud().await;
    cloud.put_secret("eu-west-1", "shop/key", "key");
    let node = Node::new().expect("a node");
    let pods = node.kubelet_dir().join("pods");
    std::fs::create_dir_all(&pods).expect("made");
    let pod = cloud.put_pod("shop", "web-0", "web", "node-a");
    let token = cloud.token(&pod, AUDIENCE);
    let mounted_by_a_new_process = async |volume: &devcloud::node::Volume| {
        let binary = std::path::Path::new(env!("CARGO_BIN_EXE_secretmount"));
        let arguments = [format!("--provider-volume={}", node.providers_dir().display())];
        let provider = devcloud::node::Provider::start(binary, &arguments, &cloud, &node, "aws.sock", &[]);
        let provider = provider.expect("the provider starts");
        let driver = provider.driver(READY).await.expect("serves");
        driver.mount(&devcloud::node::Mount::into(&pod, &class_of(&["shop/key"]), volume).token(AUDIENCE, &token)).await
    };

    let volume = node.publish(&pod, "secrets").expect("a tmpfs");
    let help = "Mount kubelet's pods directory, or set --kubelet-dir";
    let refused = mounted_by_a_new_process(&volume).await;
    assert_refused(refused, Code::FailedPrecondition, "TargetUnexpected", &[help]);
    drop(volume);

    let on_itself = |arguments: &[&std::ffi::OsStr]| {
        assert!(Command::new(arguments[0]).args(&arguments[1..]).status().expect("run").success());
    };
    on_itself(&["mount".as_ref(), "--bind".as_ref(), pods.as_ref(), pods.as_ref()]);
    let volume = node.publish(&pod, "secrets").expect("a tmpfs");
    let mounted = mounted_by_a_new_process(&volume).await;
    let key = volume.read("shop_key");
    drop(volume);
    on_itself(&["umount".as_ref(), pods.as_ref()]);
    mounted.expect("mounted");
    assert_eq!(key.expect("there"), b"key");
}

/// Once a pod of this node is proved, tokens of pods on other nodes are refused, also where nobody says which node this is.
#[tokio::test]
async fn a31_the_node_is_that_of_the_first_proved_token() {
    let world = World::driver_writes().await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    let elsewhere = || {
        let mut options = devcloud::TokenOptions::audience(AUDIENCE);
        options.node = Some(("node-b".into(), "uid-b".into()));
        let token = world.cloud.token_with(&world.pod, options);
        devcloud::node::Mount::new(&world.pod, &class_of(&["shop/key"]), &target).token(AUDIENCE, &token)
    };
    world.ask(&class_of(&["shop/key"])).await.expect("answered");
    assert_refused(
        world.driver.mount(&elsewhere()).await,
        Code::Unauthenticated,
        "TokenMismatch",
        &["a pod on another node"],
    );
}

#[test]
fn a_bad_setting_stops_the_start_with_what_to_write() {
    let run = |arguments: &[&str], environment: &[(&str, &str)]| {
        let output = Command::new(env!("CARGO_BIN_EXE_secretmount"))
            .args(arguments)
            .env_clear()
            .envs(environment.iter().copied())
            .output()
            .expect("run");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (arguments, environment, code, text) in [
        (&["serve", "--mount-deadline", "soon"][..], &[][..], 2, "write it like 30s"),
        (&["--driver-writes-secrets=perhaps"], &[], 2, "write true or false"),
        (&["chek"], &[], 2, "unrecognized subcommand"),
        (&["serve"], &[("SECRETMOUNT_SHUTDOWN_GRACE", "1 hour")], 2, "write it like 30s"),
        (&["serve"], &[("SECRETMOUNT_LOG_LEVEL", "loud")], 1, "write error, warn, info"),
        (&["serve"], &[("AWS_REGION", "Frankfurt")], 1, "write it like eu-west-1"),
        (&["serve"], &[("KUBECONFIG", "/nonexistent")], 1, "set KUBECONFIG"),
    ] {
        let (status, said) = run(arguments, environment);
        assert_eq!(status, Some(code), "{said}");
        assert!(said.contains(text), "{text:?} is not in {said}");
    }
}

#[tokio::test]
async fn a_start_that_could_serve_nobody_is_stopped() {
    let cloud = cloud().await;
    let no_certificates = [("SSL_CERT_FILE", "/nonexistent"), ("SSL_CERT_DIR", "/nonexistent")];
    for (arguments, environment, text) in [
        (&[][..], &[("AWS_ENDPOINT_URL_STS", "notaurl")][..], "AWS_ENDPOINT_URL_STS: write a URL"),
        (&[], &no_certificates, "set AWS_CA_BUNDLE or SSL_CERT_FILE"),
        (&[], &[], "is a directory, which this provider does not replace"),
    ] {
        let node = Node::new().expect("a node");
        if environment.is_empty() {
            std::fs::create_dir(node.providers_dir().join("aws.sock")).expect("in the way");
        }
        let mut provider = start(&cloud, &node, arguments, environment);
        assert_eq!(provider.wait().await.expect("ended").code(), Some(1));
        assert!(provider.logged(text).await, "{}", provider.log());
    }
}

#[tokio::test]
async fn every_directory_that_is_there_is_served() {
    let cloud = cloud().await;
    let node = Node::new().expect("a node");
    let second = node.scratch().join("second");
    std::fs::create_dir(&second).expect("made");
    let more = format!("--provider-volume={}", second.display());
    let provider =
        start(&cloud, &node, &["--driver-writes-secrets=true", "--provider-volume=/nonexistent", &more], &[]);
    assert!(provider.logged(&format!("\"socket\":\"{}", second.display())).await);
    for directory in [node.providers_dir(), second] {
        let driver = devcloud::node::Driver::dial(&directory.join("aws.sock")).await.expect("a socket");
        driver.version().await.expect("answered");
    }
    assert!(provider.log().contains("a directory is not served"));
}

#[tokio::test]
async fn f1_there_is_no_socket_before_tokens_can_be_proved() {
    let cloud = cloud().await;
    let node = Node::new().expect("a node");
    cloud.inject(Fault::error("get jwks", 500, "InternalError", "starting"));
    let provider = start(&cloud, &node, &["--driver-writes-secrets=true"], &[]);
    assert!(provider.logged("not ready").await);
    assert!(!provider.socket().exists());
    cloud.clear_faults();
    let driver = provider.driver(READY).await.expect("serves once the API server does");
    driver.version().await.expect("answered");
}

#[tokio::test]
async fn f69_mounts_in_flight_are_finished_and_the_socket_is_removed() {
    let mut world = World::driver_writes().await;
    world.cloud.inject(Fault::on("GetSecretValue", FaultKind::Delay(Duration::from_secs(1))));
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    let mounts: Vec<_> = (0..20)
        .map(|number| {
            let name = format!("shop/key-{number}"); // a call of its own
            world.cloud.put_secret("eu-west-1", &name, "key");
            let (driver, mount) = (world.driver.clone(), world.mount_of(&class_of(&[&name]), &target));
            tokio::spawn(async move { driver.mount(&mount).await })
        })
        .collect();
    world.cloud.wait_for_call("GetSecretValue").await;
    while world.cloud.count("GetSecretValue") < 20 {
        tokio::task::yield_now().await;
    }
    let status = world.provider.terminate().await.expect("ended");
    assert!(status.success(), "{status}");
    for mount in mounts {
        mount.await.expect("ran").expect("answered in full");
    }
    assert!(!world.provider.socket().exists());
}

#[tokio::test]
async fn f69_mounts_that_outlast_the_grace_are_answered_with_a_final_code() {
    let mut world = World::with(&["--driver-writes-secrets=true", "--shutdown-grace=0s"]).await;
    world.cloud.inject(Fault::on("GetSecretValue", FaultKind::Hang));
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    let (driver, mount) = (world.driver.clone(), world.mount_of(&class_of(&["shop/key"]), &target));
    let mounting = tokio::spawn(async move { driver.mount(&mount).await });
    world.cloud.wait_for_call("GetSecretValue").await;
    assert!(world.provider.terminate().await.expect("ended").success());
    assert_refused(mounting.await.expect("ran"), Code::Internal, "ShuttingDown", &["its successor serves"]);
    assert!(world.provider.logged("\"reason\":\"ShuttingDown\"").await, "{}", world.provider.log());
}

#[tokio::test]
async fn f70_f71_a_new_process_takes_the_socket_over_and_the_old_one_leaves_it() {
    let mut world = World::driver_writes().await;
    world.provider.kill().await.expect("killed");
    assert!(world.provider.socket().exists(), "a stale socket");
    let mut second = start(&world.cloud, &world.node, &["--driver-writes-secrets=true"], &[]);
    second.driver(READY).await.expect("serves over a stale socket").version().await.expect("answered");
    let third = start(&world.cloud, &world.node, &["--driver-writes-secrets=true"], &[]);
    third.driver(READY).await.expect("serves over a live one");
    assert!(second.terminate().await.expect("ended").success());
    let driver = devcloud::node::Driver::dial(third.socket()).await.expect("the socket of the third is still there");
    driver.version().await.expect("answered");
}

#[tokio::test]
async fn f72_a_socket_that_another_process_removes_or_leaves_dead_is_put_back() {
    let world = World::driver_writes().await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    let socket = world.provider.socket();
    // As the official provider does when it ends; and as a process that was killed leaves it.
    for (dead, times) in [(false, 1), (true, 2)] {
        std::fs::remove_file(socket).expect("removed");
        if dead {
            drop(std::os::unix::net::UnixListener::bind(socket).expect("a socket that nobody listens on"));
        }
        assert!(world.provider.logged_times("is put back", times).await);
        let driver = devcloud::node::Driver::dial(socket).await.expect("somebody listens again");
        let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
        driver.mount(&world.mount_of(&class_of(&["shop/key"]), &target)).await.expect("answered");
        let mode = std::fs::metadata(socket).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    world.ask(&class_of(&["shop/key"])).await.expect("connections that stood still stand");

    let strangers = std::os::unix::net::UnixListener::bind(world.node.scratch().join("other.sock")).expect("bound");
    std::fs::rename(world.node.scratch().join("other.sock"), socket).expect("in the place");
    assert!(world.provider.logged("another process has put its own socket").await);
    strangers.set_nonblocking(true).expect("set");
    assert!(strangers.accept().is_ok(), "the stranger's socket is still the one in place");
}

#[tokio::test]
async fn an_oversized_request_is_refused_and_the_next_one_served() {
    let world = World::driver_writes().await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    let huge = world.mount_of(&class_of(&["shop/key"]), &target).attribute("x", &"y".repeat(5 << 20));
    let status = world.driver.mount(&huge).await.expect_err("refused");
    assert!(is_final(status.code()), "{status:?}");
    world.ask(&class_of(&["shop/key"])).await.expect("answered");
}

/// Requests as nobody should send them: whatever comes back, kubelet takes it for the end of the attempt.
#[test]
fn p6_no_request_is_answered_with_a_code_that_is_not_final() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let world = Arc::new(runtime.block_on(World::driver_writes()));
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    world.cloud.put_secret("eu-west-1", "shop/key", "{\"a\": 1}");
    let names = prop_oneof![
        Just("objects"),
        Just("region"),
        Just("pathTranslation"),
        Just("csi.storage.k8s.io/pod.uid"),
        Just("csi.storage.k8s.io/serviceAccount.tokens"),
        Just("usePodIdentity"),
    ];
    let values = prop_oneof![
        "\\PC{0,40}",
        Just("- {objectName: shop/key, objectType: secretsmanager}".to_owned()),
        Just("- {objectName: shop/none, objectType: secretsmanager, jmesPath: [{path: a, objectAlias: b}]}".to_owned()),
    ];
    let request = (
        proptest::collection::vec((names, values), 0..4),
        prop_oneof![Just("420".to_owned()), "\\PC{0,6}"],
        prop_oneof![Just(String::new()), Just(target.display().to_string()), "\\PC{0,30}"],
        prop_oneof![Just(60_000), 0..50_u64],
    );
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
    let checked = TestRunner::new(config).run(&request, |(attributes, permission, target, milliseconds)| {
        let mut mount = world.mount_of(&class_of(&["shop/key"]), std::path::Path::new(&target));
        for (name, value) in &attributes {
            mount = mount.attribute(name, value);
        }
        // The client's own clock is left out of it: it would give up by itself.
        let mount = mount.permission(&permission).timeout(Duration::from_millis(milliseconds) + Duration::from_secs(3));
        if let Err(status) = runtime.block_on(world.driver.mount(&mount)) {
            prop_assert!(is_final(status.code()), "{:?}: {}", status.code(), status.message());
        }
        Ok(())
    });
    checked.expect("every code is final");
}
