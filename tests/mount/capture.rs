//! Where a class can make the provider turn to: every name that it asks for and every host that it wants to reach is caught,
//! in a network in which there is nothing else.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Arc, Mutex};

use devcloud::Proxy;
use devcloud::node::Class;
use tokio::net::UdpSocket;

use crate::support::{World, class_of, cloud, has_own_network};

/// What a Region should not be.
const HOSTILE_REGIONS: [&str; 62] = [
    "x.attacker.tld",
    "x.attacker.tld/#",
    "x.attacker.tld?",
    "x.attacker.tld:443/",
    "eu-west-1.attacker.tld",
    "eu-west-1.attacker.tld/#",
    "attacker.tld#eu-west-1",
    "attacker.tld/eu-west-1",
    "attacker.tld?eu-west-1",
    "user@attacker.tld",
    "user:pass@attacker.tld/",
    "eu-west-1@attacker.tld",
    "@attacker.tld",
    "//attacker.tld/",
    "/../attacker.tld",
    "..",
    ".",
    "-",
    "--",
    "#",
    "/",
    "\\",
    "?",
    "@",
    ":",
    ":443",
    "eu-west-1:443",
    "eu-west-1/",
    "eu-west-1?x",
    "eu-west-1#",
    "eu-west-1.",
    ".eu-west-1",
    "eu-west-1 ",
    " eu-west-1",
    "eu-west-1\t",
    "eu-west-1\n",
    "eu-west-1\r\nHost: attacker.tld",
    "eu-west-1\u{0}",
    "eu-west-1%00",
    "eu-west-1%2eattacker%2etld",
    "eu-west-1\u{2028}",
    "EU-WEST-1",
    "Eu-West-1",
    "eu_west_1",
    "eu-wést-1",
    "аttacker-tld-1", // a Cyrillic letter
    "xn--ttacker-4fg-1",
    "attacker-tld-1",
    "localhost",
    "127.0.0.1",
    "169.254.169.254",
    "[::1]",
    "::1",
    "0x7f000001",
    "2130706433",
    "http://attacker.tld",
    "https://attacker.tld/#",
    "file:///etc/passwd",
    "${AWS_REGION}",
    "$(id)",
    "eu-west-1,us-east-1",
    "eu-west-1-eu-west-1-eu-west-1-eu-west-1-1",
];

/// Parameters that set a proxy, an endpoint or a trusted authority elsewhere.
const HOSTILE_PARAMETERS: [&str; 16] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "no_proxy",
    "proxy",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_STS",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_CA_BUNDLE",
    "AWS_USE_FIPS_ENDPOINT",
    "endpoint",
    "endpointUrl",
    "stsEndpoint",
    "podIdentityEndpoint",
];

/// Answers to every question that there is no such name, and notes the names.
async fn name_server() -> Arc<Mutex<BTreeSet<String>>> {
    let socket = UdpSocket::bind("127.0.0.1:53").await.expect("nobody else is in this network");
    let names = Arc::<Mutex<BTreeSet<String>>>::default();
    let noted = names.clone();
    tokio::spawn(async move {
        let mut question = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut question).await {
            noted.lock().expect("unpoisoned").insert(name_in(&question[..length]));
            let mut answer = question[..length].to_vec();
            (answer[2], answer[3]) = (0x81, 0x83); // an answer: no such name (RFC 1035)
            let _ = socket.send_to(&answer, from).await;
        }
    });
    names
}

/// The name of the first question, behind a header of twelve bytes.
fn name_in(message: &[u8]) -> String {
    let mut labels = Vec::new();
    let mut rest = message.get(12..).unwrap_or_default();
    while let Some((&length, more)) = rest.split_first() {
        let Some((label, more)) = more.split_at_checked(length.into()).filter(|_| length > 0) else { break };
        labels.push(String::from_utf8_lossy(label).into_owned());
        rest = more;
    }
    labels.join(".")
}

