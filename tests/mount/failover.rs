//! `failoverRegion`: what is served while one of two Regions fails.

use devcloud::node::Class;
use devcloud::{Fault, FaultKind};
use tonic::Code;

use crate::support::{World, assert_refused, class};

const FAILOVER: &str = "eu-central-1";

/// A secret with a value of its own in each Region.
async fn two_regions() -> (World, devcloud::Proxy) {
    let (world, proxy) = World::behind_a_proxy().await;
    world.cloud.put_secret("eu-west-1", "shop/key", "primary");
    world.cloud.put_secret(FAILOVER, "shop/key", "standby");
    (world, proxy)
}

fn with_failover(objects: &str) -> Class {
    class(objects).with("failoverRegion", FAILOVER)
}

fn of_key() -> Class {
    with_failover("- {objectName: shop/key, objectType: secretsmanager}")
}

/// What somebody gets for whom nothing is remembered.
async fn served(world: &World, class: &Class) -> String {
    let answer = world.ask_as(&world.newcomer(), class).await.expect("answered");
    String::from_utf8(answer.files[0].contents.clone()).expect("text")
}

fn failure(api: &str, region: &str, code: &str, status: u16) -> Fault {
    Fault::error(api, status, code, "oh").region(region)
}

#[tokio::test]
async fn both_regions_are_asked_at_once_each_with_its_own_sts_and_the_primary_is_served() {
    let (world, proxy) = two_regions().await;
    assert_eq!(served(&world, &of_key()).await, "primary");
    for host in [
        "sts.eu-west-1.amazonaws.com:443",
        "sts.eu-central-1.amazonaws.com:443",
        "secretsmanager.eu-west-1.amazonaws.com:443",
    ] {
        assert!(proxy.hosts().contains(host), "{host} is not in {:?}", proxy.hosts());
    }
}

#[tokio::test]
async fn f16_one_region_without_sts_or_without_answers_is_replaced_by_the_other() {
    let (world, _proxy) = two_regions().await;
    for fault in [
        failure("AssumeRoleWithWebIdentity", "eu-west-1", "InternalFailure", 500),
        Fault::on("AssumeRoleWithWebIdentity", FaultKind::Hang).region("eu-west-1"),
        failure("GetSecretValue", "eu-west-1", "InternalServiceError", 500),
        Fault::on("GetSecretValue", FaultKind::Hang).region("eu-west-1"),
        Fault::on("GetSecretValue", FaultKind::Reset).region("eu-west-1"),
    ] {
        let what = format!("{fault:?}");
        world.cloud.inject(fault);
        assert_eq!(served(&world, &of_key()).await, "standby", "{what}");
        world.cloud.clear_faults();
    }
    assert!(world.provider.logged("in eu-central-1 is served instead of secret").await);
    for fault in [
        failure("AssumeRoleWithWebIdentity", FAILOVER, "InternalFailure", 500),
        Fault::on("GetSecretValue", FaultKind::Hang).region(FAILOVER),
        failure("GetSecretValue", FAILOVER, "ResourceNotFoundException", 400),
    ] {
        let what = format!("{fault:?}");
        world.cloud.inject(fault);
        assert_eq!(served(&world, &of_key()).await, "primary", "{what}");
        world.cloud.clear_faults();
    }
}

#[tokio::test]
async fn f38_only_what_the_service_has_decided_stops_the_mount() {
    let (world, _proxy) = two_regions().await;
    for (code, status) in [
        ("AccessDeniedException", 400),
        ("ThrottlingException", 400),
        ("ExpiredTokenException", 400),
        ("UnrecognizedClientException", 400),
        ("SomethingNewException", 400),
    ] {
        world.cloud.inject(failure("GetSecretValue", "eu-west-1", code, status));
        assert_eq!(served(&world, &of_key()).await, "standby", "{code}");
        world.cloud.clear_faults();
    }
    for (code, answer, reason) in [
        ("ResourceNotFoundException", Code::NotFound, "SecretNotFound"),
        ("InvalidParameterException", Code::InvalidArgument, "InvalidParameter"),
        ("InvalidRequestException", Code::InvalidArgument, "InvalidParameter"),
        ("DecryptionFailure", Code::PermissionDenied, "DecryptDenied"),
    ] {
        world.cloud.inject(failure("GetSecretValue", "eu-west-1", code, 400));
        assert_refused(world.ask(&of_key()).await, answer, reason, &["in eu-west-1"]);
        world.cloud.clear_faults();
    }
}

