//! Numbers for whoever watches many nodes. `docs/metrics.md` says what each is for.
//!
//! Every label is a word of this program, never one of a request, so that the number of series is bounded whatever is asked for.
//! All words that are known are there from the start with zero, so that the first error is an increase.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tonic::Code;

use super::process::Process;
use super::record::{Operation, Stage};
use crate::reason::Reason;

/// From a refresh that asks nobody to the longest that a mount may take.
const SECONDS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// What mounts are answered with, and that nobody waited for the answer.
const CODES: [Code; 8] = [
    Code::Ok,
    Code::InvalidArgument,
    Code::Unauthenticated,
    Code::PermissionDenied,
    Code::NotFound,
    Code::FailedPrecondition,
    Code::Internal,
    Code::Cancelled,
];

/// What the API server is asked, as verb and resource.
const QUESTIONS: [(&str, &str); 9] = [
    ("get", "serviceaccounts"),
    ("get", "nodes"),
    ("get", "pods"),
    ("get", "jwks"),
    ("get", "openid-configuration"),
    ("create", "tokenreviews"),
    ("create", "events"),
    ("get", "csinodes"),
    ("patch", "nodes"),
];

type Labels<const N: usize> = [(&'static str, &'static str); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Gauges<const N: usize> = Family<Labels<N>, Gauge>;
type Histograms<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;
type Seconds = Gauge<f64, AtomicU64>;

/// The numbers of this process.
pub struct Metrics {
    registry: Registry,
    mounts_in_flight: Gauge,
    mounts: Counters<2>,
    mount_errors: Counters<2>,
    mount_duration: Histograms<1>,
    stage_duration: Histograms<1>,
    backend_requests: Counters<3>,
    backend_duration: Histograms<2>,
    backend_retries: Counters<2>,
    cache_requests: Counters<2>,
    cache_entries: Gauges<1>,
    cache_size: Gauges<1>,
    cache_evictions: Counters<2>,
    tokens: Counters<1>,
    key_set_read: Seconds,
    volumes: Gauges<1>,
    failing_since: Sometimes,
    each_volume: EachVolume,
    volume_writes: Counters<1>,
    volume_written: Gauge,
    objects_skipped: Counters<1>,
    kubernetes_requests: Counters<3>,
    events: Counters<2>,
    sockets: Gauge,
    socket_restores: Counter,
    panics: Counter,
}

/// The numbers of this process, made when they are first needed.
pub fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);
    &METRICS
}

/// A call to a backend, by its service and its name there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Api {
    pub service: &'static str,
    pub name: &'static str,
}

/// What answers were kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    Secrets,
    Credentials,
    /// That a token was proved.
    Tokens,
}

/// How something that may be kept was got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Got {
    /// It was there.
    Hit,
    /// It had to be asked for.
    Miss,
    /// Somebody else was asking for it.
    Joined,
    /// It was there, and is not good any more.
    Expired,
}

/// Why something is not kept any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eviction {
    /// There was no room for all.
    Size,
    /// It had become too old.
    Age,
    /// Whoever it was kept for may not have it any more.
    Identity,
}

/// How the API server took a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Ok,
    /// It answered with an error of this HTTP status.
    Status(u16),
    TimedOut,
    NotReached,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Created,
    Forbidden,
    Failed,
    /// Too many were waiting.
    Dropped,
}

/// What a mount did to a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    Changed,
    Unchanged,
    Failed,
}

/// Volumes as they are now, as far as this process knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VolumesNow {
    /// Those that are as their classes say.
    pub current: usize,
    /// Those whose last refresh has failed.
    pub failing: usize,
    /// How long the one that has failed for longest does so.
    pub failing_for: Option<Duration>,
    /// What is in them, where this process writes.
    pub bytes: u64,
}

/// One volume as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeNow {
    pub pod_namespace: String,
    pub pod_name: String,
    pub volume: String,
    pub secret_provider_class: String,
    /// How long ago it was last served, where it ever was.
    pub last_success: Option<Duration>,
    /// How often it has failed since.
    pub failures: u32,
}

