//! The operator's guard rail: what a namespace may ask for, whatever AWS would allow.

use devcloud::Role;
use devcloud::node::{Class, Node};
use tonic::Code;

use crate::support::{ROLE, ROLE_ANNOTATION, World, assert_refused, class, class_of, cloud, start};

const POLICY: &str = r#"
aws:
  - name: shops
    namespaces: ["shop"]
    roles: ["arn:aws:iam::111122223333:role/web"]
    regions: ["eu-west-1"]
    objects: ["shop/*", "/shop/*"]
"#;

async fn world(policy: &tempfile::NamedTempFile) -> World {
    std::fs::write(policy.path(), POLICY).expect("written");
    let cloud = cloud().await;
    // AWS would allow everything.
    let any = |arn: &str| {
        let role = Role::new(arn).trust_service_account("*", "*").trust_role(ROLE).trust_pod_identity();
        role.allow("secretsmanager:*", "*").allow("ssm:*", "*").allow("sts:AssumeRole", "*")
    };
    cloud.put_role(any(ROLE));
    cloud.put_role(any("arn:aws:iam::111122223333:role/other"));
    for name in ["shop/key", "bank/gold"] {
        cloud.put_secret("eu-west-1", name, name);
    }
    let file = format!("--policy-file={}", policy.path().display());
    World::on(cloud, &["--driver-writes-secrets=true", &file], &[]).await
}

fn aws_calls(world: &World) -> Vec<String> {
    let of_aws = |api: &String| !["get", "list", "create"].iter().any(|verb| api.starts_with(verb));
    world.cloud.calls().into_iter().map(|call| call.api).filter(of_aws).collect()
}

#[tokio::test]
async fn a06_the_policy_refuses_before_aws_is_asked_and_names_its_rule() {
    let policy = tempfile::NamedTempFile::new().expect("a file");
    let world = world(&policy).await;
    let of_key = || class_of(&["shop/key"]);
    let hop = "- roleArn: arn:aws:iam::111122223333:role/other";
    let abroad =
        Class::of("shop-db", "- {objectName: shop/key, objectType: secretsmanager}").with("region", "us-east-1");
    for (class, reason, text) in [
        (of_key().with("roleArn", "arn:aws:iam::111122223333:role/other"), "RoleNotAllowed", "role/other"),
        (of_key().with("assumeRoles", hop), "RoleNotAllowed", "it allows arn:aws:iam::111122223333:role/web"),
        (of_key().with("auth", "nodePublishSecret"), "RoleNotAllowed", "auth nodePublishSecret"),
        (abroad, "RegionNotAllowed", "Region us-east-1"),
        (of_key().with("failoverRegion", "eu-central-1"), "RegionNotAllowed", "Region eu-central-1"),
        (class_of(&["shop/key", "bank/gold"]), "ObjectNotAllowed", "secret \"bank/gold\""),
        (class("- {objectName: /bank/gold, objectType: ssmparameter}"), "ObjectNotAllowed", "parameter \"/bank/gold\""),
        // What an object says of itself counts, however it is put together.
        (
            class("- {objectName: shop/key, objectType: secretsmanager, region: us-east-1}"),
            "RegionNotAllowed",
            "Region us-east-1",
        ),
        (
            class("- {objectName: 'arn:aws:secretsmanager:us-east-1:111122223333:secret:shop/key', objectAlias: x}"),
            "RegionNotAllowed",
            "Region us-east-1",
        ),
        (class_of(&["gold"]).with("prefix", "bank/"), "ObjectNotAllowed", "secret \"bank/gold\""),
        (class_of(&["nk/gold"]).with("prefix", "ba"), "ObjectNotAllowed", "secret \"bank/gold\""),
        (
            class("- {objectName: bank/gold, objectType: secretsmanager, accountId: '111122223333', optional: true}"),
            "ObjectNotAllowed",
            "secret:bank/gold",
        ),
        (
            class("- {objectName: /bank/gold, objectType: ssmparameter, accountId: '111122223333'}"),
            "ObjectNotAllowed",
            "parameter/bank/gold",
        ),
    ] {
        assert_refused(
            world.ask(&class).await,
            Code::PermissionDenied,
            reason,
            &["rule \"shops\"", "namespace shop", text],
        );
    }
    let annotated = world.newcomer();
    world.cloud.put_service_account(
        "shop",
        &annotated.service_account,
        &[(ROLE_ANNOTATION, "arn:aws:iam::111122223333:role/other")],
    );
    let refused = world.ask_as(&annotated, &of_key()).await;
    assert_refused(refused, Code::PermissionDenied, "RoleNotAllowed", &["rule \"shops\"", "role/other"]);
    world.cloud.put_service_account("bank", "web", &[(ROLE_ANNOTATION, ROLE)]);
    let stranger = world.cloud.put_pod("bank", "web-0", "web", "node-a");
    let refused = world.ask_as(&stranger, &of_key()).await;
    assert_refused(refused, Code::PermissionDenied, "NamespaceNotAllowed", &["no rule for namespace bank"]);
    assert_eq!(aws_calls(&world), [""; 0]);

    world.ask(&of_key()).await.expect("allowed");
    assert_eq!(aws_calls(&world), ["AssumeRoleWithWebIdentity", "GetSecretValue"]);
}

#[tokio::test]
async fn a06_the_policy_is_asked_about_each_name_that_is_found() {
    let policy = tempfile::NamedTempFile::new().expect("a file");
    let world = world(&policy).await;
    for name in ["shop/key", "bank/gold"] {
        world.cloud.tag_secret("eu-west-1", name, &[("team", "shop")]);
    }
    let tagged = |more: &str| class(&format!("- {{objectType: secretsmanager, find: {{tags: {{team: shop}}{more}}}}}"));
    assert_refused(
        world.ask(&tagged("")).await,
        Code::PermissionDenied,
        "ObjectNotAllowed",
        &["rule \"shops\"", "secret \"bank/gold\""],
    );
    assert_eq!(world.cloud.count("GetSecretValue"), 0);
    world.ask(&tagged(", namePrefix: shop/")).await.expect("all that are found are allowed");
    let elsewhere = class("- {objectType: secretsmanager, region: us-east-1, find: {namePrefix: shop/}}");
    assert_refused(world.ask(&elsewhere).await, Code::PermissionDenied, "RegionNotAllowed", &["Region us-east-1"]);
    let versions = class("- {objectName: bank/gold, objectType: secretsmanager, previous: 3}");
    assert_refused(world.ask(&versions).await, Code::PermissionDenied, "ObjectNotAllowed", &["\"bank/gold\""]);
}

#[tokio::test]
async fn a_policy_that_is_not_understood_stops_the_start() {
    let cloud = cloud().await;
    let node = Node::new().expect("a node");
    let policy = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(policy.path(), POLICY.replace("objects:", "object:")).expect("written");
    for (path, text) in [(policy.path().to_str().expect("UTF-8"), "object"), ("/nowhere/policy.yaml", "cannot be read")]
    {
        let mut provider = start(&cloud, &node, &[&format!("--policy-file={path}")], &[]);
        assert_eq!(provider.wait().await.expect("ended").code(), Some(1));
        assert!(provider.logged(text).await, "{}", provider.log());
        assert!(provider.log().contains("--policy-file"), "{}", provider.log());
    }
}
