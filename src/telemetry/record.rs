//! One line for each mount, and what of it is counted.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tonic::Code;
use tracing::{debug, info, warn};

use super::audit::{Delivery, Reading};
use super::metrics::{metrics, word_of};
use crate::clock::Instant;
use crate::identity::ClaimedPod;
use crate::random;
use crate::reason::Reason;

/// Where in the pipeline a mount is; reads on after "while ".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Spec,
    Identity,
    Credentials,
    Secrets,
    Render,
    Volume,
}

impl Stage {
    pub(super) const ALL: [Self; 6] =
        [Self::Spec, Self::Identity, Self::Credentials, Self::Secrets, Self::Render, Self::Volume];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Identity => "identity",
            Self::Credentials => "credentials",
            Self::Secrets => "secrets",
            Self::Render => "render",
            Self::Volume => "volume",
        }
    }
}

/// Whether a pod starts, or its volume is refreshed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Mount,
    Remount,
}

impl Operation {
    pub(super) const ALL: [Self; 2] = [Self::Mount, Self::Remount];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Mount => "mount",
            Self::Remount => "remount",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spec => "reading the class",
            Self::Identity => "proving the pod's token",
            Self::Credentials => "settling the Region and the volume",
            Self::Secrets => "getting credentials and secrets",
            Self::Render => "making the files",
            Self::Volume => "writing the volume",
        })
    }
}

/// How a mount ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// We wrote, and readers see something new.
    Changed,
    /// There was nothing to write.
    Unchanged,
    /// The driver got files that it did not have before, as far as this process knows.
    Answered,
    /// The driver got the same files once more.
    AnsweredAgain,
}

/// Why a mount failed, as its line says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub reason: Reason,
    pub error: String,
    /// What the backend said, and the id of the request that it said it to, where it has answered.
    pub backend: Option<(String, String)>,
}

impl Failure {
    /// What tells this cause from others with the same reason. Nothing does where the cloud or the node fails: it is chance
    /// which secret meets that first, and what memory is left differs each time.
    pub fn cause(&self) -> &str {
        let is_of_chance = self.reason.code() == Code::Internal || self.reason == Reason::MemoryLimit;
        if is_of_chance { "" } else { &self.error }
    }
}

/// Writes its line when it is dropped, so that callers who hang up are seen too.
pub struct MountRecord {
    id: String,
    pod: ClaimedPod,
    class: String,
    started: Instant,
    state: Mutex<State>,
}

struct State {
    operation: Operation,
    stage: Stage,
    entered: Instant,
    /// How long it was in the stages before.
    stages: Vec<(Stage, Duration)>,
    volume: String,
    /// Where it reads, and by what way it gets credentials.
    region: Option<String>,
    auth: Option<&'static str>,
    reading: Option<Arc<Reading>>,
    objects: Option<u64>,
    files: Option<u64>,
    delivery: Option<Delivery>,
    warnings: Vec<String>,
    /// How long its refreshes had failed.
    recovered: Option<Duration>,
    end: End,
}

enum End {
    Cancelled,
    Done(Outcome),
    Failed(Failure),
    /// For a cause that was logged before.
    FailedAgain(Reason),
}

impl MountRecord {
    pub fn start(pod: &ClaimedPod, class: &str) -> Self {
        metrics().mount_begins();
        let started = Instant::now();
        let state = State {
            operation: Operation::Mount,
            stage: Stage::Spec,
            entered: started,
            stages: Vec::with_capacity(Stage::ALL.len()),
            volume: String::new(),
            region: None,
            auth: None,
            reading: None,
            objects: None,
            files: None,
            delivery: None,
            warnings: Vec::new(),
            recovered: None,
            end: End::Cancelled,
        };
        Self { id: random::hex::<6>(), pod: pod.clone(), class: class.into(), started, state: Mutex::new(state) }
    }

    pub fn enter(&self, stage: Stage) {
        self.state().enter(stage);
    }

    pub fn is_refresh(&self) {
        self.state().operation = Operation::Remount;
    }

    pub fn operation(&self) -> Operation {
        self.state().operation
    }

    /// Tells its lines from those of other mounts.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn pod(&self) -> &ClaimedPod {
        &self.pod
    }

    pub fn class(&self) -> &str {
        &self.class
    }

    /// Where it reads, and by what way it gets credentials.
    pub fn way(&self, region: String, auth: &'static str) {
        let mut state = self.state();
        (state.region, state.auth) = (Some(region), Some(auth));
    }

    /// It asks backends from now on.
    pub fn reads(&self, reading: Arc<Reading>) {
        self.state().reading = Some(reading);
    }

    /// What it made of what it has read; `delivery` is told where it is written, or answered.
    pub fn made(&self, objects: usize, files: usize, delivery: Option<Delivery>) {
        let mut state = self.state();
        (state.objects, state.files) = (Some(objects as u64), Some(files as u64));
        state.delivery = delivery;
    }

    /// Its refreshes had failed for so long.
    pub fn recovered(&self, failed_for: Duration) {
        self.state().recovered = Some(failed_for);
    }

    pub fn stage(&self) -> Stage {
        self.state().stage
    }

    pub fn volume(&self, name: &str) {
        self.state().volume = name.into();
    }

    /// What its owner should know, without its stopping the mount.
    pub fn warnings(&self, warnings: &[String]) {
        self.state().warnings.extend_from_slice(warnings);
    }

    pub fn finish(self, outcome: Outcome) {
        self.state().end = End::Done(outcome);
    }

    pub fn fail(self, failure: Failure) {
        self.state().end = End::Failed(failure);
    }

    pub fn fail_again(self, reason: Reason) {
        self.state().end = End::FailedAgain(reason);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The role that secrets were read as, where it is known and anything was read.
    fn role_arn(&self) -> Option<&str> {
        self.reading.as_ref()?.role().filter(|role| role.starts_with("arn:"))
    }

    fn enter(&mut self, stage: Stage) {
        let now = Instant::now();
        self.stages.push((self.stage, now - self.entered));
        (self.stage, self.entered) = (stage, now);
    }
}