/// Each volume by its names, where the operator wants that. They are no words of this program, and their number is that of a
/// node's volumes.
#[derive(Debug, Clone, Default)]
struct EachVolume(Arc<Mutex<Vec<VolumeNow>>>);

impl Collector for EachVolume {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let volumes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if volumes.is_empty() {
            return Ok(());
        }
        let labels = |volume: &VolumeNow| {
            [
                ("pod_namespace", volume.pod_namespace.clone()),
                ("pod_name", volume.pod_name.clone()),
                ("volume", volume.volume.clone()),
                ("secret_provider_class", volume.secret_provider_class.clone()),
            ]
        };
        let (name, help) = ("volume_last_success_timestamp", "When a volume was last served.");
        let mut times = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for volume in &*volumes {
            if let Some(age) = volume.last_success {
                ConstGauge::new(ago(age)).encode(times.encode_family(&labels(volume))?)?;
            }
        }
        let (name, help) = ("volume_consecutive_failures", "How often a volume has failed since it was last served.");
        let mut failures = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for volume in &*volumes {
            ConstGauge::new(i64::from(volume.failures)).encode(failures.encode_family(&labels(volume))?)?;
        }
        Ok(())
    }
}

/// When the refresh first failed that has failed for longest: a time that is only there while one fails.
#[derive(Debug, Clone, Default)]
struct Sometimes(Arc<Mutex<Option<f64>>>);

impl Sometimes {
    fn set(&self, time: Option<f64>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }
}

impl Collector for Sometimes {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let help = "When the refresh first failed that has failed for longest; absent where none fails.";
        let name = "failing_volume_oldest_timestamp";
        let encoder = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(time) => ConstGauge::new(time).encode(encoder),
        }
    }
}

impl Cache {
    const ALL: [Self; 3] = [Self::Secrets, Self::Credentials, Self::Tokens];

    const fn word(self) -> &'static str {
        match self {
            Self::Secrets => "secrets",
            Self::Credentials => "credentials",
            Self::Tokens => "tokens",
        }
    }
}

impl Got {
    const ALL: [Self; 4] = [Self::Hit, Self::Miss, Self::Joined, Self::Expired];

    const fn word(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Joined => "joined",
            Self::Expired => "expired",
        }
    }
}

impl Eviction {
    const ALL: [Self; 3] = [Self::Size, Self::Age, Self::Identity];

    const fn word(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Age => "age",
            Self::Identity => "identity",
        }
    }
}

impl Taken {
    /// Of the statuses, those that API servers answer with.
    const ALL: [Self; 11] = [
        Self::Ok,
        Self::Status(401),
        Self::Status(403),
        Self::Status(404),
        Self::Status(409),
        Self::Status(429),
        Self::Status(500),
        Self::Status(503),
        Self::Status(0),
        Self::TimedOut,
        Self::NotReached,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Status(401) => "401",
            Self::Status(403) => "403",
            Self::Status(404) => "404",
            Self::Status(409) => "409",
            Self::Status(429) => "429",
            Self::Status(500) => "500",
            Self::Status(503) => "503",
            Self::Status(_) => "other",
            Self::TimedOut => "timeout",
            Self::NotReached => "connect",
        }
    }
}

impl Sent {
    const ALL: [Self; 4] = [Self::Created, Self::Forbidden, Self::Failed, Self::Dropped];

    const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Forbidden => "forbidden",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

impl Write {
    const ALL: [Self; 3] = [Self::Changed, Self::Unchanged, Self::Failed];

    const fn word(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
        }
    }
}

