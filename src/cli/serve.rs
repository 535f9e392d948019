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
use crate::admin::{Health, Numbers, Operations, Writer, listen, listen_at};
use crate::aws::Document;
use crate::clock::SystemClock;
use crate::cluster::{ClusterError, KubernetesApi, KubernetesClient};
use crate::config::{Settings, TokenKeys, TokenVerification};
use crate::credentials::aws::{Endpoint, Exchange};
use crate::events::Events;
use crate::grpc::v1alpha1::csi_driver_provider_server::CsiDriverProviderServer;
use crate::grpc::{self, ProviderService, Shutdown};
use crate::hardening::{Confined, are_calls_forbidden, confine, swaps};
use crate::identity::{Expectation, Identity, KeySource, PublishedKeys};
use crate::mount::{Listener, Mounter, Refreshes, Writing};
use crate::plan::aws::Region;
use crate::policy::aws::Policy;
use crate::provider::Provider;
use crate::provider::aws::Aws;
use crate::secrets::aws::{AwsBackend, MostOfLists};
use crate::secrets::{CallsAtOnce, Share};
use crate::startup_taint::StartupTaint;
use crate::telemetry::{self, Log, metrics};
use crate::volume::Volumes;

/// Everything that blocks has threads of its own. With two for the rest a node's start took more CPU and no less time.
const THREADS: usize = 1;
/// Names are looked up on threads of their own, and where no name server answers each is held up for many seconds.
const MOST_LOOKUPS: usize = 64;
const SWEPT_EVERY: Duration = Duration::from_secs(5);
/// After how many sweeps it is looked which volumes have gone: that takes a call of the kernel for each.
const LOOKED_AFTER_SWEEPS: u32 = 12;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Serves until SIGTERM or SIGINT. `given` says which settings are not as by default, for the log.
///
/// # Errors
/// What kept it from starting. Once it serves, it ends well.
pub fn run(settings: Settings, given: &str) -> anyhow::Result<()> {
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
    runtime.block_on(serve(settings, given, log, confined))
}

async fn serve(settings: Settings, given: &str, log: Arc<Log>, confined: Confined) -> anyhow::Result<()> {
    info!(
        version = env!("CARGO_PKG_VERSION"), driver_writes = settings.driver_writes_secrets, landlock = %confined,
        settings = given, "starting"
    );
    if !are_calls_forbidden() {
        warn!("there is no seccomp here, so nothing keeps this process from calls that it never makes");
    }
    for warning in settings.official.warnings() {
        warn!(warning, "a flag is ignored");
    }
    if swaps() {
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
    let node = settings.node_name.clone().filter(|node| !node.is_empty());
    let listener: Arc<dyn Listener> = match settings.events {
        true => Arc::new(Events::start(Arc::new(client.clone()), settings.event_on_rotation)),
        false => Arc::new(()),
    };
    let cluster: Arc<dyn KubernetesApi> = Arc::new(client.clone());
    // A pod has one session and many secrets.
    let (agent_limit, calls) = (settings.official.agent_limit(), settings.endpoint_calls.div_ceil(4));
    let exchange =
        Exchange::new(cluster.clone(), policy.clone(), aws.clone(), agent, agent_limit, calls, Arc::new(SystemClock));
    let audiences = settings.irsa_audience.clone();
    let most = MostOfLists { pages: settings.limits.max_find_pages, bytes: settings.limits.max_value_bytes };
    let backend = AwsBackend::new(aws, settings.batch_get_secret_value, most);
    let provider = Aws::new(cluster.clone(), exchange, backend, policy, audiences, region, node.clone());
    let keys = match &settings.token_keys {
        None => None,
        Some(TokenKeys::File(path)) => Some(KeySource::File(path.clone())),
        Some(TokenKeys::Url(url)) => Some(KeySource::Published(Arc::new(Document::at(url)?))),
    };
    open_health(&settings, &stop)?;
    look_after_taint(&settings, client, &stop)?;
    let operations = open_to_operators(&settings, confined, &log);
    let Some(identity) = identity(cluster, &settings, keys, node, &operations, &stop).await else { return Ok(()) };

    let writing = match settings.driver_writes_secrets {
        true => Writing::Driver,
        false => Writing::Provider(Arc::new(Volumes::start(settings.kubelet_dir.clone())?)),
    };
    let share = Share { in_all: settings.cache_bytes, of_a_namespace: settings.cache_namespace_bytes };
    let at_once = CallsAtOnce { of_an_endpoint: settings.endpoint_calls, of_a_mount: settings.mount_calls };
    let refreshes = Refreshes { max_age: settings.max_age, share, pause_after_failure: settings.failed_refresh_pause };
    let mounter = Arc::new(Mounter::new(provider, identity, writing, settings.limits, refreshes, at_once, listener));
    tokio::spawn(sweep(Arc::downgrade(&mounter), Arc::downgrade(&log)));
    if settings.metrics_port != 0 {
        let numbers = Numbers { mounter: mounter.clone(), each_volume: settings.metrics_per_volume };
        tokio::spawn(listen(settings.metrics_port, Arc::new(numbers), stop.clone()));
    }
    operations.serves(mounter.clone());
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

/// The socket of operators, where it is wanted. Open before the driver's, so that it can be asked what a provider waits for.
fn open_to_operators(settings: &Settings, confined: Confined, log: &Arc<Log>) -> Arc<Operations<Aws>> {
    let writer = if settings.driver_writes_secrets { Writer::Driver } else { Writer::Provider };
    let node = settings.node_name.clone().filter(|node| !node.is_empty());
    let operations = Arc::new(Operations::new(sockets(settings), writer, confined, node, Arc::downgrade(log)));
    let (path, pages) = (settings.admin_socket.clone(), operations.clone());
    if !path.as_os_str().is_empty() {
        tokio::spawn(async move { listen_at(&path, pages).await });
    }
    operations
}

/// The places that the driver dials.
fn sockets(settings: &Settings) -> Vec<PathBuf> {
    let directories = settings.provider_volume.iter().filter(|directory| directory.is_dir());
    directories.map(|directory| directory.join(Aws::SOCKET)).collect()
}

/// Secrets that nobody may be served any more are not to lie in memory until somebody asks, and lines that are lost are not to
/// be missed by nobody.
async fn sweep(mounter: Weak<Mounter<Aws>>, log: Weak<Log>) {
    let mut ticks = tokio::time::interval(SWEPT_EVERY);
    let (mut known, mut sweeps) = (0, 0_u32);
    while let (Some(mounter), Some(log)) = (mounter.upgrade(), log.upgrade()) {
        mounter.sweep();
        sweeps = sweeps.wrapping_add(1);
        if sweeps.is_multiple_of(LOOKED_AFTER_SWEEPS) {
            mounter.forget_gone().await;
        }
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
    operations: &Operations<Aws>,
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
        operations.waits_for(Some(format!("the cluster's signing keys cannot be read: {error}")));
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
        }
    }
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