/// The fields that every line has. Those that are not known are left out.
macro_rules! line {
    ($level:ident, $record:expr, $state:expr, $code:expr, $($rest:tt)+) => {
        $level!(
            mount_id = $record.id, operation = $state.operation.word(), pod_namespace = $record.pod.namespace,
            pod_name = $record.pod.name, pod_uid = $record.pod.uid, service_account = $record.pod.service_account,
            secret_provider_class = $record.class, volume = $state.volume, region = $state.region.as_deref(),
            auth = $state.auth, role_arn = $state.role_arn(), objects = $state.objects, files = $state.files,
            backend_calls = $state.reading.as_ref().map(|reading| reading.calls()),
            duration_ms = $record.started.elapsed().as_millis() as u64, grpc_code = word_of($code), $($rest)+
        )
    };
}

/// A request that never became a mount, counted and told as one that failed.
pub fn refused(reason: Reason, error: &str) {
    metrics().mount_begins();
    metrics().mount_ends(Operation::Mount, reason.code(), Some(reason), Duration::ZERO, &[]);
    warn!(grpc_code = word_of(reason.code()), reason = reason.as_str(), error, "mount failed");
}

impl Drop for MountRecord {
    fn drop(&mut self) {
        let mut state = self.state();
        // The caller has not gone away then: it is told, by the outermost layer.
        if matches!(state.end, End::Cancelled) && std::thread::panicking() {
            let error = "a request made this provider panic".into();
            state.end = End::Failed(Failure { reason: Reason::Internal, error, backend: None });
        }
        let (code, error) = match &state.end {
            End::Done(_) => (Code::Ok, None),
            End::Failed(Failure { reason, .. }) | End::FailedAgain(reason) => (reason.code(), Some(*reason)),
            End::Cancelled => (Code::Cancelled, None),
        };
        let stage = state.stage;
        state.enter(stage);
        metrics().mount_ends(state.operation, code, error, self.started.elapsed(), &state.stages);
        if let Some(failed_for) = state.recovered {
            line!(info, self, state, code, failed_for_s = failed_for.as_secs(), "refresh recovered");
        }
        match &state.end {
            // An unchanged refresh of every volume of a node once a minute would be noise.
            End::Done(Outcome::Unchanged | Outcome::AnsweredAgain) => {
                line!(debug, self, state, code, changed = false, "mount unchanged");
            }
            End::Done(outcome @ (Outcome::Changed | Outcome::Answered)) => {
                let driver_writes = *outcome == Outcome::Answered;
                line!(info, self, state, code, changed = true, driver_writes, "mounted");
                if let Some(delivery) = &state.delivery {
                    delivery.tell(&self.id, state.operation, &self.pod, &self.class, &state.volume);
                }
                // Last, since of too many lines the last are lost.
                for warning in &state.warnings {
                    line!(warn, self, state, code, warning, "mount needs attention");
                }
            }
            End::Failed(Failure { reason, error, backend }) => {
                let (backend_code, backend_request_id) = backend.as_ref().map(|(code, id)| (&**code, &**id)).unzip();
                line!(
                    warn,
                    self,
                    state,
                    code,
                    reason = reason.as_str(),
                    backend_code,
                    backend_request_id,
                    error,
                    "mount failed"
                );
            }
            End::FailedAgain(reason) => {
                line!(debug, self, state, code, reason = reason.as_str(), "refresh still fails");
            }
            End::Cancelled => line!(warn, self, state, code, stage = %state.stage, "the caller gave up on a mount"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_failure_of_ours_and_nobody_who_gave_up() {
        let pod = ClaimedPod {
            namespace: "shop".into(),
            name: "web-0".into(),
            uid: "uid".into(),
            service_account: "web".into(),
        };
        let panicked = std::panic::catch_unwind(|| {
            let _record = MountRecord::start(&pod, "shop-db");
            panic!("as a test wants it");
        });
        assert!(panicked.is_err());
        let page = metrics().open_metrics();
        assert!(page.contains("secretmount_mount_errors_total{operation=\"mount\",reason=\"Internal\"} 1\n"), "{page}");
    }
}
