//! IAM roles for service accounts: the role of the service account's annotation, through STS.
//!
//! <https://docs.aws.amazon.com/eks/latest/userguide/iam-roles-for-service-accounts.html>

use std::sync::Arc;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_sdk_sts::Client;
use aws_sdk_sts::config::Builder;
use aws_sdk_sts::error::SdkError;
use aws_sdk_sts::operation::RequestId as _;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use tokio::sync::OnceCell;

use super::CredentialError;
use super::cache::{SessionKey, Sessions, Way};
use crate::aws::{Clients, TENANTS};
use crate::clock::Freshness;
use crate::cluster::{ClusterError, KubernetesApi};
use crate::credentials::ServiceAccounts;
use crate::identity::Principal;
use crate::plan::aws::{InvalidRoleArn, Region, RoleArn};
use crate::reason::{Explained, Reason};
use crate::secrets::CredentialSource;
use crate::secrets::aws::Session;

/// The annotation that names a service account's role.
const ROLE_ANNOTATION: &str = "eks.amazonaws.com/role-arn";

/// Longest role session name that STS takes.
const MAX_SESSION_NAME: usize = 64;

/// Exchanges tokens at the STS of a Region.
pub struct Irsa {
    accounts: ServiceAccounts,
    /// The operation is not signed, so these have no credentials.
    clients: Clients<Client>,
}

impl Irsa {
    pub fn new(cluster: Arc<dyn KubernetesApi>, config: SdkConfig) -> Self {
        let clients = Clients::new(config, "sts", |config, partition| {
            Client::from_conf(Builder::from(config).retry_partition(partition).build())
        });
        Self { accounts: ServiceAccounts::new(cluster), clients }
    }

    /// Credentials on behalf of `principal`, with a role that was read as long ago as `freshness` allows. Nothing is asked
    /// before they are needed.
    pub fn source(
        self: &Arc<Self>,
        sessions: &Arc<Sessions>,
        principal: &Principal,
        freshness: Freshness,
    ) -> IrsaSource {
        let (irsa, sessions, principal) = (self.clone(), sessions.clone(), principal.clone());
        IrsaSource { irsa, sessions, principal, freshness, role: OnceCell::new() }
    }
}

/// Credentials of one principal. The role that is read first is used throughout.
pub struct IrsaSource {
    irsa: Arc<Irsa>,
    sessions: Arc<Sessions>,
    principal: Principal,
    freshness: Freshness,
    role: OnceCell<RoleArn>,
}

impl IrsaSource {
    async fn role(&self) -> Result<&RoleArn, IrsaError> {
        let read = async || {
            let (namespace, name) = (self.principal.namespace(), self.principal.service_account());
            let account = self.irsa.accounts.get(namespace, name, self.freshness).await.map_err(IrsaError::Cluster)?;
            let service_account = format!("{namespace}/{name}");
            if !self.principal.is_of_account(&account.uid) {
                return Err(IrsaError::OtherAccount { service_account });
            }
            match account.annotations.get(ROLE_ANNOTATION).map(|annotation| annotation.trim()) {
                None | Some("") => Err(IrsaError::NoRole { service_account }),
                Some(written) => written.parse().map_err(|problem| IrsaError::InvalidRole {
                    service_account,
                    written: written.into(),
                    problem,
                }),
            }
        };
        self.role.get_or_try_init(read).await
    }

    fn key(&self, role: &RoleArn, region: &Region) -> SessionKey {
        let way = Way::Irsa { role: role.to_string(), region: region.clone() };
        SessionKey { scope: self.principal.scope(), way }
    }

    async fn exchange(&self, role: &RoleArn, region: &Region) -> Result<Session, IrsaError> {
        let tenant = self.principal.scope().part(TENANTS);
        let answer = self
            .irsa
            .clients
            .of(region, tenant)
            .assume_role_with_web_identity()
            .role_arn(role.as_str())
            .role_session_name(session_name(self.principal.namespace(), self.principal.service_account()))
            .web_identity_token(self.principal.token().expose())
            .send()
            .await
            .map_err(|error| self.explain(&error, role, region))?;
        let no_credentials = || IrsaError::NoCredentials { role: role.clone(), region: region.clone() };
        let given = answer.credentials.ok_or_else(no_credentials)?;
        let expiration = (*given.expiration()).try_into().map_err(|_| no_credentials())?;
        let credentials = Credentials::new(
            given.access_key_id,
            given.secret_access_key,
            Some(given.session_token),
            Some(expiration),
            "sts",
        );
        Ok(Session { credentials, role: role.to_string(), tenant })
    }
}

#[async_trait]
impl CredentialSource for IrsaSource {
    type Place = Region;
    type Credentials = Session;
    type Error = CredentialError;

    async fn credentials(&self, region: &Region) -> Result<Session, CredentialError> {
        let role = self.role().await?;
        self.sessions.get(self.key(role, region), async || Ok(self.exchange(role, region).await?)).await
    }

