//! Reads everything a plan names.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _, Shared};
use futures_util::stream::{FuturesUnordered, TryStreamExt as _};

use super::access::{Access, CallsAtOnce, Endpoints};
use super::failover::settle;
use super::kept::{Answer, Kept};
use super::{CredentialSource, Demand, FetchError, SecretBackend, SecretValue};
use crate::clock::Instant;
use crate::plan::{Address, Object, SecretPlan};
use crate::random;
use crate::telemetry::{Cache, Got, Reading, metrics};

/// How long a first mount waits before it tries again what has failed for a cause that may pass, and how long at most.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// How long before its end a mount gives up and says what has failed.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// The value of one object.
#[derive(Debug, Clone)]
pub struct Fetched<A> {
    /// Where it came from: the object's own address, or its standby.
    pub address: A,
    pub value: Arc<SecretValue>,
}

/// What has come of an object.
#[derive(Debug, Clone)]
pub enum Found<A> {
    Value(Fetched<A>),
    /// There is nothing, which the class allows. The error says what is missing.
    Absent(FetchError),
}

/// Reads what plans name.
pub struct Fetcher<B: SecretBackend, R> {
    endpoints: Endpoints<B>,
    kept: Kept<R, B::Address>,
    /// Most bytes of one value.
    max_bytes: usize,
}

impl<B: SecretBackend, R: Eq + Hash + Send + Sync> Fetcher<B, R> {
    /// `max_bytes` is the most that one value may have.
    pub fn new(backend: Arc<B>, kept: Kept<R, B::Address>, at_once: CallsAtOnce, max_bytes: usize) -> Self {
        Self { endpoints: Endpoints::new(backend, at_once), kept, max_bytes }
    }

    /// How many answers are kept, and what they take in bytes.
    pub fn kept(&self) -> (usize, usize) {
        self.kept.size()
    }

    /// Forgets what is kept for a namespace of an object, or of all. Says how many answers those were.
    pub fn forget(&self, namespace: &str, object: Option<&str>) -> usize {
        self.kept.forget(namespace, |address| object.is_none_or(|object| address.is_of(object)))
    }

    /// Drops what is kept and too old for everybody.
    pub fn sweep(&self) {
        self.kept.sweep();
    }

    /// Reads every distinct address of a plan, standbys at the same time as what they stand by for, or takes what was read
    /// before, as far as `demand` allows.
    ///
    /// Credentials are asked for once for each place, when they are needed; then all calls run at the same time, so a mount
    /// waits for two answers, however many secrets it has. What fails for a cause that may pass is tried again: for a refresh
    /// and where there is a standby a few times at once, and for a first mount until it ends. The answer has one entry for each
    /// object, in their order. What is asked and kept is `reading`'s.
    ///
    /// # Errors
    /// The first error; what else is under way is then given up.
    pub async fn fetch<S>(
        &self,
        source: &S,
        plan: &SecretPlan<B::Address>,
        reading: &Reading,
        demand: Demand,
    ) -> Result<Vec<Found<B::Address>>, FetchError>
    where
        S: CredentialSource<Place = <B::Address as Address>::Place, Credentials = B::Credentials, Reader = R>,
    {
        let accesses = self.accesses(source, plan, reading);
        // A node's start has a thousand calls: made before their credentials are there, they would all wait with what they hold.
        // Not where another place stands by, which must not wait for this one; and a refresh may need no credentials.
        if accesses.len() == 1 && demand.max_age.is_none() {
            for access in accesses.values() {
                access.prepare(demand.since).await;
            }
        }
        let reads = self.reads(accesses, plan, reading, demand);
        let objects: FuturesUnordered<_> = plan
            .objects
            .iter()
            .enumerate()
            .map(|(index, object)| value_of(object, &reads).map(move |result| result.map(|value| (index, value))))
            .collect();
        // Now a call lives as long as an object waits for it, and others who wait to make it need not wait for more.
        drop(reads);
        let mut found: Vec<(usize, Found<B::Address>)> = objects.try_collect().await?;
        found.sort_unstable_by_key(|(index, _)| *index);
        Ok(found.into_iter().map(|(_, found)| found).collect())
    }

