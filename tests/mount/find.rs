//! Secrets and parameters that a class does not name one by one: what AWS is asked, and what is refused.

use std::sync::Arc;

use devcloud::{Fault, FaultKind, Role};
use tonic::Code;

use crate::support::{REGION, ROLE, World, assert_refused, class};

const BY_PREFIX: &str = "- {objectType: secretsmanager, find: {namePrefix: shop/}}";

fn paths(answer: &devcloud::node::v1alpha1::MountResponse) -> Vec<&str> {
    let mut paths: Vec<&str> = answer.files.iter().map(|file| file.path.as_str()).collect();
    paths.sort_unstable();
    paths
}

fn raw(body: &str) -> FaultKind {
    FaultKind::RawResponse { status: 200, body: body.into(), content_type: "application/x-amz-json-1.1".into() }
}

/// What may be listed is not what may be read.
fn role_without(action: &str) -> Role {
    let role = Role::new(ROLE)
        .trust_service_account("shop", "web*")
        .allow("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:*:*:secret:shop/*")
        .allow("ssm:GetParameters", "arn:aws:ssm:*:*:parameter/shop/*");
    [
        "secretsmanager:ListSecrets",
        "secretsmanager:ListSecretVersionIds",
        "ssm:GetParametersByPath",
        "ssm:DescribeParameters",
    ]
    .into_iter()
    .filter(|other| *other != action)
    .fold(role, |role, other| role.allow(other, "*"))
}

#[tokio::test]
async fn a_list_is_read_and_kept_as_a_value_is() {
    let world = World::with(&["--driver-writes-secrets=true", "--max-age=1h"]).await;
    for name in ["shop/a", "shop/b"] {
        world.cloud.put_secret(REGION, name, name);
    }
    world.cloud.put_parameter(REGION, "/shop/tree/host", "db", true);
    let objects = format!("{BY_PREFIX}\n- {{objectType: ssmparameter, find: {{path: /shop/tree}}}}");
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    let mount = world.mount_of(&class(&objects), &target);
    let answer = world.driver.mount(&mount).await.expect("served");
    assert_eq!(paths(&answer), ["_shop_tree_host", "shop_a", "shop_b"]);
    let count = |api| world.cloud.count(api);
    assert_eq!((count("ListSecrets"), count("GetSecretValue")), (1, 2));
    assert_eq!((count("GetParametersByPath"), count("GetParameters")), (1, 1));

    world.cloud.clear_calls();
    world.cloud.put_secret(REGION, "shop/c", "c");
    world.driver.mount(&mount).await.expect("a refresh");
    assert!(world.cloud.calls().is_empty(), "{:?}", world.cloud.calls());

    // Another pod's first mount sees what there is now.
    let newcomer = world.newcomer();
    let answer = world.ask_as(&newcomer, &class(&objects)).await.expect("served");
    assert_eq!(paths(&answer), ["_shop_tree_host", "shop_a", "shop_b", "shop_c"]);
}

#[tokio::test]
async fn a13_what_finds_too_much_is_refused_and_never_cut() {
    let limits = ["--driver-writes-secrets=true", "--max-find-matches=3", "--max-find-pages=2"];
    let world = World::with(&limits).await;
    for name in ["a", "b", "c"] {
        world.cloud.put_secret(REGION, &format!("shop/{name}"), name);
    }
    let answer = world.ask(&class(BY_PREFIX)).await.expect("three are allowed");
    assert_eq!(answer.files.len(), 3);
    world.cloud.put_secret(REGION, "shop/d", "d");
    let newcomer = world.newcomer();
    assert_refused(
        world.ask_as(&newcomer, &class(BY_PREFIX)).await,
        Code::InvalidArgument,
        "LimitExceeded",
        &["more than 3 names", "object 1 finds in all secrets called \"shop/\"… in eu-west-1", "--max-find-matches"],
    );
    assert_eq!(world.cloud.count("GetSecretValue"), 3, "nothing is read for a mount that fails");

    // What several objects find is counted together.
    let twice = "- {objectType: secretsmanager, find: {namePrefix: shop/, nameRegexp: '[ab]$'}}\n".repeat(2);
    assert_refused(
        world.ask_as(&newcomer, &class(&twice)).await,
        Code::InvalidArgument,
        "LimitExceeded",
        &["more than 3 names", "object 2 finds in all secrets"],
    );
    assert_eq!(world.cloud.count("GetSecretValue"), 3);

    // Two pages of ten parameters each, and one more.
    for number in 0..21 {
        world.cloud.put_parameter(REGION, &format!("/shop/many/{number:02}"), "x", true);
    }
    let many = class("- {objectType: ssmparameter, find: {path: /shop/many, nameRegexp: '/0[01]$'}}");
    assert_refused(
        world.ask(&many).await,
        Code::InvalidArgument,
        "LimitExceeded",
        &[
            "all parameters directly below \"/shop/many\" in eu-west-1 are more than 2 pages of names",
            "--max-find-pages",
        ],
    );
    assert_eq!(world.cloud.count("GetParametersByPath"), 2);
}