    async fn renewed(&self, region: &Region, refused: &Session) -> Result<Session, CredentialError> {
        let role = self.role().await?;
        self.sessions.renewed(self.key(role, region), refused, async || Ok(self.exchange(role, region).await?)).await
    }
}

impl IrsaSource {
    fn explain(&self, error: &SdkError<AssumeRoleWithWebIdentityError>, role: &RoleArn, region: &Region) -> IrsaError {
        let (role, region) = (role.clone(), region.clone());
        let SdkError::ServiceError(service) = error else {
            let (reason, problem) = crate::aws::transport_problem(error);
            return IrsaError::Sts { reason, role, region, problem: problem.into() };
        };
        let code = service.err().meta().code().unwrap_or("unknown error").to_owned();
        let status = service.raw().status().as_u16();
        let request_id = error.request_id().unwrap_or("unknown");
        let service_account = format!("{}:{}", self.principal.namespace(), self.principal.service_account());
        let (reason, problem) = match code.as_str() {
            "AccessDenied" | "AccessDeniedException" => (
                Reason::AssumeRoleDenied,
                format!(
                    "the role does not trust system:serviceaccount:{service_account}; correct its trust policy. [{code}]"
                ),
            ),
            "InvalidIdentityToken" => (
                Reason::AssumeRoleDenied,
                format!(
                    "AWS does not take this cluster's tokens; the account of the role needs an IAM OIDC provider for the cluster's issuer, with the audience {}. [{code}]",
                    self.principal.audience()
                ),
            ),
            expired if crate::aws::is_expired(expired) => {
                (Reason::TokenExpired, format!("AWS takes the pod's token for expired. [{code}]"))
            }
            throttled if crate::aws::is_throttling(throttled) || status == 429 => {
                (Reason::AwsThrottled, format!("AWS answers too many requests. [{code}, request {request_id}]"))
            }
            "IDPCommunicationError" => (
                Reason::AwsUnavailable,
                format!("AWS cannot reach the cluster's issuer to read its keys. [{code}, request {request_id}]"),
            ),
            _ if status >= 500 => {
                (Reason::AwsUnavailable, format!("STS fails. [{code}, HTTP {status}, request {request_id}]"))
            }
            _ => {
                // Only here AWS's own words are passed on.
                let said = service.err().meta().message().unwrap_or_default();
                (Reason::AssumeRoleDenied, format!("{} [{code}]", crate::aws::shorten(said, 200)))
            }
        };
        IrsaError::Sts { reason, role, region, problem }
    }
}

/// Why there are no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IrsaError {
    #[error("the role of the pod's service account cannot be read")]
    Cluster(#[source] ClusterError),
    #[error("service account {service_account} has no role; annotate it with {ROLE_ANNOTATION}")]
    NoRole { service_account: String },
    #[error("the annotation {ROLE_ANNOTATION} {written:?} of service account {service_account} {problem}")]
    InvalidRole { service_account: String, written: String, problem: InvalidRoleArn },
    #[error("service account {service_account} has been made anew since the pod got its token; restart the pod")]
    OtherAccount { service_account: String },
    #[error("role {role} cannot be assumed in {region}: {problem}")]
    Sts { reason: Reason, role: RoleArn, region: Region, problem: String },
    #[error("STS in {region} answered without usable credentials for role {role}")]
    NoCredentials { role: RoleArn, region: Region },
}

impl Explained for IrsaError {
    fn reason(&self) -> Reason {
        match self {
            Self::Cluster(error) => error.reason(),
            Self::NoRole { .. } | Self::InvalidRole { .. } => Reason::RoleMissing,
            Self::OtherAccount { .. } => Reason::TokenMismatch,
            Self::Sts { reason, .. } => *reason,
            Self::NoCredentials { .. } => Reason::AnswerMismatch,
        }
    }
}

/// `namespace.serviceaccount`: pods share the session, so no pod's name stands in it. Both are DNS names, whose characters
/// STS takes; what is too long keeps its beginning and ends in a digest, so that two accounts never look like one.
fn session_name(namespace: &str, service_account: &str) -> String {
    let name = format!("{namespace}.{service_account}");
    if name.len() <= MAX_SESSION_NAME {
        return name;
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes());
    let digest: String = digest.as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let kept: String = name.chars().take(MAX_SESSION_NAME - digest.len() - 1).collect();
    format!("{kept}-{digest}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_session_name_is_one_that_sts_takes(namespace in "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", account in "[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?") {
            let name = session_name(&namespace, &account);
            let allowed = |c: char| c.is_ascii_alphanumeric() || "+=,.@-_".contains(c);
            prop_assert!((2..=64).contains(&name.len()) && name.chars().all(allowed), "{}", name);
            prop_assert_ne!(session_name(&namespace, &format!("{account}x")), name);
        }
    }
}