impl Metrics {
    fn new() -> Self {
        let mut root = Registry::default();
        root.register_collector(Box::new(Process));
        let registry = root.sub_registry_with_prefix("secretmount");
        let histogram: fn() -> Histogram = || Histogram::new(SECONDS);
        let this = Self {
            mounts_in_flight: Gauge::default(),
            mounts: Family::default(),
            mount_errors: Family::default(),
            mount_duration: Family::new_with_constructor(histogram),
            stage_duration: Family::new_with_constructor(histogram),
            backend_requests: Family::default(),
            backend_duration: Family::new_with_constructor(histogram),
            backend_retries: Family::default(),
            cache_requests: Family::default(),
            cache_entries: Family::default(),
            cache_size: Family::default(),
            cache_evictions: Family::default(),
            tokens: Family::default(),
            key_set_read: Gauge::default(),
            volumes: Family::default(),
            failing_since: Sometimes::default(),
            each_volume: EachVolume::default(),
            volume_writes: Family::default(),
            volume_written: Gauge::default(),
            objects_skipped: Family::default(),
            kubernetes_requests: Family::default(),
            events: Family::default(),
            sockets: Gauge::default(),
            socket_restores: Counter::default(),
            panics: Counter::default(),
            registry: Registry::default(),
        };
        let build: Gauges<2> = Family::default();
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION")), ("crypto", "aws-lc")]).set(1);
        registry.register("build_info", "Always 1; the labels say what runs", build);
        registry.register("mounts_in_flight", "Mounts under way", this.mounts_in_flight.clone());
        registry.register("mounts", "Mounts by their answer", this.mounts.clone());
        registry.register("mount_errors", "Mounts that failed, by their reason", this.mount_errors.clone());
        let help = "How long mounts took";
        registry.register_with_unit("mount_duration", help, Unit::Seconds, this.mount_duration.clone());
        let help = "How long the stages of mounts took";
        registry.register_with_unit("mount_stage_duration", help, Unit::Seconds, this.stage_duration.clone());
        registry.register("backend_requests", "Requests to AWS, their tries together", this.backend_requests.clone());
        let help = "How long requests to AWS took, with all their tries";
        registry.register_with_unit("backend_request_duration", help, Unit::Seconds, this.backend_duration.clone());
        let help = "Further tries of requests to AWS";
        registry.register("backend_request_retries", help, this.backend_retries.clone());
        registry.register("cache_requests", "What was looked for among kept answers", this.cache_requests.clone());
        registry.register("cache_entries", "Answers that are kept", this.cache_entries.clone());
        let help = "What kept answers take in memory";
        registry.register_with_unit("cache_size", help, Unit::Bytes, this.cache_size.clone());
        let help = "What is not kept any more";
        registry.register("cache_evictions", help, this.cache_evictions.clone());
        registry.register("token_verifications", "Tokens of pods that were looked at", this.tokens.clone());
        let help = "When the cluster's signing keys were last read";
        registry.register_with_unit("jwks_last_success_timestamp", help, Unit::Seconds, this.key_set_read.clone());
        registry.register("volumes", "Volumes of running pods, as far as known", this.volumes.clone());
        registry.register_collector(Box::new(this.failing_since.clone()));
        registry.register_collector(Box::new(this.each_volume.clone()));
        registry.register("volume_writes", "What mounts did to volumes", this.volume_writes.clone());
        let help = "What this process has written into volumes that are still mounted";
        registry.register_with_unit("volume_written", help, Unit::Bytes, this.volume_written.clone());
        registry.register("objects_skipped", "Optional objects that were not there", this.objects_skipped.clone());
        let help = "Requests to the API server";
        registry.register("kubernetes_requests", help, this.kubernetes_requests.clone());
        registry.register("events", "Events for owners of pods", this.events.clone());
        registry.register("socket_listening", "Directories in which the driver finds the socket", this.sockets.clone());
        registry.register("socket_restores", "Sockets that were gone and put back", this.socket_restores.clone());
        registry.register("panics", "Requests that made the provider panic", this.panics.clone());
        this.create();
        Self { registry: root, ..this }
    }

