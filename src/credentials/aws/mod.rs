//! Credentials of AWS for a pod, by the way that its class names.

mod agent;
mod cache;
mod irsa;
mod pod_identity;
mod sts;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use tokio::sync::OnceCell;

use agent::Agent;
pub use agent::{Endpoint, InvalidEndpoint};
use cache::{SessionKey, Sessions, Way};
use irsa::{Irsa, IrsaError};
pub use pod_identity::credentials_of_answer;
use pod_identity::{PodIdentity, PodIdentityError};
use sts::Sts;

use super::ServiceAccounts;
use crate::clock::{Freshness, Instant, WallClock};
use crate::cluster::KubernetesApi;
use crate::identity::{Principal, Scope};
use crate::plan::aws::{Authentication, Region};
use crate::reason::{Explained, Reason};
use crate::secrets::CredentialSource;
use crate::secrets::aws::Session;

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
    sts: Arc<Sts>,
    agent: Arc<Agent>,
    sessions: Arc<Sessions>,
}

impl Exchange {
    /// `agent` are the addresses of the EKS Pod Identity agent, in the order they are tried; `agent_limit` is the longest
    /// that one request to it may take.
    pub fn new(
        cluster: Arc<dyn KubernetesApi>,
        config: SdkConfig,
        agent: Vec<Endpoint>,
        agent_limit: Duration,
        clock: Arc<dyn WallClock>,
    ) -> Self {
        Self {
            accounts: Arc::new(ServiceAccounts::new(cluster)),
            sts: Arc::new(Sts::new(config)),
            agent: Arc::new(Agent::new(agent, agent_limit)),
            sessions: Arc::new(Sessions::new(clock)),
        }
    }

    /// Credentials on behalf of `principal`, to be had until `deadline`.
    pub fn source(
        &self,
        principal: &Principal,
        by: Authentication,
        freshness: Freshness,
        deadline: Instant,
    ) -> AwsCredentials {
        let source: Box<dyn Source> = match by {
            Authentication::Irsa => Box::new(Irsa {
                accounts: self.accounts.clone(),
                sts: self.sts.clone(),
                principal: principal.clone(),
                freshness,
                role: OnceCell::new(),
            }),
            Authentication::PodIdentity(family) => {
                Box::new(PodIdentity { agent: self.agent.clone(), principal: principal.clone(), family, deadline })
            }
        };
        AwsCredentials { source, sessions: self.sessions.clone(), scope: principal.scope() }
    }
}

/// Credentials of one principal: those that are kept for its like, or new ones.
pub struct AwsCredentials {
    source: Box<dyn Source>,
    sessions: Arc<Sessions>,
    scope: Scope,
}

impl AwsCredentials {
    async fn key(&self, region: &Region) -> Result<SessionKey, CredentialError> {
        Ok(SessionKey { scope: self.scope.clone(), way: self.source.way(region).await? })
    }
}

#[async_trait]
impl CredentialSource for AwsCredentials {
    type Place = Region;
    type Credentials = Session;
    type Error = CredentialError;

    async fn credentials(&self, region: &Region) -> Result<Session, CredentialError> {
        let key = self.key(region).await?;
        self.sessions.get(key, async || self.source.exchange(region).await).await
    }

    async fn renewed(&self, region: &Region, refused: &Session) -> Result<Session, CredentialError> {
        let key = self.key(region).await?;
        self.sessions.renewed(key, refused, async || self.source.exchange(region).await).await
    }
}

/// Why there are no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[error(transparent)]
    Irsa(#[from] IrsaError),
    #[error(transparent)]
    PodIdentity(#[from] PodIdentityError),
}

impl Explained for CredentialError {
    fn reason(&self) -> Reason {
        match self {
            Self::Irsa(error) => error.reason(),
            Self::PodIdentity(error) => error.reason(),
        }
    }
}
