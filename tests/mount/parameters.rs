//! Parameter Store: which values arrive, in how many calls, and what refusals say.

use std::time::Duration;

use devcloud::node::Class;
use devcloud::{Fault, Role};
use tonic::Code;

use crate::support::{ROLE, World, assert_refused, class, needs_mounts, versions};

const ARN: &str = "arn:aws:ssm:eu-west-1:111122223333:parameter/shop";

fn parameters(objects: &[String]) -> Class {
    class(&objects.iter().map(|object| format!("- {{objectType: ssmparameter, {object}}}\n")).collect::<String>())
}

/// Content and version of every file that the driver would write.
async fn answered(world: &World, class: &Class) -> Vec<(String, String, String)> {
    let answer = world.ask(class).await.expect("answered");
    let of = |id: &str| versions(&answer).into_iter().find(|(file, _)| file == id).expect("every file has a version").1;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    answer.files.iter().map(|file| (file.path.clone(), text(&file.contents), of(&file.path))).collect()
}

fn triple(path: &str, content: &str, version: &str) -> (String, String, String) {
    (path.into(), content.into(), version.into())
}

#[tokio::test]
async fn parameters_are_files_with_their_numbers_as_versions() {
    needs_mounts!();
    let world = World::new().await;
    world.cloud.put_parameter("eu-west-1", "/shop/host", "db.internal", false);
    world.cloud.put_parameter("eu-west-1", "/shop/password", "old", true);
    world.cloud.put_parameter("eu-west-1", "/shop/password", "hunter2", true);
    world.cloud.put_parameter("eu-west-1", "/shop/json", r#"{"port": 5432, "user": "alice"}"#, false);
    let class = class(&format!(
        "- {{objectName: /shop/host, objectType: ssmparameter}}
- {{objectName: '{ARN}/password', objectAlias: password, filePermission: '0400'}}
- {{objectName: /shop/json, objectType: ssmparameter, objectAlias: db, jmesPath: [{{path: port, objectAlias: port}}]}}"
    ));
    let volume = world.publish();
    let answer = world.mount(&class, &volume).await.expect("mounted");
    let files = volume.files().expect("readable");
    let seen: Vec<_> = files.iter().map(|(name, file)| (name.as_str(), file.mode, file.content.as_slice())).collect();
    assert_eq!(
        seen,
        [
            ("_shop_host", 0o644, &b"db.internal"[..]),
            ("db", 0o644, br#"{"port": 5432, "user": "alice"}"#),
            ("password", 0o400, b"hunter2"),
            ("port", 0o644, b"5432"),
        ]
    );
    let expected = [("_shop_host", "1"), ("db", "1"), ("password", "2"), ("port", "1")];
    assert_eq!(versions(&answer), expected.map(|(file, version)| (file.to_owned(), version.to_owned())));
    assert_eq!(world.cloud.count("GetParameters"), 1);

    world.cloud.put_parameter("eu-west-1", "/shop/host", "db2.internal", false);
    let answer = world.mount(&class, &volume).await.expect("mounted");
    assert_eq!(volume.read("_shop_host").expect("there"), b"db2.internal");
    assert_eq!(versions(&answer)[0].1, "2");
}

#[tokio::test]
async fn f37_any_number_of_versions_and_names_of_one_parameter_keep_their_values() {
    let world = World::driver_writes().await;
    for value in ["one", "two", "three"] {
        world.cloud.put_parameter("eu-west-1", "/shop/host", value, false);
    }
    world.cloud.label_parameter("eu-west-1", "/shop/host", 2, "blue");
    let class = parameters(&[
        "objectName: /shop/host, objectAlias: newest".into(),
        "objectName: /shop/host, objectAlias: first, objectVersion: 1".into(),
        "objectName: /shop/host, objectAlias: second, objectVersion: '2'".into(),
        "objectName: /shop/host, objectAlias: labelled, objectVersionLabel: blue".into(),
        "objectName: '/shop/host:3', objectAlias: in-name".into(),
        format!("objectName: '{ARN}/host', objectAlias: by-arn"),
        format!("objectName: '{ARN}/host', objectAlias: by-arn-first, objectVersion: 1"),
    ]);
    let expected = [
        triple("by-arn", "three", "3"),
        triple("by-arn-first", "one", "1"),
        triple("first", "one", "1"),
        triple("in-name", "three", "3"),
        triple("labelled", "two", "2"),
        triple("newest", "three", "3"),
        triple("second", "two", "2"),
    ];
    assert_eq!(answered(&world, &class).await, expected);
}

#[tokio::test]
async fn parameters_are_read_in_tens_and_an_equal_one_once() {
    let world = World::driver_writes().await;
    for number in 0..25 {
        world.cloud.put_parameter("eu-west-1", &format!("/shop/p{number:02}"), &format!("value {number}"), false);
    }
    let mut objects: Vec<String> = (0..25).map(|number| format!("objectName: /shop/p{number:02}")).collect();
    objects.push("objectName: /shop/p00, objectAlias: once-more".into());
    let files = answered(&world, &parameters(&objects)).await;
    assert_eq!(files.len(), 26);
    for number in 0..25 {
        assert!(files.contains(&triple(&format!("_shop_p{number:02}"), &format!("value {number}"), "1")), "{number}");
    }
    assert!(files.contains(&triple("once-more", "value 0", "1")));
    let calls = world.cloud.calls();
    let mut sizes: Vec<usize> = calls
        .iter()
        .filter(|call| call.api == "GetParameters")
        .map(|call| call.subject.as_deref().unwrap_or_default().split(',').count())
        .collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [5, 10, 10]);
}

#[tokio::test]
async fn a_parameter_that_another_account_shares_is_read_by_its_arn() {
    let world = World::driver_writes().await;
    world.cloud.put_parameter_in("444455556666", "eu-west-1", "/common/ca", "theirs", true);
    world.cloud.put_role(
        Role::new(ROLE).trust_service_account("shop", "web").allow("ssm:GetParameters", "arn:aws:ssm:*:*:parameter/*"),
    );
    let arn = "arn:aws:ssm:eu-west-1:444455556666:parameter/common/ca";
    let class = parameters(&[
        format!("objectName: '{arn}', objectAlias: ca"),
        format!("objectName: '{arn}:1', objectAlias: first"),
    ]);
    assert_eq!(answered(&world, &class).await, [triple("ca", "theirs", "1"), triple("first", "theirs", "1")]);
}

#[tokio::test]
async fn secrets_and_parameters_of_one_class_are_read_with_one_session() {
    let world = World::driver_writes().await;
    world.cloud.put_secret("eu-west-1", "shop/key", "secret");
    world.cloud.put_parameter("eu-west-1", "/shop/host", "parameter", false);
    let class = class(
        "- {objectName: shop/key, objectType: secretsmanager}\n- {objectName: /shop/host, objectType: ssmparameter}",
    );
    let files = answered(&world, &class).await;
    assert_eq!(files.iter().map(|(_, content, _)| content.as_str()).collect::<Vec<_>>(), ["parameter", "secret"]);
    assert_eq!(world.cloud.count("AssumeRoleWithWebIdentity"), 1);
}

#[tokio::test]
async fn refusals_name_the_parameter_and_what_helps() {
    let world = World::driver_writes().await;
    world.cloud.put_parameter("eu-west-1", "/shop/host", "hunter2", false);
    world.cloud.put_parameter("eu-west-1", "/bank/gold", "hunter2", false);
    let there = "objectName: /shop/host".to_owned();
    let ask = async |object: &str| world.ask(&parameters(&[there.clone(), object.into()])).await;
    let not_found: &[(&str, &str)] = &[
        ("objectName: /shop/none", "parameter \"/shop/none\" in eu-west-1 does not exist"),
        ("objectName: /shop/host, objectAlias: x, objectVersion: 7", "parameter \"/shop/host\" (version 7)"),
        ("objectName: /shop/host, objectAlias: x, objectVersionLabel: green", "parameter \"/shop/host\" (label green)"),
        ("objectName: 'arn:aws:ssm:eu-west-1:111122223333:parameter/shop/none', objectAlias: x", "parameter \"arn:aws"),
    ];
    for (object, text) in not_found {
        assert_refused(ask(object).await, Code::NotFound, "ParameterNotFound", &[text, "role/web"]);
    }
    assert_refused(
        ask("objectName: /bank/gold").await,
        Code::PermissionDenied,
        "SecretAccessDenied",
        &["parameter \"/bank/gold\" in eu-west-1 may not be read", "grant ssm:GetParameters"],
    );
    world.cloud.inject(Fault::error("GetParameters", 400, "InvalidKeyId", "The key is disabled").times(1));
    assert_refused(ask("objectName: /shop/none").await, Code::PermissionDenied, "DecryptDenied", &["with 1 more"]);
    let denied = "User is not authorized to perform: kms:Decrypt on resource";
    world.cloud.inject(Fault::error("GetParameters", 400, "AccessDeniedException", denied).times(1));
    assert_refused(
        ask("objectName: /shop/none").await,
        Code::PermissionDenied,
        "DecryptDenied",
        &["grant kms:Decrypt"],
    );
    world.cloud.inject(Fault::error("GetParameters", 500, "InternalServerError", "oh"));
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    let mount = world.mount_of(&parameters(&["objectName: /shop/none".into()]), &target);
    let result = world.driver.mount(&mount.timeout(Duration::from_secs(2))).await;
    assert_refused(result, Code::Internal, "AwsUnavailable", &["Parameter Store fails"]);
}

#[tokio::test]
async fn f37_answers_that_were_not_asked_for_are_ignored_and_a_missing_one_is_not_found() {
    let world = World::driver_writes().await;
    let body = serde_json::json!({"Parameters": [
        {"Name": "/shop/other", "ARN": format!("{ARN}/other"), "Value": "hunter2", "Version": 9, "Type": "String"},
        {"Name": "/shop/b", "ARN": format!("{ARN}/b"), "Value": "of b", "Version": 2, "Type": "String"},
        {"Name": "/shop/a", "ARN": format!("{ARN}/a"), "Value": "of a", "Version": 1, "Type": "String"},
        {"Name": "/shop/a", "ARN": format!("{ARN}/a"), "Value": "once more", "Version": 1, "Type": "String"},
    ], "InvalidParameters": []});
    let raw = devcloud::FaultKind::RawResponse {
        status: 200,
        body: body.to_string(),
        content_type: "application/x-amz-json-1.1".into(),
    };
    world.cloud.inject(Fault::on("GetParameters", raw));
    let of =
        |names: &[&str]| parameters(&names.iter().map(|name| format!("objectName: /shop/{name}")).collect::<Vec<_>>());
    let files = answered(&world, &of(&["a", "b"])).await;
    assert_eq!(files, [triple("_shop_a", "of a", "1"), triple("_shop_b", "of b", "2")]);
    assert_refused(world.ask(&of(&["a", "c"])).await, Code::NotFound, "ParameterNotFound", &["\"/shop/c\""]);
}
