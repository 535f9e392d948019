//! Volumes whose refresh has failed. They have their old files, so they are left alone for a while, and whoever asks meanwhile is
//! told the same error from memory: a failed refresh is asked for again by each sync of kubelet, and an outage must not become
//! a storm.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Instant;
use crate::random;
use crate::reason::{Explained, Reason, chain};
use crate::volume::TargetPath;

/// How many times the first pause the longest is.
const LONGEST: u32 = 10;
/// More than a node has volumes. Nobody tells of an unmount.
const REMEMBERED: usize = 4_096;

pub struct Failing {
    failures: Mutex<HashMap<TargetPath, Failure>>,
    first_pause: Duration,
    /// What was asked for is told apart by a number that nobody can choose.
    hasher: RandomState,
}

/// What was asked of a volume, for as long as this process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demands(u64);

struct Failure {
    asked: Demands,
    times: u32,
    until: Instant,
    error: Remembered,
}

/// An error of late, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Remembered {
    reason: Reason,
    text: String,
}

impl Explained for Remembered {
    fn reason(&self) -> Reason {
        self.reason
    }
}

impl Failing {
    /// A volume is left alone for `first_pause` after its first failure, and after each further one for twice as long, up to ten
    /// times the first.
    pub fn new(first_pause: Duration) -> Self {
        Self { failures: Mutex::default(), first_pause, hasher: RandomState::new() }
    }

    /// Tells apart what is asked of a volume. `demands` is everything that is asked for and with.
    pub fn demands(&self, demands: impl Hash) -> Demands {
        Demands(self.hasher.hash_one(demands))
    }

    /// Refreshes a volume, unless the same has failed of late: whoever has corrected it is not to wait.
    ///
    /// # Errors
    /// That of the refresh, or of the one before.
    pub async fn refresh<T, E: Explained + From<Remembered>>(
        &self,
        target: &TargetPath,
        asked: Demands,
        refresh: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        if let Some(error) = self.remembered(target, asked) {
            return Err(error.into());
        }
        let result = refresh.await;
        match &result {
            Ok(_) => drop(self.failures().remove(target)),
            Err(error) => self.note(target, asked, Remembered { reason: error.reason(), text: chain(error) }),
        }
        result
    }

