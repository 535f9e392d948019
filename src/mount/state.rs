//! What is there at the moment, for whoever looks at numbers or asks for all of it; and what he may have forgotten.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::ledger::{GONE_AFTER, Known};
use super::{Mounter, Writing};
use crate::clock::Instant;
use crate::provider::Provider;
use crate::telemetry::{Cache, VolumeNow, VolumesNow, metrics};
use crate::volume::TargetPath;

/// All that is known.
#[derive(Debug)]
pub struct State {
    pub volumes: Vec<VolumeState>,
    /// Answers of the cloud, credentials and proofs of tokens: how many are kept, and what they take in bytes.
    pub secrets: (usize, usize),
    pub credentials: (usize, usize),
    pub tokens: (usize, usize),
    /// How many keys tokens are verified with, and their age. `None` where keys do not count.
    pub keys: Option<(usize, Duration)>,
    /// Where this process runs, once that is known.
    pub node: Option<String>,
}

/// What is known of a volume.
#[derive(Debug)]
pub struct VolumeState {
    pub known: Known,
    /// What this process has written into it, where it has and the volume is still mounted.
    pub bytes: Option<u64>,
    /// How much longer it is left alone after a failure.
    pub left_alone_for: Option<Duration>,
}

/// Whose volumes are meant: those of which everything is true that is set.
#[derive(Debug, Default)]
pub struct Whose {
    pub namespace: Option<String>,
    pub pod: Option<String>,
}

impl Whose {
    fn are(&self, known: &Known) -> bool {
        self.namespace.as_ref().is_none_or(|namespace| *namespace == known.pod.namespace)
            && self.pod.as_ref().is_none_or(|pod| *pod == known.pod.name)
    }
}

/// What a wish to ask anew has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forgotten {
    /// The volumes that were meant.
    pub volumes: usize,
    /// Those of them that were left alone after a failure.
    pub left_alone: usize,
    /// Answers that were kept for them and their like.
    pub answers: usize,
}

impl<P: Provider> Mounter<P> {
    /// Counts what is kept and what fails, for whoever looks at numbers now; also for `each_volume`.
    pub async fn observe(&self, each_volume: bool) {
        for (cache, (entries, bytes)) in [
            (Cache::Secrets, self.fetcher.kept()),
            (Cache::Credentials, self.provider.credentials_kept()),
            (Cache::Tokens, self.identity.kept()),
        ] {
            metrics().cache_is(cache, entries, bytes);
        }
        let volumes = self.volumes().await;
        let is_served = |volume: &&VolumeState| match &self.writing {
            Writing::Provider(_) => volume.bytes.is_some(),
            Writing::Driver => volume.known.good.is_some(),
        };
        let failing_for: Vec<Duration> = volumes.iter().filter_map(VolumeState::failing_for).collect();
        metrics().volumes_are(VolumesNow {
            current: volumes.iter().filter(is_served).filter(|volume| volume.failing_for().is_none()).count(),
            failing: failing_for.len(),
            failing_for: failing_for.into_iter().max(),
            bytes: volumes.iter().filter_map(|volume| volume.bytes).sum(),
        });
        if each_volume {
            metrics().each_volume_is(volumes.into_iter().filter_map(VolumeState::into_number).collect());
        }
    }

    /// All that is known at the moment.
    pub async fn state(&self) -> State {
        State {
            volumes: self.volumes().await,
            secrets: self.fetcher.kept(),
            credentials: self.provider.credentials_kept(),
            tokens: self.identity.kept(),
            keys: self.identity.keys(),
            node: self.identity.node().map(str::to_owned),
        }
    }

    /// Makes the next refresh of some volumes ask the cloud, for an object or for all of theirs: also where one has failed of
    /// late. Answers are kept for all who have the same rights, so others of their namespaces may ask anew too.
    pub fn forget(&self, whose: &Whose, object: Option<&str>) -> Forgotten {
        let mut meant = self.ledger.all();
        meant.retain(|known| whose.are(known));
        let left_alone = meant.iter().filter(|known| self.failing.try_next(&known.target)).count();
        let namespaces: HashSet<&str> = meant.iter().map(|known| known.pod.namespace.as_str()).collect();
        let answers = namespaces.into_iter().map(|namespace| self.fetcher.forget(namespace, object)).sum();
        Forgotten { volumes: meant.len(), left_alone, answers }
    }

    /// Forgets volumes that have gone. To be called now and then, so that they are not kept until somebody looks.
    pub async fn forget_gone(&self) {
        self.mounted().await;
    }

    /// The volumes that this process has written and that are still there, with the bytes in them. Others are forgotten.
    async fn mounted(&self) -> HashMap<TargetPath, u64> {
        let seen = Instant::now();
        let mounted = match &self.writing {
            Writing::Provider(volumes) => volumes.mounted().await,
            Writing::Driver => Ok(HashMap::new()),
        };
        // Where nobody can tell, nothing has gone.
        if let Ok(mounted) = &mounted {
            self.ledger.forget_gone(seen, |target| mounted.contains_key(target));
        }
        mounted.unwrap_or_default()
    }

    /// Those that have not gone.
    async fn volumes(&self) -> Vec<VolumeState> {
        let mounted = self.mounted().await;
        let volume = |known: Known| VolumeState {
            bytes: mounted.get(&known.target).copied(),
            left_alone_for: self.failing.left_alone_for(&known.target),
            known,
        };
        self.ledger.all().into_iter().map(volume).collect()
    }
}

impl VolumeState {
    /// Whether its pod runs, as far as anybody knows.
    fn is_there(&self) -> bool {
        self.bytes.is_some() || self.known.wanted.elapsed() < GONE_AFTER
    }

    /// For how long it could not be refreshed, where it is not what it should be.
    fn failing_for(&self) -> Option<Duration> {
        let outage = self.known.failure.as_ref().filter(|outage| outage.is_refresh && self.is_there())?;
        Some(outage.since.elapsed())
    }

    /// For whoever counts. `None` where nobody knows whether its pod still runs.
    fn into_number(self) -> Option<VolumeNow> {
        let is_there = self.is_there();
        let Known { target, pod, class, good, failure, .. } = self.known;
        is_there.then(|| VolumeNow {
            pod_namespace: pod.namespace.clone(),
            pod_name: pod.name.clone(),
            volume: target.volume().to_owned(),
            secret_provider_class: class.to_string(),
            last_success: good.map(|good| good.last.elapsed()),
            failures: failure.map_or(0, |failure| failure.times),
        })
    }
}
