//! How fast parameters are asked for.
//!
//! All clients of an account in a Region share one small quota (40 calls a second, unless the account has more), and nobody tells
//! how much of it is left. So all calls of this node go through one queue for each account and Region, which starts at the
//! documented quota, slows down when AWS refuses, and grows again while AWS takes whatever it sends.
//! <https://docs.aws.amazon.com/general/latest/gr/ssm.html#limits_ssm>

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Instant;
use crate::plan::aws::Region;
use crate::random;

/// Calls a second, to begin with, and at the least.
const FIRST_RATE: f64 = 40.0;
const LEAST_RATE: f64 = 1.0;
/// Calls that may go out at once after a while without any.
const BURST: u32 = 10;
/// What each call that AWS refuses leaves of the rate: one that was too many costs little, and many of them much.
const SLOWED_TO: f64 = 0.9;
/// By how many calls a second each call that AWS takes makes it faster: within sixteen seconds it grows by the factor e.
const GROWTH: f64 = 1.0 / 16.0;
/// More accounts and Regions than the pods of a node use.
const MOST_PACES: usize = 256;
const UNUSED_AFTER: Duration = Duration::from_secs(60);

/// The paces of all accounts and Regions.
#[derive(Default)]
pub struct Paces(Mutex<HashMap<(String, Region), Arc<Pace>>>);

impl Paces {
    /// Those whose account nobody tells are one account.
    pub fn of(&self, account: &str, region: &Region) -> Arc<Pace> {
        let mut paces = lock(&self.0);
        if paces.len() >= MOST_PACES {
            paces.retain(|_, pace| Arc::strong_count(pace) > 1 || lock(&pace.0).next.elapsed() < UNUSED_AFTER);
        }
        paces.entry((account.to_owned(), region.clone())).or_default().clone()
    }
}

/// The pace of one account in one Region.
pub struct Pace(Mutex<State>);

struct State {
    /// Calls a second.
    rate: f64,
    /// When the next call may go out.
    next: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        let now = Instant::now();
        let long_ago = now.checked_sub(UNUSED_AFTER).unwrap_or(now);
        Self(Mutex::new(State { rate: FIRST_RATE, next: long_ago }))
    }
}

impl Pace {
    /// Ends when a call may go out; gives whether it had to wait.
    pub async fn turn(&self) -> bool {
        let (at, interval) = {
            let mut state = lock(&self.0);
            let (now, interval) = (Instant::now(), Duration::from_secs_f64(1.0 / state.rate));
            let at = state.next.max(now.checked_sub(interval * (BURST - 1)).unwrap_or(now));
            state.next = at + interval;
            (at, interval)
        };
        let waits = at > Instant::now();
        if waits {
            // Nodes are not to come in step.
            tokio::time::sleep_until(at + interval.mul_f64(random::symmetric().abs() / 2.0)).await;
        }
        waits
    }

    /// AWS has taken a call. Only calls that had to wait say that there is more to be had.
    pub fn went_well(&self, waited: bool) {
        if waited {
            lock(&self.0).rate += GROWTH;
        }
    }

    /// AWS has refused a call because there were too many.
    pub fn was_refused(&self) {
        let mut state = lock(&self.0);
        state.rate = LEAST_RATE.max(state.rate * SLOWED_TO);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    /// A quota as AWS has it: a bucket that holds calls for one second.
    struct Quota {
        rate: f64,
        left: Mutex<(f64, Instant)>,
    }

    impl Quota {
        fn new(rate: f64) -> Self {
            Self { rate, left: Mutex::new((rate, Instant::now())) }
        }

        fn takes(&self) -> bool {
            let mut left = lock(&self.left);
            let now = Instant::now();
            let filled = (left.0 + (now - left.1).as_secs_f64() * self.rate).min(self.rate);
            *left = (if filled >= 1.0 { filled - 1.0 } else { filled }, now);
            filled >= 1.0
        }
    }

    /// How long so many calls take, and how often AWS refuses one.
    async fn calls(number: usize, nodes: usize, rate: f64) -> (Duration, usize) {
        let (quota, began) = (Quota::new(rate), Instant::now());
        let paces: Vec<Pace> = (0..nodes).map(|_| Pace::default()).collect();
        let refused = Mutex::new(0);
        let call = async |pace: &Pace| {
            loop {
                let waited = pace.turn().await;
                if quota.takes() {
                    return pace.went_well(waited);
                }
                pace.was_refused();
                *lock(&refused) += 1;
            }
        };
        let node = async |pace: &Pace| {
            let line = tokio::sync::Semaphore::new(16);
            join_all((0..number / nodes).map(async |_| {
                let _place = line.acquire().await;
                call(pace).await;
            }))
            .await
        };
        join_all(paces.iter().map(node)).await;
        (began.elapsed(), refused.into_inner().expect("unpoisoned"))
    }

    #[tokio::test(start_paused = true)]
    async fn the_quota_is_used_and_seldom_overdrawn() {
        // 500 mounts of 25 parameters.
        let (took, refused) = calls(1_500, 1, 40.0).await;
        assert!(took < Duration::from_secs(50), "{took:?}");
        assert!(refused < 100, "{refused} were refused");
        // Twenty nodes that know nothing of each other.
        let (took, refused) = calls(2_000, 20, 40.0).await;
        assert!(took < Duration::from_secs(90), "{took:?}");
        assert!(refused < 1_500, "{refused} were refused");
        // An account that has more.
        let (took, _) = calls(50_000, 1, 1_000.0).await;
        assert!(took < Duration::from_secs(120), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_alone_does_not_wait() {
        let pace = Pace::default();
        for _ in 0..3 {
            for _ in 0..BURST {
                assert!(!pace.turn().await);
            }
            assert!(pace.turn().await);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_never_stands_still() {
        let pace = Pace::default();
        (0..1_000).for_each(|_| pace.was_refused());
        let began = Instant::now();
        for _ in 0..20 {
            pace.turn().await;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn accounts_and_regions_are_kept_apart_and_forgotten() {
        let (paces, region) = (Paces::default(), "eu-west-1".parse().expect("a Region"));
        let pace = paces.of("111122223333", &region);
        assert!(Arc::ptr_eq(&pace, &paces.of("111122223333", &region)));
        assert!(!Arc::ptr_eq(&pace, &paces.of("444455556666", &region)));
        for number in 0..2 * MOST_PACES {
            paces.of(&number.to_string(), &region);
            assert!(lock(&paces.0).len() <= MOST_PACES);
        }
        assert!(Arc::ptr_eq(&pace, &paces.of("111122223333", &region)));
    }
}
