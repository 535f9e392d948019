//! Fetches what a plan names: at the same time, and each distinct address once.
//!
//! Not here: which secrets (`plan`), what becomes of their values (`render`), where credentials come from: that is asked of
//! a [`CredentialSource`], a trait of this room which `credentials` implements and `mount` hands down.

mod access;
#[cfg(feature = "aws")]
pub mod aws;
mod failover;
mod fetch;
mod kept;
mod unfold;

pub use access::CallsAtOnce;
pub use fetch::{Fetched, Fetcher, Found};
pub use kept::{Kept, Share};
pub use unfold::UnfoldError;

use std::hash::Hash;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::Instant;
use crate::plan::Address;
use crate::reason::{Explained, Explanation, Reason, chain};
use crate::sensitive::SecretBytes;

/// Credentials for a place, asked for when a read needs them.
#[async_trait]
pub trait CredentialSource: Send + Sync {
    type Place: Send + Sync;
    type Credentials: Clone + Send + Sync;
    type Error: Explained;
    /// What separates readers with different rights: who was proved, and by what way and role the credentials come.
    type Reader: Clone + Eq + Hash + Send + Sync + 'static;

    /// As whom a place is read. Asks for no credentials.
    async fn reader(&self, place: &Self::Place) -> Result<Self::Reader, Self::Error>;

    async fn credentials(&self, place: &Self::Place) -> Result<Self::Credentials, Self::Error>;

    /// Others than `refused`, which the backend takes for expired.
    async fn renewed(&self, place: &Self::Place, refused: &Self::Credentials)
    -> Result<Self::Credentials, Self::Error>;
}

/// What a mount may be answered with.
#[derive(Debug, Clone, Copy)]
pub struct Demand {
    /// When its request came.
    pub since: Instant,
    /// For a refresh, how old an answer may be. A first mount has none.
    pub max_age: Option<Duration>,
    /// When it ends, whatever has come by then.
    pub deadline: Instant,
}

/// Where values come from.
#[async_trait]
pub trait SecretBackend: Send + Sync {
    type Address: Address;
    type Credentials: Send + Sync;
    /// Tells apart what calls go to: at each a bounded number is under way at the same time.
    type Endpoint: Clone + Eq + Hash + Send + Sync + 'static;

    /// Puts addresses of one place, all of them different, into the calls that read them. Each comes into exactly one.
    fn calls(&self, addresses: Vec<Self::Address>) -> Vec<Vec<Self::Address>>;

    /// As whom calls are made with credentials, in a word for logs.
    fn role<'a>(&self, credentials: &'a Self::Credentials) -> &'a str;

    /// Where a call goes, and how many that takes at the same time where it is fewer than usual. `None` for a call of nothing.
    fn endpoint(
        &self,
        credentials: &Self::Credentials,
        call: &[Self::Address],
    ) -> Option<(Self::Endpoint, Option<usize>)>;

    /// What the value at an address stands for, where it is that of a list: names, and where in the list's place their values
    /// are.
    ///
    /// # Errors
    /// Where it is none.
    fn members(&self, list: &Self::Address, value: &SecretValue) -> Result<Vec<(String, Self::Address)>, FetchError>;

    /// Reads, with one call, what the backend holds now. Tries at once again, a few times, what is worth it. Answers each
    /// address, in their order: with `None` where it must be asked for in a call of its own, which an address alone never is.
    async fn read(
        &self,
        credentials: &Self::Credentials,
        call: &[Self::Address],
    ) -> Vec<Option<Result<SecretValue, FetchError>>>;
}

/// What is stored at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretValue {
    pub content: SecretBytes,
    /// The backend's name for this version of the secret.
    pub version: String,
    /// Where it comes from. `None` of what stands for no value.
    pub source: Option<Source>,
}

/// What a value was, and the request that has read it, as the backend calls them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub object: String,
    pub request_id: String,
}

/// That a backend has answered, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its word for why there is no value.
    pub code: String,
    pub request_id: String,
}

/// Why a value could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// The credentials were not to be had; the reason is that error's own.
    #[error(transparent)]
    Credentials(Explanation),
    /// What the backend said: the sentence names the address, the role and the likely fix.
    #[error("{message}")]
    Backend { reason: Reason, message: String, verdict: Verdict, said: Option<Said> },
    #[error("{address} has {size} bytes; {limit} is the limit. Store less in it, or raise --max-value-bytes")]
    TooLarge { address: String, size: usize, limit: usize },
    #[error("{}; and instead of it {}", chain(&**primary), chain(&**standby))]
    Both { primary: Box<FetchError>, standby: Box<FetchError> },
}

/// What a backend's error means for the other place that a value may be read in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The backend has looked and said no: what is asked for is not there, or asked for wrongly. Another place must not
    /// answer in its stead, or a mistake would go unseen until that place is gone.
    Final,
    /// Nobody knows what the backend would have said.
    Open,
}

impl FetchError {
    /// Whether the backend has looked and there is nothing: no secret, none any more, or no value of it. Not where it would
    /// not look.
    fn is_absence(&self) -> bool {
        const ABSENT: [Reason; 4] = [
            Reason::SecretNotFound,
            Reason::SecretVersionNotFound,
            Reason::SecretPendingDeletion,
            Reason::ParameterNotFound,
        ];
        matches!(self, Self::Backend { reason, .. } if ABSENT.contains(reason))
    }

    /// Whether it is worth trying again a little later, within the same mount. What fails before the backend is reached has been
    /// tried again where that is asked, and a certificate that is not to be trusted is somebody's to put right.
    fn may_pass(&self) -> bool {
        matches!(self.reason(), Reason::AwsThrottled | Reason::AwsUnavailable | Reason::AwsTimeout)
    }

    /// A backend that leaves an address out does not keep to its trait.
    fn unanswered() -> Self {
        Self::Backend {
            reason: Reason::Internal,
            message: "an address was left out of the calls".into(),
            verdict: Verdict::Final,
            said: None,
        }
    }

    /// What the backend said, where it has answered.
    pub fn said(&self) -> Option<&Said> {
        match self {
            Self::Backend { said, .. } => said.as_ref(),
            Self::Both { primary, standby } => primary.said().or_else(|| standby.said()),
            Self::Credentials(_) | Self::TooLarge { .. } => None,
        }
    }

    fn verdict(&self) -> Verdict {
        match self {
            Self::Credentials(_) => Verdict::Open,
            Self::Backend { verdict, .. } => *verdict,
            Self::TooLarge { .. } | Self::Both { .. } => Verdict::Final,
        }
    }
}

impl Explained for FetchError {
    fn reason(&self) -> Reason {
        match self {
            Self::Credentials(error) => error.reason(),
            Self::Backend { reason, .. } => *reason,
            Self::TooLarge { .. } => Reason::LimitExceeded,
            Self::Both { primary, .. } => primary.reason(),
        }
    }
}
