//! What is known of each volume that this process was asked for: who asked, when it was last served, with what, and why not.
//!
//! Whoever asks again for a volume that was served refreshes it; and operators look here, because a failed refresh is shown to
//! nobody else. Ages are those of a clock that does not jump. No secret is here, but names of files are, and errors, which name
//! secrets.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::ABSENT;
use super::outage::{Cause, Failed, Outage, Recovered, Told};
use super::sets::Set;
use crate::clock::Instant;
use crate::identity::ClaimedPod;
use crate::telemetry::Failure;
use crate::volume::TargetPath;

/// More than a node has volumes. The one that was asked for longest ago goes first, for nobody tells of an unmount; it costs
/// one fresh read.
const REMEMBERED: usize = 4_096;
/// Most bytes of the files' names and versions that are kept of one volume, so that none makes the whole large.
const MOST_BYTES: usize = 4 * 1024;
/// Who has got nothing, or only errors, and has not asked for several times as long as kubelet pauses, has gone.
pub const GONE_AFTER: Duration = Duration::from_secs(15 * 60);
/// Calls that are nearer to each other belong to one of kubelet's rounds: there are two for each new pod.
const SAME_ROUND: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct Ledger {
    table: Mutex<Table>,
    /// Causes of failures are told apart by a number that nobody can choose.
    hasher: RandomState,
}

#[derive(Default)]
struct Table {
    asked: u64,
    rows: HashMap<TargetPath, Row>,
}

struct Row {
    /// The number of its last request, and of that which was answered last.
    asked: u64,
    answered: u64,
    pod: Arc<ClaimedPod>,
    class: Arc<str>,
    wanted: Instant,
    /// How long after the request before it the last one came, since it was first served.
    round: Option<Duration>,
    good: Option<Arc<Good>>,
    failure: Option<Arc<Outage>>,
    told: Told,
    /// The files that it has, as far as that is known.
    set: Option<Arc<Set>>,
}

/// What it was served with.
#[derive(Debug, Clone)]
pub struct Good {
    pub first: Instant,
    pub last: Instant,
    /// How many files there are.
    pub files: usize,
    /// Their versions by path, or those of the first of them.
    pub versions: BTreeMap<String, String>,
    /// Whether this process has written them, and not the driver.
    pub is_written: bool,
}

/// One volume, as somebody who looks now sees it.
#[derive(Debug, Clone)]
pub struct Known {
    pub target: TargetPath,
    pub pod: Arc<ClaimedPod>,
    pub class: Arc<str>,
    /// When somebody asked for it last.
    pub wanted: Instant,
    /// When it is expected to be asked for next: as much later as it was the last time.
    pub expected: Option<Instant>,
    pub good: Option<Arc<Good>>,
    pub failure: Option<Arc<Outage>>,
}

impl Good {
    /// What a volume is served with at this moment.
    pub fn now(versions: &BTreeMap<String, String>, is_written: bool) -> Self {
        let now = Instant::now();
        let files = versions.values().filter(|version| *version != ABSENT).count();
        Self { first: now, last: now, files, versions: shortened(versions), is_written }
    }
}

impl Ledger {
    /// Notes who asks for a volume, and gives the request a number: of two answers the one to the later request counts.
    pub fn ask(&self, target: &TargetPath, pod: &ClaimedPod, class: &str) -> u64 {
        let mut table = self.table();
        table.asked += 1;
        let (asked, now) = (table.asked, Instant::now());
        let row = table.rows.entry(target.clone()).or_insert_with(|| Row {
            asked,
            answered: 0,
            pod: Arc::new(pod.clone()),
            class: class.into(),
            wanted: now,
            round: None,
            good: None,
            failure: None,
            told: Told::default(),
            set: None,
        });
        let passed = now - row.wanted;
        if row.good.is_some() && passed >= SAME_ROUND {
            row.round = Some(passed);
        }
        (row.asked, row.wanted) = (asked, now);
        if *row.class != *class {
            row.class = class.into();
        }
        if table.rows.len() > REMEMBERED {
            let oldest = table.rows.iter().min_by_key(|(_, row)| row.asked).map(|(target, _)| target.clone());
            oldest.and_then(|oldest| table.rows.remove(&oldest));
        }
        asked
    }

