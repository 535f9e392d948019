//! A role that is assumed with the session of another: one hop of a chain.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html#iam-term-role-chaining>
//!
//! A chain is a hop over a hop over the pod's own credentials. Each keeps its session by itself, so what several chains have in
//! common is asked for once, and a hop that fails leaves those before it in place.

use std::sync::Arc;

use async_trait::async_trait;

use super::cache::Way;
use super::sts::Sts;
use super::{AwsCredentials, CredentialError, Source};
use crate::identity::Principal;
use crate::plan::aws::{Hop, Region};
use crate::reason::{Explained, Reason};
use crate::secrets::CredentialSource as _;
use crate::secrets::aws::Session;

/// Assumes the role of a hop.
pub struct Assumed {
    pub sts: Arc<Sts>,
    pub principal: Principal,
    /// As whom.
    pub by: AwsCredentials,
    pub hop: Hop,
    /// Place in the chain, counted from 1.
    pub number: usize,
}

impl Assumed {
    async fn assume(&self, by: &Session, region: &Region) -> Result<Session, HopError> {
        let session = self.sts.for_session(region, &self.principal, by, &self.hop, &|code| self.explain(code)).await;
        session.map_err(|failure| HopError {
            reason: failure.reason,
            number: self.number,
            role: self.hop.role.to_string(),
            by: by.role.clone(),
            region: region.clone(),
            problem: failure.problem,
        })
    }

    /// What STS's own codes mean for a hop.
    fn explain(&self, code: &str) -> Option<(Reason, String)> {
        Some(match code {
            "AccessDenied" | "AccessDeniedException" => {
                let tagging = if self.hop.session_tags.is_empty() { "" } else { " and sts:TagSession" };
                let external_id = match self.hop.external_id {
                    Some(_) => "with the externalId of the class",
                    None => "without an externalId",
                };
                (
                    Reason::AssumeRoleDenied,
                    format!(
                        "its trust policy must allow that role sts:AssumeRole{tagging} {external_id}; where it is of another account, that role's own policy must too"
                    ),
                )
            }
            "PackedPolicyTooLarge" | "PackedPolicyTooLargeException" => {
                (Reason::InvalidParameter, "its sessionTags take more room than AWS has for them".into())
            }
            expired if crate::aws::is_expired(expired) => {
                (Reason::CredentialsExpired, "AWS takes the session that assumes it for expired".into())
            }
            _ => return None,
        })
    }
}

#[async_trait]
impl Source for Assumed {
    async fn way(&self, region: &Region) -> Result<Way, CredentialError> {
        let by = Box::new(self.by.way(region).await?);
        Ok(Way::Assumed { by, hop: self.hop.clone(), region: region.clone() })
    }

    async fn exchange(&self, region: &Region) -> Result<Session, CredentialError> {
        let by = self.by.credentials(region).await?;
        match self.assume(&by, region).await {
            Err(error) if error.reason == Reason::CredentialsExpired => {
                let by = self.by.renewed(region, &by).await?;
                Ok(self.assume(&by, region).await?)
            }
            result => Ok(result?),
        }
    }
}

/// Why a role of a chain could not be assumed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("hop {number} of assumeRoles, role {role}, cannot be assumed in {region} by {by}: {problem}")]
pub struct HopError {
    reason: Reason,
    number: usize,
    role: String,
    by: String,
    region: Region,
    problem: String,
}

impl Explained for HopError {
    fn reason(&self) -> Reason {
        self.reason
    }
}
