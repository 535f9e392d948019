//! What is known of each volume that this process was asked for: who asked, when it was last served, with what, and why not.
//!
//! Whoever asks again for a volume that was served refreshes it; and operators look here, because a failed refresh is shown to
//! nobody else. Ages are those of a clock that does not jump. No secret is here, but names of files are, and errors, which name
//! secrets.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::ABSENT;
use crate::clock::Instant;
use crate::identity::ClaimedPod;
use crate::reason::Reason;
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
pub struct Ledger(Mutex<Table>);

#[derive(Default)]
struct Table {
    asked: u64,
    rows: HashMap<TargetPath, Row>,
}

struct Row {
    /// The number of its last request, and of that which was answered last.
    asked: u64,
    answered: u64,
    pod: ClaimedPod,
    class: String,
    wanted: Instant,
    /// How long after the request before it the last one came, since it was first served.
    round: Option<Duration>,
    good: Option<Good>,
    failure: Option<Outage>,
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

/// What has failed since it was last served.
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

/// One volume, as somebody who looks now sees it.
#[derive(Debug, Clone)]
pub struct Known {
    pub target: TargetPath,
    pub pod: ClaimedPod,
    pub class: String,
    /// When somebody asked for it last.
    pub wanted: Instant,
    /// When it is expected to be asked for next: as much later as it was the last time.
    pub expected: Option<Instant>,
    pub good: Option<Good>,
    pub failure: Option<Outage>,
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
            pod: pod.clone(),
            class: class.to_owned(),
            wanted: now,
            round: None,
            good: None,
            failure: None,
        });
        let passed = now - row.wanted;
        if row.good.is_some() && passed >= SAME_ROUND {
            row.round = Some(passed);
        }
        (row.asked, row.wanted) = (asked, now);
        if row.class != class {
            class.clone_into(&mut row.class);
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

    /// A request is answered. Says whether that counts: the answer to a later one may have come before.
    pub fn served(&self, target: &TargetPath, asked: u64, good: Good) -> bool {
        self.answered(target, asked, |row| {
            let first = row.good.as_ref().map_or(good.first, |before| before.first);
            row.good = Some(Good { first, ..good });
            row.failure = None;
        })
    }

    /// The same for one that fails.
    pub fn failed(&self, target: &TargetPath, asked: u64, is_refresh: bool, reason: Reason, text: String) -> bool {
        self.answered(target, asked, |row| {
            let before = row.failure.take();
            let since = before.as_ref().map_or_else(Instant::now, |before| before.since);
            let times = before.map_or(0, |before| before.times).saturating_add(1);
            row.failure = Some(Outage { reason, text, since, times, is_refresh });
        })
    }

    fn answered(&self, target: &TargetPath, asked: u64, note: impl FnOnce(&mut Row)) -> bool {
        let mut table = self.table();
        let Some(row) = table.rows.get_mut(target).filter(|row| row.answered < asked) else { return false };
        row.answered = asked;
        note(row);
        true
    }

    /// Whether it is among them.
    pub fn knows(&self, target: &TargetPath) -> bool {
        self.table().rows.contains_key(target)
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        ledger.failed(&target(number), asked, true, Reason::AwsUnavailable, "AWS is gone".into());
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
        assert_eq!((known.failure, good.files, good.first, good.last), (None, 1, first, Instant::now()));
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
