//! Service accounts, as few reads of them as their askers can do with.

use std::sync::Arc;

use crate::clock::{Freshness, Instant};
use crate::cluster::{ClusterError, KubernetesApi, ServiceAccount};
use crate::flights::Flights;

/// More than a node has pods.
const MOST_ACCOUNTS: usize = 4_096;

/// Reads service accounts, each at most once at a time.
pub struct ServiceAccounts {
    cluster: Arc<dyn KubernetesApi>,
    flights: Flights<(String, String), Read>,
}

#[derive(Clone)]
struct Read {
    account: ServiceAccount,
    /// When it was asked for, so that it is never taken for younger than it is.
    at: Instant,
}

impl ServiceAccounts {
    pub fn new(cluster: Arc<dyn KubernetesApi>) -> Self {
        Self { cluster, flights: Flights::new(MOST_ACCOUNTS) }
    }

    /// A service account as it was a moment ago, or as long ago as `freshness` allows. While the API server does not answer, a
    /// refresh goes on with what was read last, however old.
    ///
    /// # Errors
    /// What the API server refuses, or that it does not answer.
    pub async fn get(&self, namespace: &str, name: &str, freshness: Freshness) -> Result<ServiceAccount, ClusterError> {
        let place = self.flights.place((namespace.to_owned(), name.to_owned()));
        let recent = || place.value().filter(|read| read.at.elapsed() <= freshness.max_age());
        if let Some(read) = recent() {
            return Ok(read.account);
        }
        let _flight = place.flight().await;
        if let Some(read) = recent() {
            return Ok(read.account);
        }
        let at = Instant::now();
        match self.cluster.service_account(namespace, name).await {
            Ok(account) => {
                place.put(Read { account: account.clone(), at });
                Ok(account)
            }
            Err(error) => match (error, freshness, place.value()) {
                (
                    ClusterError::Failing { .. } | ClusterError::Unavailable { .. },
                    Freshness::Refresh { .. },
                    Some(read),
                ) => Ok(read.account),
                (error, ..) => Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;

    use super::*;
    use crate::cluster::TokenOwner;
    use crate::sensitive::ServiceAccountToken;

    /// Says who is asking for the how-manyth time, after a while.
    #[derive(Default)]
    struct FakeCluster {
        asked: AtomicUsize,
        down: std::sync::atomic::AtomicBool,
    }

    #[async_trait]
    impl KubernetesApi for FakeCluster {
        async fn service_account(&self, _: &str, _: &str) -> Result<ServiceAccount, ClusterError> {
            let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
            // On a paused clock: so old is an answer when it comes.
            tokio::time::sleep(Duration::from_millis(5)).await;
            match self.down.load(Ordering::Relaxed) {
                true => Err(ClusterError::Unavailable { what: "get".into(), problem: "down".into() }),
                false => Ok(ServiceAccount { uid: number.to_string(), ..ServiceAccount::default() }),
            }
        }

        async fn node_labels(&self, _: &str) -> Result<BTreeMap<String, String>, ClusterError> {
            Ok(BTreeMap::new())
        }

        async fn node_of_pod(&self, _: &str, _: &str) -> Result<Option<String>, ClusterError> {
            Ok(None)
        }

        async fn key_set(&self) -> Result<String, ClusterError> {
            Ok(String::new())
        }

        async fn issuer(&self) -> Result<String, ClusterError> {
            Ok(String::new())
        }

        async fn review_token(&self, _: &ServiceAccountToken, _: &str) -> Result<Option<TokenOwner>, ClusterError> {
            Ok(None)
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn f13_a_first_mount_sees_a_change_within_a_second_and_a_refresh_within_the_maximum_age() {
        let cluster = Arc::new(FakeCluster::default());
        let accounts = ServiceAccounts::new(cluster.clone());
        let (first, refresh) = (Freshness::of(false, MINUTE), Freshness::of(true, MINUTE));
        let get = async |freshness| accounts.get("shop", "web", freshness).await.expect("read").uid;
        let together = futures_util::future::join_all((0..50).map(|_| get(first))).await;
        assert!(together.iter().all(|uid| uid == "1"), "one read at a time");
        tokio::time::advance(Duration::from_millis(900)).await;
        assert_eq!(get(first).await, "1");
        tokio::time::advance(Duration::from_millis(200)).await;
        assert_eq!(get(refresh).await, "1");
        assert_eq!(get(first).await, "2");
        tokio::time::advance(MINUTE).await;
        assert_eq!(get(refresh).await, "3");
    }

    #[tokio::test(start_paused = true)]
    async fn f12_only_a_refresh_goes_on_with_what_is_old_while_the_api_is_down() {
        let cluster = Arc::new(FakeCluster::default());
        let accounts = ServiceAccounts::new(cluster.clone());
        let get = async |is_refresh| accounts.get("shop", "web", Freshness::of(is_refresh, MINUTE)).await;
        get(false).await.expect("read");
        cluster.down.store(true, Ordering::Relaxed);
        tokio::time::advance(24 * 60 * MINUTE).await;
        assert_eq!(get(true).await.expect("a day old").uid, "1");
        assert!(matches!(get(false).await, Err(ClusterError::Unavailable { .. })));
    }
}
