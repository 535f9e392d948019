//! Credentials of AWS for a pod, by the way that its class names.

mod agent;
mod assumed;
mod cache;
mod irsa;
mod pod_identity;
mod static_keys;
mod sts;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use agent::Agent;
pub use agent::{Endpoint, InvalidEndpoint};
use assumed::{Assumed, HopError};
pub use cache::SessionKey;
use cache::{Sessions, Way};
use irsa::{Irsa, IrsaError};
pub use pod_identity::credentials_of_answer;
use pod_identity::{PodIdentity, PodIdentityError};
use static_keys::StaticKeys;
pub use static_keys::StaticKeysError;
use sts::Sts;

use super::ServiceAccounts;
use crate::aws::Configuration;
use crate::clock::{Freshness, Instant, WallClock};
use crate::cluster::KubernetesApi;
use crate::identity::{Principal, Scope};
use crate::plan::aws::{Authentication, Origin, Region};
use crate::policy::aws::Policy;
use crate::reason::{Explained, Reason};
use crate::secrets::CredentialSource;
use crate::secrets::aws::Session;
use crate::sensitive::MountSecrets;

/// One way to credentials, for one principal. Nothing is kept here, and nothing is asked before it is needed.
#[async_trait]
trait Source: Send + Sync {
    /// What separates the credentials for a Region from all others that the principal can have. May have to be asked for.
    async fn way(&self, region: &Region) -> Result<Way, CredentialError>;

    /// Asks for them.
    async fn exchange(&self, region: &Region) -> Result<Session, CredentialError>;
}

/// Every way to credentials that there is.
pub struct Exchange {
    accounts: Arc<ServiceAccounts>,
    policy: Arc<Policy>,
    sts: Arc<Sts>,
    agent: Arc<Agent>,
    sessions: Arc<Sessions>,
}

impl Exchange {
    /// `agent` are the addresses of the EKS Pod Identity agent, in the order they are tried; `agent_limit` is the longest
    /// that one request to it may take. `policy` is asked about roles that no class names. `calls` is how many may be under way
    /// to the STS of a Region at the same time.
    pub fn new(
        cluster: Arc<dyn KubernetesApi>,
        policy: Arc<Policy>,
        configuration: Configuration,
        agent: Vec<Endpoint>,
        agent_limit: Duration,
        calls: usize,
        clock: Arc<dyn WallClock>,
    ) -> Self {
        Self {
            accounts: Arc::new(ServiceAccounts::new(cluster)),
            policy,
            sts: Arc::new(Sts::new(configuration, calls)),
            agent: Arc::new(Agent::new(agent, agent_limit)),
            sessions: Arc::new(Sessions::new(clock)),
        }
    }

    /// How many sessions are kept, and what they take in bytes.
    pub fn sessions_kept(&self) -> (usize, usize) {
        self.sessions.size()
    }

    /// Credentials on behalf of `principal`, to be had until `deadline`; `secrets` came with its request.
    ///
    /// # Errors
    /// Keys that should be among the secrets and are not.
    pub fn source(
        &self,
        principal: &Principal,
        authentication: &Authentication,
        secrets: &MountSecrets,
        freshness: Freshness,
        deadline: Instant,
    ) -> Result<AwsCredentials, StaticKeysError> {
        let first = match &authentication.origin {
            Origin::Irsa { role } => {
                let (accounts, policy, sts) = (self.accounts.clone(), self.policy.clone(), self.sts.clone());
                let (of, role) = (principal.clone(), OnceCell::new_with(role.clone()));
                self.kept(principal, Irsa { accounts, policy, sts, principal: of, freshness, role })
            }
            Origin::PodIdentity(family) => {
                let (agent, of, family) = (self.agent.clone(), principal.clone(), *family);
                self.kept(principal, PodIdentity { agent, principal: of, family, deadline })
            }
            Origin::NodePublishSecret => AwsCredentials::Given(principal.scope(), StaticKeys::of(secrets, principal)?),
        };
        let hops = authentication.hops.iter().zip(1..);
        Ok(hops.fold(first, |by, (hop, number)| {
            let (sts, hop) = (self.sts.clone(), hop.clone());
            self.kept(principal, Assumed { sts, principal: principal.clone(), by, hop, number })
        }))
    }

    fn kept(&self, principal: &Principal, source: impl Source + 'static) -> AwsCredentials {
        AwsCredentials::Kept(Kept {
            source: Box::new(source),
            sessions: self.sessions.clone(),
            scope: principal.scope(),
        })
    }
}

/// Credentials of one principal.
pub enum AwsCredentials {
    Kept(Kept),
    Given(Scope, StaticKeys),
}

/// Those that are kept for the principal's like, or new ones.
pub struct Kept {
    source: Box<dyn Source>,
    sessions: Arc<Sessions>,
    scope: Scope,
}

impl AwsCredentials {
    async fn way(&self, region: &Region) -> Result<Way, CredentialError> {
        match self {
            Self::Kept(kept) => kept.source.way(region).await,
            Self::Given(_, keys) => Ok(Way::StaticKeys { digest: keys.digest() }),
        }
    }

    fn scope(&self) -> &Scope {
        match self {
            Self::Kept(Kept { scope, .. }) | Self::Given(scope, _) => scope,
        }
    }
}

#[async_trait]
impl CredentialSource for AwsCredentials {
    type Place = Region;
    type Credentials = Session;
    type Error = CredentialError;
    type Reader = SessionKey;

    async fn reader(&self, region: &Region) -> Result<SessionKey, CredentialError> {
        Ok(SessionKey { scope: self.scope().clone(), way: self.way(region).await? })
    }

    async fn credentials(&self, region: &Region) -> Result<Session, CredentialError> {
        match self {
            Self::Kept(kept) => {
                kept.sessions.get(self.reader(region).await?, async || kept.source.exchange(region).await).await
            }
            Self::Given(_, keys) => Ok(keys.session()),
        }
    }

    async fn renewed(&self, region: &Region, refused: &Session) -> Result<Session, CredentialError> {
        match self {
            Self::Kept(kept) => {
                let key = self.reader(region).await?;
                kept.sessions.renewed(key, refused, async || kept.source.exchange(region).await).await
            }
            Self::Given(_, keys) => Err(keys.expired()),
        }
    }
}

/// Why there are no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[error(transparent)]
    Irsa(#[from] IrsaError),
    #[error(transparent)]
    PodIdentity(#[from] PodIdentityError),
    #[error(transparent)]
    StaticKeys(#[from] StaticKeysError),
    #[error(transparent)]
    Hop(#[from] HopError),
}

impl Explained for CredentialError {
    fn reason(&self) -> Reason {
        match self {
            Self::Irsa(error) => error.reason(),
            Self::PodIdentity(error) => error.reason(),
            Self::StaticKeys(error) => error.reason(),
            Self::Hop(error) => error.reason(),
        }
    }
}
