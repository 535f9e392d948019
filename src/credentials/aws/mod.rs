//! Credentials of AWS for a pod, by the way that its class names.

mod agent;
mod cache;
mod irsa;
mod pod_identity;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;

use agent::Agent;
pub use agent::{Endpoint, InvalidEndpoint};
use cache::Sessions;
use irsa::{Irsa, IrsaError, IrsaSource};
pub use pod_identity::credentials_of_answer;
use pod_identity::{PodIdentityError, PodIdentitySource};

use crate::clock::{Freshness, Instant, WallClock};
use crate::cluster::KubernetesApi;
use crate::identity::Principal;
use crate::plan::aws::{Authentication, Region};
use crate::reason::{Explained, Reason};
use crate::secrets::CredentialSource;
use crate::secrets::aws::Session;

/// Every way to credentials that there is.
pub struct Exchange {
    irsa: Arc<Irsa>,
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
            irsa: Arc::new(Irsa::new(cluster, config)),
            agent: Arc::new(Agent::new(agent, agent_limit)),
            sessions: Arc::new(Sessions::new(clock)),
        }
    }

    /// Credentials on behalf of `principal`, to be had until `deadline`. Nothing is asked before they are needed.
    pub fn source(
        &self,
        principal: &Principal,
        by: Authentication,
        freshness: Freshness,
        deadline: Instant,
    ) -> AwsCredentials {
        match by {
            Authentication::Irsa => AwsCredentials::Irsa(self.irsa.source(&self.sessions, principal, freshness)),
            Authentication::PodIdentity(family) => AwsCredentials::PodIdentity(PodIdentitySource::new(
                self.agent.clone(),
                self.sessions.clone(),
                principal,
                family,
                deadline,
            )),
        }
    }
}

/// Credentials of one principal.
pub enum AwsCredentials {
    Irsa(IrsaSource),
    PodIdentity(PodIdentitySource),
}

#[async_trait]
impl CredentialSource for AwsCredentials {
    type Place = Region;
    type Credentials = Session;
    type Error = CredentialError;

    async fn credentials(&self, region: &Region) -> Result<Session, CredentialError> {
        match self {
            Self::Irsa(source) => source.credentials(region).await,
            Self::PodIdentity(source) => source.credentials(region).await,
        }
    }

    async fn renewed(&self, region: &Region, refused: &Session) -> Result<Session, CredentialError> {
        match self {
            Self::Irsa(source) => source.renewed(region, refused).await,
            Self::PodIdentity(source) => source.renewed(region, refused).await,
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
}

impl Explained for CredentialError {
    fn reason(&self) -> Reason {
        match self {
            Self::Irsa(error) => error.reason(),
            Self::PodIdentity(error) => error.reason(),
        }
    }
}