    /// All words that are known.
    fn create(&self) {
        for operation in Operation::ALL {
            let operation = ("operation", operation.word());
            drop(self.mount_duration.get_or_create(&[operation]));
            for code in CODES {
                drop(self.mounts.get_or_create(&[operation, ("grpc_code", word_of(code))]));
            }
            for reason in Reason::ALL {
                drop(self.mount_errors.get_or_create(&[operation, ("reason", reason.as_str())]));
            }
        }
        for stage in Stage::ALL {
            drop(self.stage_duration.get_or_create(&[("stage", stage.word())]));
        }
        for cache in Cache::ALL {
            for got in Got::ALL {
                drop(self.cache_requests.get_or_create(&[("cache", cache.word()), ("result", got.word())]));
            }
        }
        for cache in Cache::ALL {
            for cause in Eviction::ALL {
                drop(self.cache_evictions.get_or_create(&[("cache", cache.word()), ("cause", cause.word())]));
            }
            self.cache_is(cache, 0, 0);
        }
        for (verb, resource) in QUESTIONS {
            for taken in Taken::ALL {
                let labels = [("verb", verb), ("resource", resource), ("code", taken.word())];
                drop(self.kubernetes_requests.get_or_create(&labels));
            }
        }
        for result in ["ok", "signature", "claims", "expired", "binding", "unavailable"] {
            drop(self.tokens.get_or_create(&[("result", result)]));
        }
        for write in Write::ALL {
            drop(self.volume_writes.get_or_create(&[("result", write.word())]));
        }
        for reason in ["missing", "pending_deletion"] {
            drop(self.objects_skipped.get_or_create(&[("reason", reason)]));
        }
        self.volumes_are(VolumesNow::default());
    }

    pub(super) fn mount_begins(&self) {
        self.mounts_in_flight.inc();
    }

    /// `stages` is how long it was in each that it has entered.
    pub(super) fn mount_ends(
        &self,
        operation: Operation,
        code: Code,
        error: Option<Reason>,
        took: Duration,
        stages: &[(Stage, Duration)],
    ) {
        self.mounts_in_flight.dec();
        let operation = ("operation", operation.word());
        self.mounts.get_or_create(&[operation, ("grpc_code", word_of(code))]).inc();
        if let Some(reason) = error {
            self.mount_errors.get_or_create(&[operation, ("reason", reason.as_str())]).inc();
        }
        self.mount_duration.get_or_create(&[operation]).observe(took.as_secs_f64());
        for (stage, took) in stages {
            self.stage_duration.get_or_create(&[("stage", stage.word())]).observe(took.as_secs_f64());
        }
    }

    /// A request to a backend, with all its tries. `code` is a word of a closed list.
    pub fn backend_request(&self, api: Api, code: &'static str, took: Duration) {
        let (service, name) = (("service", api.service), ("api", api.name));
        self.backend_requests.get_or_create(&[service, name, ("code", code)]).inc();
        self.backend_duration.get_or_create(&[service, name]).observe(took.as_secs_f64());
    }

    /// A request to a backend took more than one try.
    pub fn backend_retries(&self, api: Api, times: u32) {
        if times > 0 {
            let labels = [("service", api.service), ("api", api.name)];
            self.backend_retries.get_or_create(&labels).inc_by(times.into());
        }
    }

    pub fn looked_for(&self, cache: Cache, got: Got, count: usize) {
        if count > 0 {
            let labels = [("cache", cache.word()), ("result", got.word())];
            self.cache_requests.get_or_create(&labels).inc_by(count as u64);
        }
    }

    pub fn cache_is(&self, cache: Cache, entries: usize, bytes: usize) {
        let labels = [("cache", cache.word())];
        self.cache_entries.get_or_create(&labels).set(entries as i64);
        self.cache_size.get_or_create(&labels).set(bytes as i64);
    }

    pub fn evicted(&self, cache: Cache, cause: Eviction, count: usize) {
        if count > 0 {
            let labels = [("cache", cache.word()), ("cause", cause.word())];
            self.cache_evictions.get_or_create(&labels).inc_by(count as u64);
        }
    }

    /// The API server was asked. Verb and resource are words of this program.
    pub fn kubernetes_request(&self, verb: &'static str, resource: &'static str, taken: Taken) {
        let labels = [("verb", verb), ("resource", resource), ("code", taken.word())];
        self.kubernetes_requests.get_or_create(&labels).inc();
    }

