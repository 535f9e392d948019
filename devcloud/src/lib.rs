//! An AWS, a Kubernetes API and an EKS Pod Identity agent in one process, for tests and the demo.
//!
//! It checks what the real ones check: signatures of requests and tokens, trust, permissions, limits.
//! What it does not do is last: all state is memory, and nothing of it deserves protection.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use devcloud::{DevCloud, Options, Role};
//!
//! let cloud = DevCloud::start(Options::default()).await?;
//! let web = "arn:aws:iam::111122223333:role/web";
//! cloud.put_role(Role::new(web).trust_service_account("shop", "web").allow("secretsmanager:Get*", "*"));
//! cloud.put_service_account("shop", "web", &[("eks.amazonaws.com/role-arn", web)]);
//! cloud.put_secret("eu-west-1", "shop/db", "the value");
//! let pod = cloud.put_pod("shop", "web-1", "web", "node-a");
//! let token = cloud.token(&pod, "sts.amazonaws.com");
//! # Ok(())
//! # }
//! ```

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use crate::calls::Call;
pub use crate::faults::{Fault, FaultKind};
pub use crate::iam::{ADMIN_ACCESS_KEY_ID, ADMIN_SECRET_ACCESS_KEY, Allow, Role, Session, Trust};
pub use crate::kubernetes::Pod;
pub use crate::options::{DEFAULT_ISSUER, Options};
pub use crate::proxy::Proxy;
pub use crate::secretsmanager::{Value, Version};
pub use crate::seed::Seed;
pub use crate::token::{Token, TokenOptions};

use crate::http::Front;
use crate::kubernetes::Bearer;
use crate::lock::lock;
use crate::state::Shared;
use crate::tls::Authority;
use crate::token::Subject;

// Imports go one way: `http`; `aws`, `agent` and `control`; `sts` and `seed`; `state`; the services with a store of
// their own (`ssm`, `secretsmanager`, `kubernetes` with `objects` below it); what they check with; and last `exchange`,
// `encoding`, `lock` and `lot`.
mod agent;
mod aws;
mod calls;
mod control;
mod encoding;
mod error;
mod exchange;
mod faults;
mod http;
mod iam;
mod kubernetes;
mod lock;
mod lot;
pub mod node;
mod objects;
mod oidc;
mod options;
mod proxy;
mod secretsmanager;
mod seed;
mod sigv4;
mod ssm;
mod state;
mod sts;
mod tls;
mod token;

/// A running cloud. Clones are the same cloud; it stops when the last one is dropped.
#[derive(Clone, Debug)]
pub struct DevCloud {
    running: Arc<Running>,
}

#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    authority: Arc<Authority>,
    aws: SocketAddr,
    tls: SocketAddr,
    kubernetes: SocketAddr,
    kubernetes_tls: bool,
    agent: SocketAddr,
    stop: watch::Sender<bool>,
    servers: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

impl DevCloud {
    /// Opens all listeners and serves until shut down or dropped.
    pub async fn start(options: Options) -> io::Result<DevCloud> {
        let shared = Arc::new(Shared::new(&options));
        let authority = Authority::new(options.address, options.rsa_certificates).map_err(io::Error::other)?;
        let authority = Arc::new(authority);
        // As the real ones: AWS speaks HTTP/1.1, an API server HTTP/2 with whoever can.
        let tls = authority.server_config(&[http::HTTP_1]).map_err(io::Error::other)?;
        let kubernetes_tls = authority.server_config(&[http::HTTP_2, http::HTTP_1]).map_err(io::Error::other)?;
        let kubernetes_tls = Some(kubernetes_tls).filter(|_| options.kubernetes_tls);
        let (stop, stopped) = watch::channel(false);
        let mut servers = Vec::new();
        let mut addresses = Vec::new();
        let agent_address = options.agent_address.unwrap_or(options.address);
        for (address, port, front, tls) in [
            (options.address, options.aws_port, Front::Aws, None),
            (options.address, options.tls_port, Front::Aws, Some(tls)),
            (options.address, options.kubernetes_port, Front::Kubernetes, kubernetes_tls),
            (agent_address, options.agent_port, Front::Agent, None),
        ] {
            let listener = TcpListener::bind((address, port)).await?;
            addresses.push(reachable(listener.local_addr()?));
            servers.push(http::serve(listener, front, tls, Arc::clone(&shared), stopped.clone()));
        }
        Ok(DevCloud {
            running: Arc::new(Running {
                shared,
                authority,
                aws: addresses[0],
                tls: addresses[1],
                kubernetes: addresses[2],
                kubernetes_tls: options.kubernetes_tls,
                agent: addresses[3],
                stop,
                servers: Mutex::new(servers),
            }),
        })
    }

