//! What was told of each volume, so that an outage is told once and not with each try, and a set of files when it is new.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Instant;
use crate::plan::{File, Files, RelativePath};
use crate::reason::Reason;
use crate::volume::TargetPath;

/// More than a node has volumes. The one that was told of longest ago goes first where the driver writes, of whose unmounts
/// nobody tells; it costs that something is told twice.
const REMEMBERED: usize = 4_096;
/// How often the owner of a volume is told that it still fails.
const REMINDED_EVERY: Duration = Duration::from_secs(60 * 60);
/// More refreshes than this one after the other fail in one outage, and not in two.
const ENDS_AFTER: Duration = Duration::from_secs(2 * 60 * 60);

/// What has been told of volumes.
#[derive(Default)]
pub struct Chronicle {
    told: Mutex<HashMap<TargetPath, Told>>,
    /// Content is told apart by numbers that say nothing about it.
    hasher: RandomState,
}

struct Told {
    last: Instant,
    /// When its owner was last told that it fails.
    reminded: Option<Instant>,
    episode: Option<Episode>,
    set: Option<Arc<Set>>,
}

/// From the first refresh that fails until one does not.
struct Episode {
    since: Instant,
    last: Instant,
    /// Whether its owner knows of it.
    was_told: bool,
    causes: Vec<Reason>,
}

/// A set of files as it was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    content: Option<u64>,
    /// Paths and versions.
    versions: HashMap<u64, u64>,
}

/// The end of an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    pub after: Duration,
    /// Whether the owner knew of it.
    pub was_told: bool,
}

/// What of a failure is news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// The outage has not shown this cause before.
    pub is_new_cause: bool,
    /// No failure of this volume was mentioned for long: one that fails now and then is no news each time.
    pub is_due: bool,
}

impl Chronicle {
    /// A refresh has failed.
    pub fn failed(&self, target: &TargetPath, reason: Reason) -> Failed {
        let now = Instant::now();
        let mut told = self.told();
        let told = entry(&mut told, target);
        let is_due = told.reminded.is_none_or(|reminded| reminded.elapsed() >= REMINDED_EVERY);
        if is_due {
            told.reminded = Some(now);
        }
        let episode = told.episode.take().filter(|episode| episode.last.elapsed() < ENDS_AFTER);
        let new = || Episode { since: now, last: now, was_told: false, causes: Vec::new() };
        let mut episode = episode.unwrap_or_else(new);
        let is_new_cause = !episode.causes.contains(&reason);
        if is_new_cause {
            episode.causes.push(reason);
        }
        told.episode = Some(Episode { last: now, was_told: episode.was_told || is_due, ..episode });
        Failed { is_new_cause, is_due }
    }

    /// A refresh has not failed. Says for how long those before it had.
    pub fn recovered(&self, target: &TargetPath) -> Option<Recovered> {
        let Episode { since, was_told, .. } = self.told().get_mut(target)?.episode.take()?;
        Some(Recovered { after: since.elapsed(), was_told })
    }

    /// Drops what is of volumes that have gone.
    pub fn forget(&self, has_gone: impl Fn(&TargetPath) -> bool) {
        let targets: Vec<TargetPath> = self.told().keys().cloned().collect();
        // One by one: whoever tells what has gone has a lock of his own.
        for target in targets.into_iter().filter(has_gone) {
            self.told().remove(&target);
        }
    }

    /// What is told apart of a set: versions, and where that is asked for, content.
    pub fn set(&self, files: &Files, with_content: bool) -> Set {
        let hash = |text: &str| self.hasher.hash_one(text);
        let versions = files.iter().map(|(path, file)| (hash(path.as_str()), hash(&file.version))).collect();
        let of = |(path, file): (&RelativePath, &File)| self.hasher.hash_one((path.as_str(), file.content.expose()));
        let content = with_content.then(|| self.hasher.hash_one(files.iter().map(of).collect::<Vec<u64>>()));
        Set { content, versions }
    }

    /// The set that was delivered last, as far as that is known.
    pub fn before(&self, target: &TargetPath) -> Option<Arc<Set>> {
        self.told().get(target)?.set.clone()
    }

    /// A set is delivered.
    pub fn delivered(&self, target: &TargetPath, set: Set) {
        entry(&mut self.told(), target).set = Some(Arc::new(set));
    }

    /// Those of some files, by path and version, that are not in a set, or not with this version.
    pub fn changed<'a>(
        &self,
        versions: impl Iterator<Item = (&'a String, &'a String)>,
        before: Option<&Set>,
    ) -> Vec<(String, String)> {
        let hash = |text: &str| self.hasher.hash_one(text);
        let is_same = |path: &str, version: &str| {
            before.is_some_and(|set| set.versions.get(&hash(path)).is_some_and(|known| *known == hash(version)))
        };
        let changed = versions.filter(|(path, version)| !is_same(path, version));
        changed.map(|(path, version)| (path.clone(), version.clone())).collect()
    }

    fn told(&self) -> MutexGuard<'_, HashMap<TargetPath, Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Set {
    pub fn has_content_of(&self, other: &Self) -> bool {
        self.content.is_some() && self.content == other.content
    }
}

