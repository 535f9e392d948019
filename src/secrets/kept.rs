//! Answers that were read before, and whom they may be given to.
//!
//! An answer is shared only by readers with the same rights. A first mount takes one that was asked for after its own request
//! came: whoever changes a secret and starts a pod gets the change, while a hundred pods that start together ask about twice. A
//! refresh takes one that is not older than it may be. An error is for those who have waited for it.
//!
//! Bounded in bytes, in all and for each namespace; what is too old for everybody is dropped, and with that wiped.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Demand, FetchError, SecretValue};
use crate::clock::Instant;
use crate::flights::{Flights, Place};
use crate::plan::Address;
use crate::reason::Explained as _;
use crate::telemetry::{Cache, Eviction, metrics};

/// What an entry takes beside its value, about.
const ENTRY_BYTES: usize = 512;
/// How long an answer stays for those who have waited for it.
const LEAST_LIFE: Duration = Duration::from_secs(5);
/// Most different calls under way; more than a node's mounts make.
const MOST_CALLS: usize = 16 * 1024;

/// An answer of a backend.
pub type Answer = Result<Arc<SecretValue>, FetchError>;

/// How many bytes are kept.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    pub in_all: usize,
    pub of_a_namespace: usize,
}

/// Answers by reader and address. `R` is what separates readers with different rights.
pub struct Kept<R, A> {
    table: Mutex<Table<R, A>>,
    calls: Flights<CallKey<R, A>, ()>,
    share: Share,
    /// Age at which no refresh takes an answer any more, unless its class says otherwise.
    max_age: Duration,
}

/// Who makes a call, and what it asks for.
type CallKey<R, A> = (Arc<R>, Arc<[A]>);

struct Table<R, A> {
    entries: HashMap<Arc<R>, HashMap<A, Entry>>,
    bytes: usize,
    of_namespaces: HashMap<Arc<str>, usize>,
}

struct Entry {
    namespace: Arc<str>,
    bytes: usize,
    /// Age at which nobody takes it any more.
    life: Duration,
    value: Option<(Arc<SecretValue>, Instant)>,
    /// In a box, because few have one.
    error: Option<Box<(FetchError, Instant)>>,
}

impl Entry {
    fn asked(&self) -> Option<Instant> {
        let of_value = self.value.as_ref().map(|(_, asked)| *asked);
        of_value.max(self.error.as_ref().map(|error| error.1))
    }
}

impl<R: Eq + Hash, A: Address> Kept<R, A> {
    /// `max_age` is what demands have whose class says nothing else.
    pub fn new(share: Share, max_age: Duration) -> Self {
        let table = Table { entries: HashMap::new(), bytes: 0, of_namespaces: HashMap::new() };
        Self { table: Mutex::new(table), calls: Flights::new(MOST_CALLS), share, max_age }
    }

    /// How many answers there are, and what they take in bytes, about.
    pub fn size(&self) -> (usize, usize) {
        let table = self.table();
        (table.entries.values().map(HashMap::len).sum(), table.bytes)
    }

    /// The answers that a demand may be given, by address.
    pub fn find(&self, reader: &R, addresses: &[A], demand: Demand) -> Vec<Option<Answer>> {
        let table = self.table();
        let of_reader = table.entries.get(reader);
        let of = |address: &A| {
            let entry = of_reader?.get(address)?;
            let takes_value = |asked: Instant| {
                let is_pinned = demand.max_age.is_some() && address.is_pinned();
                asked >= demand.since || is_pinned || demand.max_age.is_some_and(|max_age| asked.elapsed() <= max_age)
            };
            let error = entry.error.as_deref().filter(|(_, asked)| *asked >= demand.since);
            let value = entry.value.as_ref().filter(|(_, asked)| takes_value(*asked));
            match (value, error) {
                // The later of the two is what holds.
                (Some((_, of_value)), Some((error, of_error))) if of_error > of_value => Some(Err(error.clone())),
                (Some((value, _)), _) => Some(Ok(value.clone())),
                (None, Some((error, _))) => Some(Err(error.clone())),
                (None, None) => None,
            }
        };
        addresses.iter().map(of).collect()
    }

    /// The place of a call, where whoever wants to make it waits for whoever is making it. `None` where nothing is kept.
    pub(super) fn call(&self, reader: &Arc<R>, call: &Arc<[A]>) -> Option<Arc<Place<()>>> {
        let keeps = self.share.in_all.min(self.share.of_a_namespace) > 0;
        keeps.then(|| self.calls.place((reader.clone(), call.clone())))
    }

    /// Nobody else than the caller may be making the call, and then it needs no place.
    pub(super) fn leave(&self, reader: &Arc<R>, call: &Arc<[A]>, place: Arc<Place<()>>) {
        self.calls.leave(&(reader.clone(), call.clone()), place);
    }

