//! `secretmount serve`: puts the rooms together and runs until it is told to stop.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::reach::reach;
use crate::admin::{Health, Numbers, Observe, listen};
use crate::aws::Document;
use crate::clock::SystemClock;
use crate::cluster::{ClusterError, KubernetesApi, KubernetesClient};
use crate::config::{Settings, TokenKeys, TokenVerification};
use crate::credentials::aws::{Endpoint, Exchange};
use crate::grpc::v1alpha1::csi_driver_provider_server::CsiDriverProviderServer;
use crate::grpc::{self, ProviderService, Shutdown};
use crate::hardening::{Confined, confine};
use crate::identity::{Expectation, Identity, KeySource, PublishedKeys};
use crate::mount::{Mounter, Refreshes, Writing};
use crate::plan::aws::Region;
use crate::policy::aws::Policy;
use crate::provider::Provider;
use crate::provider::aws::Aws;
use crate::secrets::aws::AwsBackend;
use crate::secrets::{CallsAtOnce, Share};
use crate::startup_taint::StartupTaint;
use crate::telemetry::{self, Log, metrics};
use crate::volume::Volumes;

/// Everything that blocks has threads of its own. With two for the rest a node's start took more CPU and no less time.
const THREADS: usize = 1;
/// Names are looked up on threads of their own, and where no name server answers each is held up for many seconds.
const MOST_LOOKUPS: usize = 64;
const SWEPT_EVERY: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// What kept it from starting. Once it serves, it ends well.
pub fn run(settings: Settings) -> anyhow::Result<()> {
    // Before there are other threads, which it would not be for.
    let confined = match settings.landlock {
        true => confine(&reach(&settings)).context("Landlock; --landlock=false does without")?,
        false => Confined::Not,
    };
    let log = Arc::new(telemetry::start(&settings.log_level, settings.log_format)?);
    std::panic::set_hook(Box::new(|panic| {
        // The place only: the payload can hold what was being worked on.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a request made this provider panic");
        metrics().panicked();
    }));
    // Both the SDK and the Kubernetes client take the provider of the process where they are not given one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(MOST_LOOKUPS)
        .enable_all()
        .build()?;
    runtime.block_on(serve(settings, log, confined))
}

async fn serve(settings: Settings, log: Arc<Log>, confined: Confined) -> anyhow::Result<()> {
    info!(
        version = env!("CARGO_PKG_VERSION"), driver_writes = settings.driver_writes_secrets, landlock = %confined,
        "starting"
    );
    for warning in settings.official.warnings() {
        warn!(warning, "a flag is ignored");
    }
    if is_swapping(&std::fs::read_to_string("/proc/swaps").unwrap_or_default()) {
        warn!("this node swaps: secrets in volumes and in memory may be written to its disk; switch swap off");
    }
    if settings.shutdown_grace < settings.mount_deadline {
        info!(
            shutdown_grace = ?settings.shutdown_grace, mount_deadline = ?settings.mount_deadline,
            "mounts that need longer than the grace are answered with an error at shutdown"
        );
    }
    let region: Option<Region> = match settings.aws_region.as_deref() {
        None | Some("") => None,
        Some(written) => {
            let region = written.parse();
            Some(region.map_err(|problem| anyhow::anyhow!("AWS_REGION or --aws-region {written:?} {problem}"))?)
        }
    };
    let stop = stop_signal()?;
    let agent = settings
        .pod_identity_endpoint
        .iter()
        .map(|url| url.parse().map_err(|problem| anyhow::anyhow!("--pod-identity-endpoint {url:?}: {problem}")))
        .collect::<anyhow::Result<Vec<Endpoint>>>()?;
    let policy = match &settings.policy_file {
        Some(path) => Policy::read(path).context("--policy-file")?,
        None => Policy::default(),
    };
    let policy = Arc::new(policy);
    let aws = crate::aws::configuration(settings.endpoint_calls).await?;
    let client = KubernetesClient::from_environment().await?;
    let cluster: Arc<dyn KubernetesApi> = Arc::new(client.clone());
    let node = settings.node_name.clone().filter(|node| !node.is_empty());
    // A pod has one session and many secrets.
    let (agent_limit, calls) = (settings.official.agent_limit(), settings.endpoint_calls.div_ceil(2));
    let exchange =
        Exchange::new(cluster.clone(), policy.clone(), aws.clone(), agent, agent_limit, calls, Arc::new(SystemClock));
    let audiences = settings.irsa_audience.clone();
    let backend = AwsBackend::new(aws, settings.batch_get_secret_value, settings.limits.max_find_pages);
    let provider = Aws::new(cluster.clone(), exchange, backend, policy, audiences, region, node.clone());
    let keys = match &settings.token_keys {
        None => None,
        Some(TokenKeys::File(path)) => Some(KeySource::File(path.clone())),
        Some(TokenKeys::Url(url)) => Some(KeySource::Published(Arc::new(Document::at(url)?))),
    };
    open_health(&settings, &stop)?;
    look_after_taint(&settings, client, &stop)?;
    let Some(identity) = identity(cluster, &settings, keys, node, &stop).await else { return Ok(()) };

    let writing = match settings.driver_writes_secrets {
        true => Writing::Driver,
        false => Writing::Provider(Arc::new(Volumes::start(settings.kubelet_dir.clone())?)),
    };
    let share = Share { in_all: settings.cache_bytes, of_a_namespace: settings.cache_namespace_bytes };
    let at_once = CallsAtOnce { of_an_endpoint: settings.endpoint_calls, of_a_mount: settings.mount_calls };
    let refreshes = Refreshes { max_age: settings.max_age, share, pause_after_failure: settings.failed_refresh_pause };
    let mounter = Arc::new(Mounter::new(provider, identity, writing, settings.limits, refreshes, at_once));
    tokio::spawn(sweep(Arc::downgrade(&mounter), Arc::downgrade(&log)));
    if settings.metrics_port != 0 {
        tokio::spawn(listen(settings.metrics_port, Arc::new(Numbers(mounter.clone())), stop.clone()));
    }
    let closing = CancellationToken::new();
    let service = ProviderService::new(mounter, settings.mount_deadline, closing.clone());
    let shutdown = Shutdown { stop, grace: settings.shutdown_grace, closing };
    let service = CsiDriverProviderServer::new(service);
    grpc::serve(service, &settings.provider_volume, Aws::SOCKET, shutdown).await?;
    info!("stopped");
    Ok(())
}

