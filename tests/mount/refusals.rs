//! What people read when something is wrong, and that nothing is written then.

use std::path::Path;

use devcloud::Fault;
use tonic::Code;

use crate::support::{ROLE_ANNOTATION, World, assert_refused, class, class_of, needs_mounts};

#[tokio::test]
async fn mistakes_in_a_class_name_the_object_and_what_to_write() {
    let world = World::driver_writes().await;
    world.cloud.put_secret("eu-west-1", "shop/db", r#"{"username": "u", "password": "hunter2"}"#);
    world.cloud.put_secret("eu-west-1", "shop/text", "hunter2");
    for (objects, code, reason, texts) in [
        (
            "- {objectName: shop/db}",
            Code::InvalidArgument,
            "InvalidParameter",
            &["\"shop/db\" (object 1)", "write secretsmanager"][..],
        ),
        (
            "- {objectName: a, objectType: secretsmanager, objectAlias: ../b}",
            Code::InvalidArgument,
            "InvalidFileName",
            &[".._b", "reserved"],
        ),
        ("- objectName: [", Code::InvalidArgument, "InvalidObjects", &["line 1"]),
        ("", Code::InvalidArgument, "InvalidObjects", &["objectName and objectType"]),
        (
            "- {objectName: a, objectType: secretsmanager, jmesPath: [{path: 'a-b', objectAlias: c}]}",
            Code::InvalidArgument,
            "InvalidJmesPath",
            &["double quotes"],
        ),
        (
            "- {objectName: shop/db, objectType: secretsmanager, jmesPath: [{path: usrname, objectAlias: user}]}",
            Code::NotFound,
            "JsonKeyNotFound",
            &[
                "key \"usrname\" is not in secret \"shop/db\"",
                "it has \"username\", \"password\"",
                "(object 1, file \"user\")",
            ],
        ),
        (
            "- {objectName: shop/text, objectType: secretsmanager, jmesPath: [{path: a, objectAlias: b}]}",
            Code::InvalidArgument,
            "NotJson",
            &["secret \"shop/text\""],
        ),
        (
            "- {objectName: shop/none, objectType: secretsmanager}",
            Code::NotFound,
            "SecretNotFound",
            &["secret \"shop/none\" in eu-west-1", "ResourceNotFoundException"],
        ),
        (
            "- {objectName: shop/db, objectType: secretsmanager, objectVersionLabel: NONE}",
            Code::NotFound,
            "SecretVersionNotFound",
            &["(stage NONE)"],
        ),
        (
            "- {objectName: bank/gold, objectType: secretsmanager}",
            Code::PermissionDenied,
            "SecretAccessDenied",
            &["role/web", "grant secretsmanager:GetSecretValue", "AccessDeniedException"],
        ),
    ] {
        if objects.contains("bank/gold") {
            world.cloud.put_secret("eu-west-1", "bank/gold", "hunter2");
        }
        let result = world.ask(&class(objects)).await;
        if let Err(status) = &result {
            assert!(!status.message().contains("hunter2"), "{}", status.message());
        }
        assert_refused(result, code, reason, texts);
    }
    world.cloud.delete_secret("eu-west-1", "shop/text");
    assert_refused(
        world.ask(&class_of(&["shop/text"])).await,
        Code::NotFound,
        "SecretPendingDeletion",
        &["restore it"],
    );
}

#[tokio::test]
async fn mistakes_in_the_roles_set_up_are_named() {
    let world = World::driver_writes().await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    let class = class_of(&["shop/key"]);
    let annotate = |role: &str| world.cloud.put_service_account("shop", "web", &[(ROLE_ANNOTATION, role)]);

    world.cloud.put_service_account("shop", "web", &[]);
    assert_refused(world.ask(&class).await, Code::FailedPrecondition, "RoleMissing", &["shop/web", ROLE_ANNOTATION]);
    annotate("web");
    assert_refused(
        world.ask(&class).await,
        Code::FailedPrecondition,
        "RoleMissing",
        &["\"web\"", "write it like arn:aws:iam::"],
    );
    annotate("arn:aws:iam::111122223333:role/other");
    assert_refused(
        world.ask(&class).await,
        Code::PermissionDenied,
        "AssumeRoleDenied",
        &["role/other", "in eu-west-1", "system:serviceaccount:shop:web", "trust policy", "AccessDenied"],
    );
    world.cloud.inject(Fault::error("get serviceaccounts", 403, "Forbidden", "no"));
    assert_refused(
        world.ask(&class).await,
        Code::FailedPrecondition,
        "KubernetesForbidden",
        &["get serviceaccounts shop/web", "ClusterRole"],
    );
    world.cloud.clear_faults();
    world.cloud.delete_service_account("shop", "web");
    assert_refused(
        world.ask(&class).await,
        Code::NotFound,
        "ServiceAccountNotFound",
        &["get serviceaccounts shop/web"],
    );
}

#[tokio::test]
async fn one_cause_gives_one_text() {
    let world = World::driver_writes().await;
    let mut texts = Vec::new();
    for _ in 0..3 {
        texts.push(world.ask(&class_of(&["shop/none"])).await.expect_err("missing").message().to_owned());
    }
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
}

#[tokio::test]
async fn f15_f28_what_may_pass_is_tried_again_within_the_mount() {
    let world = World::driver_writes().await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    for fault in [
        Fault::error("AssumeRoleWithWebIdentity", 400, "IDPCommunicationError", "x").times(2),
        Fault::error("GetSecretValue", 500, "InternalServiceError", "x").times(1),
        Fault::error("GetSecretValue", 400, "ThrottlingException", "Rate exceeded").times(1),
        Fault::on("GetSecretValue", devcloud::FaultKind::Reset).times(1),
        Fault::on("GetSecretValue", devcloud::FaultKind::TruncateAfter(10)).times(1),
    ] {
        world.cloud.inject(fault);
    }
    let answer = world.ask(&class_of(&["shop/key"])).await.expect("after retries");
    assert_eq!(answer.files[0].contents, b"key");
}

#[tokio::test]
async fn f39_one_secret_that_fails_to_the_end_fails_the_mount_and_nothing_is_written() {
    needs_mounts!();
    let world = World::new().await;
    for name in ["shop/a", "shop/b"] {
        world.cloud.put_secret("eu-west-1", name, "old");
    }
    let (class, volume) = (class_of(&["shop/a", "shop/b"]), world.publish());
    world.mount(&class, &volume).await.expect("mounted");
    let before = volume.files().expect("readable");
    world.cloud.put_secret("eu-west-1", "shop/a", "new");
    world.cloud.inject(Fault::error("GetSecretValue", 503, "ServiceUnavailable", "x").subject("shop/b"));
    let result = world.mount(&class, &volume).await;
    assert_refused(result, Code::Internal, "AwsUnavailable", &["secret \"shop/b\"", "HTTP 503"]);
    assert_eq!(volume.files().expect("readable"), before);
}

#[tokio::test]
async fn f45_a_target_that_is_no_mounted_tmpfs_gets_nothing_and_aws_is_not_asked() {
    needs_mounts!();
    let world = World::new().await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    let class = class_of(&["shop/key"]);
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    let ask = async |target: &Path| world.driver.mount(&world.mount_of(&class, target)).await;
    assert_refused(
        ask(&target).await,
        Code::FailedPrecondition,
        "TargetNotTmpfs",
        &["mountPropagation: HostToContainer"],
    );
    assert_eq!(std::fs::read_dir(&target).expect("listed").count(), 0);

    // A link to a real volume of the pod, where the target should be.
    let volume = world.node.publish(&world.pod, "real").expect("a tmpfs");
    let link = world.node.unmounted(&world.pod, "link").expect("a directory");
    std::fs::remove_dir(&link).expect("removed");
    std::os::unix::fs::symlink(volume.path(), &link).expect("linked");
    assert_refused(ask(&link).await, Code::FailedPrecondition, "TargetUnexpected", &["symbolic link"]);
    // A volume of another pod.
    let other = world.cloud.put_pod("shop", "web-1", "web", "node-a");
    let foreign = world.node.publish(&other, "secrets").expect("a tmpfs");
    assert_refused(ask(foreign.path()).await, Code::FailedPrecondition, "TargetUnexpected", &["another pod"]);
    for target in ["", "/mnt/secrets-store", "relative", "/etc"] {
        assert_refused(ask(Path::new(target)).await, Code::FailedPrecondition, "TargetUnexpected", &[]);
    }
    assert_eq!(world.cloud.count("GetSecretValue"), 0);
    assert!(volume.files().expect("readable").is_empty() && foreign.files().expect("readable").is_empty());
}

#[tokio::test]
async fn f65_an_answer_over_the_drivers_limit_is_refused_in_words() {
    let world = World::driver_writes().await;
    let names: Vec<String> = (0..80).map(|number| format!("shop/{number}")).collect();
    for name in &names {
        world.cloud.put_secret("eu-west-1", name, "x".repeat(64 * 1024));
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let result = world.ask(&class_of(&names)).await;
    assert_refused(result, Code::FailedPrecondition, "ResponseTooLarge", &["4194304"]);
}