    /// Keeps what was asked for at a time: until it is as old as `interval`, or without one until no refresh takes it any more.
    pub fn put(
        &self,
        namespace: &Arc<str>,
        reader: &Arc<R>,
        asked: Instant,
        interval: Option<Duration>,
        answers: impl Iterator<Item = (A, Answer)>,
    ) {
        let mut table = self.table();
        for (address, answer) in answers {
            let before = table.take(reader, &address);
            // Others may have asked for it with another interval.
            let life = interval.unwrap_or(self.max_age).max(LEAST_LIFE);
            let life = before.as_ref().map_or(life, |entry| entry.life.max(life));
            let value = match &answer {
                Ok(value) => Some((value.clone(), asked)),
                // It says nothing of the secret, and what was read before still holds for those who may have it so old.
                Err(error) if error.reason().may_pass() => before.and_then(|entry| entry.value),
                Err(_) => {
                    let is_lost = before.is_some_and(|entry| entry.value.is_some());
                    metrics().evicted(Cache::Secrets, Eviction::Identity, usize::from(is_lost));
                    None
                }
            };
            let bytes = ENTRY_BYTES + value.as_ref().map_or(0, |(value, _)| value.content.len());
            let error = answer.err().map(|error| Box::new((error, asked)));
            if bytes <= self.share.of_a_namespace.min(self.share.in_all) {
                table.make_room(namespace, bytes, self.share);
                table.put(reader, address, Entry { namespace: namespace.clone(), bytes, life, value, error });
            }
        }
    }

    /// Drops what nobody takes any more.
    pub fn sweep(&self) {
        self.calls.sweep(|()| false);
        let mut old = 0;
        self.table().retain(|address, entry| {
            entry.error.take_if(|error| error.1.elapsed() > LEAST_LIFE);
            let is_old = |(_, asked): &mut (_, Instant)| !address.is_pinned() && asked.elapsed() > entry.life;
            old += usize::from(entry.value.take_if(is_old).is_some());
            entry.asked().is_some()
        });
        metrics().evicted(Cache::Secrets, Eviction::Age, old);
    }

    /// Drops what was read for a namespace at the addresses that are meant. Says how many answers those were.
    pub fn forget(&self, namespace: &str, is_meant: impl Fn(&A) -> bool) -> usize {
        let mut forgotten = 0;
        self.table().retain(|address, entry| {
            let stays = *entry.namespace != *namespace || !is_meant(address);
            forgotten += usize::from(!stays);
            stays
        });
        forgotten
    }

    fn table(&self) -> MutexGuard<'_, Table<R, A>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Eq + Hash, A: Address> Table<R, A> {
    fn put(&mut self, reader: &Arc<R>, address: A, entry: Entry) {
        self.bytes += entry.bytes;
        *self.of_namespaces.entry(entry.namespace.clone()).or_default() += entry.bytes;
        self.entries.entry(reader.clone()).or_default().insert(address, entry);
    }

    fn take(&mut self, reader: &R, address: &A) -> Option<Entry> {
        let of_reader = self.entries.get_mut(reader)?;
        let entry = of_reader.remove(address)?;
        if of_reader.is_empty() {
            self.entries.remove(reader);
        }
        self.forget(&entry.namespace, entry.bytes);
        Some(entry)
    }

    fn forget(&mut self, namespace: &Arc<str>, bytes: usize) {
        self.bytes -= bytes;
        if let Some(of_namespace) = self.of_namespaces.get_mut(namespace) {
            *of_namespace -= bytes;
            if *of_namespace == 0 {
                self.of_namespaces.remove(namespace);
            }
        }
    }

    fn retain(&mut self, mut is_kept: impl FnMut(&A, &mut Entry) -> bool) {
        let mut dropped = Vec::new();
        self.entries.retain(|_, of_reader| {
            of_reader.retain(|address, entry| {
                let kept = is_kept(address, entry);
                if !kept {
                    dropped.push((entry.namespace.clone(), entry.bytes));
                }
                kept
            });
            !of_reader.is_empty()
        });
        dropped.into_iter().for_each(|(namespace, bytes)| self.forget(&namespace, bytes));
    }

    /// Drops what was asked for longest ago, of the namespace first.
    fn make_room(&mut self, namespace: &str, bytes: usize, share: Share) {
        let of_namespace = self.of_namespaces.get(namespace).copied().unwrap_or_default();
        if of_namespace + bytes > share.of_a_namespace {
            self.drop_oldest(of_namespace, share.of_a_namespace - bytes, |entry| &*entry.namespace == namespace);
        }
        if self.bytes + bytes > share.in_all {
            self.drop_oldest(self.bytes, share.in_all - bytes, |_| true);
        }
    }

    /// Brings what is `among` from `used` bytes to no more than `room`, and to three quarters of it while at that, because
    /// finding the oldest means to look at all.
    fn drop_oldest(&mut self, mut used: usize, room: usize, is_among: impl Fn(&Entry) -> bool) {
        let all =
            self.entries.iter().flat_map(|(reader, of_reader)| of_reader.iter().map(move |entry| (reader, entry)));
        let among = all.filter(|(_, (_, entry))| is_among(entry));
        let mut among: Vec<_> =
            among.map(|(reader, (address, entry))| (entry.asked(), reader.clone(), address.clone())).collect();
        among.sort_unstable_by_key(|(asked, ..)| *asked);
        let mut gone = 0;
        for (_, reader, address) in among {
            if used <= room / 4 * 3 {
                break;
            }
            used -= self.take(&reader, &address).map_or(0, |entry| entry.bytes);
            gone += 1;
        }
        metrics().evicted(Cache::Secrets, Eviction::Size, gone);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::reason::Reason;
    use crate::secrets::Verdict;

    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    struct At(u8);

    impl std::fmt::Display for At {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{}", self.0)
        }
    }

