//! All that one node's provider knows of itself and of its volumes, as its socket tells it and `secretmount status` shows it.
//!
//! Fields are only added. Names of secrets, and of what could be one, are there only where they are asked for: names of files,
//! their versions, and messages of errors.

mod text;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::clock::Instant;
use crate::hardening::{Confined, has_openat2, release, swaps};
use crate::mount::{Good, Known, Outage, State, VolumeState};
use crate::telemetry::{Cache, metrics};
use crate::volume::has_unique_mount_ids;

/// The version of this document.
pub const API_VERSION: &str = "secretmount.dev/cli/v1";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub api_version: String,
    pub kind: String,
    /// Whether every socket is served and no volume fails.
    pub healthy: bool,
    pub provider: About,
    /// Why it does not serve yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    pub sockets: Vec<SocketStatus>,
    /// Failing ones first.
    pub volumes: Vec<VolumeStatus>,
    pub caches: Caches,
    /// `None` where tokens are not verified with keys.
    pub keys: Option<Keys>,
    pub kernel: Kernel,
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    pub version: String,
    pub node: Option<String>,
    pub up_seconds: u64,
    pub writer: Writer,
}

/// Who writes files into volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Writer {
    Provider,
    Driver,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SocketStatus {
    pub path: String,
    pub serving: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStatus {
    pub namespace: String,
    pub pod: String,
    pub pod_uid: String,
    pub service_account: String,
    pub class: String,
    pub volume: String,
    pub state: VolumeWord,
    pub files: usize,
    /// What is in it, where this process has written it.
    pub bytes: Option<u64>,
    pub first_success_age_seconds: Option<u64>,
    pub last_success_age_seconds: Option<u64>,
    /// The same by the clock on the wall, which may have been set meanwhile; ages do not follow it.
    pub last_success_timestamp_seconds: Option<u64>,
    pub last_call_age_seconds: u64,
    /// When the next call is expected, from how far apart the last two were. Less than nothing where it is overdue.
    pub next_call_in_seconds: Option<i64>,
    pub failure: Option<FailureStatus>,
    /// By file, where names are asked for. Of very many files only some are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub versions: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VolumeWord {
    /// Its last mount or refresh has failed.
    Failing,
    /// Its first mount is under way.
    Mounting,
    Current,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureStatus {
    pub reason: String,
    pub since_seconds: u64,
    /// How often it was tried.
    pub times: u32,
    /// How long it is still answered from memory, and AWS is not asked.
    pub next_try_in_seconds: Option<u64>,
    /// Where names are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Caches {
    pub secrets: CacheStatus,
    pub credentials: CacheStatus,
    pub tokens: CacheStatus,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheStatus {
    pub entries: usize,
    pub bytes: usize,
    /// How often something was looked for since the start, and how often it was there.
    pub lookups: u64,
    pub hits: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Keys {
    pub count: usize,
    pub age_seconds: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kernel {
    pub release: String,
    pub openat2: bool,
    /// `fully`, `partly` or `not`.
    pub landlock: String,
    /// Whether a volume that was mounted anew is told from the one before for certain.
    pub unique_mount_ids: bool,
    pub swap: bool,
}

/// What was found by looking.
pub(super) struct Looked {
    pub about: About,
    pub waits_for: Option<String>,
    pub sockets: Vec<(String, Result<(), String>)>,
    pub confined: Confined,
    /// `None` before it serves.
    pub state: Option<State>,
    pub with_names: bool,
}

impl Status {
    pub(super) fn of(looked: Looked) -> Self {
        let Looked { about, waits_for, sockets, confined, state, with_names } = looked;
        let socket = |(path, result): (String, Result<(), String>)| SocketStatus {
            path,
            serving: result.is_ok(),
            problem: result.err(),
        };
        let kernel = Kernel {
            release: release(),
            openat2: has_openat2(),
            landlock: confined.to_string(),
            unique_mount_ids: has_unique_mount_ids(),
            swap: swaps(),
        };
        let (now, wall) = (Instant::now(), SystemTime::now());
        let mut caches = Caches::default();
        let (mut volumes, mut keys) = (Vec::new(), None);
        if let Some(state) = state {
            caches = Caches {
                secrets: CacheStatus::of(Cache::Secrets, state.secrets),
                credentials: CacheStatus::of(Cache::Credentials, state.credentials),
                tokens: CacheStatus::of(Cache::Tokens, state.tokens),
            };
            keys = state.keys.map(|(count, age)| Keys { count, age_seconds: age.as_secs() });
            volumes = state.volumes.into_iter().map(|volume| VolumeStatus::of(volume, now, wall, with_names)).collect();
        }
        volumes.sort_by(|one, other| one.place().cmp(&other.place()));
        let mut status = Self {
            api_version: API_VERSION.into(),
            kind: "Status".into(),
            healthy: false,
            provider: about,
            waiting_for: waits_for,
            sockets: sockets.into_iter().map(socket).collect(),
            volumes,
            caches,
            keys,
            warnings: warnings(&kernel),
            kernel,
        };
        status.healthy = status.is_healthy();
        status
    }

    /// The same with the volumes of one namespace only.
    pub fn of_namespace(mut self, namespace: &str) -> Self {
        self.volumes.retain(|volume| volume.namespace == namespace);
        self.healthy = self.is_healthy();
        self
    }

    fn is_healthy(&self) -> bool {
        let is_served = !self.sockets.is_empty() && self.sockets.iter().all(|socket| socket.serving);
        is_served && self.waiting_for.is_none() && self.failing() == 0
    }

    fn failing(&self) -> usize {
        self.volumes.iter().filter(|volume| volume.state == VolumeWord::Failing).count()
    }
}

fn warnings(kernel: &Kernel) -> Vec<String> {
    let mut warnings = Vec::new();
    if kernel.swap {
        let text = "this node swaps: secrets in volumes and in memory may be written to its disk; switch swap off";
        warnings.push(text.to_owned());
    }
    if !kernel.openat2 {
        let text = "this kernel, or the container's seccomp profile, has no openat2: no volume can be written";
        warnings.push(text.to_owned());
    }
    warnings
}

impl About {
    pub(super) fn of_this(node: Option<String>, up: Duration, writer: Writer) -> Self {
        Self { version: env!("CARGO_PKG_VERSION").into(), node, up_seconds: up.as_secs(), writer }
    }
}

impl CacheStatus {
    fn of(cache: Cache, (entries, bytes): (usize, usize)) -> Self {
        let (hits, lookups) = metrics().hits(cache);
        Self { entries, bytes, lookups, hits }
    }
}

impl VolumeStatus {
    fn of(volume: VolumeState, now: Instant, wall: SystemTime, with_names: bool) -> Self {
        let VolumeState { known, bytes, left_alone_for } = volume;
        let Known { target, pod, class, wanted, expected, good, failure } = known;
        let age = |at: Instant| now.saturating_duration_since(at);
        let state = match (&failure, &good) {
            (Some(_), _) => VolumeWord::Failing,
            (None, None) => VolumeWord::Mounting,
            (None, Some(_)) => VolumeWord::Current,
        };
        let failure = failure.as_deref().map(|Outage { reason, text, since, times, .. }| FailureStatus {
            reason: reason.to_string(),
            since_seconds: age(*since).as_secs(),
            times: *times,
            next_try_in_seconds: left_alone_for.map(|left| left.as_secs()),
            message: with_names.then(|| text.clone()),
        });
        let of_good = |at: fn(&Good) -> Instant| good.as_ref().map(|good| age(at(good)));
        let (first, last) = (of_good(|good| good.first), of_good(|good| good.last));
        Self {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            pod_uid: pod.uid.clone(),
            service_account: pod.service_account.clone(),
            class: class.to_string(),
            volume: target.volume().to_owned(),
            state,
            files: good.as_ref().map_or(0, |good| good.files),
            bytes,
            first_success_age_seconds: first.map(|age| age.as_secs()),
            last_success_age_seconds: last.map(|age| age.as_secs()),
            last_success_timestamp_seconds: last.map(|age| {
                wall.checked_sub(age).unwrap_or(UNIX_EPOCH).duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
            }),
            last_call_age_seconds: age(wanted).as_secs(),
            next_call_in_seconds: expected.map(|expected| match expected.checked_duration_since(now) {
                Some(left) => left.as_secs().cast_signed(),
                None => -age(expected).as_secs().cast_signed(),
            }),
            failure,
            versions: good.filter(|_| with_names).map(|good| good.versions.clone()),
        }
    }

    /// Where it stands among others.
    fn place(&self) -> (VolumeWord, &str, &str, &str) {
        (self.state, &self.namespace, &self.pod, &self.volume)
    }
}

#[cfg(test)]
mod tests;
