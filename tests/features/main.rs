//! What a class can ask for beyond the official provider, key by key and error by error.
//!
//! `cases/` holds classes, the secrets they read, and the files or the refusal that come of it. Each case goes through the
//! socket of the real process twice, once where the provider writes and once where the driver does, and both must give what
//! the case says: names, modes, contents, what has a version, and errors word for word.

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "the suites of mounts use more of it")]
mod support;

use std::collections::{BTreeMap, BTreeSet};

use devcloud::node::Class;
use devcloud::node::v1alpha1::MountResponse;
use secretmount::config::Limits;
use secretmount::plan::FilePermission;
use secretmount::spec::Parameters;
use serde::Deserialize;
use serde_json::Value;
use tonic::Status;

use support::{REGION, World, class, needs_mounts, versions};

const CASES: [(&str, &str); 10] = [
    ("extraction", include_str!("cases/extraction.yaml")),
    ("decoding", include_str!("cases/decoding.yaml")),
    ("optional", include_str!("cases/optional.yaml")),
    ("location", include_str!("cases/location.yaml")),
    ("selection", include_str!("cases/selection.yaml")),
    ("previous", include_str!("cases/previous.yaml")),
    ("templates", include_str!("cases/templates.yaml")),
    ("content", include_str!("cases/content.yaml")),
    ("verification", include_str!("cases/verification.yaml")),
    ("pem", include_str!("cases/pem.yaml")),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    /// Parameters of the class besides `objects` and `region`.
    #[serde(default)]
    class: BTreeMap<String, String>,
    objects: String,
    /// One after the other, with the same volume.
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// Put before the mount.
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    #[serde(default)]
    parameters: BTreeMap<String, String>,
    /// Secrets and parameters by Region, where that is not the one of the class.
    #[serde(default)]
    elsewhere: BTreeMap<String, Stored>,
    /// Of secrets, and of parameters, whose names begin with a slash.
    #[serde(default)]
    tags: BTreeMap<String, BTreeMap<String, String>>,
    /// Secrets that are scheduled for deletion before the mount.
    #[serde(default)]
    deleted: Vec<String>,
    /// What the driver is told of as not there.
    #[serde(default)]
    absent: BTreeSet<String>,
    /// Content by path, other bytes than text as Rust escapes them.
    files: Option<BTreeMap<String, String>>,
    /// Those that are not 0644.
    #[serde(default)]
    modes: BTreeMap<String, String>,
    /// What the error begins with, up to `…`, and what it has after that.
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    #[serde(default)]
    parameters: BTreeMap<String, String>,
}

/// What a user sees of a mount.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Files { files: BTreeMap<String, (String, String)>, with_version: BTreeSet<String>, absent: BTreeSet<String> },
    Error(String),
}

#[tokio::test]
async fn both_ways_of_writing_give_what_each_case_says() {
    needs_mounts!();
    let writes = World::new().await;
    let answers = World::driver_writes().await;
    let mut names = BTreeSet::new();
    for (file, text) in CASES {
        let cases: Vec<Case> = serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        for case in cases {
            assert!(names.insert(case.case.clone()), "two cases are called {:?}", case.case);
            check(&case, &writes, &answers).await;
        }
    }
}

async fn check(case: &Case, writes: &World, answers: &World) {
    let class = class(&case.objects);
    let class = case.class.iter().fold(class, |class, (name, value)| class.with(name, value));
    let name = case.case.replace(' ', "-");
    let volume = writes.node.publish(&writes.pod, &name).expect("a tmpfs");
    let target = answers.node.unmounted(&answers.pod, &name).expect("a directory");
    for (step, number) in case.steps.iter().zip(1..) {
        put(step, writes);
        put(step, answers);
        let place = format!("case {:?}, step {number}", case.case);
        let written = writes.mount(&class, &volume).await.map(|answer| {
            let files = volume.files().expect("readable").into_iter();
            let files = files.map(|(path, file)| (path, (text(&file.content), format!("{:04o}", file.mode))));
            seen(files.collect(), &answer)
        });
        let answered = ask(answers, &class, &target).await;
        let (written, answered) = (settled(written), settled(answered));
        assert_eq!(written, answered, "{place}: the provider writes other than it lets the driver write");
        compare(step, &written, &place);
    }
}