    /// Closes all listeners and connections, and waits until that is done.
    pub async fn shutdown(&self) {
        self.running.stop.send_replace(true);
        let servers = std::mem::take(&mut *lock(&self.running.servers));
        for server in servers {
            let _ = server.await; // an error means that it ended by a panic, which is an end too
        }
    }

    /// Base URL of all AWS services.
    pub fn aws_url(&self) -> String {
        format!("http://{}", self.running.aws)
    }

    /// Base URL of the Kubernetes API.
    pub fn kubernetes_url(&self) -> String {
        let scheme = if self.running.kubernetes_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.running.kubernetes)
    }

    /// Base URL of the Pod Identity agent; the credentials are at `/v1/credentials`.
    pub fn agent_url(&self) -> String {
        format!("http://{}", self.running.agent)
    }

    /// Where the AWS services are served over TLS, for every `*.amazonaws.com` and its like.
    pub fn tls_address(&self) -> SocketAddr {
        self.running.tls
    }

    /// Where the Kubernetes API is served.
    pub fn kubernetes_address(&self) -> SocketAddr {
        self.running.kubernetes
    }

    /// Certificate of the authority behind all that is served over TLS.
    pub fn ca_pem(&self) -> String {
        self.running.authority.pem()
    }

    /// For a test that itself stands for a server of the cloud: how it greets those who trust [`Self::ca_pem`]. `protocols`
    /// are offered in this order (RFC 7301).
    ///
    /// # Errors
    /// When TLS cannot be set up at all.
    pub fn tls_config(&self, protocols: &[&str]) -> Result<Arc<rustls::ServerConfig>, rustls::Error> {
        self.running.authority.server_config(protocols)
    }

    /// A kubeconfig for the Kubernetes API.
    pub fn kubeconfig(&self) -> String {
        let user = match &lock(&self.shared().cluster).bearer {
            Some(Bearer(token)) => serde_json::json!({"token": token}),
            None => serde_json::json!({}),
        };
        let authority = match self.running.kubernetes_tls {
            true => format!("\n    certificate-authority-data: {}", encoding::base64(self.ca_pem().as_bytes())),
            false => String::new(),
        };
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: devcloud\nclusters:\n- name: devcloud\n  cluster:\n    \
             server: {}{authority}\nusers:\n- name: devcloud\n  user: {user}\ncontexts:\n- name: devcloud\n  context:\n    \
             cluster: devcloud\n    user: devcloud\n",
            self.kubernetes_url()
        )
    }

    /// Issuer of the cluster's tokens.
    pub fn issuer(&self) -> String {
        self.shared().issuer.clone()
    }

    /// The account of secrets, parameters and the admin identity.
    pub fn account(&self) -> String {
        self.shared().account.clone()
    }

    // --- AWS

    /// Adds a role or replaces its policies.
    pub fn put_role(&self, role: Role) {
        lock(&self.shared().aws).iam.put_role(role);
    }

    /// Creates a secret, or adds a version that becomes AWSCURRENT.
    pub fn put_secret(&self, region: &str, name: &str, value: impl Into<Value>) -> Version {
        self.shared().put_secret(region, name, value.into())
    }

    /// The same in any account. `shared` lets roles of other accounts read it by its ARN.
    pub fn put_secret_in(
        &self,
        account: &str,
        region: &str,
        name: &str,
        value: impl Into<Value>,
        shared: bool,
    ) -> Version {
        let mut aws = lock(&self.shared().aws);
        aws.secrets.put(account, region, name, value.into(), Some(shared))
    }

    /// Gives a secret these tags and no others.
    pub fn tag_secret(&self, region: &str, name: &str, tags: &[(&str, &str)]) {
        lock(&self.shared().aws).secrets.tag(&self.shared().account, region, name, owned(tags));
    }

    /// Gives a parameter these tags and no others.
    pub fn tag_parameter(&self, region: &str, name: &str, tags: &[(&str, &str)]) {
        lock(&self.shared().aws).parameters.tag(&self.shared().account, region, name, owned(tags));
    }

    /// Marks a secret for deletion; putting a value calls that off.
    pub fn delete_secret(&self, region: &str, name: &str) {
        let account = &self.shared().account;
        let mut aws = lock(&self.shared().aws);
        aws.secrets.schedule_deletion(account, region, name);
    }

    /// Writes a new version of a parameter and gives its number.
    pub fn put_parameter(&self, region: &str, name: &str, value: &str, secure: bool) -> u64 {
        let kind = if secure { "SecureString" } else { "String" };
        self.shared().put_parameter(region, name, value, kind)
    }

    /// The same in any account. `shared` lets roles of other accounts read it by its ARN, as AWS RAM does.
    pub fn put_parameter_in(&self, account: &str, region: &str, name: &str, value: &str, shared: bool) -> u64 {
        let mut aws = lock(&self.shared().aws);
        aws.parameters.share(account, region, name, shared);
        aws.parameters.put(account, region, name, value, "String")
    }

    /// Moves a label to a version of a parameter.
    pub fn label_parameter(&self, region: &str, name: &str, version: u64, label: &str) {
        let account = &self.shared().account;
        lock(&self.shared().aws).parameters.label(account, region, name, version, label);
    }

    /// Tells IAM, in all accounts, about an OIDC provider and its key set. The cloud's own issuer is
    /// known from the start, for the audience `sts.amazonaws.com`.
    pub fn register_oidc(&self, issuer: &str, audiences: &[&str], jwks: serde_json::Value) {
        let audiences = audiences.iter().map(|&audience| audience.to_owned());
        self.shared().register_oidc(issuer, audiences.collect(), jwks);
    }

    /// Sessions of roles that were handed out, without their keys.
    pub fn sessions(&self) -> Vec<Session> {
        lock(&self.shared().aws).iam.sessions()
    }

    /// Secret keys and tokens of those sessions, for tests that search logs for them.
    pub fn secrets_of_sessions(&self) -> Vec<String> {
        lock(&self.shared().aws).iam.secrets_of_sessions()
    }

    // --- Kubernetes

    /// Creates a service account or replaces its annotations; an existing one keeps its uid, which is returned.
    pub fn put_service_account(&self, namespace: &str, name: &str, annotations: &[(&str, &str)]) -> String {
        lock(&self.shared().cluster).put_service_account(namespace, name, annotations)
    }

    /// Deletes a service account and creates it again, with the new uid that is returned.
    pub fn recreate_service_account(&self, namespace: &str, name: &str, annotations: &[(&str, &str)]) -> String {
        let mut cluster = lock(&self.shared().cluster);
        cluster.delete_service_account(namespace, name);
        cluster.put_service_account(namespace, name, annotations)
    }

    /// Deletes a service account.
    pub fn delete_service_account(&self, namespace: &str, name: &str) {
        lock(&self.shared().cluster).delete_service_account(namespace, name);
    }

    /// Creates a node or replaces its labels.
    pub fn put_node(&self, name: &str, labels: &[(&str, &str)]) {
        lock(&self.shared().cluster).put_node(name, labels);
    }

    /// Creates a pod with a fresh uid, and its service account and node when they are missing.
    pub fn put_pod(&self, namespace: &str, name: &str, service_account: &str, node: &str) -> Pod {
        lock(&self.shared().cluster).put_pod(namespace, name, service_account, node)
    }

    /// Deletes a pod; tokens bound to it no longer count.
    pub fn delete_pod(&self, namespace: &str, name: &str) {
        lock(&self.shared().cluster).delete_pod(namespace, name);
    }

    /// Lets the agent hand out a role to the pods of a service account.
    pub fn associate_pod_identity(&self, namespace: &str, service_account: &str, role_arn: &str) {
        let key = (namespace.to_owned(), service_account.to_owned());
        let mut cluster = lock(&self.shared().cluster);
        cluster.associations.insert(key, role_arn.to_owned());
    }

    /// A token as kubelet has it, good for one hour.
    pub fn token(&self, pod: &Pod, audience: &str) -> Token {
        self.token_with(pod, TokenOptions::audience(audience))
    }

    /// A token that differs from kubelet's.
    pub fn token_with(&self, pod: &Pod, options: TokenOptions) -> Token {
        let keyring = lock(&self.shared().cluster).keyring.clone();
        token::issue(&keyring, &self.shared().issuer, &Subject::from(pod), &options)
    }

    /// A token of a service account that is bound to no pod, as the API server issues it on request.
    pub fn unbound_token(&self, namespace: &str, name: &str, options: TokenOptions) -> Token {
        let uid = self.put_service_account_if_missing(namespace, name);
        let keyring = lock(&self.shared().cluster).keyring.clone();
        let subject =
            Subject { namespace: namespace.into(), service_account: (name.into(), uid), pod: None, node: None };
        token::issue(&keyring, &self.shared().issuer, &subject, &options)
    }

    fn put_service_account_if_missing(&self, namespace: &str, name: &str) -> String {
        let mut cluster = lock(&self.shared().cluster);
        match cluster.service_account_uid(namespace, name) {
            Some(uid) => uid,
            None => cluster.put_service_account(namespace, name, &[]),
        }
    }

    /// A new key signs from now on; the old ones stay published.
    pub fn rotate_keys(&self) {
        lock(&self.shared().cluster).keyring.rotate();
    }

    /// Takes a key out of the key set.
    pub fn withdraw_key(&self, kid: &str) {
        lock(&self.shared().cluster).keyring.withdraw(kid);
    }

    /// Ids of the published keys, oldest first.
    pub fn key_ids(&self) -> Vec<String> {
        lock(&self.shared().cluster).keyring.kids()
    }

    /// The published key set.
    pub fn jwks(&self) -> serde_json::Value {
        lock(&self.shared().cluster).keyring.jwks()
    }

    /// All Events that were created, in their latest form.
    pub fn events(&self) -> Vec<serde_json::Value> {
        lock(&self.shared().cluster).events()
    }

    /// Puts an object at its path of the Kubernetes API, such as `/apis/apps/v1/namespaces/shop/daemonsets/web`, where it is
    /// read, listed and patched. Where the cloud has one of its own there, this one is seen instead.
    pub fn put_object(&self, path: &str, object: serde_json::Value) {
        lock(&self.shared().cluster).objects.put(path, object);
    }

    /// What was put at a path, as it is now.
    pub fn object(&self, path: &str) -> Option<serde_json::Value> {
        lock(&self.shared().cluster).objects.get(path).cloned()
    }

    /// Takes it away.
    pub fn remove_object(&self, path: &str) {
        lock(&self.shared().cluster).objects.remove(path);
    }

    /// From now on reviews say that a user may not do this, such as `create tokenreviews` or `get /openid/v1/jwks`. What is
    /// asked is answered all the same.
    pub fn deny(&self, user: &str, what: &str) {
        lock(&self.shared().cluster).objects.deny(user, what);
    }

    /// From now on the Kubernetes API wants this bearer token; the kubeconfig has it.
    pub fn require_kubernetes_token(&self, token: &str) {
        lock(&self.shared().cluster).bearer = Some(Bearer(token.to_owned()));
    }

    // --- observation and faults

    /// All calls since the log was cleared, in the order of their arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.shared().calls.all()
    }

    /// Forgets all calls so far.
    pub fn clear_calls(&self) {
        self.shared().calls.clear();
    }

    /// How many calls of this api have arrived since the log was cleared.
    pub fn count(&self, api: &str) -> usize {
        self.shared().calls.count(api)
    }

    /// Ends once at least one call of this api has arrived since the log was cleared.
    pub async fn wait_for_call(&self, api: &str) {
        self.shared().calls.wait_for(api).await;
    }

    /// Lets every call wait so long before it is answered.
    pub fn set_latency(&self, latency: Duration) {
        self.shared().faults.set_latency(latency);
    }

    /// The same for one api, or for all of a service that have none of their own.
    pub fn set_latency_of(&self, api: &str, latency: Duration) {
        self.shared().faults.set_latency_of(api, latency);
    }

    /// Refuses the calls of an api that are more than so many a second, as AWS throttles them. One second's may come at once.
    pub fn set_quota(&self, api: &str, a_second: f64) {
        self.shared().faults.set_quota(api, a_second);
    }

    /// Adds a fault to those in force.
    pub fn inject(&self, fault: Fault) {
        self.shared().faults.inject(fault);
    }

    /// Ends all faults; latency stays.
    pub fn clear_faults(&self) {
        self.shared().faults.clear();
    }

    /// Brings in all that a seed lists.
    pub fn sow(&self, seed: Seed) {
        seed.sow(self.shared());
    }

    fn shared(&self) -> &Shared {
        &self.running.shared
    }
}

/// An address that a client can use, also when the listener takes all.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip().is_unspecified() {
        true => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port()),
        false => address,
    }
}
fn owned(tags: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
