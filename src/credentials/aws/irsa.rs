//! IAM roles for service accounts: the role that the class or the service account's annotation names, through STS.
//!
//! <https://docs.aws.amazon.com/eks/latest/userguide/iam-roles-for-service-accounts.html>

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::cache::Way;
use super::sts::Sts;
use super::{CredentialError, Source};
use crate::clock::Freshness;
use crate::cluster::ClusterError;
use crate::credentials::ServiceAccounts;
use crate::identity::Principal;
use crate::plan::aws::{InvalidRoleArn, Region, RoleArn};
use crate::policy::aws::{Policy, Refusal};
use crate::reason::{Explained, Reason};
use crate::secrets::aws::Session;

/// The annotation that names a service account's role.
const ROLE_ANNOTATION: &str = "eks.amazonaws.com/role-arn";

/// Exchanges the token of one principal. The role that is read first is used throughout.
pub struct Irsa {
    pub accounts: Arc<ServiceAccounts>,
    pub policy: Arc<Policy>,
    pub sts: Arc<Sts>,
    pub principal: Principal,
    /// How long ago the annotation may have been read.
    pub freshness: Freshness,
    /// The class's, or what the annotation names.
    pub role: OnceCell<RoleArn>,
}

impl Irsa {
    async fn role(&self) -> Result<&RoleArn, IrsaError> {
        let read = async || {
            let (namespace, name) = (self.principal.namespace(), self.principal.service_account());
            let account = self.accounts.get(namespace, name, self.freshness).await.map_err(IrsaError::Cluster)?;
            let service_account = format!("{namespace}/{name}");
            if !self.principal.is_of_account(&account.uid) {
                return Err(IrsaError::OtherAccount { service_account });
            }
            let role = match account.annotations.get(ROLE_ANNOTATION).map(|annotation| annotation.trim()) {
                None | Some("") => return Err(IrsaError::NoRole { service_account }),
                Some(written) => written.parse().map_err(|problem| IrsaError::InvalidRole {
                    service_account,
                    written: written.into(),
                    problem,
                })?,
            };
            self.policy.check_role(namespace, &role)?;
            Ok(role)
        };
        self.role.get_or_try_init(read).await
    }

    /// What STS's own codes mean for a pod's token.
    fn explain(&self, code: &str) -> Option<(Reason, String)> {
        let account = || format!("{}:{}", self.principal.namespace(), self.principal.service_account());
        Some(match code {
            "AccessDenied" | "AccessDeniedException" => (
                Reason::AssumeRoleDenied,
                // STS says the same of both.
                format!(
                    "the role does not exist, or does not trust system:serviceaccount:{}; correct its ARN or its trust policy",
                    account()
                ),
            ),
            "InvalidIdentityToken" => (
                Reason::AssumeRoleDenied,
                format!(
                    "AWS does not take this cluster's tokens; the account of the role needs an IAM OIDC provider for the cluster's issuer, with the audience {}",
                    self.principal.audience()
                ),
            ),
            expired if crate::aws::is_expired(expired) => {
                (Reason::TokenExpired, "AWS takes the pod's token for expired".into())
            }
            _ => return None,
        })
    }
}

#[async_trait]
impl Source for Irsa {
    async fn way(&self, region: &Region) -> Result<Way, CredentialError> {
        Ok(Way::Irsa { role: self.role().await?.clone(), region: region.clone() })
    }

    async fn exchange(&self, region: &Region) -> Result<Session, CredentialError> {
        let role = self.role().await?;
        let session = self.sts.for_token(region, &self.principal, role, &|code| self.explain(code)).await;
        Ok(session.map_err(|failure| IrsaError::Sts {
            reason: failure.reason,
            role: role.clone(),
            region: region.clone(),
            problem: failure.problem,
        })?)
    }
}

/// Why there are no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IrsaError {
    #[error("the role of the pod's service account cannot be read")]
    Cluster(#[source] ClusterError),
    #[error(
        "service account {service_account} has no role; annotate it with {ROLE_ANNOTATION}, or set roleArn in the class"
    )]
    NoRole { service_account: String },
    #[error("the annotation {ROLE_ANNOTATION} {written:?} of service account {service_account} {problem}")]
    InvalidRole { service_account: String, written: String, problem: InvalidRoleArn },
    #[error("service account {service_account} has been made anew since the pod got its token; restart the pod")]
    OtherAccount { service_account: String },
    #[error(transparent)]
    NotAllowed(#[from] Refusal),
    #[error("role {role} cannot be assumed in {region}: {problem}")]
    Sts { reason: Reason, role: RoleArn, region: Region, problem: String },
}

impl Explained for IrsaError {
    fn reason(&self) -> Reason {
        match self {
            Self::Cluster(error) => error.reason(),
            Self::NoRole { .. } | Self::InvalidRole { .. } => Reason::RoleMissing,
            Self::OtherAccount { .. } => Reason::TokenMismatch,
            Self::NotAllowed(refusal) => refusal.reason(),
            Self::Sts { reason, .. } => *reason,
        }
    }
}
