//! A node with a pod, the provider's process and a driver, on an embedded cloud.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use devcloud::node::v1alpha1::MountResponse;
use devcloud::node::{Class, Driver, Mount, Node, Provider, Volume};
use devcloud::{DevCloud, Options, Pod, Proxy, Role};
use tonic::{Code, Status};

pub const REGION: &str = "eu-west-1";
pub const AUDIENCE: &str = "sts.amazonaws.com";
pub const POD_IDENTITY_AUDIENCE: &str = "pods.eks.amazonaws.com";
pub const ROLE: &str = "arn:aws:iam::111122223333:role/web";
pub const ROLE_ANNOTATION: &str = "eks.amazonaws.com/role-arn";
/// The log line that says that the socket is there.
pub const READY: &str = "\"message\":\"serving\"";

/// One node, one pod, one provider.
pub struct World {
    pub cloud: DevCloud,
    pub node: Node,
    pub pod: Pod,
    pub provider: Provider,
    pub driver: Driver,
}

impl World {
    /// With the provider writing.
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With the driver writing, which needs no rights.
    pub async fn driver_writes() -> Self {
        Self::with(&["--driver-writes-secrets=true"]).await
    }

    pub async fn with(arguments: &[&str]) -> Self {
        Self::on(cloud().await, arguments, &[]).await
    }

    pub async fn on(cloud: DevCloud, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let node = Node::new().expect("a node");
        let provider = start(&cloud, &node, arguments, environment);
        Self::of(cloud, node, provider).await
    }

    /// With the provider writing, and with the capability to give files to others.
    pub async fn that_may_chown() -> Self {
        let (cloud, node) = (cloud().await, Node::new().expect("a node"));
        let provider = start_by(&without_capabilities_but(",+chown"), &cloud, &node, &[], &[]);
        Self::of(cloud, node, provider).await
    }

    async fn of(cloud: DevCloud, node: Node, provider: Provider) -> Self {
        let pod = cloud.put_pod("shop", "web-0", "web", "node-a");
        let driver = provider.driver(READY).await.expect("the provider serves");
        Self { cloud, node, pod, provider, driver }
    }

    /// With the driver writing, and as before AWS itself: the provider makes up all host names, and a proxy leads them to the
    /// cloud. So the Region of every call is known.
    pub async fn behind_a_proxy() -> (Self, Proxy) {
        Self::behind_a_proxy_with(&[]).await
    }

    pub async fn behind_a_proxy_with(arguments: &[&str]) -> (Self, Proxy) {
        Self::behind_a_proxy_on(cloud().await, arguments).await
    }

    pub async fn behind_a_proxy_on(cloud: DevCloud, arguments: &[&str]) -> (Self, Proxy) {
        let proxy = Proxy::to(&cloud).await.expect("the proxy starts");
        let authority = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(authority.path(), cloud.ca_pem()).expect("written");
        let environment = [
            ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
            ("AWS_CA_BUNDLE", authority.path().to_str().expect("UTF-8")),
            ("HTTPS_PROXY", &proxy.url()),
        ];
        let arguments = [&["--driver-writes-secrets=true"], arguments].concat();
        (Self::on(cloud, &arguments, &environment).await, proxy)
    }

    /// A mount of `class` for the pod, with its token.
    pub fn mount_of(&self, class: &Class, target: &Path) -> Mount {
        // As with the CSIDriver that the official provider asks for.
        let tokens =
            [AUDIENCE, POD_IDENTITY_AUDIENCE].map(|audience| (audience, self.cloud.token(&self.pod, audience)));
        let mount = Mount::new(&self.pod, class, target);
        tokens.iter().fold(mount, |mount, (audience, token)| mount.token(audience, token))
    }

    pub async fn mount(&self, class: &Class, volume: &Volume) -> Result<MountResponse, Status> {
        self.driver.mount(&self.mount_of(class, volume.path())).await
    }

    pub fn publish(&self) -> Volume {
        self.node.publish(&self.pod, "secrets").expect("a tmpfs")
    }