fn entry<'a>(told: &'a mut HashMap<TargetPath, Told>, target: &TargetPath) -> &'a mut Told {
    let now = Instant::now();
    if told.len() >= REMEMBERED && !told.contains_key(target) {
        let oldest = told.iter().min_by_key(|(_, told)| told.last).map(|(target, _)| target.clone());
        oldest.and_then(|oldest| told.remove(&oldest));
    }
    let told = told.entry(target.clone()).or_insert(Told { last: now, reminded: None, episode: None, set: None });
    told.last = now;
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{FilePermission, Owner};

    fn target(number: usize) -> TargetPath {
        let path = format!("/var/lib/kubelet/pods/1/volumes/kubernetes.io~csi/{number}/mount");
        TargetPath::parse(&path, "1").expect("valid")
    }

    const NEWS: Failed = Failed { is_new_cause: true, is_due: true };
    const NO_NEWS: Failed = Failed { is_new_cause: false, is_due: false };

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_told_once_with_each_of_its_causes_and_again_every_hour() {
        let (chronicle, target) = (Chronicle::default(), target(0));
        assert_eq!(chronicle.recovered(&target), None);
        assert_eq!(chronicle.failed(&target, Reason::AwsUnavailable), NEWS);
        let (mut lines, mut reminders) = (0, 0);
        for round in 1..=300 {
            tokio::time::advance(Duration::from_secs(60)).await;
            let reason = if round % 2 == 0 { Reason::AwsUnavailable } else { Reason::AwsTimeout };
            let failed = chronicle.failed(&target, reason);
            lines += usize::from(failed.is_new_cause);
            reminders += usize::from(failed.is_due);
        }
        assert_eq!((lines, reminders), (1, 5));
        let after = Duration::from_secs(300 * 60);
        assert_eq!(chronicle.recovered(&target), Some(Recovered { after, was_told: true }));
        assert_eq!(chronicle.recovered(&target), None);
        // Another outage has a line, but its owner has just heard.
        tokio::time::advance(Duration::from_secs(60)).await;
        let failed = Failed { is_new_cause: true, is_due: false };
        assert_eq!(chronicle.failed(&target, Reason::AwsUnavailable), failed);
        assert_eq!(chronicle.failed(&target, Reason::AwsUnavailable), NO_NEWS);
        assert_eq!(chronicle.recovered(&target), Some(Recovered { after: Duration::ZERO, was_told: false }));
        assert_eq!(chronicle.failed(&target, Reason::AwsUnavailable), failed);
        tokio::time::advance(ENDS_AFTER).await;
        assert_eq!(chronicle.failed(&target, Reason::AwsUnavailable), NEWS, "nobody has asked for long");
    }

    fn files(of: &[(&str, &str, &str)]) -> Files {
        let file = |content: &str, version: &str| File {
            permission: FilePermission::from_mode(0o600).0,
            owner: Owner::default(),
            content: content.to_owned().into(),
            version: version.into(),
        };
        let files = of.iter().map(|(path, content, version)| (path.parse().expect("a path"), file(content, version)));
        files.collect()
    }

    #[tokio::test(start_paused = true)]
    async fn files_with_another_version_are_named_and_content_is_told_apart() {
        let (chronicle, target) = (Chronicle::default(), target(0));
        let versions = |files: &Files| -> Vec<(String, String)> {
            files.iter().map(|(path, file)| (path.to_string(), file.version.clone())).collect()
        };
        let changed = |files: &Files| {
            let versions = versions(files);
            chronicle
                .changed(versions.iter().map(|(path, version)| (path, version)), chronicle.before(&target).as_deref())
        };
        let first = files(&[("a", "1", "v1"), ("b", "1", "v1")]);
        assert_eq!(changed(&first).len(), 2, "nothing is known");
        chronicle.delivered(&target, chronicle.set(&first, true));
        assert_eq!(changed(&first), []);
        let second = files(&[("a", "1", "v1"), ("b", "2", "v2"), ("c", "1", "v1")]);
        assert_eq!(changed(&second), [("b".into(), "v2".into()), ("c".into(), "v1".into())]);
        let other = files(&[("a", "1", "v1"), ("b", "2", "v1")]);
        let known = chronicle.before(&target).expect("known");
        assert!(
            known.has_content_of(&chronicle.set(&first, true)) && !known.has_content_of(&chronicle.set(&other, true))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_bounded() {
        let chronicle = Chronicle::default();
        for number in 0..REMEMBERED + 10 {
            chronicle.failed(&target(number), Reason::AwsUnavailable);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(chronicle.told().len(), REMEMBERED);
        assert_eq!(chronicle.failed(&target(REMEMBERED), Reason::AwsUnavailable), NO_NEWS);
        assert_eq!(chronicle.failed(&target(0), Reason::AwsUnavailable), NEWS);
    }
}
