//! One exchange for many mounts: how often STS, the agent and Kubernetes are asked, and what everybody gets.

use std::sync::Arc;
use std::time::Duration;

use devcloud::node::{Class, Mount};
use devcloud::{Fault, Pod, Role};
use tonic::Code;

use crate::support::{ROLE, ROLE_ANNOTATION, World, assert_refused, class_of, cloud, mount_for};

/// What kubelet sends for a pod: the same tokens at every call.
fn mount_of(world: &World, pod: &Pod, class: &Class) -> Mount {
    mount_for(&world.cloud, pod, class, &world.node.unmounted(pod, "secrets").expect("a directory"))
}

/// All at once.
async fn storm(world: &Arc<World>, mounts: &[Mount]) {
    let calls: Vec<_> = mounts
        .iter()
        .map(|mount| {
            let (driver, mount) = (world.driver.clone(), mount.clone());
            tokio::spawn(async move { driver.mount(&mount).await })
        })
        .collect();
    for call in calls {
        call.await.expect("ran").expect("mounted");
    }
}

async fn slow_world() -> Arc<World> {
    let cloud = cloud().await;
    cloud.put_role(
        Role::new(ROLE)
            .trust_service_account("shop", "*")
            .trust_pod_identity()
            .allow("secretsmanager:GetSecretValue", "*"),
    );
    cloud.put_secret("eu-west-1", "shop/key", "key");
    for service in ["sts", "secretsmanager", "ssm"] {
        cloud.set_latency_of(service, Duration::from_millis(20));
    }
    cloud.set_latency_of("kubernetes", Duration::from_millis(5));
    Arc::new(World::on(cloud, &["--driver-writes-secrets=true", "--max-age=60s"], &[]).await)
}

#[tokio::test]
async fn f74_pods_with_as_many_roles_take_one_exchange_and_one_read_each() {
    let world = slow_world().await;
    let mounts: Vec<_> = (0..110)
        .map(|number| {
            let account = format!("account-{number}");
            world.cloud.put_service_account("shop", &account, &[(ROLE_ANNOTATION, ROLE)]);
            let pod = world.cloud.put_pod("shop", &account, &account, "node-a");
            mount_of(&world, &pod, &class_of(&["shop/key"]))
        })
        .collect();
    storm(&world, &mounts).await;
    assert_eq!(world.cloud.count("AssumeRoleWithWebIdentity"), 110);
    assert_eq!(world.cloud.count("get serviceaccounts"), 110);
}

#[tokio::test]
async fn f75_pods_of_one_account_share_one_exchange_and_refreshes_take_none() {
    let world = slow_world().await;
    let mounts: Vec<_> = (0..100)
        .map(|number| {
            let pod = world.cloud.put_pod("shop", &format!("web-{number}"), "web", "node-a");
            mount_of(&world, &pod, &class_of(&["shop/key"]))
        })
        .collect();
    storm(&world, &mounts).await;
    assert_eq!(world.cloud.count("AssumeRoleWithWebIdentity"), 1);
    assert!(world.cloud.count("get serviceaccounts") <= 2, "a first mount may share what is a second old");
    world.cloud.clear_calls();
    for _ in 0..10 {
        storm(&world, &mounts).await;
    }
    assert_eq!(world.cloud.count("AssumeRoleWithWebIdentity"), 0);
    assert_eq!(world.cloud.count("get serviceaccounts"), 0);
    let session = world.cloud.sessions().pop().expect("a session");
    assert_eq!(session.name, "shop.web", "no pod's name in what pods share");
}

#[tokio::test]
async fn a26_pod_identity_is_exchanged_for_each_pod_once() {
    let cloud = cloud().await;
    cloud.associate_pod_identity("shop", "web", ROLE);
    cloud.put_secret("eu-west-1", "shop/key", "key");
    let agent = format!("--pod-identity-endpoint={}/v1/credentials", cloud.agent_url());
    let world = World::on(cloud, &["--driver-writes-secrets=true", &agent], &[]).await;
    let class = class_of(&["shop/key"]).with("usePodIdentity", "true");
    for name in ["web-1", "web-2"] {
        let mount = mount_of(&world, &world.cloud.put_pod("shop", name, "web", "node-a"), &class);
        for _ in 0..3 {
            world.driver.mount(&mount).await.expect("mounted");
        }
    }
    let sessions = world.cloud.sessions();
    let mut pods: Vec<_> = sessions.iter().filter_map(|session| session.tags.get("kubernetes-pod-name")).collect();
    pods.sort(); // the cloud's list has no order
    assert_eq!(pods, ["web-1", "web-2"]);
    assert_eq!(world.cloud.count("GetCredentials"), 2);
}

