//! EKS Pod Identity: the agent on the node, in all its moods.

use std::net::Ipv6Addr;
use std::time::Duration;

use devcloud::node::Class;
use devcloud::{DevCloud, Fault, FaultKind, Options};
use tokio::net::TcpListener;
use tonic::Code;

use crate::support::{AUDIENCE, POD_IDENTITY_AUDIENCE, ROLE, World, assert_refused, class_of, cloud, cloud_with};

fn endpoint(url: &str) -> String {
    format!("--pod-identity-endpoint={url}/v1/credentials")
}

/// A class whose pod has Pod Identity.
fn of_key() -> Class {
    class_of(&["shop/key"]).with("usePodIdentity", "true")
}

/// A world whose agents are at these URLs. The service account has an association, and no annotation that IRSA could use.
async fn world(cloud: DevCloud, agents: &[&str]) -> World {
    cloud.put_secret("eu-west-1", "shop/key", "key");
    cloud.put_service_account("shop", "web", &[]);
    cloud.associate_pod_identity("shop", "web", ROLE);
    let endpoints: Vec<String> = agents.iter().map(|url| endpoint(url)).collect();
    let mut arguments = vec!["--driver-writes-secrets=true", "--pod-identity-http-timeout=500ms"];
    arguments.extend(endpoints.iter().map(String::as_str));
    World::on(cloud, &arguments, &[]).await
}

async fn with_agent() -> World {
    let cloud = cloud().await;
    let agent = cloud.agent_url();
    world(cloud, &[&agent]).await
}

#[tokio::test]
async fn a_pod_gets_the_role_of_its_association_and_kubernetes_is_not_asked_for_it() {
    let world = with_agent().await;
    let answer = world.ask(&of_key()).await.expect("answered");
    assert_eq!(answer.files[0].contents, b"key");
    assert_eq!(world.cloud.count("GetCredentials"), 1);
    for api in ["get serviceaccounts", "get pods", "get nodes", "AssumeRoleWithWebIdentity"] {
        assert_eq!(world.cloud.count(api), 0, "{api}");
    }
    let session = world.cloud.sessions().pop().expect("a session");
    assert_eq!(session.tags.get("kubernetes-pod-name").map(String::as_str), Some("web-0"));
    // IRSA is still what a class gets that does not ask for Pod Identity, and this account has no role for it.
    assert_refused(world.ask(&class_of(&["shop/key"])).await, Code::FailedPrecondition, "RoleMissing", &["shop/web"]);
}

#[tokio::test]
async fn f10_a36_the_token_must_be_there_and_be_for_the_agent() {
    let world = with_agent().await;
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    let bare = || devcloud::node::Mount::new(&world.pod, &of_key(), &target);
    let of_sts = world.cloud.token(&world.pod, AUDIENCE);
    let missing = world.driver.mount(&bare().token(AUDIENCE, &of_sts)).await;
    assert_refused(
        missing,
        Code::FailedPrecondition,
        "TokenMissing",
        &[POD_IDENTITY_AUDIENCE, "it has sts.amazonaws.com", "tokenRequests"],
    );
    let misplaced = world.driver.mount(&bare().token(POD_IDENTITY_AUDIENCE, &of_sts)).await;
    assert_refused(misplaced, Code::Unauthenticated, "TokenInvalid", &["another audience than pods.eks"]);
    assert_eq!(world.cloud.count("GetCredentials"), 0, "no agent sees a token that is not proved");
}

#[tokio::test]
async fn f23_an_agent_that_is_not_up_yet_or_busy_is_asked_again() {
    let world = with_agent().await;
    for (fault, times) in [
        (Fault::error("GetCredentials", 429, "ThrottlingException", "slow down"), 3),
        (Fault::error("GetCredentials", 500, "InternalServerException", "oh"), 2),
        (Fault::error("GetCredentials", 503, "ServiceUnavailableException", "not ready"), 2),
        (Fault::on("GetCredentials", FaultKind::Reset), 2),
        (Fault::on("GetCredentials", FaultKind::Hang), 1),
    ] {
        world.cloud.clear_calls();
        let what = format!("{fault:?}");
        world.cloud.inject(fault.times(times));
        let answer = world.ask_as(&world.newcomer(), &of_key()).await;
        answer.unwrap_or_else(|status| panic!("{what}: {}", status.message()));
        assert_eq!(world.cloud.count("GetCredentials"), times as usize + 1, "{what}");
    }
}

#[tokio::test]
async fn f23_what_lasts_is_told_before_the_caller_gives_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let closed = format!("http://{}", listener.local_addr().expect("known"));
    drop(listener);
    let world = world(cloud().await, &[&closed]).await;
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    let mount = world.mount_of(&of_key(), &target).timeout(Duration::from_secs(3));
    let text = format!("agent at {} does not answer: nobody listens there", closed.trim_start_matches("http://"));
    assert_refused(
        world.driver.mount(&mount).await,
        Code::Internal,
        "AgentUnavailable",
        &[&text, "eks-pod-identity-agent"],
    );

    let throttled = with_agent().await;
    throttled.cloud.inject(Fault::error("GetCredentials", 429, "ThrottlingException", "slow down"));
    let mount = throttled.mount_of(&of_key(), &target).timeout(Duration::from_secs(3));
    let mount = mount.target(&throttled.node.unmounted(&throttled.pod, "secrets").expect("made").display().to_string());
    assert_refused(throttled.driver.mount(&mount).await, Code::Internal, "AgentThrottled", &["too many requests"]);
    assert!(throttled.cloud.count("GetCredentials") > 2);
}

