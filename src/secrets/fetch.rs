//! Reads everything a plan names.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _, Shared};
use futures_util::stream::{FuturesUnordered, TryStreamExt as _};
use tokio::sync::Semaphore;

use super::failover::settle;
use super::{CredentialSource, FetchError, SecretBackend, SecretValue};
use crate::plan::{Address, Object, SecretPlan};
use crate::reason::{Explained as _, Explanation, Reason};

/// Most calls of one mount under way in one place, which also bounds the connections it opens. A place that hangs must not
/// take those of the place that stands by for it.
const CALLS_AT_ONCE: usize = 64;

/// The value of one object.
#[derive(Debug, Clone)]
pub struct Fetched<A> {
    /// Where it came from: the object's own address, or its standby.
    pub address: A,
    pub value: Arc<SecretValue>,
}

/// Reads every distinct address of a plan, standbys at the same time as what they stand by for.
///
/// Credentials are asked for once for each place, all places at the same time; then all calls run at the same time, so a
/// mount waits for two answers, however many secrets it has. `max_bytes` is the most that one value may have. The answer has
/// one value for each object, in their order.
///
/// # Errors
/// The first error; what else is under way is then given up.
pub async fn fetch<B, S>(
    backend: &B,
    source: &S,
    plan: &SecretPlan<B::Address>,
    max_bytes: usize,
) -> Result<Vec<Fetched<B::Address>>, FetchError>
where
    B: SecretBackend,
    S: CredentialSource<Place = <B::Address as Address>::Place, Credentials = B::Credentials>,
{
    let reads = reads(backend, source, plan, max_bytes);
    let mut fetched: Vec<(usize, Fetched<B::Address>)> = plan
        .objects
        .iter()
        .enumerate()
        .map(|(index, object)| value_of(object, &reads).map(move |result| result.map(|value| (index, value))))
        .collect::<FuturesUnordered<_>>()
        .try_collect()
        .await?;
    fetched.sort_unstable_by_key(|(index, _)| *index);
    Ok(fetched.into_iter().map(|(_, value)| value).collect())
}

type Answer = Result<Arc<SecretValue>, FetchError>;

/// A call that several objects wait for, and the place of one address in it. It runs while somebody waits for it.
struct Read<'a> {
    call: Shared<BoxFuture<'a, Arc<[Answer]>>>,
    place: usize,
}

impl Read<'_> {
    async fn answer(&self) -> Answer {
        let answers = self.call.clone().await;
        answers.get(self.place).cloned().unwrap_or_else(|| Err(unanswered()))
    }
}

/// How each address of the plan is read.
fn reads<'a, B, S>(
    backend: &'a B,
    source: &'a S,
    plan: &SecretPlan<B::Address>,
    max_bytes: usize,
) -> HashMap<B::Address, Read<'a>>
where
    B: SecretBackend,
    S: CredentialSource<Place = <B::Address as Address>::Place, Credentials = B::Credentials>,
{
    let mut by_place: HashMap<_, Vec<B::Address>> = HashMap::new();
    let mut seen = std::collections::HashSet::new();
    for address in plan.objects.iter().flat_map(|object| std::iter::once(&object.address).chain(&object.standby)) {
        if seen.insert(address) {
            by_place.entry(address.place().clone()).or_default().push(address.clone());
        }
    }
    let mut reads = HashMap::new();
    for (place, addresses) in by_place {
        let permits = Arc::new(Semaphore::new(CALLS_AT_ONCE));
        let first = {
            let place = place.clone();
            async move {
                let result = source.credentials(&place).await;
                result.map(Arc::new).map_err(|error| FetchError::Credentials(Explanation::of(error)))
            }
        };
        let first = first.boxed().shared();
        for call in backend.calls(addresses) {
            let reader = Reader { backend, source, place: place.clone(), permits: permits.clone(), max_bytes };
            let run = reader.run(first.clone(), call.clone()).boxed().shared();
            reads.extend(
                call.into_iter().enumerate().map(|(place, address)| (address, Read { call: run.clone(), place })),
            );
        }
    }
    reads
}

