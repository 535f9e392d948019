//! What AWS stores.

mod secrets_manager;

pub use secrets_manager::SecretsManager;

use crate::plan::aws::RoleArn;

/// Temporary credentials, and the role they are for, which errors name.
#[derive(Debug, Clone)]
pub struct Session {
    pub credentials: aws_credential_types::Credentials,
    pub role: RoleArn,
}
