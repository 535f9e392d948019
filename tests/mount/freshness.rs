//! Current when it matters, cheap when it does not: what is asked of AWS again, and what is not.

use std::sync::Arc;

use devcloud::Role;
use tonic::Code;

use crate::support::{ROLE_ANNOTATION, World, assert_refused, class_of, mount_for};

#[tokio::test]
async fn f75_rounds_of_refreshes_inside_the_age_ask_nobody_anything() {
    let world = Arc::new(World::with(&["--driver-writes-secrets=true", "--max-age=1h"]).await);
    let names = ["shop/a", "shop/b", "shop/c"];
    names.iter().for_each(|name| drop(world.cloud.put_secret("eu-west-1", name, *name)));
    world.cloud.put_parameter("eu-west-1", "/shop/p", "p", true);
    let class = class_of(&names);
    let mounts: Vec<_> = (0..30)
        .map(|number| {
            let pod = world.cloud.put_pod("shop", &format!("web-{number}"), "web", "node-a");
            mount_for(&world.cloud, &pod, &class, &world.node.unmounted(&pod, "secrets").expect("a directory"))
        })
        .collect();
    for round in 0..5 {
        let calls: Vec<_> = mounts
            .iter()
            .map(|mount| {
                let (world, mount) = (world.clone(), mount.clone());
                tokio::spawn(async move { world.driver.mount(&mount).await })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.expect("ran").expect("mounted").files.len(), 3);
        }
        if round > 0 {
            let asked: Vec<_> = world.cloud.calls().into_iter().map(|call| call.api).collect();
            assert_eq!(asked, [""; 0]);
        }
        world.cloud.clear_calls();
    }
}

/// While others of the same identity keep refreshing.
#[tokio::test]
async fn a_secret_that_is_changed_is_seen_by_the_next_pod_that_starts() {
    let world = Arc::new(World::with(&["--driver-writes-secrets=true", "--max-age=1h"]).await);
    world.cloud.put_secret("eu-west-1", "shop/key", "0");
    let class = class_of(&["shop/key"]);
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    let old = world.mount_of(&class, &target);
    world.driver.mount(&old).await.expect("mounted");
    let refreshing = tokio::spawn({
        let world = world.clone();
        async move {
            loop {
                world.driver.mount(&old).await.expect("refreshed");
            }
        }
    });
    for number in 1..=100 {
        world.cloud.put_secret("eu-west-1", "shop/key", number.to_string());
        let pod = world.cloud.put_pod("shop", &format!("web-{number}"), "web", "node-a");
        let answer = world.ask_as(&pod, &class).await.expect("mounted");
        assert_eq!(answer.files[0].contents, number.to_string().as_bytes());
    }
    assert!(!refreshing.is_finished());
    refreshing.abort();
}

#[tokio::test]
async fn a18_an_identity_without_the_right_never_gets_what_another_has_read() {
    let world = World::with(&["--driver-writes-secrets=true", "--max-age=1h"]).await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    let poor = "arn:aws:iam::111122223333:role/poor";
    world.cloud.put_role(Role::new(poor).trust_service_account("shop", "*"));
    world.cloud.put_service_account("shop", "poor", &[(ROLE_ANNOTATION, poor)]);
    let pod = world.cloud.put_pod("shop", "poor-0", "poor", "node-a");
    world.ask(&class_of(&["shop/key"])).await.expect("mounted");
    for _ in 0..2 {
        let refused = world.ask_as(&pod, &class_of(&["shop/key"])).await;
        assert_refused(refused, Code::PermissionDenied, "SecretAccessDenied", &["role/poor"]);
    }
    // Nor does the same account under another role.
    let refused = world.ask(&class_of(&["shop/key"]).with("roleArn", poor)).await;
    assert_refused(refused, Code::PermissionDenied, "SecretAccessDenied", &["role/poor"]);
    world.ask(&class_of(&["shop/key"])).await.expect("still kept for its own");
    assert_eq!(world.cloud.count("GetSecretValue"), 4);
}