    /// Whether it was ever served.
    pub fn has_served(&self, target: &TargetPath) -> bool {
        self.table().rows.get(target).is_some_and(|row| row.good.is_some())
    }

    /// A request is answered. Says what that ends, where it counts: the answer to a later one may have come before.
    pub fn served(&self, target: &TargetPath, asked: u64, good: Good) -> Option<Recovered> {
        self.answered(target, asked, |row| {
            let first = row.good.as_ref().map_or(good.first, |before| before.first);
            row.good = Some(Arc::new(Good { first, ..good }));
            row.told.ended(row.failure.take()?.since)
        })?
    }

    /// The same for one that fails: says whom that is news for, if it is a refresh.
    pub fn failed(&self, target: &TargetPath, asked: u64, is_refresh: bool, failure: &Failure) -> Option<Failed> {
        let cause = self.cause(failure);
        self.answered(target, asked, |row| {
            let outage = Outage::goes_on(row.failure.as_deref(), failure.reason, failure.error.clone(), is_refresh);
            row.failure = Some(Arc::new(outage));
            is_refresh.then(|| row.told.failed(cause))
        })?
    }

    /// The owner of a volume was told of a failure.
    pub fn owner_heard(&self, target: &TargetPath, failure: &Failure) {
        let cause = self.cause(failure);
        if let Some(row) = self.table().rows.get_mut(target) {
            row.told.owner_heard(cause);
        }
    }

    fn cause(&self, failure: &Failure) -> Cause {
        (failure.reason, self.hasher.hash_one(failure.cause()))
    }

    fn answered<T>(&self, target: &TargetPath, asked: u64, note: impl FnOnce(&mut Row) -> T) -> Option<T> {
        let mut table = self.table();
        let row = table.rows.get_mut(target).filter(|row| row.answered < asked)?;
        row.answered = asked;
        Some(note(row))
    }

    /// The set of files that was delivered last, as far as that is known.
    pub fn set(&self, target: &TargetPath) -> Option<Arc<Set>> {
        self.table().rows.get(target)?.set.clone()
    }

    /// A set of files is delivered, whichever request it was for.
    pub fn delivered(&self, target: &TargetPath, set: Set) {
        if let Some(row) = self.table().rows.get_mut(target) {
            row.set = Some(Arc::new(set));
        }
    }

    /// Drops volumes that have gone. `is_mounted` is who knows of a volume that this process has written whether it is still
    /// there, as it was at `seen`; of others nobody knows.
    pub fn forget_gone(&self, seen: Instant, is_mounted: impl Fn(&TargetPath) -> bool) {
        self.table().rows.retain(|target, row| match &row.good {
            Some(good) if good.is_written => good.last >= seen || is_mounted(target),
            Some(_) if row.failure.is_none() => true,
            _ => row.wanted.elapsed() < GONE_AFTER,
        });
    }

