//! The keys that tokens are verified with: where they come from, and when they are read again.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};

use super::key_set::{KeySet, VerifyingKey};
use crate::clock::Instant;
use crate::cluster::{ClusterError, KubernetesApi};
use crate::telemetry::metrics;

/// Least time between two reads, so that neither forged tokens nor an API server that is down make us ask more often.
const FLOOR: Duration = Duration::from_secs(10);
/// Age at which a set is read again whatever tokens come, so that a key that was withdrawn dies within the hour.
const RENEWED_AFTER: Duration = Duration::from_secs(50 * 60);
/// Age beyond which a set proves nothing any more.
const USABLE_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// A key set at a place that the operator names, such as the issuer's own.
#[async_trait]
pub trait PublishedKeys: Send + Sync + 'static {
    fn url(&self) -> &str;

    /// The text that is there now, or why there is none.
    async fn read(&self) -> Result<String, String>;
}

/// Where a key set comes from.
#[derive(Clone)]
pub enum KeySource {
    /// What the API server publishes.
    Cluster(Arc<dyn KubernetesApi>),
    /// A file that the operator keeps.
    File(PathBuf),
    Published(Arc<dyn PublishedKeys>),
}

impl KeySource {
    /// # Errors
    /// Also for a set without any key that could verify a token.
    async fn read(&self) -> Result<KeySet, ClusterError> {
        let (place, text) = match self {
            Self::Cluster(cluster) => ("/openid/v1/jwks of the API server".to_owned(), cluster.key_set().await?),
            Self::File(path) => {
                let text = tokio::fs::read_to_string(path).await.map_err(|error| error.kind().to_string());
                (path.display().to_string(), text.map_err(unreadable(&path.display()))?)
            }
            Self::Published(keys) => (keys.url().to_owned(), keys.read().await.map_err(unreadable(&keys.url()))?),
        };
        let keys = KeySet::parse(&text).filter(|keys| !keys.is_empty());
        keys.ok_or_else(|| unreadable(&place)("what is there has no key that could verify a token".into()))
    }
}

fn unreadable(place: &dyn Display) -> impl FnOnce(String) -> ClusterError {
    let place = place.to_string();
    |problem| ClusterError::NoKeySet { place, problem }
}

/// What to do where a key is unknown and its set was read a moment ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// There is another way to prove the token.
    None,
    /// Wait until the set may be read again: a good token of a new key is not refused.
    UntilRead,
}

/// A key set as it was last read.
pub struct Keys {
    source: KeySource,
    state: RwLock<Read>,
    /// When the set was last asked for. Held while asking.
    asked: Mutex<Instant>,
    /// How the last read ended. Whoever misses a key waits for the next change, so a read serves all of them at once.
    outcome: watch::Sender<Result<(), ClusterError>>,
}

struct Read {
    keys: KeySet,
    at: Instant,
}

impl Keys {
    pub async fn start(source: KeySource) -> Result<Self, ClusterError> {
        let keys = source.read().await?;
        metrics().key_set_was_read();
        let now = Instant::now();
        let outcome = watch::Sender::new(Ok(()));
        Ok(Self { source, state: RwLock::new(Read { keys, at: now }), asked: Mutex::new(now), outcome })
    }

    /// The key with that id. Where it is unknown the set is read again, but not more often than every 10 s.
    ///
    /// # Errors
    /// When the read failed, or all reads of a day: whether the key exists is then not known.
    pub async fn find(
        &self,
        id: &str,
        patience: Patience,
        deadline: Instant,
    ) -> Result<Option<VerifyingKey>, ClusterError> {
        // Before the first look, so that no read between the two is missed.
        let mut outcome = self.outcome.subscribe();
        if let Some(key) = self.known(id)? {
            return Ok(Some(key));
        }
        let reading = async {
            tokio::select! {
                biased;
                _ = outcome.changed() => outcome.borrow().clone(),
                mut asked = self.asked.lock() => {
                    if asked.elapsed() < FLOOR && patience == Patience::None {
                        return Ok(());
                    }
                    tokio::time::sleep(FLOOR.saturating_sub(asked.elapsed())).await;
                    self.read(&mut asked).await
                }
            }
        };
        match tokio::time::timeout_at(deadline, reading).await {
            Ok(result) => result.and_then(|()| self.known(id)),
            Err(_) => Ok(None),
        }
    }

    /// The key with that id as it was last read, where that is recent enough to count.
    pub fn known(&self, id: &str) -> Result<Option<VerifyingKey>, ClusterError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if state.at.elapsed() > USABLE_FOR {
            return Err(match &*self.outcome.borrow() {
                Err(error) => error.clone(),
                Ok(()) => unreadable(&"the key set")("it was read too long ago".into()),
            });
        }
        Ok(state.keys.get(id).cloned())
    }

    /// Reads the set again where it has become old, before anything is looked up in it. Where that fails, the old one goes on
    /// being used, for a day.
    pub async fn renew(&self, deadline: Instant) {
        let is_old = || self.state.read().unwrap_or_else(PoisonError::into_inner).at.elapsed() >= RENEWED_AFTER;
        if !is_old() {
            return;
        }
        let reading = async {
            let mut asked = self.asked.lock().await;
            if is_old() && asked.elapsed() >= FLOOR {
                let _ = self.read(&mut asked).await;
            }
        };
        let _ = tokio::time::timeout_at(deadline, reading).await;
    }

    /// How many keys there are, and how long ago they were read.
    pub fn now(&self) -> (usize, Duration) {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        (state.keys.len(), state.at.elapsed())
    }

    async fn read(&self, asked: &mut Instant) -> Result<(), ClusterError> {
        let at = Instant::now();
        *asked = at;
        let result = self.source.read().await.map(|keys| {
            metrics().key_set_was_read();
            *self.state.write().unwrap_or_else(PoisonError::into_inner) = Read { keys, at };
        });
        let _ = self.outcome.send_replace(result.clone());
        result
    }
}