fn put(step: &Step, world: &World) {
    let of_class = [(REGION, &step.secrets, &step.parameters)].into_iter();
    let elsewhere =
        step.elsewhere.iter().map(|(region, stored)| (region.as_str(), &stored.secrets, &stored.parameters));
    for (region, secrets, parameters) in of_class.chain(elsewhere) {
        for (name, value) in secrets {
            world.cloud.put_secret(region, name, value.as_str());
        }
        for (name, value) in parameters {
            world.cloud.put_parameter(region, name, value, true);
        }
    }
    for (name, tags) in &step.tags {
        let tags: Vec<(&str, &str)> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        match name.starts_with('/') {
            true => world.cloud.tag_parameter(REGION, name, &tags),
            false => world.cloud.tag_secret(REGION, name, &tags),
        }
    }
    for name in &step.deleted {
        world.cloud.delete_secret(REGION, name);
    }
}

async fn ask(world: &World, class: &Class, target: &std::path::Path) -> Result<Seen, Status> {
    let answer = world.driver.mount(&world.mount_of(class, target)).await?;
    let files = answer.files.iter();
    let files = files.map(|file| (file.path.clone(), (text(&file.contents), format!("{:04o}", file.mode))));
    Ok(seen(files.collect(), &answer))
}

fn settled(seen: Result<Seen, Status>) -> Seen {
    seen.unwrap_or_else(|status| Seen::Error(status.message().to_owned()))
}

fn compare(step: &Step, seen: &Seen, place: &str) {
    match (seen, &step.files, &step.error) {
        (Seen::Files { files, with_version, absent }, Some(expected), None) => {
            let mode = |path: &str| step.modes.get(path).map_or("0644", String::as_str).to_owned();
            let expected: BTreeMap<_, _> =
                expected.iter().map(|(path, content)| (path.clone(), (content.clone(), mode(path)))).collect();
            assert_eq!(*files, expected, "{place}");
            assert_eq!(*with_version, files.keys().cloned().collect(), "{place}: what has a version");
            assert_eq!(*absent, step.absent, "{place}: what is not there");
        }
        (Seen::Error(message), None, Some(expected)) => {
            let (beginning, rest) = expected.split_once('…').unwrap_or((expected, ""));
            assert!(message.starts_with(beginning) && message.contains(rest), "{place}: {message}");
            assert!(message.len() <= 700 && !message.contains('\n'), "{place}: {message}");
        }
        (seen, ..) => panic!("{place}: {seen:?}"),
    }
}

fn seen(files: BTreeMap<String, (String, String)>, answer: &MountResponse) -> Seen {
    let (absent, there): (Vec<_>, Vec<_>) =
        versions(answer).into_iter().partition(|(_, version)| version == secretmount::mount::ABSENT);
    let ids = |versions: Vec<(String, String)>| versions.into_iter().map(|(id, _)| id).collect();
    assert!(there.iter().all(|(_, version)| !version.is_empty()), "a version is empty");
    Seen::Files { files, with_version: ids(there), absent: ids(absent) }
}

fn text(content: &[u8]) -> String {
    String::from_utf8(content.to_vec()).unwrap_or_else(|_| content.escape_ascii().to_string())
}

