//! From the first failure of a volume until it is served again; and what of it was told, for an outage is told once and not with
//! each try.

use std::time::Duration;

use crate::clock::Instant;
use crate::reason::Reason;

/// How often the owner of a volume is told that it still fails.
const REMINDED_EVERY: Duration = Duration::from_secs(60 * 60);
/// More refreshes than this one after the other fail in one outage, and not in two.
const ENDS_AFTER: Duration = Duration::from_secs(2 * 60 * 60);
/// So many causes of an outage are news, and further ones only for another reason: a text that differs each time must not be
/// told each time.
const MOST_CAUSES: usize = 8;

/// What has failed since a volume was last served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    pub reason: Reason,
    pub text: String,
    pub since: Instant,
    /// How often it was tried.
    pub times: u32,
    /// Whether a pod has the files of before meanwhile. Otherwise it waits for its first ones, and kubelet says why.
    pub is_refresh: bool,
}

impl Outage {
    /// It begins, or goes on, with a failure at this moment.
    pub fn goes_on(before: Option<&Self>, reason: Reason, text: String, is_refresh: bool) -> Self {
        let (since, times) = before.map_or_else(|| (Instant::now(), 0), |before| (before.since, before.times));
        Self { reason, text, since, times: times.saturating_add(1), is_refresh }
    }
}

/// What the log and the owner of a volume have heard of its failed refreshes.
#[derive(Debug, Default)]
pub struct Told {
    /// Of the outage that goes on.
    causes: Vec<Cause>,
    last: Option<Instant>,
    /// Whether the owner knows of the outage.
    owner_knows: bool,
    /// When the owner was last told of any, and the causes of which it was told since.
    reminded: Option<Instant>,
    causes_of_reminder: Vec<Cause>,
}

/// Why a refresh fails: its reason, and a number that tells its text from others.
pub type Cause = (Reason, u64);

/// What of a failure is news.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Failed {
    /// For the log: the outage has not shown this cause before.
    pub is_new_cause: bool,
    /// For the owner, and again for the log: this was not mentioned for long. What fails now and then is no news each time.
    pub is_due: bool,
}

/// The end of an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    pub after: Duration,
    /// Whether the owner knew of it.
    pub was_told: bool,
}

impl Told {
    /// A refresh has failed.
    pub fn failed(&mut self, cause: Cause) -> Failed {
        let now = Instant::now();
        let goes_on = self.last.replace(now).is_some_and(|last| now - last < ENDS_AFTER);
        if !goes_on {
            self.causes.clear();
        }
        if self.reminded.is_none_or(|reminded| now - reminded >= REMINDED_EVERY) {
            self.reminded = Some(now);
            self.causes_of_reminder.clear();
        }
        let is_due = is_new(&mut self.causes_of_reminder, cause);
        self.owner_knows |= is_due;
        Failed { is_new_cause: is_new(&mut self.causes, cause), is_due }
    }

    /// The volume is served again, after failures `since` then. `None` where nobody has heard of any.
    pub fn ended(&mut self, since: Instant) -> Option<Recovered> {
        let was_told = std::mem::take(&mut self.owner_knows);
        self.last = None;
        let was_logged = !std::mem::take(&mut self.causes).is_empty();
        was_logged.then(|| Recovered { after: since.elapsed(), was_told })
    }
}

/// Notes a cause, where there is room for another.
fn is_new(causes: &mut Vec<Cause>, cause: Cause) -> bool {
    let is_of_known_reason = || causes.iter().any(|(reason, _)| *reason == cause.0);
    let is_new = !causes.contains(&cause) && (causes.len() < MOST_CAUSES || !is_of_known_reason());
    if is_new {
        causes.push(cause);
    }
    is_new
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWS: Failed = Failed { is_new_cause: true, is_due: true };
    const NO_NEWS: Failed = Failed { is_new_cause: false, is_due: false };
    const ROUND: Duration = Duration::from_secs(60);

    fn cause(number: u64) -> Cause {
        (Reason::AwsUnavailable, number)
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_told_once_with_each_of_its_causes_and_again_every_hour() {
        let (mut told, since) = (Told::default(), Instant::now());
        assert_eq!(told.ended(since), None);
        assert_eq!(told.failed(cause(0)), NEWS);
        let (mut causes, mut reminders) = (0, 0);
        for round in 1..=300 {
            tokio::time::advance(ROUND).await;
            let failed = told.failed(cause(round % 2));
            causes += usize::from(failed.is_new_cause);
            reminders += usize::from(failed.is_due);
        }
        assert_eq!((causes, reminders), (1, 1 + 4 * 2 + 1), "the other cause, and each hour both, but for the last");
        assert_eq!(told.ended(since), Some(Recovered { after: 300 * ROUND, was_told: true }));
        assert_eq!(told.ended(since), None);
    }

    #[tokio::test(start_paused = true)]
    async fn of_what_fails_now_and_then_the_log_has_each_time_and_the_owner_hears_once_an_hour() {
        let (mut told, since) = (Told::default(), Instant::now());
        assert_eq!(told.failed(cause(0)), NEWS);
        told.ended(since);
        tokio::time::advance(ROUND).await;
        let failed = Failed { is_new_cause: true, is_due: false };
        assert_eq!((told.failed(cause(0)), told.failed(cause(0))), (failed, NO_NEWS));
        assert_eq!(told.ended(since), Some(Recovered { after: ROUND, was_told: false }));
        assert_eq!(told.failed(cause(0)), failed);
        assert_eq!(told.failed(cause(1)), NEWS, "for another cause");
        tokio::time::advance(ENDS_AFTER).await;
        assert_eq!(told.failed(cause(0)), NEWS, "nobody has asked for long");
    }

    #[test]
    fn texts_that_differ_each_time_are_not_told_each_time() {
        let mut told = Told::default();
        let news = (0..1_000).filter(|number| told.failed(cause(*number)) == NEWS).count();
        assert_eq!((news, told.failed(cause(1_000))), (MOST_CAUSES, NO_NEWS));
        assert_eq!(told.failed((Reason::SecretNotFound, 1_000)), NEWS);
    }
}