    /// All of them, in no order.
    pub fn all(&self) -> Vec<Known> {
        let known = |(target, row): (&TargetPath, &Row)| Known {
            target: target.clone(),
            pod: row.pod.clone(),
            class: row.class.clone(),
            wanted: row.wanted,
            expected: row.round.map(|round| row.wanted + round),
            good: row.good.clone(),
            failure: row.failure.clone(),
        };
        self.table().rows.iter().map(known).collect()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As many as there is room for.
fn shortened(versions: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut bytes = 0;
    let fits = |(path, version): &(&String, &String)| {
        bytes += path.len() + version.len();
        bytes <= MOST_BYTES
    };
    versions.iter().take_while(fits).map(|(path, version)| (path.clone(), version.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;

    fn target(number: usize) -> TargetPath {
        let path = format!("/var/lib/kubelet/pods/1/volumes/kubernetes.io~csi/{number}/mount");
        TargetPath::parse(&path, "1").expect("valid")
    }

    fn pod() -> ClaimedPod {
        ClaimedPod { namespace: "shop".into(), name: "web".into(), uid: "1".into(), service_account: "web".into() }
    }

    fn ask(ledger: &Ledger, number: usize) -> u64 {
        ledger.ask(&target(number), &pod(), "shop-db")
    }

    fn serve(ledger: &Ledger, number: usize, asked: u64, is_written: bool) {
        let versions = [("user".to_owned(), "v1".to_owned()), ("extra".to_owned(), ABSENT.to_owned())].into();
        ledger.served(&target(number), asked, Good::now(&versions, is_written));
    }

    fn fail(ledger: &Ledger, number: usize, asked: u64) {
        let failure = Failure { reason: Reason::AwsUnavailable, error: "AWS is gone".into(), backend: None };
        ledger.failed(&target(number), asked, true, &failure);
    }

    fn only(ledger: &Ledger) -> Known {
        let mut all = ledger.all();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    const ROUND: Duration = Duration::from_secs(72);

    #[tokio::test(start_paused = true)]
    async fn failures_are_counted_from_the_first_one_until_a_success() {
        let ledger = Ledger::default();
        serve(&ledger, 0, ask(&ledger, 0), true);
        let first = only(&ledger).good.expect("served").first;
        for _ in 0..3 {
            tokio::time::advance(ROUND).await;
            fail(&ledger, 0, ask(&ledger, 0));
        }
        let known = only(&ledger);
        let failure = known.failure.expect("failing");
        assert_eq!((failure.times, failure.since.elapsed()), (3, 2 * ROUND));
        assert_eq!(known.good.expect("kept").last.elapsed(), 3 * ROUND);
        assert_eq!(known.expected, Some(Instant::now() + ROUND));
        serve(&ledger, 0, ask(&ledger, 0), true);
        let known = only(&ledger);
        let good = known.good.expect("served");
        assert_eq!((known.failure.as_deref(), good.files, good.first, good.last), (None, 1, first, Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_to_an_earlier_request_does_not_undo_that_to_a_later_one() {
        let ledger = Ledger::default();
        let (earlier, later) = (ask(&ledger, 0), ask(&ledger, 0));
        serve(&ledger, 0, later, true);
        fail(&ledger, 0, earlier);
        assert_eq!(only(&ledger).failure, None);
        assert_eq!(only(&ledger).expected, None, "two calls of one round are no pace");
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_gone_is_forgotten_and_what_nobody_knows_of_is_not() {
        let ledger = Ledger::default();
        for (number, is_written) in [(0, true), (1, true), (2, false)] {
            serve(&ledger, number, ask(&ledger, number), is_written);
        }
        fail(&ledger, 3, ask(&ledger, 3));
        tokio::time::advance(GONE_AFTER).await;
        serve(&ledger, 4, ask(&ledger, 4), true);
        ledger.forget_gone(Instant::now(), |target| target.volume() == "0");
        let mut left: Vec<String> = ledger.all().iter().map(|known| known.target.volume().to_owned()).collect();
        left.sort();
        assert_eq!(left, ["0", "2", "4"], "4 was written after somebody had looked");
        assert!(ledger.has_served(&target(2)) && !ledger.has_served(&target(3)));
    }

    #[test]
    fn it_is_bounded() {
        let ledger = Ledger::default();
        for number in 0..REMEMBERED + 10 {
            ask(&ledger, number);
        }
        assert_eq!(ledger.all().len(), REMEMBERED);
        let versions = (0..2_000).map(|number| (format!("{number:0>1000}"), "v1".to_owned())).collect();
        ledger.served(&target(REMEMBERED), u64::MAX, Good::now(&versions, true));
        let known = ledger.all().into_iter().find_map(|known| known.good).expect("served");
        assert_eq!((known.files, known.versions.len()), (2_000, 4));
    }
}
