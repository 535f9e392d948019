//! Many secrets with one call, where the operator and the role allow it.

use devcloud::{ADMIN_ACCESS_KEY_ID, ADMIN_SECRET_ACCESS_KEY, Fault, FaultKind, Role};
use tonic::Code;

use crate::support::{ROLE, World, assert_refused, class, class_of};

const BATCH: &[&str] = &["--driver-writes-secrets=true", "--batch-get-secret-value"];

/// With a role that may, and so many secrets.
async fn world(count: usize) -> (World, Vec<String>) {
    let world = World::with(BATCH).await;
    let may = Role::new(ROLE)
        .trust_service_account("shop", "web*")
        .allow("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:*:*:secret:shop/*")
        .allow("secretsmanager:BatchGetSecretValue", "*");
    world.cloud.put_role(may);
    let names: Vec<_> = (0..count).map(|number| format!("shop/{number}")).collect();
    names.iter().for_each(|name| drop(world.cloud.put_secret("eu-west-1", name, name.as_str())));
    (world, names)
}

fn of(names: &[String]) -> devcloud::node::Class {
    class_of(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

#[tokio::test]
async fn many_secrets_come_with_few_calls_and_each_with_its_own_version() {
    let (world, names) = world(45).await;
    let answer = world.ask(&of(&names)).await.expect("served");
    for file in &answer.files {
        assert_eq!(file.path.replace('_', "/").as_bytes(), file.contents, "a value in another's file");
    }
    let versions: std::collections::HashSet<_> = answer.object_version.iter().map(|version| &version.version).collect();
    assert_eq!((answer.files.len(), versions.len()), (45, 45));
    assert_eq!((world.cloud.count("BatchGetSecretValue"), world.cloud.count("GetSecretValue")), (3, 0));
}

#[tokio::test]
async fn what_a_batch_cannot_answer_is_asked_for_alone_with_its_own_error() {
    let (world, names) = world(3).await;
    let changed = world.cloud.put_secret("eu-west-1", "shop/old", "old");
    world.cloud.put_secret("eu-west-1", "shop/old", "new");
    let objects = format!(
        "- {{objectName: shop/0, objectType: secretsmanager}}\n- {{objectName: '{}'}}\n\
         - {{objectName: shop/old, objectType: secretsmanager, objectVersionLabel: AWSPREVIOUS}}",
        changed.arn
    );
    let answer = world.ask(&class(&objects)).await.expect("served");
    let mut contents: Vec<_> = answer.files.iter().map(|file| file.contents.as_slice()).collect();
    contents.sort_unstable();
    assert_eq!(contents, [&b"new"[..], b"old", b"shop/0"]);
    assert_eq!((world.cloud.count("BatchGetSecretValue"), world.cloud.count("GetSecretValue")), (1, 1));

    world.cloud.clear_calls();
    let with = |name: &str| [&names[..], &[name.to_owned()]].concat();
    assert_refused(world.ask(&of(&with("shop/none"))).await, Code::NotFound, "SecretNotFound", &["\"shop/none\""]);
    let denied = world.ask(&of(&with("bank/gold"))).await;
    assert_refused(denied, Code::PermissionDenied, "SecretAccessDenied", &["\"bank/gold\"", "GetSecretValue"]);
    assert_eq!((world.cloud.count("BatchGetSecretValue"), world.cloud.count("GetSecretValue")), (2, 2));
}

#[tokio::test]
async fn a_role_that_may_not_is_served_all_the_same_and_not_tried_again() {
    let (world, names) = world(5).await;
    let may_not = Role::new(ROLE)
        .trust_service_account("shop", "web*")
        .allow("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:*:*:secret:shop/*");
    world.cloud.put_role(may_not);
    for mounts in 1..=3 {
        world.ask_as(&world.newcomer(), &of(&names)).await.expect("served");
        assert_eq!((world.cloud.count("BatchGetSecretValue"), world.cloud.count("GetSecretValue")), (1, 5 * mounts));
    }
}

#[tokio::test]
async fn keys_that_may_not_are_not_taken_for_other_keys() {
    let (world, names) = world(3).await;
    let class = of(&names).with("auth", "nodePublishSecret");
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    let with_key = |id: &str| {
        let mount = world.mount_of(&class, &target).secret("aws_access_key_id", id);
        mount.secret("aws_secret_access_key", ADMIN_SECRET_ACCESS_KEY)
    };
    world.driver.mount(&with_key("AKIANOBODYSKEYATALL0")).await.expect_err("nobody's");
    world.cloud.clear_calls();
    world.driver.mount(&with_key(ADMIN_ACCESS_KEY_ID)).await.expect("served");
    assert_eq!((world.cloud.count("BatchGetSecretValue"), world.cloud.count("GetSecretValue")), (1, 0));
}

#[tokio::test]
async fn a_batch_that_is_throttled_is_no_reason_to_wait() {
    let (world, names) = world(5).await;
    world.cloud.inject(Fault::error("BatchGetSecretValue", 400, "ThrottlingException", "Rate exceeded"));
    world.ask(&of(&names)).await.expect("served");
    assert_eq!(world.cloud.count("GetSecretValue"), 5);
}

#[tokio::test]
async fn a43_an_answer_to_a_batch_that_is_none_is_not_taken() {
    let (world, names) = world(3).await;
    let raw =
        |body: String| FaultKind::RawResponse { status: 200, body, content_type: "application/x-amz-json-1.1".into() };
    let entry = |name: &str, stage: &str| {
        format!(
            r#"{{"ARN":"arn:aws:secretsmanager:eu-west-1:111122223333:secret:{name}-AbCdEf","VersionId":"{}",
            "SecretString":"hunter2","VersionStages":["{stage}"]}}"#,
            "1".repeat(32)
        )
    };
    let values = |entries: &[String]| raw(format!(r#"{{"SecretValues":[{}]}}"#, entries.join(",")));
    for kind in [
        raw("{}".into()),
        raw("{".into()),
        raw(format!(r#"{{"NextToken":"{}"}}"#, "x".repeat(9 << 20))),
        raw(r#"{"SecretValues":[],"NextToken":"again"}"#.into()),
        values(&[entry("shop/other", "AWSCURRENT"), entry("shop/0", "AWSPREVIOUS"), entry("shop/00", "AWSCURRENT")]),
        FaultKind::TruncateAfter(100),
        FaultKind::Reset,
    ] {
        let told = format!("{kind:?}").chars().take(80).collect::<String>();
        world.cloud.inject(Fault::on("BatchGetSecretValue", kind).times(1));
        let answer =
            world.ask_as(&world.newcomer(), &of(&names)).await.unwrap_or_else(|status| panic!("{told}: {status:?}"));
        for file in &answer.files {
            assert_eq!(file.path.replace('_', "/").as_bytes(), file.contents, "{told}");
        }
        world.cloud.clear_faults();
    }
}