    /// What the value at the address of a list stands for: names, and where their values are.
    pub(super) fn members(
        &self,
        list: &B::Address,
        value: &SecretValue,
    ) -> Result<Vec<(String, B::Address)>, FetchError> {
        self.endpoints.members(list, value)
    }

    /// How each place of the plan is read.
    fn accesses<'a, S>(
        &'a self,
        source: &'a S,
        plan: &SecretPlan<B::Address>,
        reading: &'a Reading,
    ) -> Accesses<'a, S, B>
    where
        S: CredentialSource<Place = <B::Address as Address>::Place, Credentials = B::Credentials, Reader = R>,
    {
        let mut accesses = HashMap::new();
        for place in plan.objects.iter().flat_map(Object::addresses).map(Address::place) {
            if !accesses.contains_key(place) {
                accesses.insert(place.clone(), Arc::new(Access::new(source, place.clone(), &self.endpoints, reading)));
            }
        }
        accesses
    }

    /// How each address of the plan is read.
    fn reads<'a, S>(
        &'a self,
        accesses: Accesses<'a, S, B>,
        plan: &SecretPlan<B::Address>,
        reading: &'a Reading,
        demand: Demand,
    ) -> HashMap<B::Address, Read<'a>>
    where
        S: CredentialSource<Place = <B::Address as Address>::Place, Credentials = B::Credentials, Reader = R>,
    {
        let mut by_place: HashMap<_, HashMap<_, Vec<B::Address>>> = HashMap::new();
        let mut intervals = intervals(plan);
        // In the order of the plan, so that all mounts of a class make the same calls.
        for address in plan.objects.iter().flat_map(Object::addresses) {
            if let Some(interval) = intervals.remove(address) {
                by_place.entry(address.place().clone()).or_default().entry(interval).or_default().push(address.clone());
            }
        }
        let with_standby = plan.objects.iter().filter(|object| object.standby.is_some());
        let with_standby: HashSet<&B::Address> = with_standby.flat_map(Object::addresses).collect();
        let mut reads = HashMap::new();
        for (place, access) in accesses {
            let by_interval = by_place.remove(&place).unwrap_or_default();
            // What is asked for again at other times comes with other calls.
            for (interval, addresses) in by_interval {
                let demand = Demand { max_age: demand.max_age.map(|max_age| interval.unwrap_or(max_age)), ..demand };
                for call in self.endpoints.calls(addresses) {
                    let is_patient =
                        demand.max_age.is_none() && !call.iter().any(|address| with_standby.contains(address));
                    let namespace = reading.namespace().clone();
                    let asking = Asking { call: call.into(), namespace, interval };
                    let addresses = asking.call.clone();
                    let run = self.answers(access.clone(), asking, demand, is_patient).boxed().shared();
                    let read =
                        |(place, address): (usize, &B::Address)| (address.clone(), Read { call: run.clone(), place });
                    reads.extend(addresses.iter().enumerate().map(read));
                }
            }
        }
        reads
    }

    /// The answers to a call, tried again until the end where `is_patient`.
    async fn answers<S>(
        &self,
        access: Arc<Access<'_, S, B>>,
        asking: Asking<B::Address>,
        mut demand: Demand,
        is_patient: bool,
    ) -> Arc<[Answer]>
    where
        S: CredentialSource<Credentials = B::Credentials, Reader = R>,
    {
        let mut answers = self.answers_now(&access, &asking, demand).await;
        if !is_patient {
            return answers.into();
        }
        let mut pause = FIRST_PAUSE;
        loop {
            let is_open = |answer: &Answer| matches!(answer, Err(error) if error.may_pass());
            let open: Vec<usize> = (0..answers.len()).filter(|place| is_open(&answers[*place])).collect();
            if open.is_empty() {
                return answers.into();
            }
            // What others ask for meanwhile will do, but not what has just failed.
            demand.since = Instant::now() + Duration::from_nanos(1);
            // In a box, as is all that is rare: whoever waits for a turn, and a storm has a thousand of those, would hold room for it.
            let again = Box::pin(async {
                tokio::time::sleep(random::jittered(pause)).await;
                let call = open.iter().map(|place| asking.call[*place].clone()).collect();
                self.answers_now(&access, &Asking { call, ..asking.clone() }, demand).await
            });
            match tokio::time::timeout_at(demand.deadline - LAST_WORDS, again).await {
                Ok(again) => open.into_iter().zip(again).for_each(|(place, answer)| answers[place] = answer),
                Err(_) => return answers.into(),
            }
            pause = LONGEST_PAUSE.min(2 * pause);
        }
    }

    /// The answers to a call: kept ones, or what the backend says now to those that are missing.
    async fn answers_now<S>(
        &self,
        access: &Access<'_, S, B>,
        asking: &Asking<B::Address>,
        demand: Demand,
    ) -> Vec<Answer>
    where
        S: CredentialSource<Credentials = B::Credentials, Reader = R>,
    {
        let call = &asking.call;
        let reader = match access.reader(demand.since).await {
            Ok(reader) => reader,
            Err(error) => return call.iter().map(|_| Err(error.clone())).collect(),
        };
        if let Some(answers) = whole(self.kept.find(&reader, call, demand)) {
            metrics().looked_for(Cache::Secrets, Got::Hit, call.len());
            return answers;
        }
        // Where nothing is kept, those who waited would have to ask one after the other.
        let Some(place) = self.kept.call(&reader, call) else {
            return self.complete(access, asking, demand, &reader).await;
        };
        let flight = place.flight().await;
        let answers = self.complete(access, asking, demand, &reader).await;
        drop(flight);
        self.kept.leave(&reader, call, place);
        answers
    }

    /// What is kept, completed by what the backend says now.
    async fn complete<S>(
        &self,
        access: &Access<'_, S, B>,
        asking: &Asking<B::Address>,
        demand: Demand,
        reader: &Arc<R>,
    ) -> Vec<Answer>
    where
        S: CredentialSource<Credentials = B::Credentials, Reader = R>,
    {
        let Asking { call, namespace, interval } = asking;
        // Somebody may have asked while this one came to its turn.
        let mut found = self.kept.find(reader, call, demand);
        let mut missing: Vec<B::Address> = Vec::with_capacity(found.iter().filter(|found| found.is_none()).count());
        missing
            .extend(call.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(address, _)| address.clone()));
        // Whoever waited finds what was asked for meanwhile.
        metrics().looked_for(Cache::Secrets, Got::Joined, call.len() - missing.len());
        metrics().looked_for(Cache::Secrets, Got::Miss, missing.len());
        if !missing.is_empty() {
            let asked = Instant::now();
            let answers: Vec<Answer> = match access.read(demand.since, &missing).await {
                Ok(answers) => {
                    let answers = missing.iter().zip(answers);
                    answers.map(|(address, answer)| within(self.max_bytes, address, answer?)).collect()
                }
                Err(error) => return call.iter().map(|_| Err(error.clone())).collect(),
            };
            self.kept.put(namespace, reader, asked, *interval, missing.into_iter().zip(answers.iter().cloned()));
            let mut answers = answers.into_iter();
            found.iter_mut().filter(|found| found.is_none()).for_each(|place| *place = answers.next());
        }
        found.into_iter().map(|answer| answer.unwrap_or_else(|| Err(FetchError::unanswered()))).collect()
    }
}

