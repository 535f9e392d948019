//! Deadlines, callers that go away, and what is open meanwhile.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use devcloud::{Fault, FaultKind};
use tonic::Code;

use crate::support::{World, assert_refused, class_of, cloud, needs_mounts};

#[tokio::test]
async fn p6_a_mount_ends_with_a_final_code_before_its_caller_gives_up() {
    let world = World::driver_writes().await;
    world.cloud.inject(Fault::on("GetSecretValue", FaultKind::Hang));
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    let mount = world.mount_of(&class_of(&["shop/key"]), &target).timeout(Duration::from_secs(4));
    // Had the caller given up itself, its client would say CANCELLED or DEADLINE_EXCEEDED.
    let result = world.driver.mount(&mount).await;
    assert_refused(
        result,
        Code::Internal,
        "BudgetSpent",
        &["while getting credentials and secrets", "--mount-deadline"],
    );
}

#[tokio::test]
async fn a_refresh_that_aws_does_not_answer_is_given_up_after_three_tries_and_says_so() {
    let world = World::driver_writes().await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    world.ask(&class_of(&["shop/key"])).await.expect("mounted");
    world.cloud.inject(Fault::on("GetSecretValue", FaultKind::Hang));
    let before = world.cloud.count("GetSecretValue");
    let refused = world.ask(&class_of(&["shop/key"])).await;
    assert_refused(refused, Code::Internal, "AwsTimeout", &["AWS did not answer in time", "shop/key"]);
    assert_eq!(world.cloud.count("GetSecretValue") - before, 3);
}

#[tokio::test]
async fn where_packets_to_aws_are_dropped_the_error_says_what_may_drop_them() {
    // With a queue of one, which is taken, the kernel answers nobody else, as a firewall that drops.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    rustix::net::listen(&listener, 0).expect("it listens already");
    let address = listener.local_addr().expect("an address");
    let _queued = TcpStream::connect(address).expect("the first is queued");
    let endpoint = format!("http://{address}");
    let environment = [("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint.as_str())];
    let arguments = ["--driver-writes-secrets=true", "--mount-deadline=12s"];
    let world = World::on(cloud().await, &arguments, &environment).await;
    let refused = world.ask(&class_of(&["shop/key"])).await;
    assert_refused(
        refused,
        Code::Internal,
        "AwsTimeout",
        &["no connection to AWS in time; check the node's DNS, route"],
    );
}

#[tokio::test]
async fn p5_a_volume_can_be_unmounted_at_once_while_aws_is_silent_and_after_a_failure() {
    needs_mounts!();
    let world = Arc::new(World::new().await);
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    let volume = world.publish();
    let class = class_of(&["shop/key"]);

    world.cloud.inject(Fault::on("GetSecretValue", FaultKind::Delay(Duration::from_secs(20))));
    let stalled = tokio::spawn({
        let (world, mount) = (world.clone(), world.mount_of(&class, volume.path()));
        async move { world.driver.mount(&mount).await }
    });
    world.cloud.wait_for_call("GetSecretValue").await;
    volume.unmount().expect("nothing is open below it during the stall");
    stalled.abort();

    volume.mount_again().expect("mounted");
    world.cloud.clear_faults();
    world.mount(&class_of(&["shop/none"]), &volume).await.expect_err("missing");
    volume.unmount().expect("nothing is open below it after a failure");

    volume.mount_again().expect("mounted");
    world.mount(&class, &volume).await.expect("mounted");
    volume.unmount().expect("nothing is open below it after a success");
}

#[tokio::test]
async fn f46_a_volume_that_was_mounted_anew_meanwhile_is_not_written() {
    needs_mounts!();
    let world = Arc::new(World::new().await);
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    let volume = world.publish();
    world.cloud.inject(Fault::on("GetSecretValue", FaultKind::Delay(Duration::from_secs(1))));
    let mounting = tokio::spawn({
        let (world, mount) = (world.clone(), world.mount_of(&class_of(&["shop/key"]), volume.path()));
        async move { world.driver.mount(&mount).await }
    });
    world.cloud.wait_for_call("GetSecretValue").await;
    volume.unmount().expect("unmounted");
    volume.mount_again().expect("mounted");
    assert_refused(mounting.await.expect("ran"), Code::Internal, "TargetChanged", &["mounted anew"]);
    assert!(volume.files().expect("readable").is_empty());
}

#[tokio::test]
async fn p7_nothing_is_written_for_a_caller_that_has_gone() {
    needs_mounts!();
    let world = Arc::new(World::new().await);
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    let volume = world.publish();
    world.cloud.inject(Fault::on("GetSecretValue", FaultKind::Delay(Duration::from_millis(300))));
    let abandoned = tokio::spawn({
        let (world, mount) = (world.clone(), world.mount_of(&class_of(&["shop/key"]), volume.path()));
        async move { world.driver.mount(&mount).await }
    });
    world.cloud.wait_for_call("GetSecretValue").await;
    abandoned.abort();
    assert!(world.provider.logged("the caller gave up on a mount").await);
    // The answer that was delayed has come by the time that another one has, and still nothing is there.
    let other = world.node.publish(&world.pod, "other").expect("a tmpfs");
    world.mount(&class_of(&["shop/key"]), &other).await.expect("mounted");
    assert!(volume.files().expect("readable").is_empty());
    volume.unmount().expect("nothing is open below it");
}

#[tokio::test]
async fn p8_many_calls_for_one_volume_leave_one_whole_set() {
    needs_mounts!();
    let world = Arc::new(World::new().await);
    let names: Vec<String> = (0..4).map(|number| format!("shop/{number}")).collect();
    for name in &names {
        world.cloud.put_secret("eu-west-1", name, "value");
    }
    let volume = Arc::new(world.publish());
    let calls: Vec<_> = (0..40)
        .map(|call| {
            let (world, volume, names) = (world.clone(), volume.clone(), names.clone());
            tokio::spawn(async move {
                let names: Vec<&str> = names.iter().take(call % 4 + 1).map(String::as_str).collect();
                world.mount(&class_of(&names), &volume).await
            })
        })
        .collect();
    let mut served = 0;
    for call in calls {
        match call.await.expect("ran") {
            Ok(_) => served += 1,
            Err(status) => assert!(status.message().contains("newer request"), "{}", status.message()),
        }
    }
    assert!(served > 0);
    let files = volume.files().expect("readable");
    assert!((1..=4).contains(&files.len()) && files.values().all(|file| file.content == b"value"), "{files:?}");
    world.mount(&class_of(&["shop/0"]), &volume).await.expect("mounted");
    assert_eq!(volume.files().expect("readable").len(), 1);
}
