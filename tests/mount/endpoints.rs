//! Where requests go: AWS's own hosts in every partition, through a proxy, to endpoints of one's own; and whom they trust.

use std::collections::HashSet;
use std::net::Ipv6Addr;
use std::time::Duration;

use devcloud::node::Node;
use devcloud::{Options, Proxy, TokenOptions};
use futures_util::future::join_all;
use tonic::Code;

use crate::support::{READY, REGION, World, assert_refused, class, class_of, cloud, cloud_with, start};

const DRIVER_WRITES: &[&str] = &["--driver-writes-secrets=true"];

/// AWS's own hosts and nobody's endpoints.
const OWN_HOSTS: (&str, &str) = ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");

#[tokio::test]
async fn every_partition_has_hosts_of_its_own_and_sts_is_that_of_the_region() {
    let (world, proxy) = World::behind_a_proxy().await;
    for (region, domain) in [
        ("eu-west-1", "amazonaws.com"),
        ("us-gov-west-1", "amazonaws.com"),
        ("cn-north-1", "amazonaws.com.cn"),
        ("us-iso-east-1", "c2s.ic.gov"),
        ("us-isob-east-1", "sc2s.sgov.gov"),
        ("eu-isoe-west-1", "cloud.adc-e.uk"),
        ("us-isof-south-1", "csp.hci.ic.gov"),
        ("eusc-de-east-1", "amazonaws.eu"),
    ] {
        let class = class_of(&["shop/key"]).with("region", region);
        world.ask(&class).await.expect_err("a cloud of this account has nothing there");
        let host = format!("sts.{region}.{domain}:443");
        assert!(proxy.hosts().contains(&host), "{host} is not in {:?}", proxy.hosts());
    }
}

#[tokio::test]
async fn fips_and_dual_stack_hosts_are_used_for_every_service() {
    for (variable, hosts) in [
        (
            "AWS_USE_FIPS_ENDPOINT",
            [
                "secretsmanager-fips.us-east-1.amazonaws.com",
                "ssm-fips.us-east-1.amazonaws.com",
                "sts-fips.us-east-1.amazonaws.com",
            ],
        ),
        (
            "AWS_USE_DUALSTACK_ENDPOINT",
            // AWS's rules for Secrets Manager: this host has addresses of both families.
            ["secretsmanager.us-east-1.amazonaws.com", "ssm.us-east-1.api.aws", "sts.us-east-1.api.aws"],
        ),
    ] {
        let cloud = cloud().await;
        let proxy = Proxy::to(&cloud).await.expect("a proxy");
        let node = Node::new().expect("a node");
        let authority = node.scratch().join("ca.pem");
        std::fs::write(&authority, cloud.ca_pem()).expect("written");
        let environment = [
            OWN_HOSTS,
            (variable, "true"),
            ("AWS_CA_BUNDLE", authority.to_str().expect("UTF-8")),
            ("HTTPS_PROXY", &proxy.url()),
        ];
        let world = World::on(cloud, DRIVER_WRITES, &environment).await;
        world.cloud.put_secret("us-east-1", "shop/key", "key");
        world.cloud.put_parameter("us-east-1", "/shop/host", "host", false);
        let objects = "- {objectName: shop/key, objectType: secretsmanager}\n- {objectName: /shop/host, objectType: ssmparameter}";
        world.ask(&class(objects).with("region", "us-east-1")).await.expect("answered");
        let hosts = hosts.map(|host| format!("{host}:443"));
        assert_eq!(proxy.hosts().into_iter().collect::<Vec<_>>(), hosts, "{variable}");
    }
}

#[tokio::test]
async fn a_proxy_is_left_out_where_no_proxy_says_so() {
    let cloud = cloud().await;
    cloud.put_secret("eu-west-1", "shop/key", "key");
    let proxy = Proxy::to(&cloud).await.expect("a proxy");
    let url = proxy.url();
    for (no_proxy, goes_through) in [("127.0.0.1", false), ("other.internal", true)] {
        // An endpoint of one's own over HTTP goes through HTTP_PROXY, which this proxy notes and refuses.
        let environment = [("HTTP_PROXY", url.as_str()), ("HTTPS_PROXY", &url), ("NO_PROXY", no_proxy)];
        let world = World::on(cloud.clone(), DRIVER_WRITES, &environment).await;
        assert_eq!(world.ask(&class_of(&["shop/key"])).await.is_ok(), !goes_through, "NO_PROXY={no_proxy}");
        assert_eq!(proxy.hosts().iter().any(|host| host.contains("127.0.0.1")), goes_through, "{:?}", proxy.hosts());
    }
}

