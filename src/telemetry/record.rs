//! One line for each mount, and what of it is counted.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tonic::Code;
use tracing::{debug, info, warn};

use super::metrics::metrics;
use crate::clock::Instant;
use crate::identity::ClaimedPod;
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
    /// The driver got the files.
    Answered,
}

/// Writes its line when it is dropped, so that callers who hang up are seen too.
pub struct MountRecord {
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
    warnings: Vec<String>,
    end: End,
}

enum End {
    Cancelled,
    Done(Outcome),
    Failed(Reason, String),
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
            stages: Vec::new(),
            volume: String::new(),
            warnings: Vec::new(),
            end: End::Cancelled,
        };
        Self { pod: pod.clone(), class: class.into(), started, state: Mutex::new(state) }
    }

    pub fn enter(&self, stage: Stage) {
        self.state().enter(stage);
    }

    pub fn is_refresh(&self) {
        self.state().operation = Operation::Remount;
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

    pub fn fail(self, reason: Reason, error: &str) {
        self.state().end = End::Failed(reason, error.into());
    }

    pub fn fail_again(self, reason: Reason) {
        self.state().end = End::FailedAgain(reason);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, stage: Stage) {
        let now = Instant::now();
        self.stages.push((self.stage, now - self.entered));
        (self.stage, self.entered) = (stage, now);
    }
}

/// The fields that every line has.
macro_rules! line {
    ($level:ident, $record:expr, $state:expr, $($rest:tt)+) => {
        $level!(
            pod_namespace = $record.pod.namespace, pod_name = $record.pod.name, pod_uid = $record.pod.uid,
            service_account = $record.pod.service_account, secret_provider_class = $record.class,
            volume = $state.volume, duration_ms = $record.started.elapsed().as_millis() as u64, $($rest)+
        )
    };
}

/// A request that never became a mount, counted and told as one that failed.
pub fn refused(reason: Reason, error: &str) {
    metrics().mount_begins();
    metrics().mount_ends(Operation::Mount, reason.code(), Some(reason), Duration::ZERO, &[]);
    warn!(grpc_code = ?reason.code(), reason = reason.as_str(), error, "mount failed");
}

impl Drop for MountRecord {
    fn drop(&mut self) {
        let mut state = self.state();
        // The caller has not gone away then: it is told, by the outermost layer.
        if matches!(state.end, End::Cancelled) && std::thread::panicking() {
            state.end = End::Failed(Reason::Internal, "a request made this provider panic".into());
        }
        let (code, error) = match &state.end {
            End::Done(_) => (Code::Ok, None),
            End::Failed(reason, _) | End::FailedAgain(reason) => (reason.code(), Some(*reason)),
            End::Cancelled => (Code::Cancelled, None),
        };
        let stage = state.stage;
        state.enter(stage);
        metrics().mount_ends(state.operation, code, error, self.started.elapsed(), &state.stages);
        match &state.end {
            // An unchanged refresh of every volume of a node once a minute would be noise.
            End::Done(Outcome::Unchanged) => line!(debug, self, state, changed = false, "mount unchanged"),
            End::Done(outcome) => {
                for warning in &state.warnings {
                    line!(warn, self, state, warning, "mount needs attention");
                }
                line!(info, self, state, changed = true, driver_writes = *outcome == Outcome::Answered, "mounted");
            }
            End::Failed(reason, error) => {
                line!(warn, self, state, grpc_code = ?reason.code(), reason = reason.as_str(), error, "mount failed");
            }
            End::FailedAgain(reason) => {
                line!(debug, self, state, reason = reason.as_str(), "refresh not tried again yet");
            }
            End::Cancelled => line!(warn, self, state, stage = %state.stage, "the caller gave up on a mount"),
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