    impl Address for At {
        type Place = u8;

        fn place(&self) -> &u8 {
            &0
        }

        fn is_pinned(&self) -> bool {
            self.0 == 0
        }

        fn is_of(&self, object: &str) -> bool {
            self.to_string() == object
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// Somebody reads, after so many milliseconds, and gets a value of that size or an error that may be final.
        Read {
            reader: u8,
            address: u8,
            takes: u16,
            size: Result<u16, bool>,
        },
        Find {
            reader: u8,
            address: u8,
            since: u16,
            max_age: Option<u16>,
        },
        Pass(u16),
        Sweep,
    }

    fn step() -> impl Strategy<Value = Step> {
        let read = (
            0..3_u8,
            0..4_u8,
            0..500_u16,
            prop_oneof![3 => (0..3_000_u16).prop_map(Ok), 1 => any::<bool>().prop_map(Err)],
        );
        let find = (0..3_u8, 0..4_u8, 0..20_000_u16, proptest::option::of(0..20_000_u16));
        prop_oneof![
            4 => read.prop_map(|(reader, address, takes, size)| Step::Read { reader, address, takes, size }),
            4 => find.prop_map(|(reader, address, since, max_age)| Step::Find { reader, address, since, max_age }),
            2 => (0..10_000_u16).prop_map(Step::Pass),
            1 => Just(Step::Sweep),
        ]
    }

    fn milliseconds(number: u16) -> Duration {
        Duration::from_millis(number.into())
    }

    const SHARE: Share = Share { in_all: 12_000, of_a_namespace: 6_000 };
    const MAX_AGE: Duration = Duration::from_secs(20);

    proptest! {
        /// Values carry in their version who has read them, and when that was asked for.
        #[test]
        fn a18_nobody_gets_what_others_have_read_or_what_is_too_old(steps in proptest::collection::vec(step(), 1..80)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            runtime.expect("a runtime").block_on(async {
                let start = Instant::now();
                let kept = Kept::<u8, At>::new(SHARE, MAX_AGE);
                for step in steps {
                    match step {
                        Step::Read { reader, address, takes, size } => {
                            let asked = Instant::now();
                            tokio::time::advance(milliseconds(takes)).await;
                            let answer = match size {
                                Ok(size) => Ok(Arc::new(SecretValue {
                                    content: vec![reader; size.into()].into(),
                                    version: format!("{reader} {}", (asked - start).as_millis()),
                                    source: None,
                                })),
                                Err(is_final) => {
                                    let reason = if is_final { Reason::SecretAccessDenied } else { Reason::AwsUnavailable };
                                    Err(FetchError::Backend { reason, message: reader.to_string(), verdict: Verdict::Open, said: None })
                                }
                            };
                            let namespace = if reader == 0 { "bank" } else { "shop" };
                            kept.put(&namespace.into(), &Arc::new(reader), asked, None, std::iter::once((At(address), answer)));
                        }
                        Step::Find { reader, address, since, max_age } => {
                            let (since, max_age) = (Instant::now() - milliseconds(since), max_age.map(milliseconds));
                            let found = kept.find(&reader, &[At(address)], Demand { since, max_age, deadline: Instant::now() });
                            match &found[0] {
                                Some(Ok(value)) => {
                                    let (of, asked) = value.version.split_once(' ').expect("two parts");
                                    assert_eq!(of, reader.to_string());
                                    let asked = start + Duration::from_millis(asked.parse().expect("a number"));
                                    let is_young = max_age.is_some_and(|max_age| asked.elapsed() <= max_age);
                                    assert!(asked >= since || is_young || max_age.is_some() && address == 0);
                                }
                                Some(Err(error)) => assert_eq!(error.to_string(), reader.to_string()),
                                None => {}
                            }
                        }
                        Step::Pass(time) => tokio::time::advance(milliseconds(time)).await,
                        Step::Sweep => kept.sweep(),
                    }
                    let table = kept.table();
                    let of = |namespace: &str| {
                        table.entries.values().flat_map(HashMap::values).filter(|entry| &*entry.namespace == namespace).map(|entry| entry.bytes).sum::<usize>()
                    };
                    assert_eq!(table.bytes, of("bank") + of("shop"));
                    assert!(of("bank") <= SHARE.of_a_namespace && of("shop") <= SHARE.of_a_namespace && table.bytes <= SHARE.in_all);
                    assert_eq!(table.of_namespaces.values().sum::<usize>(), table.bytes);
                }
                tokio::time::advance(2 * MAX_AGE).await;
                kept.sweep();
                assert!(kept.table().entries.values().flat_map(HashMap::keys).all(Address::is_pinned), "the rest is gone");
            });
        }
    }
}
