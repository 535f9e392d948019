//! The steps of the demo, in order.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use devcloud::node::v1alpha1::MountResponse;
use devcloud::node::{Class, Driver, Mount, Node, Provider, Status, Volume};
use devcloud::{DevCloud, Options, Pod, Role, TokenOptions};

use crate::SERVE;
use crate::report::Report;

const REGION: &str = "eu-west-1";
const AUDIENCE: &str = "sts.amazonaws.com";
const POD_IDENTITY_AUDIENCE: &str = "pods.eks.amazonaws.com";
const ROLE: &str = "arn:aws:iam::111122223333:role/shop-web";
const STEPS: usize = 7;

/// The classes that the documentation shows.
const EXAMPLES: [&str; 4] = [
    include_str!("../../deploy/examples/shop-db.yaml"),
    include_str!("../../deploy/examples/shop-nested.yaml"),
    include_str!("../../deploy/examples/shop-pinned.yaml"),
    include_str!("../../deploy/examples/shop-config.yaml"),
];
/// AWS ends the ARN of each secret in six characters of its own; these stand in the example.
const SUFFIX_OF_EXAMPLE: &str = "shop/api-key-AbCdEf";

/// Whether this process may mount a tmpfs.
pub fn may_mount() -> bool {
    let probe = |node: Node| node.publish(&nobody(), "probe").is_ok();
    Node::new().is_ok_and(probe)
}

fn nobody() -> Pod {
    let none = String::new;
    let (namespace, name, service_account, service_account_uid) = (none(), none(), none(), none());
    Pod { namespace, name, uid: "probe".into(), service_account, service_account_uid, node: none(), node_uid: none() }
}

/// What a pod's volume is here: a tmpfs into which the provider writes, or a directory into which we write, as the driver.
enum Place {
    Tmpfs(Volume),
    Directory(PathBuf),
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Self::Tmpfs(volume) => volume.path(),
            Self::Directory(path) => path,
        }
    }
}

struct Walk {
    cloud: DevCloud,
    node: Node,
    pod: Pod,
    driver: Driver,
    mounts: bool,
}

/// Runs all steps.
///
/// # Errors
/// The first step that does not do what it should.
pub async fn run(report: Report, keep: bool) -> anyhow::Result<()> {
    let mounts = may_mount();
    let started = Instant::now();
    let (cloud, pod) = cloud().await?;
    let node = Node::new()?;
    let provider = provider(&cloud, &node, mounts)?;
    let driver = provider.driver("\"message\":\"serving\"").await.context("the provider did not start")?;
    let walk = Walk { cloud, node, pod, driver, mounts };
    let version = walk.driver.version().await?;
    report.step(
        1,
        STEPS,
        "token issuer, AWS endpoints, provider socket",
        &format!("ready in {}", since(started)),
        &[format!(
            "{} {} answers {} on {}",
            version.runtime_name,
            version.runtime_version,
            version.version,
            provider.socket().display()
        )],
    );
    if !mounts {
        report.note("       No tmpfs can be mounted here, so a directory stands in, and the driver's side writes the files into it.");
    }

    let places = walk.mount_examples(&report).await?;
    walk.mount_again(&report, &places[0]).await?;
    walk.rotate(&report, &places[0]).await?;
    walk.be_refused(&report, &places[0]).await?;
    walk.mistype(&report, &places[0]).await?;

    if keep {
        walk.stay(&report, &provider).await?;
    }
    let mut provider = provider;
    let status = provider.terminate().await?;
    ensure!(status.success(), "the provider ended with {status}");
    Ok(())
}

