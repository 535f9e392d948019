//! The cloud that all contenders meet: AWS as it looks from a node, with secrets, and as many pods as are asked for.

use std::fs;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use devcloud::node::{Class, Mount, Node, Volume};
use devcloud::{Call, DevCloud, Options, Pod, Role, TokenOptions};
use tempfile::TempDir;

use crate::namespaces;

pub const REGION: &str = "eu-west-1";
pub const STANDBY: &str = "eu-central-1";
/// What the CSIDriver object of the official provider asks for.
const AUDIENCES: [&str; 2] = ["sts.amazonaws.com", "pods.eks.amazonaws.com"];
const NODE: &str = "node-a";

/// As many as the largest class asks for.
const SECRETS: usize = 100;
const VALUE: &str = "correct horse battery staple, and as long as a password is";

pub struct World {
    pub cloud: DevCloud,
    scratch: TempDir,
    accounts: AtomicUsize,
    newest_connection: AtomicU64,
}

/// A pod that waits for its volume.
pub struct Guest {
    pub mount: Mount,
    /// Unmounted when the pod goes.
    volume: Volume,
    secrets: usize,
}

impl Guest {
    /// Whether a mount has left all files that the class asks for, with what AWS holds.
    pub fn check(&self) -> Result<(), String> {
        let files = self.volume.files().map_err(|error| error.to_string())?;
        let whole = files.values().filter(|file| file.content == VALUE.as_bytes()).count();
        match whole == self.secrets {
            true => Ok(()),
            false => Err(format!("{whole} of {} files are there", self.secrets)),
        }
    }
}

impl World {
    /// Starts the cloud and bends this process's namespaces so that it is found.
    pub async fn new() -> anyhow::Result<Self> {
        let scratch = tempfile::tempdir()?;
        namespaces::bring_up_loopback()?;
        let options = Options { tls_port: 443, kubernetes_tls: true, rsa_certificates: true, ..Options::default() };
        let cloud = DevCloud::start(options).await.context("the cloud starts")?;
        cloud.put_node(NODE, &[("topology.kubernetes.io/region", REGION)]);
        for region in [REGION, STANDBY] {
            for number in 0..SECRETS {
                cloud.put_secret(region, &secret(number), VALUE);
            }
        }
        let hosts = [REGION, STANDBY]
            .map(|region| ["secretsmanager", "sts"].map(|service| format!("{service}.{region}.amazonaws.com")));
        namespaces::lead_home(hosts.as_flattened(), scratch.path())?;
        let options = TokenOptions::audience("https://kubernetes.default.svc");
        let token = cloud.unbound_token("kube-system", "provider", options);
        namespaces::put_service_account(token.as_str(), &cloud.ca_pem())?;
        fs::write(scratch.path().join("authorities.pem"), cloud.ca_pem())?;
        fs::create_dir(scratch.path().join("no-authorities"))?;
        Ok(Self { cloud, scratch, accounts: AtomicUsize::default(), newest_connection: AtomicU64::default() })
    }

    /// What a pod of the node has in its environment, and whom to trust. `AWS_CA_BUNDLE` would do too, but some SDKs read
    /// it with each mount, which nobody's node does.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let file = |name: &str| self.scratch.path().join(name).display().to_string();
        let kubernetes = self.cloud.kubernetes_address();
        vec![
            ("KUBERNETES_SERVICE_HOST", kubernetes.ip().to_string()),
            ("KUBERNETES_SERVICE_PORT", kubernetes.port().to_string()),
            ("HOME", self.scratch.path().display().to_string()),
            ("SSL_CERT_FILE", file("authorities.pem")),
            ("SSL_CERT_DIR", file("no-authorities")),
        ]
    }

    /// How long the services take for each answer.
    pub fn set_latency(&self, aws: Duration, kubernetes: Duration) {
        self.cloud.set_latency(aws);
        self.cloud.set_latency_of("kubernetes", kubernetes);
    }

    /// Pods whose service accounts and roles nobody has seen before, so that nothing is remembered for them.
    pub fn strangers(&self, count: usize, class: &Class, node: &Node) -> anyhow::Result<Vec<Guest>> {
        (0..count).map(|_| self.guest(&self.new_account(), 0, class, node)).collect()
    }

    /// Pods of one service account that nobody has seen before.
    pub fn siblings(&self, count: usize, class: &Class, node: &Node) -> anyhow::Result<Vec<Guest>> {
        let account = self.new_account();
        (0..count).map(|number| self.guest(&account, number, class, node)).collect()
    }

    /// With a role of its own.
    fn new_account(&self) -> String {
        let account = format!("web-{}", self.accounts.fetch_add(1, Ordering::Relaxed));
        let arn = format!("arn:aws:iam::{}:role/{account}", self.cloud.account());
        let role = ["GetSecretValue", "BatchGetSecretValue"]
            .iter()
            .fold(Role::new(&arn), |role, action| role.allow(format!("secretsmanager:{action}"), "*"));
        self.cloud.put_role(role.trust_service_account("shop", &account));
        self.cloud.put_service_account("shop", &account, &[("eks.amazonaws.com/role-arn", &arn)]);
        account
    }

    fn guest(&self, account: &str, number: usize, class: &Class, node: &Node) -> anyhow::Result<Guest> {
        let pod: Pod = self.cloud.put_pod("shop", &format!("{account}-{number}"), account, NODE);
        let volume = node.publish(&pod, "secrets").context("a tmpfs")?;
        let token = |mount: Mount, audience| mount.token(audience, &self.cloud.token(&pod, audience));
        let mount = AUDIENCES.into_iter().fold(Mount::into(&pod, class, &volume), token);
        let secrets = class.parameters["objects"].lines().count();
        Ok(Guest { mount, volume, secrets })
    }

    /// All calls since this was asked last.
    pub fn take_calls(&self) -> Vec<Call> {
        let calls = self.cloud.calls();
        self.cloud.clear_calls();
        if let Some(newest) = calls.iter().map(|call| call.connection).max() {
            self.newest_connection.fetch_max(newest, Ordering::Relaxed);
        }
        calls
    }

    /// The newest connection that a call has come over. Forgets all calls.
    pub fn newest_connection(&self) -> u64 {
        self.take_calls();
        self.newest_connection.load(Ordering::Relaxed)
    }
}

/// A class of so many secrets, in the Region.
pub fn class_of(secrets: usize) -> Class {
    class_without_region(secrets).with("region", REGION)
}

/// The same, where the node's label has to say which Region it is.
pub fn class_without_region(secrets: usize) -> Class {
    let object = |number| format!("- {{objectName: {}, objectType: secretsmanager}}\n", secret(number));
    Class::of("shop", &(0..secrets).map(object).collect::<String>())
}

fn secret(number: usize) -> String {
    format!("shop/secret-{number}")
}
