//! Fetches what a plan names: at the same time, and each distinct address once.
//!
//! Not here: which secrets (`plan`), what becomes of their values (`render`), where credentials come from: that is asked of
//! a [`CredentialSource`], a trait of this room which `credentials` implements and `mount` hands down.

#[cfg(feature = "aws")]
pub mod aws;

use std::collections::HashMap;

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::plan::{Address, SecretPlan};
use crate::reason::{Explained, Explanation, Reason};
use crate::sensitive::SecretBytes;

/// Most reads of one mount under way at a time, which also bounds the connections it opens.
const READS_AT_ONCE: usize = 64;

/// Credentials for a place, asked for when a read needs them.
#[async_trait]
pub trait CredentialSource: Send + Sync {
    type Place: Send + Sync;
    type Credentials: Send + Sync;
    type Error: Explained;

    async fn credentials(&self, place: &Self::Place) -> Result<Self::Credentials, Self::Error>;
}

/// Where values come from. One question, so that a fake is ten lines long.
#[async_trait]
pub trait SecretBackend: Send + Sync {
    type Address: Address;
    type Credentials: Send + Sync;

    /// Reads what AWS, or whoever it is, holds now. Retries by itself what is worth it.
    async fn read(&self, credentials: &Self::Credentials, address: &Self::Address) -> Result<SecretValue, FetchError>;
}

/// What is stored at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretValue {
    pub content: SecretBytes,
    /// The backend's name for this version of the secret.
    pub version: String,
}

/// The values of a plan by address.
pub type Values<A> = HashMap<A, SecretValue>;

/// Why a value could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The credentials were not to be had; the reason is that error's own.
    #[error(transparent)]
    Credentials(Explanation),
    /// What the backend said: the sentence names the address, the role and the likely fix.
    #[error("{message}")]
    Backend { reason: Reason, message: String },
    #[error("{address} has {size} bytes; {limit} is the limit. Store less in it, or raise --max-value-bytes")]
    TooLarge { address: String, size: usize, limit: usize },
}

impl Explained for FetchError {
    fn reason(&self) -> Reason {
        match self {
            Self::Credentials(error) => error.reason(),
            Self::Backend { reason, .. } => *reason,
            Self::TooLarge { .. } => Reason::LimitExceeded,
        }
    }
}

/// Reads every distinct address of a plan.
///
/// Credentials are asked for once for each place, all places at the same time; then all reads run at the same time, so a
/// mount waits for two answers, however many secrets it has. `max_bytes` is the most that one value may have.
///
/// # Errors
/// The first error; what else is under way is then given up.
pub async fn fetch<B, S>(
    backend: &B,
    source: &S,
    plan: &SecretPlan<B::Address>,
    max_bytes: usize,
) -> Result<Values<B::Address>, FetchError>
where
    B: SecretBackend,
    S: CredentialSource<Place = <B::Address as Address>::Place, Credentials = B::Credentials>,
{
    let mut by_place: HashMap<&<B::Address as Address>::Place, Vec<&B::Address>> = HashMap::new();
    for object in &plan.objects {
        let addresses = by_place.entry(object.address.place()).or_default();
        if !addresses.contains(&&object.address) {
            addresses.push(&object.address);
        }
    }
    let places = by_place.keys().map(|place| source.credentials(place));
    let credentials = futures_util::future::try_join_all(places).await;
    let credentials = credentials.map_err(|error| FetchError::Credentials(Explanation::of(error)))?;

    let mut reads = Vec::new();
    for (addresses, credentials) in by_place.values().zip(&credentials) {
        reads.extend(addresses.iter().map(|address| read_one(backend, credentials, address, max_bytes)));
    }
    stream::iter(reads).buffer_unordered(READS_AT_ONCE).try_collect().await
}

async fn read_one<B: SecretBackend>(
    backend: &B,
    credentials: &B::Credentials,
    address: &B::Address,
    max_bytes: usize,
) -> Result<(B::Address, SecretValue), FetchError> {
    let value = backend.read(credentials, address).await?;
    match value.content.len() {
        size if size > max_bytes => Err(FetchError::TooLarge { address: address.to_string(), size, limit: max_bytes }),
        _ => Ok((address.clone(), value)),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::Mutex;

    use super::*;
    use crate::plan::Object;

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

    /// Answers with the name, and remembers the questions.
    #[derive(Default)]
    struct FakeBackend(Mutex<Vec<(String, At)>>);

    #[async_trait]
    impl SecretBackend for FakeBackend {
        type Address = At;
        type Credentials = String;

        async fn read(&self, credentials: &String, address: &At) -> Result<SecretValue, FetchError> {
            self.0.lock().expect("unpoisoned").push((credentials.clone(), address.clone()));
            match address.1 {
                "missing" => Err(FetchError::Backend { reason: Reason::SecretNotFound, message: "not there".into() }),
                name => Ok(SecretValue { content: SecretBytes::from(name.to_owned()), version: "1".into() }),
            }
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
    }

    fn plan(addresses: &[At]) -> SecretPlan<At> {
        let object = |(address, position): (&At, usize)| Object { position, address: address.clone(), files: vec![] };
        SecretPlan { objects: addresses.iter().zip(1..).map(object).collect(), warnings: vec![] }
    }

    #[tokio::test]
    async fn each_place_has_its_own_credentials_and_each_address_is_read_once() {
        let (backend, source) = (FakeBackend::default(), FakeSource::default());
        let plan = plan(&[At("here", "a"), At("there", "a"), At("here", "a"), At("here", "b")]);
        let values = fetch(&backend, &source, &plan, 10).await.expect("read");
        assert_eq!(values.len(), 3);
        let mut asked = backend.0.into_inner().expect("unpoisoned");
        asked.sort_by_key(|(credentials, address)| (credentials.clone(), address.1));
        let expected = [("for here", At("here", "a")), ("for here", At("here", "b")), ("for there", At("there", "a"))];
        assert_eq!(asked, expected.map(|(credentials, address)| (credentials.to_owned(), address)));
        assert_eq!(source.0.into_inner().expect("unpoisoned").len(), 2);
    }

    #[tokio::test]
    async fn the_first_error_is_the_answer_with_its_own_reason() {
        let fetch_all = async |addresses: &[At]| {
            let (backend, source) = (FakeBackend::default(), FakeSource::default());
            fetch(&backend, &source, &plan(addresses), 5).await.map(|values| values.len())
        };
        let reason = async |addresses: &[At]| fetch_all(addresses).await.expect_err("fails").reason();
        assert_eq!(reason(&[At("here", "a"), At("here", "missing")]).await, Reason::SecretNotFound);
        assert_eq!(reason(&[At("here", "a"), At("closed", "a")]).await, Reason::AssumeRoleDenied);
        assert_eq!(reason(&[At("here", "longer than five")]).await, Reason::LimitExceeded);
        assert_eq!(fetch_all(&[At("here", "five!")]).await.expect("just fits"), 1);
    }
}