    /// How much longer a volume is left alone.
    pub fn left_alone_for(&self, target: &TargetPath) -> Option<Duration> {
        let until = self.failures().get(target)?.until;
        Some(until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    /// The next refresh of a volume is tried at once. Says whether it was left alone.
    pub fn try_next(&self, target: &TargetPath) -> bool {
        let now = Instant::now();
        let mut failures = self.failures();
        let failure = failures.get_mut(target).filter(|failure| failure.until > now);
        failure.map(|failure| failure.until = now).is_some()
    }

    fn remembered(&self, target: &TargetPath, asked: Demands) -> Option<Remembered> {
        let failures = self.failures();
        let failure = failures.get(target)?;
        (failure.asked == asked && failure.until > Instant::now()).then(|| failure.error.clone())
    }

    fn note(&self, target: &TargetPath, asked: Demands, error: Remembered) {
        let mut failures = self.failures();
        let now = Instant::now();
        let before = failures.get(target);
        let times = before.filter(|failure| failure.asked == asked).map_or(0, |failure| failure.times);
        let longest = self.first_pause * LONGEST;
        let pause = self.first_pause * 2_u32.saturating_pow(times).min(LONGEST);
        let until = now + random::jittered(pause).min(longest);
        failures.insert(target.clone(), Failure { asked, times: times + 1, until, error });
        if failures.len() > REMEMBERED {
            let first = failures.iter().min_by_key(|(_, failure)| failure.until).map(|(target, _)| target.clone());
            first.and_then(|first| failures.remove(&first));
        }
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<TargetPath, Failure>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST_PAUSE: Duration = Duration::from_secs(30);

    #[derive(Debug, thiserror::Error)]
    enum Error {
        #[error("AWS is gone")]
        Gone,
        #[error(transparent)]
        Remembered(#[from] Remembered),
    }

    impl Explained for Error {
        fn reason(&self) -> Reason {
            match self {
                Self::Gone => Reason::AwsUnavailable,
                Self::Remembered(error) => error.reason(),
            }
        }
    }

    fn target(number: usize) -> TargetPath {
        let path = format!("/var/lib/kubelet/pods/1/volumes/kubernetes.io~csi/{number}/mount");
        TargetPath::parse(&path, "1").expect("valid")
    }

    /// Whether the volume was tried, and what the caller is told.
    async fn refresh(failing: &Failing, target: &TargetPath, demands: &str, fails: bool) -> (bool, String) {
        let mut tried = false;
        let result = failing.refresh(target, failing.demands(demands), async {
            tried = true;
            if fails { Err(Error::Gone) } else { Ok(()) }
        });
        let result = result.await;
        let told = result.map_or_else(|error| format!("{}: {}", error.reason(), chain(&error)), |()| "fine".into());
        (tried, told)
    }

    #[tokio::test(start_paused = true)]
    async fn p17_f77_an_outage_of_an_hour_is_asked_about_a_few_times_and_all_say_the_same() {
        let failing = Failing::new(FIRST_PAUSE);
        let targets: Vec<_> = (0..110).map(target).collect();
        let mut tried = vec![0; targets.len()];
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(3_600) {
            for (target, tried) in targets.iter().zip(&mut tried) {
                let (was_tried, told) = refresh(&failing, target, "these", true).await;
                *tried += usize::from(was_tried);
                assert!(told.starts_with("AwsUnavailable: AWS is gone"), "{told}");
            }
            if began.elapsed() == Duration::from_secs(600) {
                assert!(tried.iter().all(|tried| (4..=6).contains(tried)), "in ten minutes: {tried:?}");
            }
            tokio::time::advance(Duration::from_secs(10)).await;
        }
        assert!(tried.iter().all(|tried| *tried <= 20), "{tried:?}");

        // The outage ends. All come back within the longest pause, and not together.
        let mut back = Vec::new();
        for _ in 0..=30 {
            let mut now = 0;
            for target in &targets {
                now += usize::from(refresh(&failing, target, "these", false).await.1 == "fine");
            }
            back.push(now);
            tokio::time::advance(Duration::from_secs(10)).await;
        }
        assert_eq!(back.last(), Some(&110));
        let most = back.windows(2).map(|two| two[1] - two[0]).max().unwrap_or_default();
        assert!(back[0] < 40 && most < 40, "{back:?}");
        assert!(failing.failures().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_for_something_else_does_not_wait_and_success_starts_anew() {
        let (failing, target) = (Failing::new(FIRST_PAUSE), target(0));
        assert!(refresh(&failing, &target, "these", true).await.0);
        assert!(!refresh(&failing, &target, "these", true).await.0);
        assert!(refresh(&failing, &target, "those", true).await.0);
        assert_eq!(refresh(&failing, &target, "these", false).await, (true, "fine".into()));
        assert!(refresh(&failing, &target, "these", true).await.0);
        assert_eq!((failing.try_next(&target), failing.try_next(&target)), (true, false));
        assert!(failing.left_alone_for(&target).is_none() && refresh(&failing, &target, "these", false).await.0);
        // As after a first failure.
        for _ in 0..5 {
            assert!(refresh(&failing, &target, "these", true).await.0);
            tokio::time::advance(FIRST_PAUSE * 5 / 4).await;
            refresh(&failing, &target, "these", false).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_bounded() {
        let failing = Failing::new(FIRST_PAUSE);
        for number in 0..REMEMBERED + 10 {
            refresh(&failing, &target(number), "these", true).await;
        }
        assert_eq!(failing.failures().len(), REMEMBERED);
    }
}