#[tokio::test]
async fn the_root_of_parameter_store_is_a_path_too() {
    let world = World::driver_writes().await;
    let role = Role::new(ROLE)
        .trust_service_account("shop", "web*")
        .allow("ssm:GetParameters", "*")
        .allow("ssm:GetParametersByPath", "arn:aws:ssm:*:*:parameter/")
        .allow("ssm:DescribeParameters", "*");
    world.cloud.put_role(role);
    for name in ["/root-a", "/root-b", "/root-c/deeper", "/other"] {
        world.cloud.put_parameter(REGION, name, name, false);
    }
    world.cloud.tag_parameter(REGION, "/root-b", &[("at", "root")]);
    for (tags, found) in [("", &["_root-a", "_root-b"][..]), (", tags: {at: root}", &["_root-b"])] {
        let objects = format!("- {{objectType: ssmparameter, find: {{path: /, namePrefix: /root-{tags}}}}}");
        let answer = world.ask_as(&world.newcomer(), &class(&objects)).await.expect("served");
        assert_eq!(paths(&answer), found);
    }
    assert_refused(
        world.ask(&class("- {objectType: ssmparameter, find: {path: /, namePrefix: /none}}")).await,
        Code::NotFound,
        "SecretNotFound",
        &["all parameters directly below \"/\" called \"/none\"… in eu-west-1"],
    );
}

