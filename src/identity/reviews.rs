//! Tokens that the API server judges itself, where no key set that we can read knows their key.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::digest::Digest;
use crate::clock::Instant;
use crate::cluster::{ClusterError, KubernetesApi, TokenOwner};
use crate::flights::Flights;
use crate::sensitive::ServiceAccountToken;

/// The pods of a full node pass at once.
const BURST: u32 = 200;
/// After that one review in this time: forged tokens with keys of their own invention cost the API server no more.
const INTERVAL: Duration = Duration::from_millis(200);

/// More tokens than are reviewed at one time.
const MOST_AT_ONCE: usize = 1_024;

/// Asks the API server about tokens, within bounds, and once for those who ask about one token together.
pub struct Reviews {
    cluster: Arc<dyn KubernetesApi>,
    bucket: Mutex<Bucket>,
    /// By token and audience. A place holds what has come for those who wait at it, and when it came.
    asking: Flights<(Digest, String), (Result<Review, ClusterError>, Instant)>,
}

/// Reviews that may be made now.
struct Bucket {
    left: u32,
    /// Up to when time has been turned into reviews.
    filled: Instant,
}

/// What came of it.
#[derive(Clone)]
pub enum Review {
    Owner(TokenOwner),
    Refused,
    /// There were too many of late.
    NotMade,
}

impl Reviews {
    pub fn new(cluster: Arc<dyn KubernetesApi>) -> Self {
        let bucket = Mutex::new(Bucket { left: BURST, filled: Instant::now() });
        Self { cluster, bucket, asking: Flights::new(MOST_AT_ONCE) }
    }

    /// `digest` is the token's.
    ///
    /// # Errors
    /// When the API server does not answer, or this provider may not ask.
    pub async fn of(
        &self,
        token: &ServiceAccountToken,
        digest: Digest,
        audience: &str,
    ) -> Result<Review, ClusterError> {
        let (key, came) = ((digest, audience.to_owned()), Instant::now());
        let place = self.asking.place(key.clone());
        let (flight, first) = match place.try_flight() {
            Some(flight) => (flight, true),
            None => (place.flight().await, false),
        };
        // Only for those who have waited: whoever was first may also have gone away without an answer.
        let has_come = place.value().filter(|(_, at)| !first && *at >= came);
        let result = match has_come {
            Some((result, _)) => result,
            None => {
                let result = self.ask(token, audience).await;
                place.put((result.clone(), Instant::now()));
                result
            }
        };
        drop(flight);
        self.asking.leave(&key, place);
        result
    }

    async fn ask(&self, token: &ServiceAccountToken, audience: &str) -> Result<Review, ClusterError> {
        if !self.take() {
            return Ok(Review::NotMade);
        }
        Ok(self.cluster.review_token(token, audience).await?.map_or(Review::Refused, Review::Owner))
    }

    fn take(&self) -> bool {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let intervals = bucket.filled.elapsed().as_millis().checked_div(INTERVAL.as_millis()).unwrap_or_default();
        let intervals = u32::try_from(intervals).unwrap_or(BURST).min(BURST);
        let left = bucket.left.saturating_add(intervals);
        let filled = bucket.filled.checked_add(INTERVAL.saturating_mul(intervals));
        *bucket = match filled.filter(|_| left < BURST) {
            Some(filled) => Bucket { left, filled },
            None => Bucket { left: BURST, filled: Instant::now() },
        };
        let taken = bucket.left > 0;
        bucket.left = bucket.left.saturating_sub(1);
        taken
    }
}
