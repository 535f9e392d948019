//! Where a value is stored in AWS: the whole question that is asked there.

use std::fmt;

use super::Region;
use crate::plan::Address;

/// One value in AWS Secrets Manager.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoredSecret {
    pub region: Region,
    /// Name or ARN, as the class has it.
    pub id: String,
    pub revision: Revision,
}

/// Which of the values of a secret. With a version id the stage is an additional condition, so "neither" cannot be written
/// down: a request without a version id always names a stage, and an IAM condition on `secretsmanager:VersionStage` works.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Revision {
    Stage(String),
    Version { id: String, stage: Option<String> },
}

impl Revision {
    /// The stage that AWS moves to a new value: <https://docs.aws.amazon.com/secretsmanager/latest/userguide/whats-in-a-secret.html>
    pub const CURRENT: &'static str = "AWSCURRENT";

    pub fn version_id(&self) -> Option<&str> {
        match self {
            Self::Stage(_) => None,
            Self::Version { id, .. } => Some(id),
        }
    }

    pub fn stage(&self) -> Option<&str> {
        match self {
            Self::Stage(stage) => Some(stage),
            Self::Version { stage, .. } => stage.as_deref(),
        }
    }
}

impl Address for StoredSecret {
    type Place = Region;

    fn place(&self) -> &Region {
        &self.region
    }
}

impl fmt::Display for StoredSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret {:?}", self.id)?;
        match &self.revision {
            Revision::Stage(stage) if stage == Revision::CURRENT => {}
            Revision::Stage(stage) => write!(f, " (stage {stage})")?,
            Revision::Version { id, stage: None } => write!(f, " (version {id})")?,
            Revision::Version { id, stage: Some(stage) } => write!(f, " (version {id}, stage {stage})")?,
        }
        write!(f, " in {}", self.region)
    }
}