/// How places are read, by place.
type Accesses<'a, S, B> = HashMap<<<B as SecretBackend>::Address as Address>::Place, Arc<Access<'a, S, B>>>;

/// Each address of a plan once, and how old what was read of it may be where an object says so: of several, the shortest.
fn intervals<A: Address>(plan: &SecretPlan<A>) -> HashMap<&A, Option<Duration>> {
    let mut intervals: HashMap<&A, Option<Duration>> = HashMap::new();
    for object in &plan.objects {
        for address in object.addresses() {
            let interval = intervals.entry(address).or_insert(object.refresh_interval);
            // An object without one takes what all have, which nobody has said is longer.
            *interval = interval.zip(object.refresh_interval).map(|(one, other)| one.min(other));
        }
    }
    intervals
}

/// A call, on whose behalf it is made, and how old its answers may become.
#[derive(Clone)]
struct Asking<A> {
    call: Arc<[A]>,
    namespace: Arc<str>,
    interval: Option<Duration>,
}

/// All of them, where none is missing.
fn whole(found: Vec<Option<Answer>>) -> Option<Vec<Answer>> {
    found.into_iter().collect()
}

/// A call that several objects wait for, and the place of one address in it. It runs while somebody waits for it.
#[derive(Clone)]
struct Read<'a> {
    call: Shared<BoxFuture<'a, Arc<[Answer]>>>,
    place: usize,
}

