//! The official provider 3.1.1 and this one, case by case.
//!
//! `cases.json` holds inputs and what the official provider did with them, once with the provider writing and once with the
//! driver: files, modes, contents and versions, or a refusal. It was recorded by running that provider's own code against
//! doubles of AWS. Here the same inputs go through the socket of the real process. Where the two do not agree, the case must
//! stand in `differences.json`, under a name that `docs/migrate-from-ascp.md` explains.

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "the suites of mounts use more of it")]
mod support;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use devcloud::node::v1alpha1::MountResponse;
use devcloud::node::{Class, Mount, Status};
use devcloud::{DevCloud, Role};
use serde::Deserialize;

use support::{ROLE, World, cloud, needs_mounts};

#[derive(Deserialize)]
struct Recorded {
    world: Contents,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Contents {
    secrets: Vec<Secret>,
    parameters: Vec<Parameter>,
}

#[derive(Deserialize)]
struct Secret {
    region: String,
    name: String,
    values: Vec<Content>,
}

#[derive(Deserialize, Clone, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Content {
    Text(String),
    Base64(String),
}

impl Content {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Base64(text) => BASE64.decode(text).expect("base64"),
        }
    }
}

#[derive(Deserialize)]
struct Parameter {
    region: String,
    name: String,
    secure: bool,
    values: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    what: String,
    parameters: BTreeMap<String, String>,
    permission: Option<String>,
    driver_writes: Outcome,
    provider_writes: Outcome,
}

/// What a provider did. Exactly one of the members is there, but for versions, which come with files.
#[derive(Deserialize)]
struct Outcome {
    files: Option<Vec<File>>,
    #[serde(default)]
    versions: BTreeMap<String, String>,
    #[serde(default)]
    crash: bool,
    #[serde(default)]
    random: bool,
}

#[derive(Deserialize)]
struct File {
    path: String,
    mode: String,
    #[serde(flatten)]
    content: Content,
}

/// What counts of an outcome: files by path with mode, content and version, or that there are none, and why.
#[derive(Debug, PartialEq, Eq)]
enum Result {
    Files(BTreeMap<String, (String, Vec<u8>, String)>),
    Refused,
    /// The official provider's process ended.
    Crash,
    /// It did one thing or another, by chance.
    Random,
}

/// What stands for ARNs and version ids, which are made anew with each cloud.
struct Names(Vec<(String, String)>);