#[tokio::test]
async fn a13_what_a_class_stands_for_is_counted_before_it_is_read() {
    let world = World::with(&["--driver-writes-secrets=true", "--max-files=4"]).await;
    for name in ["a", "b", "c", "d"] {
        world.cloud.put_secret(REGION, &format!("shop/{name}"), r#"{"user":"u"}"#);
    }
    world.cloud.put_secret(REGION, "shop-key", "k");
    let objects = |named: &str| format!("{BY_PREFIX}\n- {{objectName: shop-key, objectType: secretsmanager{named}}}");
    assert_refused(
        world.ask(&class(&format!("{}\n- {{objectName: other, objectType: secretsmanager}}", objects("")))).await,
        Code::InvalidArgument,
        "LimitExceeded",
        &["with object 3 the class stands for more than 4 values", "--max-files"],
    );
    assert_eq!(world.cloud.count("GetSecretValue"), 0);
}

#[tokio::test]
async fn a13_names_of_more_bytes_than_a_value_may_have_are_refused_with_what_to_narrow() {
    let world = World::with(&["--driver-writes-secrets=true", "--max-value-bytes=64"]).await;
    for number in 0..10 {
        world.cloud.put_secret(REGION, &format!("shop/number/{number}"), "x");
    }
    assert_refused(
        world.ask(&class(BY_PREFIX)).await,
        Code::InvalidArgument,
        "LimitExceeded",
        &["are more than 64 bytes of names. Narrow `find`", "--max-value-bytes"],
    );
}

#[tokio::test]
async fn p12_lists_hold_up_no_values() {
    let world = Arc::new(World::driver_writes().await);
    world.cloud.put_parameter(REGION, "/shop/host", "db", false);
    world.cloud.inject(Fault::on("GetParametersByPath", FaultKind::Hang));
    let lists: String =
        (0..20).map(|number| format!("- {{objectType: ssmparameter, find: {{path: /shop/{number}}}}}\n")).collect();
    let (hanging, slow) = (world.clone(), world.newcomer());
    let hanging = tokio::spawn(async move { hanging.ask_as(&slow, &class(&lists)).await });
    while world.cloud.count("GetParametersByPath") < 3 {
        tokio::task::yield_now().await;
    }
    let values = class("- {objectName: /shop/host, objectType: ssmparameter}");
    world.ask(&values).await.expect("served beside them");
    assert!(!hanging.is_finished());
    assert!(world.cloud.count("GetParametersByPath") <= 4, "few lists are read at the same time");
    hanging.abort();
}

#[tokio::test]
async fn a13_pages_that_repeat_and_answers_that_are_none_are_refused() {
    let world = World::driver_writes().await;
    let page = raw(r#"{"SecretList":[{"Name":"shop/a"}],"NextToken":"again"}"#);
    world.cloud.inject(Fault::on("ListSecrets", page));
    assert_refused(
        world.ask(&class(BY_PREFIX)).await,
        Code::Internal,
        "AnswerMismatch",
        &["a page for the second time while listing all secrets called \"shop/\"… in eu-west-1"],
    );
    assert_eq!(world.cloud.count("ListSecrets"), 2);
    world.cloud.clear_faults();
    // A name that could not be one must not become a file elsewhere, nor a request for something else.
    let page = raw(r#"{"SecretList":[{"Name":"bank/gold"},{"ARN":"no name"}]}"#);
    world.cloud.inject(Fault::on("ListSecrets", page));
    let answer = world.ask(&class(BY_PREFIX)).await;
    assert_refused(answer, Code::NotFound, "SecretNotFound", &["object 1 finds nothing"]);
    assert_eq!(world.cloud.count("GetSecretValue"), 0);
}

#[tokio::test]
async fn who_may_not_list_is_told_which_right_is_missing_and_an_optional_object_is_not_left_out() {
    let world = World::driver_writes().await;
    world.cloud.put_secret(REGION, "shop/a", "a");
    for (action, object, right) in [
        ("secretsmanager:ListSecrets", "find: {namePrefix: shop/}, objectType: secretsmanager", "on all resources"),
        ("ssm:GetParametersByPath", "find: {path: /shop/tree}, objectType: ssmparameter", "on the path"),
        ("ssm:DescribeParameters", "find: {namePrefix: /shop/}, objectType: ssmparameter", "on all resources"),
        ("secretsmanager:ListSecretVersionIds", "objectName: shop/a, previous: 2, objectType: secretsmanager", "on it"),
    ] {
        world.cloud.put_role(role_without(action));
        let refused = world.ask_as(&world.newcomer(), &class(&format!("- {{{object}, optional: true}}"))).await;
        assert_refused(
            refused,
            Code::PermissionDenied,
            "SecretAccessDenied",
            &["in eu-west-1 may not be read as arn:aws:iam::111122223333:role/web", &format!("grant {action} {right}")],
        );
    }
}

#[tokio::test]
async fn a_list_that_fails_for_a_moment_is_asked_for_again_and_one_that_is_throttled_too() {
    let world = World::driver_writes().await;
    world.cloud.put_secret(REGION, "shop/a", "a");
    world.cloud.put_parameter(REGION, "/shop/tree/host", "db", true);
    let throttled = || FaultKind::Error { status: 400, code: "ThrottlingException".into(), message: "slow".into() };
    world.cloud.inject(Fault::on("ListSecrets", throttled()).times(2));
    world.cloud.inject(Fault::on("GetParametersByPath", throttled()).times(2));
    let objects = format!("{BY_PREFIX}\n- {{objectType: ssmparameter, find: {{path: /shop/tree}}}}");
    let answer = world.ask(&class(&objects)).await.expect("served in the end");
    assert_eq!(paths(&answer), ["_shop_tree_host", "shop_a"]);
}

#[tokio::test]
async fn where_the_region_is_down_the_failover_region_says_what_there_is() {
    let (world, _proxy) = World::behind_a_proxy().await;
    world.cloud.put_secret("us-east-1", "shop/a", "standby");
    let down = FaultKind::Error { status: 503, code: "ServiceUnavailable".into(), message: String::new() };
    world.cloud.inject(Fault::new(down).region(REGION));
    let answer = world.ask(&class(BY_PREFIX).with("failoverRegion", "us-east-1")).await.expect("served");
    assert_eq!(answer.files[0].contents, b"standby");
}