    /// There will be events of this kind.
    pub fn event_is_known(&self, reason: &'static str) {
        for sent in Sent::ALL {
            drop(self.events.get_or_create(&[("reason", reason), ("result", sent.word())]));
        }
    }

    pub fn event(&self, reason: &'static str, sent: Sent) {
        self.events.get_or_create(&[("reason", reason), ("result", sent.word())]).inc();
    }

    /// A token was looked at; `result` is `ok` or what was wrong.
    pub fn token(&self, result: &'static str) {
        self.tokens.get_or_create(&[("result", result)]).inc();
    }

    pub fn key_set_was_read(&self) {
        self.key_set_read.set(unix_seconds(SystemTime::now()));
    }

    pub fn volumes_are(&self, now: VolumesNow) {
        self.volumes.get_or_create(&[("state", "current")]).set(now.current as i64);
        self.volumes.get_or_create(&[("state", "failing")]).set(now.failing as i64);
        self.volume_written.set(i64::try_from(now.bytes).unwrap_or(i64::MAX));
        self.failing_since.set(now.failing_for.map(ago));
    }

    /// Where each volume is to be told by its names.
    pub fn each_volume_is(&self, now: Vec<VolumeNow>) {
        *self.each_volume.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// How often something that is kept was looked for and there, of all looks.
    pub fn hits(&self, cache: Cache) -> (u64, u64) {
        let count =
            |got: Got| self.cache_requests.get_or_create(&[("cache", cache.word()), ("result", got.word())]).get();
        (count(Got::Hit) + count(Got::Joined), Got::ALL.into_iter().map(count).sum())
    }

    pub fn volume_write(&self, write: Write) {
        self.volume_writes.get_or_create(&[("result", write.word())]).inc();
    }

    /// An optional object was left out.
    pub fn object_skipped(&self, reason: Reason) {
        let reason = if reason == Reason::SecretPendingDeletion { "pending_deletion" } else { "missing" };
        self.objects_skipped.get_or_create(&[("reason", reason)]).inc();
    }

    pub fn socket_is_there(&self) {
        self.sockets.inc();
    }

    pub fn socket_is_gone(&self) {
        self.sockets.dec();
    }

    pub fn socket_was_restored(&self) {
        self.socket_restores.inc();
    }

    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// As OpenMetrics 1.0: <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
    pub fn open_metrics(&self) -> String {
        let mut text = String::new();
        // Writing into a text never fails.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }

    /// As the format before it, for whoever takes nothing else:
    /// <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>.
    pub fn classic(&self) -> String {
        classic(&self.open_metrics())
    }
}

/// There a counter is called in full also where its type is said, and there are neither units nor an end.
fn classic(text: &str) -> String {
    let counters: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut lines = String::with_capacity(text.len());
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("UNIT" | "EOF"), ..) => continue,
            (Some("#"), Some(what), Some(name), rest) if counters.contains(&name) => {
                lines.push_str(&format!("# {what} {name}_total {}", rest.unwrap_or_default()));
            }
            _ => lines.push_str(line),
        }
        lines.push('\n');
    }
    lines
}

/// As gRPC writes them.
pub(super) const fn word_of(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::NotFound => "NOT_FOUND",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Internal => "INTERNAL",
        Code::Unauthenticated => "UNAUTHENTICATED",
        _ => "OTHER",
    }
}

/// A time by its age, in seconds since 1970.
fn ago(age: Duration) -> f64 {
    unix_seconds(SystemTime::now().checked_sub(age).unwrap_or(UNIX_EPOCH))
}

fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Name and type of each metric.
    fn described(text: &str) -> BTreeSet<(String, String)> {
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
    }

    #[test]
    fn all_of_them_are_in_the_documents_and_the_documents_have_no_others() {
        let page = include_str!("../../docs/metrics.md");
        let documented: BTreeSet<(String, String)> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .filter_map(|line| {
                let (name, rest) = line.split_once("` | ")?;
                Some((name.to_owned(), rest.split_once(" |")?.0.to_owned()))
            })
            .filter(|(name, _)| name.starts_with("secretmount_") || name.starts_with("process_"))
            .collect();
        let metrics = Metrics::new();
        // The only ones that are not there from the start.
        let api = Api { service: "ssm", name: "GetParameters" };
        metrics.backend_request(api, "ok", Duration::ZERO);
        metrics.backend_retries(api, 1);
        metrics.event_is_known("SecretRotated");
        metrics.each_volume_is(vec![a_volume("web-0")]);
        assert_eq!(documented, described(&metrics.classic()));
    }

    fn a_volume(pod: &str) -> VolumeNow {
        VolumeNow {
            pod_namespace: "shop".into(),
            pod_name: pod.into(),
            volume: "secrets".into(),
            secret_provider_class: "shop-db".into(),
            last_success: Some(Duration::ZERO),
            failures: 2,
        }
    }

    #[test]
    fn a24_a_hostile_name_stays_in_its_label() {
        let metrics = Metrics::new();
        metrics.each_volume_is(vec![a_volume("web\"} 1\nsecretmount_panics_total 7")]);
        let text = metrics.open_metrics();
        let labels = r#"{pod_namespace="shop",pod_name="web\"} 1\nsecretmount_panics_total 7",volume="secrets",secret_provider_class="shop-db"}"#;
        assert!(text.contains(&format!("\nsecretmount_volume_consecutive_failures{labels} 2\n")), "{text}");
        assert!(text.contains(&format!("\nsecretmount_volume_last_success_timestamp_seconds{labels} ")), "{text}");
        assert!(!text.contains("\nsecretmount_panics_total 7"), "{text}");
        metrics.each_volume_is(Vec::new());
        assert!(!metrics.open_metrics().contains("secretmount_volume_consecutive_failures"));
    }

    #[test]
    fn what_is_known_is_there_from_the_start() {
        let text = Metrics::new().open_metrics();
        for line in [
            "secretmount_mounts_total{operation=\"mount\",grpc_code=\"NOT_FOUND\"} 0",
            "secretmount_mount_errors_total{operation=\"remount\",reason=\"AwsThrottled\"} 0",
            "secretmount_mount_duration_seconds_count{operation=\"mount\"} 0",
            "secretmount_token_verifications_total{result=\"binding\"} 0",
            "secretmount_volumes{state=\"failing\"} 0",
            "secretmount_panics_total 0",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line} is not in {text}");
        }
        assert!(!text.contains("\nsecretmount_failing_volume_oldest_timestamp_seconds "), "nothing fails");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_mount_is_counted_with_its_stages() {
        let metrics = Metrics::new();
        metrics.mount_begins();
        let stages = [(Stage::Secrets, Duration::from_millis(20)), (Stage::Volume, Duration::from_millis(1))];
        let (code, reason) = (Code::NotFound, Some(Reason::SecretNotFound));
        metrics.mount_ends(Operation::Remount, code, reason, Duration::from_millis(30), &stages);
        let text = metrics.open_metrics();
        for line in [
            "secretmount_mounts_total{operation=\"remount\",grpc_code=\"NOT_FOUND\"} 1",
            "secretmount_mount_errors_total{operation=\"remount\",reason=\"SecretNotFound\"} 1",
            "secretmount_mount_duration_seconds_bucket{le=\"0.05\",operation=\"remount\"} 1",
            "secretmount_mount_stage_duration_seconds_count{stage=\"secrets\"} 1",
            "secretmount_mounts_in_flight 0",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line} is not in {text}");
        }
    }

    #[test]
    fn the_older_format_names_counters_in_full_and_has_no_units() {
        let text = "# HELP a_b Bytes.\n# TYPE a_b counter\na_b_total 1\n# HELP c_seconds C.\n# TYPE c_seconds gauge\n\
            # UNIT c_seconds seconds\nc_seconds 2\n# EOF\n";
        assert_eq!(
            classic(text),
            "# HELP a_b_total Bytes.\n# TYPE a_b_total counter\na_b_total 1\n# HELP c_seconds C.\n\
             # TYPE c_seconds gauge\nc_seconds 2\n"
        );
    }
}