/// Lets this process, and the providers it starts, ask that server.
pub fn use_name_server(scratch: &std::path::Path) {
    let settings = scratch.join("resolv.conf");
    std::fs::write(&settings, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").expect("written");
    let place = std::fs::canonicalize("/etc/resolv.conf").expect("this system resolves names");
    let bound = Command::new("mount").arg("--bind").args([&settings, &place]).status().expect("mount is there");
    assert!(bound.success(), "the settings are in place for this namespace");
}

fn hostile_classes() -> Vec<Class> {
    let mut classes = Vec::new();
    for value in HOSTILE_REGIONS {
        classes.push(class_of(&["shop/key"]).with("region", value));
        classes.push(class_of(&["shop/key"]).with("failoverRegion", value));
        if value.starts_with("eu-west-1:") {
            continue; // in an ARN that is the Region eu-west-1, and a strange account
        }
        let arn = serde_json::to_string(&format!("arn:aws:secretsmanager:{value}:111122223333:secret:shop/key-AbCdEf"));
        let objects = format!("- {{objectName: {}, objectAlias: x}}", arn.expect("text"));
        classes.push(Class::of("shop-db", &objects).with("region", "eu-west-1"));
    }
    classes
}

#[tokio::test]
async fn p11_a05_a30_no_class_makes_the_provider_turn_to_anybody_but_aws() {
    if !has_own_network() {
        return;
    }
    let scratch = tempfile::tempdir().expect("a directory");
    use_name_server(scratch.path());
    let names = name_server().await;
    let noted = || names.lock().expect("unpoisoned").clone();

    let cloud = cloud().await;
    let proxy = Proxy::to(&cloud).await.expect("a proxy");
    let own_hosts = ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
    let arguments = ["--driver-writes-secrets=true", "--mount-deadline=2s"];
    let direct = World::on(cloud.clone(), &arguments, &[own_hosts]).await;
    let proxied = World::on(cloud, &arguments, &[own_hosts, ("HTTPS_PROXY", &proxy.url())]).await;
    // The later pod: it has replaced the earlier one of its name.
    let direct = World { pod: proxied.pod.clone(), ..direct };

    for class in hostile_classes() {
        for world in [&direct, &proxied] {
            let status = world.ask(&class).await.expect_err("refused");
            assert!(status.message().starts_with("InvalidParameter: "), "{}", status.message());
        }
    }
    assert_eq!(noted(), BTreeSet::new(), "names that were asked for");
    assert_eq!(proxy.hosts(), BTreeSet::new(), "hosts that were wanted");

    // What is no parameter has no effect: the only way leads to the Region's own STS, and it is taken.
    for parameter in HOSTILE_PARAMETERS {
        for value in ["http://attacker.tld:3128", "attacker.tld", "*"] {
            let class = class_of(&["shop/key"]).with(parameter, value);
            proxied.ask(&class).await.expect_err("the system's authorities do not know this cloud");
        }
    }
    let sts = "sts.eu-west-1.amazonaws.com".to_owned();
    assert_eq!(proxy.hosts(), BTreeSet::from([format!("{sts}:443")]));
    assert_eq!(noted(), BTreeSet::new(), "whoever has a proxy asks for no name");

    direct.ask(&class_of(&["shop/key"])).await.expect_err("there is no such name here");
    assert_eq!(noted(), BTreeSet::from([sts]), "an empty list above would prove nothing otherwise");

    // The agent's addresses have no route here (F25), and no proxy is asked to find one.
    let class = class_of(&["shop/key"]).with("usePodIdentity", "true");
    let status = proxied.ask(&class).await.expect_err("no agent");
    let text =
        "AgentUnavailable: the EKS Pod Identity agent at 169.254.170.23:80 and [fd00:ec2::23]:80 cannot be reached";
    assert!(status.message().starts_with(text), "{}", status.message());
    assert_eq!(proxy.hosts().len(), 1, "{:?}", proxy.hosts());
}
