//! The backend, on behalf of one mount in one place.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::{CredentialSource, FetchError, Said, SecretBackend, SecretValue, Source};
use crate::clock::Instant;
use crate::plan::Address;
use crate::reason::{Explained, Explanation, Reason};
use crate::telemetry::{Answered, Reading};
use crate::turns::Turns;

/// How many calls may be under way at the same time.
#[derive(Debug, Clone, Copy)]
pub struct CallsAtOnce {
    /// At one endpoint, of all mounts together. That many connections it has at most.
    pub of_an_endpoint: usize,
    /// Of one mount in one place. A place that hangs must not take those of the place that stands by for it.
    pub of_a_mount: usize,
}

/// The endpoints of a backend, for all mounts.
pub struct Endpoints<B: SecretBackend> {
    backend: Arc<B>,
    turns: Turns<B::Endpoint>,
    at_once: CallsAtOnce,
}

impl<B: SecretBackend> Endpoints<B> {
    pub fn new(backend: Arc<B>, at_once: CallsAtOnce) -> Self {
        Self { backend, turns: Turns::new(), at_once }
    }

    /// As few calls as possible that read some addresses of one place.
    pub fn calls(&self, addresses: Vec<B::Address>) -> Vec<Vec<B::Address>> {
        self.backend.calls(addresses)
    }

    /// What the value at the address of a list stands for.
    pub fn members(&self, list: &B::Address, value: &SecretValue) -> Result<Vec<(String, B::Address)>, FetchError> {
        self.backend.members(list, value)
    }

    /// Makes a call when it is the namespace's turn, and writes down what is answered.
    async fn call(
        &self,
        reading: &Reading,
        credentials: &B::Credentials,
        call: &[B::Address],
    ) -> Vec<Option<Result<SecretValue, FetchError>>> {
        let Some((endpoint, fewer)) = self.backend.endpoint(credentials, call) else { return Vec::new() };
        let most = self.at_once.of_an_endpoint;
        let turn = self.turns.take(endpoint, fewer.map_or(most, |fewer| fewer.min(most)), reading.namespace()).await;
        let role = self.backend.role(credentials);
        reading.call(role);
        let answers = self.backend.read(credentials, call).await;
        for (address, answer) in call.iter().zip(&answers) {
            note(reading, role, address, answer.as_ref());
        }
        tokio::spawn(async move {
            // A moment for the connection to come back to its pool: whose turn is next would not find it there and open another.
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            drop(turn);
        });
        answers
    }
}

/// What the calls of one mount in one place share.
pub struct Access<'a, S: CredentialSource, B: SecretBackend> {
    source: &'a S,
    place: S::Place,
    endpoints: &'a Endpoints<B>,
    reading: &'a Reading,
    permits: Semaphore,
    reader: Once<Arc<S::Reader>>,
    credentials: Once<S::Credentials>,
}

impl<'a, S: CredentialSource, B: SecretBackend<Credentials = S::Credentials>> Access<'a, S, B> {
    /// The calls are those of `reading`.
    pub fn new(source: &'a S, place: S::Place, endpoints: &'a Endpoints<B>, reading: &'a Reading) -> Self {
        let permits = Semaphore::new(endpoints.at_once.of_a_mount);
        Self { source, place, endpoints, reading, permits, reader: Once::default(), credentials: Once::default() }
    }

    /// As whom it reads, for a try that began at a time.
    pub async fn reader(&self, since: Instant) -> Result<Arc<S::Reader>, FetchError> {
        let ask = async || self.source.reader(&self.place).await.map(Arc::new).map_err(of_credentials);
        self.reader.get(since, ask).await
    }

    /// Waits until what a call needs first is there, or is known not to come: each call will be told.
    pub async fn prepare(&self, since: Instant) {
        if self.reader(since).await.is_ok() {
            let _ = self.credentials(since).await;
        }
    }

    async fn credentials(&self, since: Instant) -> Result<S::Credentials, FetchError> {
        let ask = async || self.source.credentials(&self.place).await.map_err(of_credentials);
        self.credentials.get(since, ask).await
    }

    /// Reads what is asked for, for a try that began at a time. Where the backend takes the credentials for expired, they are
    /// renewed and it is asked once more.
    pub async fn read(
        &self,
        since: Instant,
        addresses: &[B::Address],
    ) -> Result<Vec<Result<SecretValue, FetchError>>, FetchError> {
        let credentials = self.credentials(since).await?;
        let answers = self.ask(&credentials, addresses).await;
        if !answers.iter().any(|answer| matches!(answer, Err(error) if error.reason() == Reason::CredentialsExpired)) {
            return Ok(answers);
        }
        let renewed = self.source.renewed(&self.place, &credentials).await.map_err(of_credentials)?;
        Ok(Box::pin(self.ask(&renewed, addresses)).await)
    }

    /// In one call, and in one more for each address that must be asked for alone.
    async fn ask(
        &self,
        credentials: &S::Credentials,
        addresses: &[B::Address],
    ) -> Vec<Result<SecretValue, FetchError>> {
        let together = self.call(credentials, addresses).await;
        let each = addresses.iter().zip(together).map(async |(address, answer)| match answer {
            Some(answer) => answer,
            None => {
                let alone = Box::pin(self.call(credentials, std::slice::from_ref(address))).await;
                alone.into_iter().next().flatten().unwrap_or_else(|| Err(FetchError::unanswered()))
            }
        });
        join_all(each).await
    }

    async fn call(
        &self,
        credentials: &S::Credentials,
        call: &[B::Address],
    ) -> Vec<Option<Result<SecretValue, FetchError>>> {
        let _permit = self.permits.acquire().await;
        self.endpoints.call(self.reading, credentials, call).await
    }
}

/// Only what the backend has answered is told: not what it was never asked, nor what nobody has heard.
fn note<A: Address>(reading: &Reading, role: &str, address: &A, answer: Option<&Result<SecretValue, FetchError>>) {
    match answer {
        Some(Ok(SecretValue { version, source: Some(Source { object, request_id }), .. })) => {
            reading.read(role, Answered { object, version: Some(version), code: "ok", request_id });
        }
        Some(Err(error)) => {
            if let Some(Said { code, request_id }) = error.said() {
                let object = &address.to_string();
                reading.read(role, Answered { object, version: None, code, request_id });
            }
        }
        Some(Ok(_)) | None => {}
    }
}

fn of_credentials(error: impl Explained) -> FetchError {
    FetchError::Credentials(Explanation::of(error))
}

/// Something that all tries share once it is there, and that is asked for again by a later try where it failed for a cause that
/// may pass.
struct Once<T>(tokio::sync::Mutex<Option<(Result<T, FetchError>, Instant)>>);

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self(tokio::sync::Mutex::default())
    }
}

impl<T: Clone> Once<T> {
    async fn get(&self, since: Instant, ask: impl AsyncFnOnce() -> Result<T, FetchError>) -> Result<T, FetchError> {
        let mut asked = self.0.lock().await;
        match &*asked {
            Some((Err(error), at)) if error.may_pass() && *at < since => {}
            Some((result, _)) => return result.clone(),
            None => {}
        }
        let result = ask().await;
        *asked = Some((result.clone(), Instant::now()));
        result
    }
}
