//! Names of hosts, looked up once for all who want the same one at the same time.
//!
//! A node that starts opens a hundred connections to one host at once. Each would otherwise look its name up on a thread of its
//! own, and ask the cluster's name server, which takes only so many questions a second.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};

use crate::clock::Instant;
use crate::flights::Flights;

/// How long an answer is good for those who come a little later. AWS changes what its names lead to by the minute.
const LIFE: Duration = Duration::from_secs(1);
/// More hosts than the Regions of a node's pods have.
const MOST_NAMES: usize = 256;

/// The system's names.
#[derive(Clone)]
pub struct Names(Arc<Table>);

struct Table {
    answers: Flights<String, (Vec<IpAddr>, Instant)>,
    /// How many have been given addresses.
    given: AtomicUsize,
}

impl Names {
    pub fn new() -> Self {
        Self(Arc::new(Table { answers: Flights::new(MOST_NAMES), given: AtomicUsize::new(0) }))
    }

    /// The addresses of a name, the best first, by `look_up` where nobody has asked a moment ago.
    async fn addresses<E>(
        &self,
        name: &str,
        look_up: impl AsyncFnOnce() -> Result<Vec<IpAddr>, E>,
    ) -> Result<Vec<IpAddr>, E> {
        let place = self.0.answers.place(name.to_owned());
        let answer = || {
            let kept = place.value().filter(|(_, at)| at.elapsed() < LIFE);
            kept.map(|(addresses, _)| spread(addresses, self.0.given.fetch_add(1, Ordering::Relaxed)))
        };
        if let Some(addresses) = answer() {
            return Ok(addresses);
        }
        // Whoever waits here follows one who fails, or goes away: an error is nobody else's.
        let _flight = place.flight().await;
        if let Some(addresses) = answer() {
            return Ok(addresses);
        }
        let addresses = look_up().await?;
        place.put((addresses.clone(), Instant::now()));
        Ok(addresses)
    }
}

/// Begins with another address for each who asks, as name servers do, so that not all turn to one host of many. What the system
/// takes for second best, such as the other family, stays behind.
fn spread(mut addresses: Vec<IpAddr>, turn: usize) -> Vec<IpAddr> {
    let is_ipv4 = addresses.first().is_some_and(IpAddr::is_ipv4);
    let alike = addresses.iter().take_while(|address| address.is_ipv4() == is_ipv4).count();
    if let Some(alike) = addresses.get_mut(..alike).filter(|alike| !alike.is_empty()) {
        let turn = turn % alike.len();
        alike.rotate_left(turn);
    }
    addresses
}

impl ResolveDns for Names {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            let look_up = async || {
                let found = tokio::net::lookup_host((name, 0)).await?;
                Ok::<_, std::io::Error>(found.map(|address| address.ip()).collect())
            };
            self.addresses(name, look_up).await.map_err(ResolveDnsError::new)
        })
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Names")
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn f32_those_who_want_a_name_together_ask_for_it_once_and_later_ones_again() {
        let (names, asked) = (Names::new(), AtomicUsize::new(0));
        let look_up = async |fails: bool| {
            asked.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await; // others come meanwhile
            if fails { Err("no such name") } else { Ok(vec![IpAddr::from([127, 0, 0, 1])]) }
        };
        let storm = async |name: &str, fails: bool| {
            let all = (0..100).map(|_| names.addresses(name, async || look_up(fails).await));
            join_all(all).await.into_iter().filter(Result::is_ok).count()
        };
        assert_eq!((storm("sts", false).await, asked.load(Ordering::Relaxed)), (100, 1));
        assert_eq!((storm("sts", false).await, asked.load(Ordering::Relaxed)), (100, 1));
        assert_eq!((storm("ssm", false).await, asked.load(Ordering::Relaxed)), (100, 2));
        tokio::time::advance(LIFE).await;
        assert_eq!((storm("sts", false).await, asked.load(Ordering::Relaxed)), (100, 3));
        assert_eq!(storm("none", true).await, 0);
    }

    #[test]
    fn addresses_of_the_best_family_take_turns() {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("an address")).collect::<Vec<_>>();
        let all = addresses(&["fd00::1", "fd00::2", "10.0.0.1", "10.0.0.2"]);
        assert_eq!(spread(all.clone(), 0), all);
        assert_eq!(spread(all.clone(), 3), addresses(&["fd00::2", "fd00::1", "10.0.0.1", "10.0.0.2"]));
        assert_eq!(spread(vec![], 7), [] as [IpAddr; 0]);
    }
}
