//! From the first failure of a volume until it is served again; and what of it was told, for an outage is told once and not with
//! each try.

use std::time::Duration;

use crate::clock::Instant;
use crate::reason::Reason;

/// How often a cause is mentioned while it goes on.
const MENTIONED_EVERY: Duration = Duration::from_secs(60 * 60);
/// So many causes are mentioned within that time, and further ones only for another reason: a text that differs each time, or of
/// each secret of a class, must not be told each time.
const MOST_CAUSES: usize = 3;

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
    to_log: Mentioned,
    /// Of all: what fails now and then is no news to its owner each time.
    to_owner: Mentioned,
    /// Whether the owner knows of the outage.
    owner_knows: bool,
}

/// Why a refresh fails: its reason, and a number that tells its text from others.
pub type Cause = (Reason, u64);

/// Who is to hear of a failure: its cause was not mentioned there for long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Failed {
    pub is_for_log: bool,
    pub is_for_owner: bool,
}

/// The end of an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    pub after: Duration,
    /// Whether the owner knew of it.
    pub was_told: bool,
}

impl Told {
    /// A refresh has failed. The log hears of it, and the owner perhaps not: see [`Told::owner_heard`].
    pub fn failed(&mut self, cause: Cause) -> Failed {
        let is_for_log = self.to_log.is_due(cause);
        if is_for_log {
            self.to_log.note(cause);
        }
        Failed { is_for_log, is_for_owner: self.to_owner.is_due(cause) }
    }

    /// The owner was told of a cause.
    pub fn owner_heard(&mut self, cause: Cause) {
        self.to_owner.note(cause);
        self.owner_knows = true;
    }

    /// The volume is served again, after failures `since` then. `None` where nobody has heard of any.
    pub fn ended(&mut self, since: Instant) -> Option<Recovered> {
        let was_told = std::mem::take(&mut self.owner_knows);
        let was_logged = !std::mem::take(&mut self.to_log).0.is_empty();
        was_logged.then(|| Recovered { after: since.elapsed(), was_told })
    }
}

/// Causes that somebody has heard of, and when.
#[derive(Debug, Default)]
struct Mentioned(Vec<(Cause, Instant)>);

impl Mentioned {
    fn is_due(&self, cause: Cause) -> bool {
        let of_late = || self.0.iter().filter(|(_, at)| is_of_late(*at)).map(|(cause, _)| *cause);
        let is_of_known_reason = || of_late().any(|(reason, _)| reason == cause.0);
        !of_late().any(|known| known == cause) && (of_late().count() < MOST_CAUSES || !is_of_known_reason())
    }

    fn note(&mut self, cause: Cause) {
        self.0.retain(|(known, at)| *known != cause && is_of_late(*at));
        self.0.push((cause, Instant::now()));
    }
}

fn is_of_late(at: Instant) -> bool {
    at.elapsed() < MENTIONED_EVERY
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWS: Failed = Failed { is_for_log: true, is_for_owner: true };
    const NO_NEWS: Failed = Failed { is_for_log: false, is_for_owner: false };
    const ROUND: Duration = Duration::from_secs(60);

    fn cause(number: u64) -> Cause {
        (Reason::AwsUnavailable, number)
    }

    /// An owner who hears everything that is for him.
    fn fail(told: &mut Told, cause: Cause) -> Failed {
        let failed = told.failed(cause);
        if failed.is_for_owner {
            told.owner_heard(cause);
        }
        failed
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_told_once_with_each_of_its_causes_and_again_every_hour() {
        let (mut told, since) = (Told::default(), Instant::now());
        assert_eq!(told.ended(since), None);
        let mut news = Vec::new();
        for minute in 0..300 {
            // The second cause comes half an hour later, and is not mentioned sooner for that.
            let cause = cause(u64::from(minute >= 30 && minute % 2 == 0));
            let failed = fail(&mut told, cause);
            assert_eq!(failed.is_for_log, failed.is_for_owner);
            if failed == NEWS {
                news.push((minute, cause.1));
            }
            tokio::time::advance(ROUND).await;
        }
        let of =
            |number| news.iter().filter(|(_, cause)| *cause == number).map(|(minute, _)| *minute).collect::<Vec<_>>();
        assert_eq!((of(0), of(1)), (vec![0, 61, 121, 181, 241], vec![30, 90, 150, 210, 270]));
        assert_eq!(told.ended(since), Some(Recovered { after: 300 * ROUND, was_told: true }));
        assert_eq!(told.ended(since), None);
    }

    #[tokio::test(start_paused = true)]
    async fn of_what_fails_now_and_then_the_log_has_each_time_and_the_owner_hears_once_an_hour() {
        let (mut told, since) = (Told::default(), Instant::now());
        assert_eq!(fail(&mut told, cause(0)), NEWS);
        told.ended(since);
        tokio::time::advance(ROUND).await;
        let failed = Failed { is_for_log: true, is_for_owner: false };
        assert_eq!((fail(&mut told, cause(0)), fail(&mut told, cause(0))), (failed, NO_NEWS));
        assert_eq!(told.ended(since), Some(Recovered { after: ROUND, was_told: false }));
        assert_eq!(fail(&mut told, cause(0)), failed);
        assert_eq!(fail(&mut told, cause(1)), NEWS, "for another cause");
        tokio::time::advance(MENTIONED_EVERY).await;
        assert_eq!(fail(&mut told, cause(0)), NEWS, "nobody has asked for long");
    }

    #[tokio::test(start_paused = true)]
    async fn an_owner_who_has_not_heard_is_told_with_the_next_failure() {
        let mut told = Told::default();
        assert_eq!(told.failed(cause(0)), NEWS);
        assert_eq!(told.failed(cause(0)), Failed { is_for_log: false, is_for_owner: true });
        assert_eq!(told.ended(Instant::now()).map(|recovered| recovered.was_told), Some(false));
    }

    #[test]
    fn texts_that_differ_each_time_are_not_told_each_time() {
        let mut told = Told::default();
        let news = (0..1_000).filter(|number| fail(&mut told, cause(*number)) == NEWS).count();
        assert_eq!((news, fail(&mut told, cause(1_000))), (MOST_CAUSES, NO_NEWS));
        assert_eq!(fail(&mut told, (Reason::SecretNotFound, 1_000)), NEWS);
    }
}