impl Read<'_> {
    async fn answer(self) -> Answer {
        let answers = self.call.await;
        answers.get(self.place).cloned().unwrap_or_else(|| Err(FetchError::unanswered()))
    }
}

fn within<A: Address>(limit: usize, address: &A, value: SecretValue) -> Answer {
    match value.content.len() {
        size if size > limit => Err(FetchError::TooLarge { address: address.to_string(), size, limit }),
        _ => Ok(Arc::new(value)),
    }
}

/// Holds what it waits for, and nothing else of the reads.
fn value_of<'a, A: Address>(
    object: &Object<A>,
    reads: &HashMap<A, Read<'a>>,
) -> BoxFuture<'a, Result<Found<A>, FetchError>> {
    let read = |address: &A| {
        let (address, read) = (address.clone(), reads.get(address).cloned());
        async move {
            let value = read.ok_or_else(FetchError::unanswered)?.answer().await?;
            Ok(Fetched { address, value })
        }
    };
    let is_optional = object.is_optional;
    let found = move |result: Result<_, FetchError>| match result {
        Ok(fetched) => Ok(Found::Value(fetched)),
        Err(error) if is_optional && error.is_absence() => Ok(Found::Absent(error)),
        Err(error) => Err(error),
    };
    match &object.standby {
        None => read(&object.address).map(found).boxed(),
        Some(standby) => settle(read(&object.address), read(standby)).map(found).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::Mutex;
    use std::time::Duration;

    use async_trait::async_trait;
    use futures_util::future::poll_immediate;

    use super::*;
    use crate::reason::{Explained, Reason};
    use crate::secrets::{Share, Verdict};
    use crate::sensitive::SecretBytes;

    /// `place/name`.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    struct At(&'static str, &'static str);

    impl fmt::Display for At {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "secret {:?} in {}", self.1, self.0)
        }
    }

    impl Address for At {
        type Place = &'static str;

        fn place(&self) -> &&'static str {
            &self.0
        }

        fn is_pinned(&self) -> bool {
            self.1.starts_with("pinned")
        }

        fn is_of(&self, object: &str) -> bool {
            self.1 == object
        }
    }

    /// Answers with the name, three addresses a call, and remembers the calls.
    #[derive(Default)]
    struct FakeBackend(Mutex<Vec<(String, Vec<At>)>>, Mutex<HashMap<&'static str, usize>>);

    impl FakeBackend {
        /// The next so many calls with an address of this name fail for a cause that may pass.
        fn fail(&self, name: &'static str, times: usize) {
            self.1.lock().expect("unpoisoned").insert(name, times);
        }

        fn fails(&self, name: &str) -> bool {
            let mut failing = self.1.lock().expect("unpoisoned");
            let Some(left) = failing.get_mut(name) else { return false };
            let fails = *left > 0;
            *left = left.saturating_sub(1);
            fails
        }
    }

    #[async_trait]
    impl SecretBackend for FakeBackend {
        type Address = At;
        type Credentials = String;
        type Endpoint = &'static str;

        fn calls(&self, addresses: Vec<At>) -> Vec<Vec<At>> {
            addresses.chunks(3).map(<[At]>::to_vec).collect()
        }

        fn role<'a>(&self, _: &'a String) -> &'a str {
            "role"
        }

        fn endpoint(&self, _: &String, call: &[At]) -> Option<(&'static str, Option<usize>)> {
            Some((call.first()?.0, None))
        }

        fn members(&self, _: &At, _: &SecretValue) -> Result<Vec<(String, At)>, FetchError> {
            Ok(Vec::new())
        }

        async fn read(&self, credentials: &String, call: &[At]) -> Vec<Option<Result<SecretValue, FetchError>>> {
            self.0.lock().expect("unpoisoned").push((credentials.clone(), call.to_vec()));
            tokio::task::yield_now().await; // others come meanwhile
            if call.iter().any(|address| address.0 == "silent") {
                std::future::pending::<()>().await;
            }
            let failed =
                |reason, verdict| Err(FetchError::Backend { reason, message: "not there".into(), verdict, said: None });
            let answer = |address: &At| match address.1 {
                "missing" => Some(failed(Reason::SecretNotFound, Verdict::Final)),
                "failing" => Some(failed(Reason::AwsUnavailable, Verdict::Open)),
                name if self.fails(name) => Some(failed(Reason::AwsThrottled, Verdict::Open)),
                name if name.starts_with("shy") && call.len() > 1 => None,
                name => Some(Ok(SecretValue {
                    content: SecretBytes::from(name.to_owned()),
                    version: "1".into(),
                    source: None,
                })),
            };
            call.iter().map(answer).collect()
        }
    }

    /// Gives each place its own credentials, and none to `closed`.
    #[derive(Default)]
    struct FakeSource(Mutex<Vec<&'static str>>, &'static str);

    #[derive(Debug, thiserror::Error)]
    #[error("{0} is closed")]
    struct Closed(&'static str);

    impl Explained for Closed {
        fn reason(&self) -> Reason {
            Reason::AssumeRoleDenied
        }
    }

    #[async_trait]
    impl CredentialSource for FakeSource {
        type Place = &'static str;
        type Credentials = String;
        type Error = Closed;
        type Reader = &'static str;

        async fn reader(&self, _: &&'static str) -> Result<&'static str, Closed> {
            Ok(self.1)
        }

        async fn credentials(&self, place: &&'static str) -> Result<String, Closed> {
            self.0.lock().expect("unpoisoned").push(place);
            if *place == "closed" { Err(Closed(place)) } else { Ok(format!("for {place}")) }
        }

        async fn renewed(&self, place: &&'static str, refused: &String) -> Result<String, Closed> {
            Ok(format!("{refused}, once more: {}", self.credentials(place).await?))
        }
    }

    /// A first mount, in a process that has just started.
    async fn fetch(
        backend: &Arc<FakeBackend>,
        source: &FakeSource,
        plan: &SecretPlan<At>,
        max_bytes: usize,
    ) -> Result<Vec<Fetched<At>>, FetchError> {
        let share = Share { in_all: 1 << 20, of_a_namespace: 1 << 20 };
        let fetcher = Fetcher::new(backend.clone(), Kept::new(share, Duration::ZERO), AT_ONCE, max_bytes);
        let found = fetcher.fetch(source, plan, &reading(), demand(None)).await?;
        Ok(found.into_iter().map(value).collect())
    }

    fn reading() -> Reading {
        Reading::new("mount", "shop", "web")
    }

    #[track_caller]
    fn value(found: Found<At>) -> Fetched<At> {
        match found {
            Found::Value(fetched) => fetched,
            Found::Absent(error) => panic!("nothing there: {error}"),
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);
    const AT_ONCE: CallsAtOnce = CallsAtOnce { of_an_endpoint: 128, of_a_mount: 64 };

    fn demand(max_age: Option<Duration>) -> Demand {
        let since = Instant::now();
        Demand { since, max_age, deadline: since + MINUTE }
    }

    fn plan(addresses: &[(At, Option<At>)]) -> SecretPlan<At> {
        let object = |((address, standby), position): (&(At, Option<At>), usize)| Object {
            standby: standby.clone(),
            ..Object::at(address.clone(), position)
        };
        SecretPlan {
            objects: addresses.iter().zip(1..).map(object).collect(),
            templates: vec![],
            layout: Default::default(),
            warnings: vec![],
        }
    }

    fn alone<const N: usize>(addresses: [At; N]) -> SecretPlan<At> {
        plan(&addresses.map(|address| (address, None)))
    }

    #[tokio::test]
    async fn each_place_has_its_own_credentials_and_each_address_is_read_once() {
        let (backend, source) = (Arc::new(FakeBackend::default()), FakeSource::default());
        let addresses = [At("here", "a"), At("there", "a"), At("here", "a"), At("here", "b")];
        let values = fetch(&backend, &source, &alone(addresses.clone()), 10).await.expect("read");
        assert_eq!(values.iter().map(|value| &value.address).collect::<Vec<_>>(), addresses.iter().collect::<Vec<_>>());
        assert_eq!(values[3].value.content.expose(), b"b");
        let mut calls = backend.0.lock().expect("unpoisoned").clone();
        calls.sort_by_key(|(credentials, _)| credentials.clone());
        let expected = [("for here", vec![At("here", "a"), At("here", "b")]), ("for there", vec![At("there", "a")])];
        assert_eq!(calls, expected.map(|(credentials, call)| (credentials.to_owned(), call)));
        assert_eq!(source.0.into_inner().expect("unpoisoned").len(), 2);
    }

    #[tokio::test]
    async fn the_first_error_is_the_answer_with_its_own_reason() {
        let fetch_all = async |plan| {
            let (backend, source) = (Arc::new(FakeBackend::default()), FakeSource::default());
            fetch(&backend, &source, &plan, 5).await.map(|values| values.len())
        };
        let reason = async |addresses: [At; 2]| fetch_all(alone(addresses)).await.expect_err("fails").reason();
        assert_eq!(reason([At("here", "a"), At("here", "missing")]).await, Reason::SecretNotFound);
        assert_eq!(reason([At("here", "a"), At("closed", "a")]).await, Reason::AssumeRoleDenied);
        assert_eq!(reason([At("here", "a"), At("here", "longer than five")]).await, Reason::LimitExceeded);
        assert_eq!(fetch_all(alone([At("here", "five!")])).await.expect("just fits"), 1);
    }

    #[tokio::test]
    async fn f35_an_optional_object_may_be_missing_and_nothing_else() {
        let fetch_optional = async |at: At, standby: Option<At>| {
            let (backend, source) = (Arc::new(FakeBackend::default()), FakeSource::default());
            let mut plan = plan(&[(at, standby), (At("here", "a"), None)]);
            plan.objects[0].is_optional = true;
            let share = Share { in_all: 1 << 20, of_a_namespace: 1 << 20 };
            let fetcher = Fetcher::new(backend, Kept::new(share, Duration::ZERO), AT_ONCE, 100);
            let found = fetcher.fetch(&source, &plan, &reading(), demand(Some(MINUTE))).await?;
            Ok::<_, FetchError>(matches!(found[..], [Found::Absent(_), Found::Value(_)]))
        };
        assert!(fetch_optional(At("here", "missing"), None).await.expect("left out"));
        assert!(fetch_optional(At("here", "missing"), Some(At("there", "a"))).await.expect("the first Region's word"));
        assert!(!fetch_optional(At("here", "b"), None).await.expect("there"));
        for (at, standby) in [
            (At("closed", "missing"), None),
            (At("here", "failing"), None),
            // Nobody knows whether the first has it.
            (At("here", "failing"), Some(At("there", "missing"))),
        ] {
            fetch_optional(at, standby).await.expect_err("not known to be missing");
        }
    }

    #[tokio::test]
    async fn f16_a_standby_answers_for_a_place_without_credentials_and_for_no_other() {
        let (backend, source) = (Arc::new(FakeBackend::default()), FakeSource::default());
        let plan = plan(&[
            (At("closed", "a"), Some(At("there", "a"))),
            (At("here", "b"), Some(At("there", "b"))),
            (At("here", "failing"), Some(At("there", "c"))),
        ]);
        let values = fetch(&backend, &source, &plan, 10).await.expect("read");
        let from = values.into_iter().map(|value| value.address).collect::<Vec<_>>();
        assert_eq!(from, [At("there", "a"), At("here", "b"), At("there", "c")]);
    }

    #[tokio::test(start_paused = true)]
    async fn f16_a_place_that_hangs_does_not_hold_up_the_other_however_much_is_asked_of_it() {
        let names: Vec<&'static str> = (0..4 * AT_ONCE.of_a_mount).map(|number| &*format!("{number}").leak()).collect();
        let addresses: Vec<_> = names.iter().map(|name| (At("silent", name), Some(At("there", name)))).collect();
        let (backend, source) = (Arc::new(FakeBackend::default()), FakeSource::default());
        let plan = plan(&addresses);
        let reading = fetch(&backend, &source, &plan, 10);
        let values = tokio::time::timeout(std::time::Duration::from_secs(3), reading).await.expect("in time");
        assert!(values.expect("read").iter().all(|value| value.address.0 == "there"));
    }

    struct World {
        backend: Arc<FakeBackend>,
        fetcher: Fetcher<FakeBackend, &'static str>,
    }

    impl World {
        fn new() -> Self {
            let backend = Arc::new(FakeBackend::default());
            let share = Share { in_all: 1 << 20, of_a_namespace: 1 << 20 };
            Self { fetcher: Fetcher::new(backend.clone(), Kept::new(share, MINUTE), AT_ONCE, 100), backend }
        }

        /// What a reader gets, and how often credentials were asked for.
        async fn fetch(
            &self,
            reader: &'static str,
            names: &[&'static str],
            is_refresh: bool,
        ) -> (Result<usize, Reason>, usize) {
            let source = FakeSource(Mutex::default(), reader);
            let demand = demand(is_refresh.then_some(MINUTE));
            let addresses: Vec<_> = names.iter().map(|name| (At("here", name), None)).collect();
            let result = self.fetcher.fetch(&source, &plan(&addresses), &reading(), demand).await;
            let asked = source.0.lock().expect("unpoisoned").len();
            (result.map(|values| values.len()).map_err(|error| error.reason()), asked)
        }

        /// Several at once.
        async fn storm(&self, names: &[&'static str], is_refresh: bool) {
            let all = (0..100).map(|_| self.fetch("web", names, is_refresh));
            for (result, _) in futures_util::future::join_all(all).await {
                assert_eq!(result, Ok(names.len()));
            }
        }

        fn calls(&self) -> usize {
            std::mem::take(&mut *self.backend.0.lock().expect("unpoisoned")).len()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn f75_a_round_of_refreshes_asks_once_and_inside_the_age_nobody_asks_anything() {
        let world = World::new();
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"]; // three calls
        world.storm(&names, false).await;
        assert!(world.calls() <= 6, "the first ask, and those who came while they were asking ask together");
        tokio::time::advance(MINUTE - Duration::from_secs(1)).await;
        assert_eq!(world.fetch("web", &names, true).await, (Ok(9), 0), "no credentials either");
        assert_eq!(world.calls(), 0);
        tokio::time::advance(Duration::from_secs(2)).await;
        world.storm(&names, true).await;
        assert_eq!(world.calls(), 3);
        // Whoever starts a pod after that sees what holds now.
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(world.fetch("web", &names, false).await, (Ok(9), 1));
        assert_eq!(world.calls(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a18_readers_with_other_rights_share_nothing() {
        let world = World::new();
        assert_eq!(world.fetch("web", &["a"], true).await, (Ok(1), 1));
        assert_eq!(world.fetch("bank", &["a"], true).await, (Ok(1), 1));
        assert_eq!(world.calls(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pinned_version_is_not_asked_for_again() {
        let world = World::new();
        assert_eq!(world.fetch("web", &["pinned"], false).await, (Ok(1), 1));
        tokio::time::advance(1_000 * MINUTE).await;
        world.fetcher.sweep();
        assert_eq!(world.fetch("web", &["pinned"], true).await, (Ok(1), 0));
        assert_eq!(world.calls(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_is_asked_for_again_when_its_class_says_so() {
        let world = World::new();
        let mut plan = alone([At("here", "a"), At("here", "b"), At("here", "c"), At("here", "c")]);
        plan.objects[0].refresh_interval = Some(10 * MINUTE);
        plan.objects[1].refresh_interval = Some(Duration::from_secs(10));
        plan.objects[2].refresh_interval = Some(10 * MINUTE);
        let refresh = async |is_refresh: bool| {
            let source = FakeSource::default();
            let demand = demand(is_refresh.then_some(MINUTE));
            world.fetcher.fetch(&source, &plan, &reading(), demand).await.expect("read");
            let mut calls: Vec<_> = std::mem::take(&mut *world.backend.0.lock().expect("unpoisoned"));
            calls.sort_by_key(|(_, call)| call[0].1);
            calls.iter().map(|(_, call)| call[0].1).collect::<String>()
        };
        assert_eq!(refresh(false).await, "abc");
        let mut seen = String::new();
        for _ in 0..70 {
            tokio::time::advance(Duration::from_secs(10) + Duration::from_millis(1)).await;
            world.fetcher.sweep();
            seen.push_str(&refresh(true).await);
        }
        let of = |name| seen.matches(name).count();
        assert_eq!((of("a"), of("b")), (1, 70));
        assert_eq!(of("c"), 11, "one of its two objects has no interval of its own");
    }

    #[tokio::test(start_paused = true)]
    async fn f19_an_error_is_for_those_who_have_waited_for_it() {
        let world = World::new();
        let all = (0..50).map(|_| world.fetch("web", &["missing"], true));
        for (result, _) in futures_util::future::join_all(all).await {
            assert_eq!(result, Err(Reason::SecretNotFound));
        }
        assert!(world.calls() <= 2);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(world.fetch("web", &["missing"], true).await.0, Err(Reason::SecretNotFound));
        assert_eq!(world.calls(), 1, "it may be there now");
    }

    #[tokio::test(start_paused = true)]
    async fn f19_whoever_goes_away_while_asking_is_followed() {
        let world = World::new();
        let mut leaves = Box::pin(world.fetch("web", &["a"], true));
        let mut stays = Box::pin(world.fetch("web", &["a"], true));
        assert!(poll_immediate(&mut leaves).await.is_none(), "it is asking");
        assert!(poll_immediate(&mut stays).await.is_none(), "it waits for that");
        assert_eq!(world.calls(), 1);
        drop(leaves);
        assert_eq!((stays.await.0, world.calls()), (Ok(1), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn f28_a_first_mount_tries_again_until_its_end_and_together_with_others() {
        let world = World::new();
        world.backend.fail("a", 5);
        let all = (0..100).map(|_| world.fetch("web", &["a", "b"], false));
        for (result, _) in futures_util::future::join_all(all).await {
            assert_eq!(result, Ok(2));
        }
        // Five that failed and one that did not; perhaps somebody came while another was asking.
        assert!((6..=12).contains(&world.calls()));

        world.backend.fail("a", usize::MAX);
        let began = Instant::now();
        assert_eq!(world.fetch("web", &["a"], false).await.0, Err(Reason::AwsThrottled), "its own cause, not the time");
        assert!((MINUTE - Duration::from_secs(9)..MINUTE).contains(&began.elapsed()), "{:?}", began.elapsed());
        assert!((9..14).contains(&world.calls()));
    }

    #[tokio::test(start_paused = true)]
    async fn p17_a_refresh_and_a_mount_with_a_standby_do_not_wait_for_better_times() {
        let world = World::new();
        world.backend.fail("a", usize::MAX);
        let began = Instant::now();
        assert_eq!(world.fetch("web", &["a"], true).await.0, Err(Reason::AwsThrottled));
        let (backend, source) = (Arc::new(FakeBackend::default()), FakeSource::default());
        let plan = plan(&[(At("here", "failing"), Some(At("there", "c")))]);
        fetch(&backend, &source, &plan, 10).await.expect("the standby's");
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(world.calls(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_has_failed_is_asked_for_again() {
        let world = World::new();
        world.backend.fail("b", 1);
        assert_eq!(world.fetch("web", &["a", "b", "c"], false).await.0, Ok(3));
        let calls = world.backend.0.lock().expect("unpoisoned");
        assert_eq!(calls[1].1, [At("here", "b")]);
        assert_eq!(calls.len(), 2);
    }

    #[tokio::test]
    async fn what_a_call_leaves_open_is_asked_for_alone() {
        let (backend, source) = (Arc::new(FakeBackend::default()), FakeSource::default());
        let addresses = [At("here", "shy 1"), At("here", "a"), At("here", "shy 2")];
        let values = fetch(&backend, &source, &alone(addresses.clone()), 10).await.expect("read");
        assert_eq!(values[2].value.content.expose(), b"shy 2");
        let calls: Vec<_> = backend.0.lock().expect("unpoisoned").iter().map(|(_, call)| call.clone()).collect();
        assert_eq!(calls, [addresses.to_vec(), vec![At("here", "shy 1")], vec![At("here", "shy 2")]]);
    }
}