#[tokio::test]
async fn a29_whoever_cannot_show_aws_certificate_gets_nothing() {
    let cloud = cloud().await;
    cloud.put_secret("eu-west-1", "shop/key", "key");
    let proxy = Proxy::to(&cloud).await.expect("a proxy");
    // The system's authorities, which do not know the cloud's: as with a man in the middle.
    let world = World::on(cloud, DRIVER_WRITES, &[OWN_HOSTS, ("HTTPS_PROXY", &proxy.url())]).await;
    assert_refused(
        world.ask(&class_of(&["shop/key"])).await,
        Code::Internal,
        "TlsFailed",
        &["no trusted authority", "AWS_CA_BUNDLE"],
    );
    assert!(proxy.hosts().contains("sts.eu-west-1.amazonaws.com:443"), "{:?}", proxy.hosts());
    let aws = world.cloud.calls().into_iter().filter(|call| call.service != "kubernetes").count();
    assert_eq!(aws, 0, "not a byte of a request was sent");
}

#[tokio::test]
async fn settings_that_would_fail_every_mount_stop_the_start() {
    let cloud = cloud().await;
    let node = Node::new().expect("a node");
    let no_certificate = node.scratch().join("empty.pem");
    std::fs::write(&no_certificate, "nothing").expect("written");
    for (environment, text) in [
        (&[("AWS_USE_FIPS_ENDPOINT", "true")][..], "AWS_ENDPOINT_URL and AWS_USE_FIPS_ENDPOINT exclude each other"),
        (&[("AWS_ENDPOINT_URL_SSM", "notaurl")], "AWS_ENDPOINT_URL_SSM: write a URL"),
        (&[("AWS_CA_BUNDLE", "/nonexistent.pem")], "AWS_CA_BUNDLE: /nonexistent.pem cannot be read"),
        (&[("AWS_CA_BUNDLE", no_certificate.to_str().expect("UTF-8"))], "has no certificate in PEM form"),
    ] {
        let mut provider = start(&cloud, &node, &[], environment);
        assert_eq!(provider.wait().await.expect("ended").code(), Some(1), "{environment:?}");
        assert!(provider.logged(text).await, "{}", provider.log());
    }
    let environment = [("AWS_USE_FIPS_ENDPOINT", "true"), OWN_HOSTS, ("AWS_ENDPOINT_URL_STS", "")];
    let provider = start(&cloud, &node, &[], &environment);
    provider.driver(READY).await.expect("FIPS without endpoints of one's own serves");
}

#[tokio::test]
async fn tokens_for_another_audience_are_exchanged_where_the_operator_says_so() {
    let cloud = cloud().await;
    cloud.put_secret("eu-west-1", "shop/key", "key");
    let audience = "irsa.example.org";
    cloud.register_oidc(&cloud.issuer(), &[audience], cloud.jwks());
    let trust = devcloud::Trust::WebIdentity {
        issuer: None,
        subject: "system:serviceaccount:shop:web".into(),
        audience: audience.into(),
    };
    let role = devcloud::Role::new(crate::support::ROLE).trust(trust).allow("secretsmanager:GetSecretValue", "*");
    cloud.put_role(role);
    let arguments = [DRIVER_WRITES[0], "--irsa-audience=sts.amazonaws.com", "--irsa-audience=irsa.example.org"];
    let world = World::on(cloud, &arguments, &[]).await;
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    let token = world.cloud.token_with(&world.pod, TokenOptions::audience(audience));
    let mount = devcloud::node::Mount::new(&world.pod, &class_of(&["shop/key"]), &target).token(audience, &token);
    world.driver.mount(&mount).await.expect("exchanged");
}

#[tokio::test]
async fn a_node_that_has_only_ipv6_is_served() {
    let cloud = cloud_with(Options { address: Ipv6Addr::LOCALHOST.into(), ..Options::default() }).await;
    cloud.put_secret("eu-west-1", "shop/key", "key");
    cloud.associate_pod_identity("shop", "web", crate::support::ROLE);
    assert!(cloud.aws_url().contains("[::1]") && cloud.kubernetes_url().contains("[::1]"));
    let agent = format!("--pod-identity-endpoint={}/v1/credentials", cloud.agent_url());
    let world = World::on(cloud, &[DRIVER_WRITES[0], &agent], &[]).await;
    world.ask(&class_of(&["shop/key"])).await.expect("IRSA over IPv6");
    world.ask(&class_of(&["shop/key"]).with("usePodIdentity", "true")).await.expect("Pod Identity over IPv6");
}

#[tokio::test]
async fn however_many_pods_start_at_once_the_api_server_has_one_connection_of_a_node() {
    let cloud = cloud_with(Options { kubernetes_tls: true, ..Options::default() }).await;
    cloud.set_latency_of("get serviceaccounts", Duration::from_millis(50));
    cloud.put_secret(REGION, "shop/key", "k");
    let world = World::on(cloud, DRIVER_WRITES, &[]).await;
    let class = class_of(&["shop/key"]);
    let pods: Vec<_> = (0..40).map(|_| world.newcomer()).collect();
    for answer in join_all(pods.iter().map(|pod| world.ask_as(pod, &class))).await {
        answer.expect("mounted");
    }
    let calls = world.cloud.calls();
    let of_kubernetes = calls.iter().filter(|call| call.service == "kubernetes");
    assert!(of_kubernetes.clone().any(|call| call.in_flight > 10), "they come at the same time");
    let connections: HashSet<u64> = of_kubernetes.map(|call| call.connection).collect();
    assert_eq!(connections.len(), 1);
}