/// An account with the secrets of the examples, and a pod whose service account may read them.
async fn cloud() -> anyhow::Result<(DevCloud, Pod)> {
    let cloud = DevCloud::start(Options::default()).await?;
    let role = Role::new(ROLE)
        .trust_service_account("shop", "web")
        .trust_pod_identity()
        .allow("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:*:*:secret:shop/*")
        .allow("ssm:GetParameters", "arn:aws:ssm:*:*:parameter/shop/*");
    cloud.put_role(role);
    cloud.associate_pod_identity("shop", "web", ROLE);
    cloud.put_node("node-a", &[("topology.kubernetes.io/region", REGION)]);
    cloud.put_service_account("shop", "web", &[("eks.amazonaws.com/role-arn", ROLE)]);
    cloud.put_secret(REGION, "shop/db", db("correct horse"));
    cloud.put_secret(REGION, "shop/tls-key", "k".repeat(1_704));
    cloud.put_secret(REGION, "shop/tls-cert", "c".repeat(1_220));
    cloud.put_secret(REGION, "shop/session-key", "the first");
    cloud.put_secret(REGION, "shop/session-key", "the second");
    for region in [REGION, "eu-central-1"] {
        for (name, value) in [
            ("/shop/host", "db.shop"),
            ("/shop/host", "db2.shop"),
            ("/shop/standby/host", "db.standby"),
            ("/shop/flags", r#"{"colour": "green"}"#),
        ] {
            cloud.put_parameter(region, name, value, false);
        }
    }
    let pod = cloud.put_pod("shop", "web-0", "web", "node-a");
    Ok((cloud, pod))
}

fn db(password: &str) -> String {
    serde_json::json!({"username": "alice", "password": password, "host": "db.shop", "port": 5432}).to_string()
}

/// This program once more, as the product.
fn provider(cloud: &DevCloud, node: &Node, mounts: bool) -> anyhow::Result<Provider> {
    let arguments = [
        "serve".to_owned(),
        "--max-age=0s".to_owned(), // the walk does not wait for what is a minute old,
        "--failed-refresh-pause=0s".to_owned(), // or has failed of late
        format!("--provider-volume={}", node.providers_dir().display()),
        format!("--kubelet-dir={}", node.kubelet_dir().display()),
        format!("--driver-writes-secrets={}", !mounts),
        format!("--pod-identity-endpoint={}/v1/credentials", cloud.agent_url()),
    ];
    Ok(Provider::start(&std::env::current_exe()?, &arguments, cloud, node, "aws.sock", &[(SERVE, "1")])?)
}

impl Walk {
    async fn mount_examples(&self, report: &Report) -> anyhow::Result<Vec<Place>> {
        let api_key = self.cloud.put_secret(REGION, "shop/api-key", vec![0x7f; 32]).arn;
        let suffix = api_key.rsplit(':').next().context("an ARN ends in a name")?;
        let mut places = Vec::new();
        for example in EXAMPLES {
            let class =
                Class::from_manifest(&example.replace(SUFFIX_OF_EXAMPLE, suffix)).map_err(anyhow::Error::msg)?;
            let place = self.publish(&class.name)?;
            let (started, before) = (Instant::now(), self.aws_calls());
            self.mount(&class, &place).await.with_context(|| format!("class {}", class.name))?;
            let result = format!("mounted in {}, {} AWS calls", since(started), self.aws_calls() - before);
            let what = format!("pod shop/web-0 asks for class {:?}", class.name);
            report.step(2, STEPS, &what, &result, &listing(&place)?);
            places.push(place);
        }
        Ok(places)
    }

    async fn mount_again(&self, report: &Report, place: &Place) -> anyhow::Result<()> {
        let (before, calls) = (inode(place, "password")?, self.aws_calls());
        self.mount(&shop_db()?, place).await?;
        let kept = if self.mounts {
            ensure!(before == inode(place, "password")?, "an unchanged file was written again");
            "unchanged, nothing rewritten"
        } else {
            "the same files"
        };
        let result = format!("{kept}, {} AWS calls", self.aws_calls() - calls);
        report.step(3, STEPS, "the same pod again, as at every refresh", &result, &[]);
        Ok(())
    }

    async fn rotate(&self, report: &Report, place: &Place) -> anyhow::Result<()> {
        let before = self.mount(&shop_db()?, place).await?.object_version;
        self.cloud.put_secret(REGION, "shop/db", db("battery staple"));
        let after = self.mount(&shop_db()?, place).await?.object_version;
        let changed: Vec<String> =
            after.into_iter().filter(|version| !before.contains(version)).map(|version| version.id).collect();
        let content = fs::read(place.path().join("password"))?;
        ensure!(content == b"battery staple", "the new password did not arrive");
        let result = match self.mounts {
            true => format!("{} files changed over in one rename", changed.len()),
            false => format!("{} files have a new version", changed.len()),
        };
        report.step(4, STEPS, "the password is rotated in AWS; refresh", &result, &[changed.join("  ")]);
        Ok(())
    }

    async fn be_refused(&self, report: &Report, place: &Place) -> anyhow::Result<()> {
        let other = self.cloud.put_pod("shop", "web-1", "web", "node-a");
        for (number, what, token) in [
            (
                5,
                "a forged token asks for the same files",
                self.cloud.token_with(&self.pod, TokenOptions::audience(AUDIENCE).forged()),
            ),
            (6, "another pod's token asks for the same files", self.cloud.token(&other, AUDIENCE)),
        ] {
            let calls = self.aws_calls();
            let mount = Mount::new(&self.pod, &shop_db()?, place.path()).token(AUDIENCE, &token);
            let Err(status) = self.driver.mount(&mount).await else { bail!("{what}, and gets them") };
            ensure!(self.aws_calls() == calls, "AWS was asked for somebody who proved nothing");
            let (reason, why) = status.message().split_once(": ").unwrap_or(("", status.message()));
            report.step(number, STEPS, what, &format!("refused: {reason}, 0 AWS calls"), &[why.to_owned()]);
        }
        Ok(())
    }

    async fn mistype(&self, report: &Report, place: &Place) -> anyhow::Result<()> {
        let mut class = shop_db()?;
        let objects = class.parameters.entry("objects".into()).or_default();
        *objects = objects.replace("\"username\"", "\"usrname\"");
        let Err(status) = self.mount(&class, place).await else { bail!("a class with a typo was mounted") };
        let status = status.downcast::<Status>()?;
        let (reason, why) = status.message().split_once(": ").unwrap_or(("", status.message()));
        ensure!(fs::read(place.path().join("password"))? == b"battery staple", "the good files did not stay");
        let details = [why.to_owned(), "the files of before are still there".to_owned()];
        report.step(7, STEPS, "a class with a typo", &format!("explained: {reason}"), &details);
        Ok(())
    }

    async fn stay(&self, report: &Report, provider: &Provider) -> anyhow::Result<()> {
        let socket = provider.socket().display();
        report.note(&format!("  socket   {socket}"));
        report.note(&format!("  volumes  {}", self.node.kubelet_dir().join("pods").join(&self.pod.uid).display()));
        report.note(&format!(
            "  AWS      {}   calls so far: {}/_devcloud/calls",
            self.cloud.aws_url(),
            self.cloud.aws_url()
        ));
        report.note(&format!(
            "  call it  grpcurl -plaintext -import-path proto -proto v1alpha1.proto -unix {socket} v1alpha1.CSIDriverProvider/Version"
        ));
        report.note("  Ctrl-C ends everything.");
        tokio::signal::ctrl_c().await?;
        Ok(())
    }

    fn publish(&self, name: &str) -> anyhow::Result<Place> {
        Ok(match self.mounts {
            true => Place::Tmpfs(self.node.publish(&self.pod, name)?),
            false => Place::Directory(self.node.unmounted(&self.pod, name)?),
        })
    }

    async fn mount(&self, class: &Class, place: &Place) -> anyhow::Result<MountResponse> {
        let mut mount = Mount::new(&self.pod, class, place.path());
        for audience in [AUDIENCE, POD_IDENTITY_AUDIENCE] {
            mount = mount.token(audience, &self.cloud.token(&self.pod, audience));
        }
        let answer = self.driver.mount(&mount).await?;
        // The driver's part, where it writes. It needs no care: this is a directory of the demo's own.
        for file in &answer.files {
            let path = place.path().join(&file.path);
            fs::create_dir_all(path.parent().context("a file is in a directory")?)?;
            fs::write(&path, &file.contents)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(file.mode.cast_unsigned()))?;
        }
        Ok(answer)
    }

    fn aws_calls(&self) -> usize {
        self.cloud.calls().iter().filter(|call| call.service != "kubernetes").count()
    }
}

fn shop_db() -> anyhow::Result<Class> {
    Class::from_manifest(EXAMPLES[0]).map_err(anyhow::Error::msg)
}

/// Names and sizes of the files, never their content.
fn listing(place: &Place) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut directories = vec![place.path().to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            let name = path.strip_prefix(place.path())?.display().to_string();
            if name.starts_with("..") {
                continue;
            }
            let meta = fs::metadata(&path)?;
            match meta.is_dir() {
                true => directories.push(path),
                false => {
                    let mode = meta.permissions().mode() & 0o777;
                    lines.push(format!("{name:24} {mode:04o}  {:>5} bytes", meta.len()));
                }
            }
        }
    }
    lines.sort();
    Ok(lines)
}

fn inode(place: &Place, name: &str) -> anyhow::Result<u64> {
    Ok(fs::metadata(place.path().join(name))?.ino())
}

fn since(started: Instant) -> String {
    format!("{} ms", started.elapsed().as_millis())
}