#[tokio::test]
async fn f13_a_changed_annotation_is_seen_and_the_old_roles_session_is_not_used_for_it() {
    let world = World::on(cloud().await, &["--driver-writes-secrets=true", "--max-age=0s"], &[]).await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    world.ask(&class_of(&["shop/key"])).await.expect("mounted");
    world.cloud.put_service_account("shop", "web", &[(ROLE_ANNOTATION, "arn:aws:iam::111122223333:role/other")]);
    let refused = world.ask(&class_of(&["shop/key"])).await;
    assert_refused(refused, Code::PermissionDenied, "AssumeRoleDenied", &["role/other"]);
}

#[tokio::test]
async fn f12_a_refresh_outlives_the_kubernetes_api_and_a_first_mount_says_so() {
    let world = World::on(cloud().await, &["--driver-writes-secrets=true", "--max-age=0s"], &[]).await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    let mount = mount_of(&world, &world.pod, &class_of(&["shop/key"]));
    world.driver.mount(&mount).await.expect("mounted");
    world.cloud.inject(Fault::error("get serviceaccounts", 500, "InternalError", "oh"));
    world.driver.mount(&mount).await.expect("refreshed");
    let other = world.cloud.put_pod("shop", "web-1", "other", "node-a");
    let result = world.driver.mount(&mount_of(&world, &other, &class_of(&["shop/key"]))).await;
    assert_refused(result, Code::Internal, "KubernetesUnavailable", &["serviceaccounts shop/other"]);
}

#[tokio::test]
async fn f14_a_refusal_is_not_asked_for_again_at_once() {
    let world = World::driver_writes().await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    world.cloud.inject(Fault::error("AssumeRoleWithWebIdentity", 403, "AccessDenied", "no"));
    let mount = mount_of(&world, &world.pod, &class_of(&["shop/key"]));
    for _ in 0..5 {
        let result = world.driver.mount(&mount).await;
        assert_refused(result, Code::PermissionDenied, "AssumeRoleDenied", &["role/web", "in eu-west-1"]);
    }
    assert_eq!(world.cloud.count("AssumeRoleWithWebIdentity"), 1);
}

#[tokio::test]
async fn f21_a_session_that_aws_takes_for_expired_is_renewed_once() {
    let world = World::driver_writes().await;
    let names = ["shop/a", "shop/b", "shop/c", "shop/d"];
    for name in names {
        world.cloud.put_secret("eu-west-1", name, name);
    }
    let expired = || Fault::error("GetSecretValue", 400, "ExpiredTokenException", "expired");
    // Once for each of them, in whatever order they come and go again.
    names.iter().for_each(|name| world.cloud.inject(expired().subject(name).times(1)));
    let mount = mount_of(&world, &world.pod, &class_of(&names));
    let answer = world.driver.mount(&mount).await.expect("mounted with another session");
    assert_eq!(answer.files.len(), 4);
    assert_eq!(world.cloud.count("AssumeRoleWithWebIdentity"), 2, "one more for all four");
    world.cloud.inject(expired());
    assert_refused(world.driver.mount(&mount).await, Code::Internal, "CredentialsExpired", &["role/web"]);
    assert!(world.cloud.count("AssumeRoleWithWebIdentity") <= 3);
}

#[tokio::test]
async fn a25_an_account_that_is_made_anew_shares_nothing_with_the_old_one() {
    let world = World::on(cloud().await, &["--driver-writes-secrets=true", "--max-age=0s"], &[]).await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    world.driver.mount(&mount_of(&world, &world.pod, &class_of(&["shop/key"]))).await.expect("mounted");
    world.cloud.recreate_service_account("shop", "web", &[(ROLE_ANNOTATION, ROLE)]);
    let pod = world.cloud.put_pod("shop", "web-1", "web", "node-a");
    world.driver.mount(&mount_of(&world, &pod, &class_of(&["shop/key"]))).await.expect("mounted");
    assert_eq!(world.cloud.count("AssumeRoleWithWebIdentity"), 2);
}

/// The SDK stops trying again at once for a while when too many requests of one part have failed. What a mount does after that
/// is its own.
#[tokio::test]
async fn f28_one_tenants_errors_leave_anothers_retries_alone() {
    let world = slow_world().await;
    let account = |number: usize| {
        let name = format!("account-{number}");
        world.cloud.put_service_account("shop", &name, &[(ROLE_ANNOTATION, ROLE)]);
        let pod = world.cloud.put_pod("shop", &name, &name, "node-a");
        mount_of(&world, &pod, &class_of(&["shop/key", "shop/broken"]))
    };
    world.cloud.put_secret("eu-west-1", "shop/broken", "key");
    let noisy = account(0).timeout(Duration::from_millis(500));
    let failing = Fault::error("GetSecretValue", 500, "InternalServiceError", "oh");
    world.cloud.inject(failing.clone().subject("shop/broken"));
    for _ in 0..12 {
        world.driver.mount(&noisy).await.expect_err("always fails");
    }
    world.cloud.clear_faults();
    for number in 1..=8 {
        world.cloud.inject(failing.clone().subject("shop/key").times(1));
        world.driver.mount(&account(number)).await.expect("tried again");
        world.cloud.clear_faults();
    }
}