#[tokio::test]
async fn both_regions_failing_says_so_of_both() {
    let (world, _proxy) = two_regions().await;
    world.cloud.inject(failure("GetSecretValue", "eu-west-1", "AccessDeniedException", 400));
    world.cloud.delete_secret(FAILOVER, "shop/key");
    assert_refused(
        world.ask(&of_key()).await,
        Code::PermissionDenied,
        "SecretAccessDenied",
        &["in eu-west-1 may not be read", "; and instead of it secret", "in eu-central-1 is scheduled for deletion"],
    );
}

#[tokio::test]
async fn a_failover_object_is_another_secret_under_the_same_file_name() {
    let (world, _proxy) = two_regions().await;
    let arn = world.cloud.put_secret(FAILOVER, "shop/other", "the other").arn;
    let class = with_failover(&format!(
        "- {{objectName: shop/key, objectType: secretsmanager, objectAlias: key, failoverObject: {{objectName: '{arn}'}}}}"
    ));
    assert_eq!(served(&world, &class).await, "primary");
    world.cloud.inject(failure("GetSecretValue", "eu-west-1", "InternalServiceError", 500));
    let answer = world.ask(&class).await.expect("answered");
    assert_eq!((answer.files[0].path.as_str(), answer.files[0].contents.as_slice()), ("key", &b"the other"[..]));
}

#[tokio::test]
async fn parameters_fail_over_one_by_one_though_they_are_read_in_tens() {
    let (world, _proxy) = World::behind_a_proxy().await;
    for region in ["eu-west-1", FAILOVER] {
        for name in ["a", "b"] {
            world.cloud.put_parameter(region, &format!("/shop/{name}"), region, false);
        }
    }
    let objects =
        "- {objectName: /shop/a, objectType: ssmparameter}\n- {objectName: /shop/b, objectType: ssmparameter}";
    assert_eq!(served(&world, &with_failover(objects)).await, "eu-west-1");
    world.cloud.inject(failure("GetParameters", "eu-west-1", "InternalServerError", 500));
    assert_eq!(served(&world, &with_failover(objects)).await, FAILOVER);
    world.cloud.clear_faults();

    let only_here = format!("{objects}\n- {{objectName: /shop/c, objectType: ssmparameter}}");
    world.cloud.put_parameter("eu-west-1", "/shop/c", "eu-west-1", false);
    world.ask(&with_failover(&only_here)).await.expect("what the failover Region lacks does not matter today");
    world.cloud.put_parameter(FAILOVER, "/shop/d", FAILOVER, false);
    let only_there = format!("{objects}\n- {{objectName: /shop/d, objectType: ssmparameter}}");
    let result = world.ask(&with_failover(&only_there)).await;
    assert_refused(result, Code::NotFound, "ParameterNotFound", &["\"/shop/d\" in eu-west-1"]);
}

#[tokio::test]
async fn a_failover_region_that_is_the_first_one_is_refused() {
    let world = World::driver_writes().await;
    let class = of_key().with("failoverRegion", "eu-west-1");
    assert_refused(world.ask(&class).await, Code::InvalidArgument, "InvalidParameter", &["failoverRegion", "another"]);
    let mut open = class.clone();
    open.parameters.remove("region");
    assert_refused(world.ask(&open).await, Code::InvalidArgument, "InvalidParameter", &["failoverRegion", "another"]);
}
