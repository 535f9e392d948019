//! What people read when something is wrong, and that nothing is written then.

use std::path::Path;

use devcloud::Fault;
use tonic::Code;

use crate::support::{ROLE_ANNOTATION, World, assert_refused, class, class_of, cloud, needs_mounts};

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
async fn f35_a_secret_without_a_value_says_which_way_and_the_volume_keeps_what_it_has() {
    needs_mounts!();
    let world = World::new().await;
    for name in ["shop/key", "shop/other"] {
        world.cloud.put_secret("eu-west-1", name, "hunter2");
    }
    let class = class_of(&["shop/key", "shop/other"]);
    let volume = world.publish();
    world.mount(&class, &volume).await.expect("mounted");
    let before = volume.files().expect("readable");

    let error = |code, text| Fault::error("GetSecretValue", 400, code, text).subject("shop/key");
    let no_value = "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT";
    for (fault, reason) in [
        (error("ResourceNotFoundException", "Secrets Manager can't find the specified secret."), "SecretNotFound"),
        (error("ResourceNotFoundException", no_value), "SecretVersionNotFound"),
        (error("InvalidRequestException", "it was marked for deletion."), "SecretPendingDeletion"),
    ] {
        world.cloud.inject(fault);
        assert_refused(
            world.mount(&class, &volume).await,
            Code::NotFound,
            reason,
            &["secret \"shop/key\" in eu-west-1"],
        );
        world.cloud.clear_faults();
        assert_eq!(volume.files().expect("readable"), before, "{reason}");
    }
}

#[tokio::test]
async fn f36_an_answer_is_taken_as_the_official_provider_takes_it_or_not_at_all() {
    let world = World::driver_writes().await;
    let arn = world.cloud.put_secret("eu-west-1", "shop/key", "key").arn;
    let answering = async |members: serde_json::Value| {
        let mut body =
            serde_json::json!({"ARN": arn, "Name": "shop/key", "VersionId": "v1", "VersionStages": ["AWSCURRENT"]});
        for (name, value) in members.as_object().expect("members") {
            body[name] = value.clone();
        }
        let kind = devcloud::FaultKind::RawResponse {
            status: 200,
            body: body.to_string(),
            content_type: "application/x-amz-json-1.1".into(),
        };
        world.cloud.inject(Fault::on("GetSecretValue", kind).times(1));
        world.ask(&class_of(&["shop/key"])).await
    };
    let both = serde_json::json!({"SecretString": "text", "SecretBinary": "Ynl0ZXM="});
    assert_eq!(answering(both).await.expect("answered").files[0].contents, b"text", "the text wins");
    let binary = serde_json::json!({"SecretBinary": "Ynl0ZXM="});
    assert_eq!(answering(binary).await.expect("answered").files[0].contents, b"bytes");
    for (members, text) in [
        (serde_json::json!({}), "without a value"),
        (serde_json::json!({"SecretString": "x", "VersionId": null}), "without a version"),
        (serde_json::json!({"SecretString": "x", "ARN": arn.replace("shop/key", "shop/other")}), "another secret"),
    ] {
        assert_refused(answering(members).await, Code::Internal, "AnswerMismatch", &[text, "shop/key"]);
    }
}

#[tokio::test]
async fn f66_a_class_without_objects_says_what_to_write() {
    let world = World::driver_writes().await;
    for objects in ["", "[]", "null", "# later"] {
        assert_refused(
            world.ask(&class(objects)).await,
            Code::InvalidArgument,
            "InvalidObjects",
            &["list under it what to mount"],
        );
    }
    let mut none = class("");
    none.parameters.remove("objects");
    assert_refused(world.ask(&none).await, Code::InvalidArgument, "InvalidObjects", &["list under it what to mount"]);
}

#[tokio::test]
async fn mistakes_in_the_roles_set_up_are_named() {
    let world = World::on(cloud().await, &["--driver-writes-secrets=true", "--max-age=0s"], &[]).await;
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
    world.cloud.inject(Fault::forbidden("get serviceaccounts"));
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
