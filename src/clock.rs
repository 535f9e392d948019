//! Time as a parameter, so that tests can move it.
//!
//! Two clocks, never mixed: the wall clock decides only whether tokens and credentials have expired, because their issuer
//! wrote wall-clock times into them. Deadlines, ages and pauses use tokio's [`Instant`], which does not jump with the wall
//! clock and which tests pause.

use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use tokio::time::Instant;

/// How old an answer may be that somebody else got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// For a first mount: who changes something and starts a pod sees the change. Only demands of about the same time share
    /// an answer.
    FirstMount {
        max_age: Duration,
    },
    Refresh {
        max_age: Duration,
    },
}

impl Freshness {
    /// What "about the same time" is.
    const A_MOMENT: Duration = Duration::from_secs(1);

    /// `max_age` is the age for refreshes.
    pub fn of(is_refresh: bool, max_age: Duration) -> Self {
        match is_refresh {
            true => Self::Refresh { max_age },
            false => Self::FirstMount { max_age: max_age.min(Self::A_MOMENT) },
        }
    }

    pub fn max_age(self) -> Duration {
        match self {
            Self::FirstMount { max_age } | Self::Refresh { max_age } => max_age,
        }
    }
}

/// Nanoseconds since the node's start, which its processes count alike and no setting of a clock changes.
pub fn since_boot() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or_default())
}

/// What time it is outside this process.
pub trait WallClock: Send + Sync + Debug + 'static {
    fn now(&self) -> SystemTime;

    /// Seconds since 1970 (the `NumericDate` of RFC 7519), zero before it.
    fn unix_seconds(&self) -> u64 {
        self.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

#[cfg(test)]
pub use manual::ManualClock;

#[cfg(test)]
mod manual {
    use std::sync::{Mutex, MutexGuard, PoisonError};
    use std::time::{Duration, SystemTime};

    use super::WallClock;

    /// A clock that stands still until it is moved.
    #[derive(Debug)]
    pub struct ManualClock(Mutex<SystemTime>);

    impl ManualClock {
        pub fn at(time: SystemTime) -> Self {
            Self(Mutex::new(time))
        }

        pub fn advance(&self, by: Duration) {
            *self.time() += by;
        }

        pub fn rewind(&self, by: Duration) {
            *self.time() -= by;
        }

        fn time(&self) -> MutexGuard<'_, SystemTime> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl WallClock for ManualClock {
        fn now(&self) -> SystemTime {
            *self.time()
        }
    }
}
