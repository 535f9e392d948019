//! AWS throttles, breaks off, answers slowly or at length; and one tenant's trouble is not another's.

use std::sync::Arc;
use std::time::Duration;

use devcloud::node::{Class, Mount};
use devcloud::{Fault, FaultKind};
use tonic::Code;

use crate::capture::use_name_server;
use crate::support::{
    ROLE, ROLE_ANNOTATION, World, assert_refused, class, class_of, has_own_network, mount_for, needs_mounts,
};

/// A first mount for a pod with a service account of its own, in a namespace whose pods may read what is below `shop/`.
fn stranger(world: &World, namespace: &str, number: usize, class: &Class) -> Mount {
    let account = format!("web-{number}");
    world.cloud.put_service_account(namespace, &account, &[(ROLE_ANNOTATION, ROLE)]);
    let pod = world.cloud.put_pod(namespace, &account, &account, "node-a");
    mount_for(&world.cloud, &pod, class, &world.node.unmounted(&pod, "secrets").expect("a directory"))
}

/// All at once; every one is served.
async fn storm(world: &Arc<World>, mounts: Vec<Mount>) {
    let all: Vec<_> = mounts
        .into_iter()
        .map(|mount| {
            let world = world.clone();
            tokio::spawn(async move { world.driver.mount(&mount).await })
        })
        .collect();
    for each in all {
        each.await.expect("ran").expect("served");
    }
}

fn put(world: &World, count: usize) -> Vec<String> {
    let names: Vec<_> = (0..count).map(|number| format!("shop/{number}")).collect();
    names.iter().for_each(|name| drop(world.cloud.put_secret("eu-west-1", name, name.as_str())));
    names
}

#[tokio::test]
async fn f74_a_storm_has_no_more_calls_under_way_than_it_may() {
    let world = World::with(&["--driver-writes-secrets=true", "--endpoint-calls=10", "--mount-calls=3"]).await;
    let names = put(&world, 10);
    let class = class_of(&names.iter().map(String::as_str).collect::<Vec<_>>());
    world.cloud.set_latency(Duration::from_millis(5));
    let most = |world: &World, api: &str| {
        let calls = world.cloud.calls();
        calls.into_iter().filter(|call| call.api == api).map(|call| call.in_flight).max().unwrap_or_default()
    };
    let first = stranger(&world, "shop", 0, &class);
    world.driver.mount(&first).await.expect("served");
    assert_eq!(most(&world, "GetSecretValue"), 3);

    let world = Arc::new(world);
    storm(&world, (1..40).map(|number| stranger(&world, "shop", number, &class)).collect()).await;
    assert_eq!(world.cloud.count("GetSecretValue"), 400);
    // Of ten, eight for one namespace: the rest is for others.
    assert!((5..=8).contains(&most(&world, "GetSecretValue")), "{}", most(&world, "GetSecretValue"));
    assert!(most(&world, "AssumeRoleWithWebIdentity") <= 8, "{}", most(&world, "AssumeRoleWithWebIdentity"));
}