#[async_trait]
impl PublishedKeys for Document {
    fn url(&self) -> &str {
        self.url()
    }

    async fn read(&self) -> Result<String, String> {
        self.read().await
    }
}

/// The port of probes, where it is wanted. Open before there is a socket: who waits for the API server lives, and is not ready.
///
/// # Errors
/// One port for both.
fn open_health(settings: &Settings, stop: &CancellationToken) -> anyhow::Result<()> {
    let port = settings.health_port;
    if port == 0 {
        return Ok(());
    }
    anyhow::ensure!(
        port != settings.metrics_port,
        "--health-port and --metrics-port are both {port}; give them two ports, so that probes have one to themselves"
    );
    tokio::spawn(listen(port, Arc::new(Health::new(sockets(settings))), stop.clone()));
    Ok(())
}

/// Where the driver dials. Directories that are not there are not served.
fn sockets(settings: &Settings) -> Vec<PathBuf> {
    let directories = settings.provider_volume.iter().filter(|directory| directory.is_dir());
    directories.map(|directory| directory.join(Aws::SOCKET)).collect()
}

/// The taint that this node has until its pods can have secrets, where there is one.
///
/// # Errors
/// Nobody says which node this is.
fn look_after_taint(settings: &Settings, client: KubernetesClient, stop: &CancellationToken) -> anyhow::Result<()> {
    let Some(key) = settings.startup_taint.clone() else { return Ok(()) };
    let node = settings.node_name.clone().filter(|node| !node.is_empty());
    let node = node.context("--startup-taint needs --node-name, or NODE_NAME from spec.nodeName in the DaemonSet")?;
    let taint = StartupTaint::new(key, node, client, Health::new(sockets(settings)));
    tokio::spawn(taint.look_after(stop.clone()));
    Ok(())
}

#[async_trait]
impl Observe for Mounter<Aws> {
    async fn observe(&self) {
        self.observe().await;
    }
}

/// Secrets that nobody may be served any more are not to lie in memory until somebody asks, and lines that are lost are not to
/// be missed by nobody.
async fn sweep(mounter: Weak<Mounter<Aws>>, log: Weak<Log>) {
    let mut ticks = tokio::time::interval(SWEPT_EVERY);
    let mut known = 0;
    while let (Some(mounter), Some(log)) = (mounter.upgrade(), log.upgrade()) {
        mounter.sweep();
        let lost = log.lost_lines();
        if lost > known {
            warn!(lines = lost - known, "log lines were lost: nobody read them");
            known = lost;
        }
        drop((mounter, log));
        ticks.tick().await;
    }
}

/// Waits for the API server to say who signs tokens: before that nothing could be proved, so there is no socket yet and the
/// driver reports a provider that is not there. `None` when told to stop meanwhile.
async fn identity(
    cluster: Arc<dyn KubernetesApi>,
    settings: &Settings,
    keys: Option<KeySource>,
    node: Option<String>,
    stop: &CancellationToken,
) -> Option<Identity> {
    let expected = Expectation {
        verification: settings.token_verification,
        keys,
        issuer: settings.token_issuer.clone().filter(|issuer| !issuer.is_empty()),
        node,
    };
    if expected.verification == TokenVerification::Off {
        warn!("tokens of pods are not verified (--token-verification=off): AWS alone judges them, nothing is shared");
    }
    let mut pause = FIRST_PAUSE;
    loop {
        let started = Identity::start(cluster.clone(), expected.clone(), Arc::new(SystemClock));
        let error: ClusterError = tokio::select! {
            () = stop.cancelled() => return None,
            started = started => match started {
                Ok(identity) => return Some(identity),
                Err(error) => error,
            },
        };
        warn!(%error, retry_in = ?pause, "not ready: the cluster's signing keys cannot be read");
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
        }
    }
}

/// Whether there is swap space, from the text of `/proc/swaps`: a headline, and a line for each.
fn is_swapping(swaps: &str) -> bool {
    swaps.lines().skip(1).any(|line| !line.trim().is_empty())
}

/// Cancelled by SIGTERM and SIGINT.
fn stop_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let cancelled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping");
        cancelled.cancel();
    });
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f84_swap_space_is_seen() {
        let headline = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        assert!(!is_swapping(headline) && !is_swapping(""));
        assert!(is_swapping(&format!("{headline}/swapfile file 1048572 0 -2\n")));
    }
}