/// Every block of YAML that has `objects` is a class without a mistake.
#[test]
fn the_examples_of_the_documents_are_classes() {
    let pages = [include_str!("../../docs/parameters.md"), include_str!("../../docs/migrate-from-eso.md")].concat();
    let blocks = pages.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```")).map(|(block, _)| block);
    let classes: Vec<Parameters> =
        blocks.filter_map(|block| parameters(&serde_yaml::from_str(block).expect(block))).collect();
    assert!(classes.len() >= 5, "only {} examples", classes.len());
    for parameters in classes {
        let permission = FilePermission::from_mode(0o644).0;
        let class = secretmount::spec::aws::Class::parse(&parameters, permission, &Limits::DEFAULT);
        let plan = class.and_then(|class| class.plan(&REGION.parse().expect("a Region")));
        let plan = plan.unwrap_or_else(|error| panic!("{parameters:?}: {error}"));
        assert!(plan.warnings.is_empty(), "{parameters:?}: {:?}", plan.warnings);
    }
}

/// The map that has `objects`, which may be the whole class or a part of it.
fn parameters(value: &Value) -> Option<Parameters> {
    let map = value.as_object()?;
    if map.contains_key("objects") {
        let text = |value: &Value| value.as_str().expect("parameters are text").to_owned();
        return Some(map.iter().map(|(name, value)| (name.clone(), text(value))).collect());
    }
    map.values().find_map(parameters)
}

/// Writes into `FORMATS_DIR`, as `NUMBER.FORMAT`, what becomes of each of the secrets in its `secrets.json`, unless it is refused.
#[tokio::test]
#[ignore = "tests/real/formats runs it, and reads what it writes"]
async fn what_templates_write_for_other_readers() {
    let directory = std::path::PathBuf::from(std::env::var_os("FORMATS_DIR").expect("FORMATS_DIR is set"));
    let secrets = std::fs::read(directory.join("secrets.json")).expect("made before");
    let secrets: Vec<BTreeMap<String, String>> = serde_json::from_slice(&secrets).expect("a list of maps");
    let world = World::driver_writes().await;
    let objects = "[{objectName: shop/made-up, objectType: secretsmanager, extractOnly: true, expandJson: true, templateOnly: true}]";
    for (number, secret) in secrets.iter().enumerate() {
        world.cloud.put_secret(REGION, "shop/made-up", serde_json::to_string(secret).expect("JSON"));
        for format in ["dotenv", "json", "properties", "toml", "yaml"] {
            let class = class(objects).with("templates", &format!("[{{path: made, format: {format}}}]"));
            match world.ask(&class).await {
                Ok(answer) => {
                    let [file] = answer.files.as_slice() else { panic!("{} files", answer.files.len()) };
                    std::fs::write(directory.join(format!("{number}.{format}")), &file.contents).expect("written");
                }
                Err(refused) => assert!(refused.message().starts_with("InvalidTemplate: "), "{refused}"),
            }
        }
    }
}

/// Writes into the directory `made` of each directory in `PEM_DIR` what becomes of its `stored.pem`.
#[tokio::test]
#[ignore = "tests/real/pem runs it, and reads what it writes"]
async fn what_pem_writes_for_other_readers() {
    let directory = std::path::PathBuf::from(std::env::var_os("PEM_DIR").expect("PEM_DIR is set"));
    let world = World::driver_writes().await;
    let objects = "[{objectName: shop/made, objectType: secretsmanager, extractOnly: true, verify: {pem: true, notExpired: true}, \
        pem: {key: key, certificate: certificate, chain: chain, fullChain: fullChain, bundle: bundle}}]";
    for directory in std::fs::read_dir(directory).expect("made before").map(|entry| entry.expect("readable").path()) {
        let Ok(stored) = std::fs::read(directory.join("stored.pem")) else { continue };
        world.cloud.put_secret(REGION, "shop/made", String::from_utf8(stored).expect("PEM is text"));
        let answer = world.ask(&class(objects)).await.unwrap_or_else(|error| panic!("{directory:?}: {error}"));
        std::fs::create_dir_all(directory.join("made")).expect("a directory");
        for file in answer.files {
            std::fs::write(directory.join("made").join(file.path), file.contents).expect("written");
        }
    }
}