    /// A pod whose service account nobody has seen before, with the same role: nothing is remembered for it.
    pub fn newcomer(&self) -> Pod {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("web-new-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.cloud.put_service_account("shop", &name, &[(ROLE_ANNOTATION, ROLE)]);
        self.cloud.associate_pod_identity("shop", &name, ROLE);
        self.cloud.put_pod("shop", &name, &name, "node-a")
    }

    /// The same as [`World::ask`], for another pod.
    pub async fn ask_as(&self, pod: &Pod, class: &Class) -> Result<MountResponse, Status> {
        let target = self.node.unmounted(pod, "secrets").expect("a directory");
        self.driver.mount(&mount_for(&self.cloud, pod, class, &target)).await
    }

    /// Mounts where only the answer counts: the driver would write.
    pub async fn ask(&self, class: &Class) -> Result<MountResponse, Status> {
        let target = self.node.unmounted(&self.pod, "secrets").expect("a directory");
        self.driver.mount(&self.mount_of(class, &target)).await
    }
}

/// A mount for a pod, with its tokens, as with the CSIDriver that the official provider asks for.
pub fn mount_for(cloud: &DevCloud, pod: &Pod, class: &Class, target: &Path) -> Mount {
    let tokens = [AUDIENCE, POD_IDENTITY_AUDIENCE].map(|audience| (audience, cloud.token(pod, audience)));
    let mount = Mount::new(pod, class, target);
    tokens.iter().fold(mount, |mount, (audience, token)| mount.token(audience, token))
}

/// A cloud in which service account shop/web has a role that may read secrets and parameters below `shop/`.
pub async fn cloud() -> DevCloud {
    cloud_with(Options::default()).await
}

pub async fn cloud_with(options: Options) -> DevCloud {
    let cloud = DevCloud::start(options).await.expect("the cloud starts");
    let role = Role::new(ROLE)
        .trust_service_account("shop", "web")
        .trust_service_account("shop", "web-*")
        .trust_pod_identity()
        .allow("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:*:*:secret:shop/*")
        .allow("ssm:GetParameters", "arn:aws:ssm:*:*:parameter/shop/*")
        .allow("secretsmanager:ListSecrets", "*")
        .allow("secretsmanager:ListSecretVersionIds", "arn:aws:secretsmanager:*:*:secret:shop/*")
        .allow("ssm:GetParametersByPath", "arn:aws:ssm:*:*:parameter/shop/*")
        .allow("ssm:DescribeParameters", "*");
    cloud.put_role(role);
    cloud.put_node("node-a", &[("topology.kubernetes.io/region", REGION)]);
    cloud.put_service_account("shop", "web", &[(ROLE_ANNOTATION, ROLE)]);
    cloud
}

/// Starts the provider's process on a node. Where this process is root, that one is root without any capability.
pub fn start(cloud: &DevCloud, node: &Node, arguments: &[&str], environment: &[(&str, &str)]) -> Provider {
    let by = if rustix::process::geteuid().is_root() { without_capabilities_but("") } else { Vec::new() };
    start_by(&by, cloud, node, arguments, environment)
}

/// A command that runs another one without capabilities, but for those in the words of `setpriv(1)`.
pub fn without_capabilities_but(kept: &str) -> Vec<String> {
    ["setpriv", &format!("--bounding-set=-all{kept}"), "--inh-caps=-all"].map(str::to_owned).to_vec()
}

/// The same, run by a command that takes another one as its last arguments, and becomes it.
pub fn start_by(
    command: &[String],
    cloud: &DevCloud,
    node: &Node,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Provider {
    let binary = env!("CARGO_BIN_EXE_secretmount");
    let kubelet = format!("--kubelet-dir={}", node.kubelet_dir().display());
    let volume = format!("--provider-volume={}", node.providers_dir().display());
    let admin = admin_socket(node);
    std::fs::create_dir_all(admin.parent().expect("in a directory")).expect("made");
    let admin = format!("--admin-socket={}", admin.display());
    // Tests see what AWS holds and does now, unless they say otherwise.
    let is_said = |flag: &&&str| {
        let name = flag.split('=').next().unwrap_or(flag);
        arguments.iter().any(|argument| argument.starts_with(name))
    };
    let at_once: Vec<&str> =
        ["--max-age=0s", "--failed-refresh-pause=0s"].iter().filter(|flag| !is_said(flag)).copied().collect();
    let admin: Vec<&str> = [admin.as_str()].iter().filter(|flag| !is_said(flag)).copied().collect();
    let arguments = [&["serve", &kubelet, &volume], &admin[..], &at_once[..], arguments].concat();
    let command = [command.iter().map(String::as_str).collect(), vec![binary], arguments].concat();
    let (program, arguments) = command.split_first().expect("at least the binary");
    Provider::start(Path::new(program), arguments, cloud, node, "aws.sock", environment).expect("the provider starts")
}

/// Where operators ask the provider of a node.
pub fn admin_socket(node: &Node) -> PathBuf {
    node.scratch().join("operators/admin.sock")
}

/// A class with a Region.
pub fn class(objects: &str) -> Class {
    Class::of("shop-db", objects).with("region", REGION)
}

/// A class of whole secrets by name.
pub fn class_of(names: &[&str]) -> Class {
    let object = |name: &&str| format!("- {{objectName: {name}, objectType: secretsmanager}}\n");
    class(&names.iter().map(object).collect::<String>())
}

/// What an answer says of versions, by file.
pub fn versions(answer: &MountResponse) -> Vec<(String, String)> {
    answer.object_version.iter().map(|version| (version.id.clone(), version.version.clone())).collect()
}

/// Asserts a code and that the message starts with the reason and holds each of the texts.
#[track_caller]
pub fn assert_refused(result: Result<MountResponse, Status>, code: Code, reason: &str, texts: &[&str]) {
    let status = result.expect_err("refused");
    let message = status.message();
    assert_eq!(status.code(), code, "{message}");
    assert!(message.starts_with(&format!("{reason}: ")), "{message}");
    for text in texts {
        assert!(message.contains(text), "{text:?} is not in {message}");
    }
    assert!(message.len() <= 700 && !message.contains('\n'), "{message}");
}

/// Codes that kubelet takes for "perhaps still running".
pub fn is_final(code: Code) -> bool {
    let open = [Code::Cancelled, Code::DeadlineExceeded, Code::Unavailable, Code::ResourceExhausted, Code::Aborted];
    !HashSet::from(open).contains(&code)
}

/// Whether this process may mount a tmpfs. Where it may not, the calling test is run once more in a namespace of its own, in
/// which it may; and where that is forbidden too, it says that it is skipped.
pub fn may_mount() -> bool {
    static MAY: LazyLock<bool> = LazyLock::new(|| {
        let node = Node::new().expect("a node");
        let pod = Pod {
            namespace: String::new(),
            name: String::new(),
            uid: "probe".into(),
            service_account: String::new(),
            service_account_uid: String::new(),
            node: String::new(),
            node_uid: String::new(),
        };
        node.publish(&pod, "probe").is_ok()
    });
    if *MAY {
        return true;
    }
    again_in(&["--user", "--map-root-user", "--mount"], "to mount a tmpfs");
    false
}

/// Whether this process may give files to other users; where it may not, it says that the calling test is skipped.
pub fn may_chown() -> bool {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let may = std::os::unix::fs::chown(file.path(), Some(1001), Some(2000)).is_ok();
    if !may {
        skip("to give files to other users; run it as root");
    }
    may
}

/// Whether this process has a network of its own, with nothing but a loopback in it. Where it has none, the calling test is
/// run once more in one, and where that is forbidden, it says that it is skipped.
pub fn has_own_network() -> bool {
    if std::env::var_os(INSIDE).is_some() {
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip of iproute2 is there");
        assert!(up.success(), "the loopback comes up");
        return true;
    }
    if Command::new("ip").arg("-Version").output().is_err() {
        skip("the command ip of iproute2");
        return false;
    }
    let root = rustix::process::geteuid().is_root();
    let namespaces: &[&str] =
        if root { &["--net", "--mount"] } else { &["--user", "--map-root-user", "--net", "--mount"] };
    again_in(namespaces, "a network of its own");
    false
}

/// Set for a test that runs in namespaces of its own.
const INSIDE: &str = "SECRETMOUNT_TEST_INSIDE";

/// Says that the calling test is skipped, past the harness, which would swallow it.
pub fn skip(what: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {}: it needs {what}", this_test());
}

fn this_test() -> String {
    std::thread::current().name().expect("the harness names threads after tests").to_owned()
}

/// Runs the calling test once more, in namespaces.
fn again_in(namespaces: &[&str], what: &str) {
    let again = Command::new("unshare")
        .args(namespaces)
        .arg(std::env::current_exe().expect("known"))
        .args(["--exact", &this_test()])
        .env(INSIDE, "1")
        .output();
    match again {
        Ok(output) if output.status.success() => {}
        Ok(output) if !output.stdout.is_empty() => panic!("{}", String::from_utf8_lossy(&output.stdout)),
        _ => skip(&format!("{what}; run it as root")),
    }
}

/// Leaves a test that cannot mount here; see [`may_mount`].
macro_rules! needs_mounts {
    () => {
        if !crate::support::may_mount() {
            return;
        }
    };
}
pub(crate) use needs_mounts;