#[tokio::test]
async fn f23_the_address_that_answers_is_used_and_remembered() {
    // Connections stand, because the kernel takes them, and nobody answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let silent = format!("http://{}", listener.local_addr().expect("known"));
    let cloud = cloud_with(Options { agent_address: Some(Ipv6Addr::LOCALHOST.into()), ..Options::default() }).await;
    let agent = cloud.agent_url();
    assert!(agent.contains("[::1]"), "{agent}");
    let world = world(cloud, &[&silent, &agent]).await;
    for _ in 0..3 {
        world.ask_as(&world.newcomer(), &of_key()).await.expect("answered over IPv6");
    }
    assert_eq!(world.cloud.count("GetCredentials"), 3);

    let ipv4_only = of_key().with("preferredAddressType", "IPv4");
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    let mount = world.mount_of(&ipv4_only, &target).timeout(Duration::from_secs(2)); // nothing is remembered for it yet
    let address = silent.trim_start_matches("http://").to_owned();
    assert_refused(
        world.driver.mount(&mount).await,
        Code::Internal,
        "AgentUnavailable",
        &[&format!("agent at {address} does not answer")],
    );
    world.ask_as(&world.newcomer(), &of_key().with("preferredAddressType", "ipv6")).await.expect("answered over IPv6");
}

#[tokio::test]
async fn f24_only_an_agents_answer_is_taken() {
    let world = with_agent().await;
    let raw =
        |status, body: &str| FaultKind::RawResponse { status, body: body.into(), content_type: "text/html".into() };
    let long = format!("{{\"AccessKeyId\": \"{}\"}}", "x".repeat(100 * 1024));
    for (kind, text) in [
        (raw(302, "<a href=http://attacker.invalid/>"), "redirects, which is not followed"),
        (raw(200, "<html>welcome</html>"), "without usable credentials"),
        (raw(200, &long), "too long"),
        (
            raw(
                200,
                r#"{"AccessKeyId":"A\nB","SecretAccessKey":"hunter2","Token":"t","Expiration":"2030-01-01T00:00:00Z"}"#,
            ),
            "without usable credentials",
        ),
    ] {
        world.cloud.inject(Fault::on("GetCredentials", kind).times(1));
        let result = world.ask_as(&world.newcomer(), &of_key()).await;
        if let Err(status) = &result {
            assert!(!status.message().contains("hunter2"), "{}", status.message());
        }
        assert_refused(result, Code::Internal, "AgentUnavailable", &[text]);
    }
    world.ask(&of_key()).await.expect("answered once the agent is itself again");
}

#[tokio::test]
async fn refusals_of_eks_say_what_to_set_up() {
    let world = with_agent().await;
    for (fault, code, reason, text) in [
        (
            (404, "ResourceNotFoundException"),
            Code::FailedPrecondition,
            "PodIdentityMissing",
            "service account shop/web",
        ),
        ((400, "AccessDeniedException"), Code::PermissionDenied, "AssumeRoleDenied", "sts:TagSession"),
        ((400, "ExpiredTokenException"), Code::Unauthenticated, "TokenExpired", "for expired"),
        ((400, "InvalidTokenException"), Code::Unauthenticated, "TokenInvalid", "EKS does not take"),
        ((400, "InvalidRequestException"), Code::Internal, "AgentUnavailable", "refuses"),
    ] {
        let token = world.cloud.token(&world.pod, POD_IDENTITY_AUDIENCE);
        world.cloud.inject(Fault::error("GetCredentials", fault.0, fault.1, token.as_str()).times(1));
        let result = world.ask_as(&world.newcomer(), &of_key()).await;
        if let Err(status) = &result {
            assert!(!status.message().contains("eyJ"), "{}", status.message());
        }
        assert_refused(result, code, reason, &[text, fault.1]);
    }
    let of_node = "not authorized to perform: eks-auth:AssumeRoleForPodIdentity";
    world.cloud.inject(Fault::error("GetCredentials", 400, "AccessDeniedException", of_node).times(1));
    assert_refused(
        world.ask_as(&world.newcomer(), &of_key()).await,
        Code::PermissionDenied,
        "AssumeRoleDenied",
        &["the node's own role may not ask for Pod Identity"],
    );
    world.cloud.put_secret("eu-west-1", "bank/gold", "hunter2");
    assert_refused(
        world.ask(&class_of(&["bank/gold"]).with("usePodIdentity", "true")).await,
        Code::PermissionDenied,
        "SecretAccessDenied",
        &["as the Pod Identity role of service account shop/web"],
    );
}

#[tokio::test]
async fn two_regions_take_one_call_to_the_agent() {
    let world = with_agent().await;
    world.cloud.put_secret("eu-central-1", "shop/key", "standby");
    world.ask(&of_key().with("failoverRegion", "eu-central-1")).await.expect("answered");
    assert_eq!(world.cloud.count("GetCredentials"), 1);
}

#[tokio::test]
async fn an_agent_by_name_or_over_tls_stops_the_start() {
    let cloud = cloud().await;
    for url in ["http://agent.invalid/v1/credentials", "https://169.254.170.23/v1/credentials", "169.254.170.23"] {
        let node = devcloud::node::Node::new().expect("a node");
        let argument = format!("--pod-identity-endpoint={url}");
        let mut provider = crate::support::start(&cloud, &node, &[&argument], &[]);
        assert_eq!(provider.wait().await.expect("ended").code(), Some(1), "{url}");
        assert!(provider.logged("write a URL with an IP address").await, "{}", provider.log());
    }
}