/// Makes a call in a place.
struct Reader<'a, B: SecretBackend, S> {
    backend: &'a B,
    source: &'a S,
    place: <B::Address as Address>::Place,
    permits: Arc<Semaphore>,
    max_bytes: usize,
}

impl<B, S> Reader<'_, B, S>
where
    B: SecretBackend,
    S: CredentialSource<Place = <B::Address as Address>::Place, Credentials = B::Credentials>,
{
    async fn run(
        self,
        credentials: impl Future<Output = Result<Arc<B::Credentials>, FetchError>>,
        call: Vec<B::Address>,
    ) -> Arc<[Answer]> {
        let answers = match credentials.await {
            Ok(credentials) => self.read(&credentials, &call).await,
            Err(error) => Err(error),
        };
        match answers {
            Ok(answers) => {
                let answers = call.iter().zip(answers);
                answers.map(|(address, answer)| within(self.max_bytes, address, answer?)).collect()
            }
            Err(error) => call.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// Where the backend takes the credentials for expired, they are renewed and the call is made once more.
    async fn read(
        &self,
        credentials: &B::Credentials,
        call: &[B::Address],
    ) -> Result<Vec<Result<SecretValue, FetchError>>, FetchError> {
        let _permit = self.permits.acquire().await;
        let answers = self.backend.read(credentials, call).await;
        if !answers.iter().any(|answer| matches!(answer, Err(error) if error.reason() == Reason::CredentialsExpired)) {
            return Ok(answers);
        }
        let renewed = self.source.renewed(&self.place, credentials).await;
        let renewed = renewed.map_err(|error| FetchError::Credentials(Explanation::of(error)))?;
        Ok(self.backend.read(&renewed, call).await)
    }
}

fn within<A: Address>(limit: usize, address: &A, value: SecretValue) -> Answer {
    match value.content.len() {
        size if size > limit => Err(FetchError::TooLarge { address: address.to_string(), size, limit }),
        _ => Ok(Arc::new(value)),
    }
}

async fn value_of<A: Address>(object: &Object<A>, reads: &HashMap<A, Read<'_>>) -> Result<Fetched<A>, FetchError> {
    let read = async |address: &A| {
        let read = reads.get(address).ok_or_else(unanswered)?;
        Ok(Fetched { address: address.clone(), value: read.answer().await? })
    };
    match &object.standby {
        None => read(&object.address).await,
        Some(standby) => settle(read(&object.address), read(standby)).await,
    }
}

/// A backend that leaves an address out does not keep to its trait.
fn unanswered() -> FetchError {
    FetchError::Backend {
        reason: Reason::Internal,
        message: "an address was left out of the calls".into(),
        verdict: super::Verdict::Final,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::reason::Explained;
    use crate::secrets::Verdict;
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
    }

    /// Answers with the name, three addresses a call, and remembers the calls.
    #[derive(Default)]
    struct FakeBackend(Mutex<Vec<(String, Vec<At>)>>);

    #[async_trait]
    impl SecretBackend for FakeBackend {
        type Address = At;
        type Credentials = String;

        fn calls(&self, addresses: Vec<At>) -> Vec<Vec<At>> {
            addresses.chunks(3).map(<[At]>::to_vec).collect()
        }

        async fn read(&self, credentials: &String, call: &[At]) -> Vec<Result<SecretValue, FetchError>> {
            self.0.lock().expect("unpoisoned").push((credentials.clone(), call.to_vec()));
            if call.iter().any(|address| address.0 == "silent") {
                std::future::pending::<()>().await;
            }
            let failed = |reason, verdict| Err(FetchError::Backend { reason, message: "not there".into(), verdict });
            let answer = |address: &At| match address.1 {
                "missing" => failed(Reason::SecretNotFound, Verdict::Final),
                "failing" => failed(Reason::AwsUnavailable, Verdict::Open),
                name => Ok(SecretValue { content: SecretBytes::from(name.to_owned()), version: "1".into() }),
            };
            call.iter().map(answer).collect()
        }
    }

    /// Gives each place its own credentials, and none to `closed`.
    #[derive(Default)]
    struct FakeSource(Mutex<Vec<&'static str>>);

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

        async fn credentials(&self, place: &&'static str) -> Result<String, Closed> {
            self.0.lock().expect("unpoisoned").push(place);
            if *place == "closed" { Err(Closed(place)) } else { Ok(format!("for {place}")) }
        }

        async fn renewed(&self, place: &&'static str, refused: &String) -> Result<String, Closed> {
            Ok(format!("{refused}, once more: {}", self.credentials(place).await?))
        }
    }

    fn plan(addresses: &[(At, Option<At>)]) -> SecretPlan<At> {
        let object = |((address, standby), position): (&(At, Option<At>), usize)| Object {
            position,
            address: address.clone(),
            standby: standby.clone(),
            files: vec![],
        };
        SecretPlan { objects: addresses.iter().zip(1..).map(object).collect(), warnings: vec![] }
    }

    fn alone<const N: usize>(addresses: [At; N]) -> SecretPlan<At> {
        plan(&addresses.map(|address| (address, None)))
    }

    #[tokio::test]
    async fn each_place_has_its_own_credentials_and_each_address_is_read_once() {
        let (backend, source) = (FakeBackend::default(), FakeSource::default());
        let addresses = [At("here", "a"), At("there", "a"), At("here", "a"), At("here", "b")];
        let values = fetch(&backend, &source, &alone(addresses.clone()), 10).await.expect("read");
        assert_eq!(values.iter().map(|value| &value.address).collect::<Vec<_>>(), addresses.iter().collect::<Vec<_>>());
        assert_eq!(values[3].value.content.expose(), b"b");
        let mut calls = backend.0.into_inner().expect("unpoisoned");
        calls.sort_by_key(|(credentials, _)| credentials.clone());
        let expected = [("for here", vec![At("here", "a"), At("here", "b")]), ("for there", vec![At("there", "a")])];
        assert_eq!(calls, expected.map(|(credentials, call)| (credentials.to_owned(), call)));
        assert_eq!(source.0.into_inner().expect("unpoisoned").len(), 2);
    }

    #[tokio::test]
    async fn the_first_error_is_the_answer_with_its_own_reason() {
        let fetch_all = async |plan| {
            let (backend, source) = (FakeBackend::default(), FakeSource::default());
            fetch(&backend, &source, &plan, 5).await.map(|values| values.len())
        };
        let reason = async |addresses: [At; 2]| fetch_all(alone(addresses)).await.expect_err("fails").reason();
        assert_eq!(reason([At("here", "a"), At("here", "missing")]).await, Reason::SecretNotFound);
        assert_eq!(reason([At("here", "a"), At("closed", "a")]).await, Reason::AssumeRoleDenied);
        assert_eq!(reason([At("here", "a"), At("here", "longer than five")]).await, Reason::LimitExceeded);
        assert_eq!(fetch_all(alone([At("here", "five!")])).await.expect("just fits"), 1);
    }

    #[tokio::test]
    async fn f16_a_standby_answers_for_a_place_without_credentials_and_for_no_other() {
        let (backend, source) = (FakeBackend::default(), FakeSource::default());
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
        let names: Vec<&'static str> = (0..4 * CALLS_AT_ONCE).map(|number| &*format!("{number}").leak()).collect();
        let addresses: Vec<_> = names.iter().map(|name| (At("silent", name), Some(At("there", name)))).collect();
        let (backend, source) = (FakeBackend::default(), FakeSource::default());
        let plan = plan(&addresses);
        let reading = fetch(&backend, &source, &plan, 10);
        let values = tokio::time::timeout(std::time::Duration::from_secs(3), reading).await.expect("in time");
        assert!(values.expect("read").iter().all(|value| value.address.0 == "there"));
    }
}