impl Names {
    fn fill_in(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// The number of a version by its id, as it is recorded.
    fn version(&self, id: &str) -> String {
        let found = self.0.iter().find(|(name, value)| name.starts_with("{version:") && value == id);
        match found.map(|(name, _)| name.trim_matches(['{', '}']).splitn(4, ':').collect::<Vec<_>>()) {
            Some(parts) => {
                let (name, number) = (parts[2..].join(":"), parts[1]);
                let (name, index) = name.rsplit_once(':').unwrap_or((&name, ""));
                format!("{number} {name} #{index}")
            }
            None => id.to_owned(),
        }
    }
}

async fn build(contents: &Contents) -> (DevCloud, Names) {
    let cloud = cloud().await;
    cloud.put_role(
        Role::new(ROLE)
            .trust_service_account("shop", "web")
            .trust_pod_identity()
            .allow("secretsmanager:GetSecretValue", "*")
            .allow("ssm:GetParameters", "*"),
    );
    cloud.associate_pod_identity("shop", "web", ROLE);
    let mut names = Vec::new();
    for Secret { region, name, values } in &contents.secrets {
        for (value, number) in values.iter().zip(1..) {
            let version = match value {
                Content::Text(text) => cloud.put_secret(region, name, text.as_str()),
                Content::Base64(_) => cloud.put_secret(region, name, value.bytes()),
            };
            names.push((format!("{{version:{region}:{name}:{number}}}"), version.version_id));
            if number == 1 {
                names.push((format!("{{arn:{region}:{name}}}"), version.arn));
            }
        }
    }
    for Parameter { region, name, secure, values, labels } in &contents.parameters {
        for value in values {
            cloud.put_parameter(region, name, value, *secure);
        }
        for (label, version) in labels {
            cloud.label_parameter(region, name, *version, label);
        }
    }
    (cloud, Names(names))
}

fn recorded(outcome: &Outcome, names: &Names) -> Result {
    if outcome.crash {
        return Result::Crash;
    }
    if outcome.random {
        return Result::Random;
    }
    let Some(files) = &outcome.files else { return Result::Refused };
    let files = files.iter().map(|file| {
        let version = outcome.versions.get(&file.path).cloned().unwrap_or_default();
        (names.fill_in(&file.path), (file.mode.clone(), file.content.bytes(), version))
    });
    Result::Files(files.collect()) // of two with one path the later one wins, as with the driver
}

fn versions(answer: &MountResponse, names: &Names) -> BTreeMap<String, String> {
    answer.object_version.iter().map(|version| (version.id.clone(), names.version(&version.version))).collect()
}

/// A mount of a case, at a target.
fn mount(world: &World, case: &Case, names: &Names, target: &std::path::Path) -> Mount {
    let parameters = case.parameters.iter().map(|(name, value)| (name.clone(), names.fill_in(value)));
    let class = Class { name: case.id.clone(), parameters: parameters.collect() };
    let mount = world.mount_of(&class, target);
    match &case.permission {
        Some(permission) => mount.permission(permission),
        None => mount,
    }
}

async fn with_driver_writing(world: &World, case: &Case, names: &Names) -> (Result, Option<Status>) {
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    match world.driver.mount(&mount(world, case, names, &target)).await {
        Err(status) => (Result::Refused, Some(status)),
        Ok(answer) => {
            let mut versions = versions(&answer, names);
            let files = answer.files.into_iter().map(|file| {
                let version = versions.remove(&file.path).unwrap_or_default();
                (file.path, (format!("{:04o}", file.mode), file.contents, version))
            });
            (Result::Files(files.collect()), None)
        }
    }
}

async fn with_provider_writing(world: &World, case: &Case, names: &Names) -> (Result, Option<Status>) {
    let volume = world.node.publish(&world.pod, &case.id).expect("a tmpfs");
    match world.driver.mount(&mount(world, case, names, volume.path())).await {
        Err(status) => (Result::Refused, Some(status)),
        Ok(answer) => {
            let mut versions = versions(&answer, names);
            let files = volume.files().expect("readable").into_iter().map(|(path, file)| {
                let version = versions.remove(&path).unwrap_or_default();
                (path, (format!("{:04o}", file.mode), file.content, version))
            });
            (Result::Files(files.collect()), None)
        }
    }
}

#[tokio::test]
async fn what_the_official_provider_does_is_done_here_or_listed_as_a_difference() {
    needs_mounts!();
    let recorded_cases: Recorded = serde_json::from_str(include_str!("cases.json")).expect("readable");
    let listed: BTreeMap<String, BTreeSet<String>> =
        serde_json::from_str(include_str!("differences.json")).expect("readable");
    let document = include_str!("../../docs/migrate-from-ascp.md");
    for name in listed.keys() {
        assert!(document.contains(&format!("`{name}`")), "docs/migrate-from-ascp.md does not explain {name}");
    }

    let (cloud, names) = build(&recorded_cases.world).await;
    let agent: std::net::SocketAddr = cloud.agent_url().trim_start_matches("http://").parse().expect("an address");
    let (ipv4, ipv6) = (agent, format!("[::ffff:{}]:{}", agent.ip(), agent.port()));
    let endpoints =
        [ipv4.to_string(), ipv6].map(|address| format!("--pod-identity-endpoint=http://{address}/v1/credentials"));
    let arguments: Vec<&str> = endpoints.iter().map(String::as_str).collect();
    let mut by_provider = World::on(cloud.clone(), &arguments, &[]).await;
    let by_driver = World::on(cloud, &[&arguments[..], &["--driver-writes-secrets=true"]].concat(), &[]).await;
    by_provider.pod = by_driver.pod.clone(); // the later one: a second pod of the name replaced the first

    let (mut agreements, mut differing, mut unexpected) = (0, BTreeSet::new(), Vec::new());
    for case in &recorded_cases.cases {
        for (mode, theirs, (ours, status)) in [
            ("driver writes", &case.driver_writes, with_driver_writing(&by_driver, case, &names).await),
            ("provider writes", &case.provider_writes, with_provider_writing(&by_provider, case, &names).await),
        ] {
            let theirs = recorded(theirs, &names);
            if theirs == ours {
                agreements += 1;
                continue;
            }
            differing.insert(case.id.clone());
            if !listed.values().any(|cases| cases.contains(&case.id)) {
                let said = status.as_ref().map_or("", Status::message);
                unexpected.push(format!(
                    "{} ({}), {mode}:\n  theirs {theirs:?}\n  ours   {ours:?} {said}",
                    case.id, case.what
                ));
            }
        }
    }
    assert!(unexpected.is_empty(), "{} differences are not listed:\n{}", unexpected.len(), unexpected.join("\n"));
    let stale: Vec<_> = listed.values().flatten().filter(|id| !differing.contains(*id)).collect();
    assert!(stale.is_empty(), "these do not differ: {stale:?}");
    println!(
        "{} cases in two write modes: {agreements} times the same, {} cases differ in {} listed ways",
        recorded_cases.cases.len(),
        differing.len(),
        listed.len(),
    );
}