#[tokio::test]
async fn p12_a_namespace_whose_calls_hang_holds_up_no_other() {
    let world = Arc::new(World::with(&["--driver-writes-secrets=true", "--endpoint-calls=16"]).await);
    let names = put(&world, 200);
    let greedy = class_of(&names.iter().map(String::as_str).collect::<Vec<_>>());
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    let role = devcloud::Role::new(ROLE)
        .trust_service_account("*", "web-*")
        .allow("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:*:*:secret:shop/*");
    world.cloud.put_role(role);
    names.iter().for_each(|name| world.cloud.inject(Fault::on("GetSecretValue", FaultKind::Hang).subject(name)));
    let hanging: Vec<_> = (0..3)
        .map(|number| {
            let (world, mount) = (world.clone(), stranger(&world, "shop", number, &greedy));
            tokio::spawn(async move { world.driver.mount(&mount).await })
        })
        .collect();
    while world.cloud.count("GetSecretValue") < 13 {
        tokio::task::yield_now().await;
    }
    storm(&world, (10..40).map(|number| stranger(&world, "blog", number, &class_of(&["shop/key"]))).collect()).await;
    assert!(hanging.iter().all(|mount| !mount.is_finished()));
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn f28_parameters_are_read_at_the_pace_that_the_account_has() {
    let world = Arc::new(World::driver_writes().await);
    // As AWS has it by default, for all clusters of the account.
    world.cloud.set_quota("GetParameters", 40.0);
    let objects: String = (0..25)
        .map(|number| {
            let name = format!("/shop/{number}");
            world.cloud.put_parameter("eu-west-1", &name, "value", false);
            format!("- {{objectName: {name}, objectType: ssmparameter}}\n")
        })
        .collect();
    let pods = std::env::var("SECRETMOUNT_TEST_PODS").map_or(80, |pods| pods.parse().expect("a number"));
    storm(&world, (0..pods).map(|number| stranger(&world, "shop", number, &class(&objects))).collect()).await;
    let calls = world.cloud.calls().into_iter().filter(|call| call.api == "GetParameters");
    let refused = calls.filter(|call| call.code.is_some()).count();
    assert!(refused <= 3 * pods / 4, "{refused} calls were refused");
}

#[tokio::test]
async fn f28_whoever_meets_much_trouble_is_served_within_the_mount() {
    let world = World::driver_writes().await;
    let names = put(&world, 3);
    let class = class_of(&names.iter().map(String::as_str).collect::<Vec<_>>());
    world.cloud.inject(Fault::error("AssumeRoleWithWebIdentity", 500, "InternalFailure", "x").times(4));
    world.cloud.inject(Fault::error("GetSecretValue", 400, "ThrottlingException", "Rate exceeded").times(12));
    let answer = world.ask(&class).await.expect("after more tries than the SDK makes");
    assert_eq!(answer.files.len(), 3);
}

#[tokio::test]
async fn f30_an_answer_that_breaks_off_is_asked_for_again_and_never_taken() {
    let world = World::driver_writes().await;
    world.cloud.put_secret("eu-west-1", "shop/key", "correct horse battery staple");
    world.cloud.put_parameter("eu-west-1", "/shop/key", "correct horse battery staple", true);
    let class = class(
        "- {objectName: shop/key, objectType: secretsmanager, objectAlias: a}\n\
         - {objectName: /shop/key, objectType: ssmparameter, objectAlias: b}",
    );
    let raw = |body: &str| FaultKind::RawResponse {
        status: 200,
        body: body.into(),
        content_type: "application/x-amz-json-1.1".into(),
    };
    let mut kinds = vec![FaultKind::Reset, raw("{"), raw("<html>"), raw(r#"{"SecretString":"corr"#)];
    kinds.extend([0, 1, 17, 100, 180, 200].map(FaultKind::TruncateAfter));
    for kind in kinds {
        for api in ["GetSecretValue", "GetParameters"] {
            world.cloud.inject(Fault::on(api, kind.clone()).times(1));
        }
        let first = world.ask_as(&world.newcomer(), &class).await;
        let answer = first.unwrap_or_else(|status| panic!("{kind:?}: {status:?}"));
        assert!(answer.files.iter().all(|file| file.contents == b"correct horse battery staple"), "{kind:?}");
        assert_eq!(answer.files.len(), 2);
        world.cloud.clear_faults();
    }
}

#[tokio::test]
async fn f29_a_connection_that_is_dead_is_replaced() {
    let world = World::driver_writes().await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    world.ask(&class_of(&["shop/key"])).await.expect("served");
    // Whatever is sent on it, nothing comes back.
    world.cloud.inject(Fault::on("GetSecretValue", FaultKind::Hang).times(1));
    world.ask(&class_of(&["shop/key"])).await.expect("served on another");
    let calls = world.cloud.calls().into_iter().filter(|call| call.api == "GetSecretValue");
    let connections: Vec<_> = calls.map(|call| call.connection).collect();
    assert_eq!(connections.len(), 3);
    assert_ne!(connections[1], connections[2]);
}

#[tokio::test]
async fn f31_an_answer_that_comes_byte_by_byte_is_not_waited_for() {
    let world = World::with(&["--driver-writes-secrets=true", "--mount-deadline=2s"]).await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    world.cloud.inject(Fault::on("GetSecretValue", FaultKind::Drip(Duration::from_millis(300))));
    assert_refused(world.ask(&class_of(&["shop/key"])).await, Code::Internal, "BudgetSpent", &["secrets"]);
}

#[tokio::test]
async fn f40_an_answer_that_is_too_long_is_not_read() {
    let world = World::driver_writes().await;
    let kind = FaultKind::RawResponse {
        status: 200,
        body: format!(r#"{{"Name":"{}"}}"#, "x".repeat(10 << 20)),
        content_type: "application/x-amz-json-1.1".into(),
    };
    for api in ["AssumeRoleWithWebIdentity", "GetSecretValue"] {
        world.cloud.inject(Fault::on(api, kind.clone()));
        let result = world.ask_as(&world.newcomer(), &class_of(&["shop/key"])).await;
        assert_refused(result, Code::Internal, "AnswerMismatch", &["longer than any of AWS's"]);
        world.cloud.clear_faults();
    }
}

#[tokio::test]
async fn p16_p17_a_refresh_that_fails_keeps_the_files_and_is_not_tried_again_at_once() {
    needs_mounts!();
    let world = World::with(&["--failed-refresh-pause=30s"]).await;
    for name in ["shop/a", "shop/b"] {
        world.cloud.put_secret("eu-west-1", name, "old");
    }
    let (class, volume) = (class_of(&["shop/a"]), world.publish());
    world.mount(&class, &volume).await.expect("mounted");
    let before = (volume.files().expect("readable"), modified(&volume));
    world.cloud.put_secret("eu-west-1", "shop/a", "new");
    world.cloud.inject(Fault::error("GetSecretValue", 500, "InternalServiceError", "x"));
    world.cloud.clear_calls();

    let mut texts = Vec::new();
    for _ in 0..3 {
        texts.push(world.mount(&class, &volume).await.expect_err("AWS fails").message().to_owned());
    }
    assert!(texts[0].starts_with("AwsUnavailable: Secrets Manager fails"), "{texts:?}");
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    assert_eq!(world.cloud.count("GetSecretValue"), 3, "the tries of the first");
    // The driver goes by this time: it shall ask again.
    assert_eq!((volume.files().expect("readable"), modified(&volume)), before);

    // Nothing is told to those who do not prove who they are, and others are not concerned.
    let forged =
        world.cloud.token_with(&world.pod, devcloud::TokenOptions::audience(crate::support::AUDIENCE).forged());
    let stranger = Mount::new(&world.pod, &class, volume.path()).token(crate::support::AUDIENCE, &forged);
    assert_refused(world.driver.mount(&stranger).await, Code::Unauthenticated, "TokenInvalid", &[]);
    world.cloud.clear_faults();
    assert!(world.mount(&class, &volume).await.is_err(), "not yet, though AWS is back");
    let other = world.node.publish(&world.pod, "other").expect("a tmpfs");
    world.mount(&class, &other).await.expect("a first mount");
    // Whoever changes the class has perhaps corrected it.
    world.mount(&class_of(&["shop/b"]), &volume).await.expect("refreshed");
    assert_eq!(volume.files().expect("readable").len(), 1);
}

/// Its pod cannot start without them.
#[tokio::test]
async fn p16_a_volume_that_has_lost_its_files_is_not_left_alone() {
    needs_mounts!();
    let world = World::with(&["--failed-refresh-pause=1h"]).await;
    world.cloud.put_secret("eu-west-1", "shop/a", "a");
    let (class, volume) = (class_of(&["shop/a"]), world.publish());
    world.mount(&class, &volume).await.expect("mounted");
    volume.unmount().expect("unmounted");
    volume.mount_again().expect("mounted");
    world.cloud.inject(Fault::error("GetSecretValue", 500, "InternalServiceError", "x"));
    world.mount(&class, &volume).await.expect_err("AWS fails");
    world.cloud.clear_faults();
    world.mount(&class, &volume).await.expect("tried at once");
    assert_eq!(volume.files().expect("readable").len(), 1);
}

fn modified(volume: &devcloud::node::Volume) -> std::time::SystemTime {
    std::fs::metadata(volume.path()).expect("there").modified().expect("a time")
}

/// Without a name server, and with one that never answers.
#[tokio::test]
async fn f32_names_that_cannot_be_looked_up_end_in_time_and_name_dns() {
    if !has_own_network() {
        return;
    }
    let scratch = tempfile::tempdir().expect("a directory");
    use_name_server(scratch.path());
    let own_hosts = [("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")];
    let arguments = ["--driver-writes-secrets=true", "--mount-deadline=8s"];
    let world = Arc::new(World::on(crate::support::cloud().await, &arguments, &own_hosts).await);
    let class = class_of(&["shop/key"]);
    assert_refused(world.ask(&class).await, Code::Internal, "AwsUnavailable", &["check the node's DNS"]);

    let _silent = std::net::UdpSocket::bind("127.0.0.1:53").expect("the port is free here");
    let all: Vec<_> = (0..80)
        .map(|number| {
            let (world, mount) = (world.clone(), stranger(&world, "shop", number, &class));
            tokio::spawn(async move { world.driver.mount(&mount).await })
        })
        .collect();
    for each in all {
        let status = each.await.expect("ran").expect_err("no name is known");
        assert_eq!(status.code(), Code::Internal);
        let text = status.message();
        assert!(text.contains("check the node's DNS") || text.starts_with("BudgetSpent: "), "{text}");
    }
    // What needs no name goes on.
    let forged =
        world.cloud.token_with(&world.pod, devcloud::TokenOptions::audience(crate::support::AUDIENCE).forged());
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    let stranger = Mount::new(&world.pod, &class, &target).token(crate::support::AUDIENCE, &forged);
    assert_refused(world.driver.mount(&stranger).await, Code::Unauthenticated, "TokenInvalid", &[]);
}
