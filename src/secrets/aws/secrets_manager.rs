//! AWS Secrets Manager.

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::{Builder, Region as SdkRegion};
use aws_sdk_secretsmanager::error::SdkError;
use aws_sdk_secretsmanager::operation::RequestId as _;
use aws_sdk_secretsmanager::operation::get_secret_value::{GetSecretValueError, GetSecretValueOutput};

use super::Session;
use crate::plan::aws::{Arn, Region, RoleArn, StoredSecret};
use crate::reason::Reason;
use crate::secrets::{FetchError, SecretBackend, SecretValue};
use crate::sensitive::SecretBytes;

/// Longest part of AWS's own message that is passed on.
const MAX_MESSAGE: usize = 200;

/// Reads from Secrets Manager, in any Region, for any session.
pub struct SecretsManager {
    config: SdkConfig,
    /// A client for each Region, all on the connector of the configuration. Bounded by the number of Regions.
    clients: Mutex<HashMap<Region, Client>>,
}

impl SecretsManager {
    /// `config` brings the connector, time-outs, retries and endpoints, and no credentials.
    pub fn new(config: SdkConfig) -> Self {
        Self { config, clients: Mutex::default() }
    }

    fn client(&self, region: &Region) -> Client {
        let mut clients = self.clients.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let client = clients.entry(region.clone()).or_insert_with(|| {
            Client::from_conf(Builder::from(&self.config).region(SdkRegion::new(region.to_string())).build())
        });
        client.clone()
    }
}

#[async_trait]
impl SecretBackend for SecretsManager {
    type Address = StoredSecret;
    type Credentials = Session;

    /// Needs `secretsmanager:GetSecretValue` on the secret, and `kms:Decrypt` where it has a key of its own.
    async fn read(&self, session: &Session, address: &StoredSecret) -> Result<SecretValue, FetchError> {
        let credentials = Builder::new().credentials_provider(session.credentials.clone());
        let answer = self
            .client(&address.region)
            .get_secret_value()
            .secret_id(&address.id)
            .set_version_id(address.revision.version_id().map(str::to_owned))
            .set_version_stage(address.revision.stage().map(str::to_owned))
            .customize()
            .config_override(credentials)
            .send()
            .await
            .map_err(|error| explain(&error, address, &session.role))?;
        value_of(answer, address)
    }
}

/// The text wins over the bytes, as in the official provider.
fn value_of(answer: GetSecretValueOutput, address: &StoredSecret) -> Result<SecretValue, FetchError> {
    let mismatch = |what: &str| FetchError::Backend {
        reason: Reason::AnswerMismatch,
        message: format!("AWS answered {what} for {address}"),
    };
    if answer.arn().is_none_or(|arn| !names(arn, &address.id)) {
        return Err(mismatch("with another secret"));
    }
    let version = answer.version_id().filter(|version| !version.is_empty()).map(str::to_owned);
    let version = version.ok_or_else(|| mismatch("without a version"))?;
    let content = match (answer.secret_string, answer.secret_binary) {
        (Some(text), _) => SecretBytes::from(text),
        (None, Some(blob)) => SecretBytes::from(blob.into_inner()),
        (None, None) => return Err(mismatch("without a value")),
    };
    Ok(SecretValue { content, version })
}

/// Whether an answered ARN is of the secret that was asked for by name, ARN, or ARN without its six random characters.
fn names(answered: &str, asked: &str) -> bool {
    let strip = |text: &str| text.rsplit_once('-').map(|(name, _)| name.to_owned());
    match Arn::parse(asked) {
        Some(_) => answered == asked || strip(answered).as_deref() == Some(asked),
        None => Arn::parse(answered)
            .and_then(|arn| arn.resource.strip_prefix("secret:").and_then(strip))
            .is_some_and(|name| name == asked),
    }
}

/// Turns the SDK's error into one sentence. Its `Debug` can hold a whole request, so only codes and AWS's message leave it.
fn explain(error: &SdkError<GetSecretValueError>, address: &StoredSecret, role: &RoleArn) -> FetchError {
    let backend = |reason, message| FetchError::Backend { reason, message };
    match error {
        SdkError::ServiceError(service) => {
            let code = service.err().meta().code().unwrap_or("unknown error");
            let said = service.err().meta().message().unwrap_or_default();
            let status = service.raw().status().as_u16();
            let request_id = error.request_id().unwrap_or("unknown");
            let what_aws_said = crate::aws::shorten(said, MAX_MESSAGE);
            match service.err() {
                GetSecretValueError::ResourceNotFoundException(_) if said.contains("secret value") => backend(
                    Reason::SecretVersionNotFound,
                    format!(
                        "{address} has no such value; correct objectVersion or objectVersionLabel, or put a value into it. [{code}]"
                    ),
                ),
                GetSecretValueError::ResourceNotFoundException(_) => backend(
                    Reason::SecretNotFound,
                    format!(
                        "{address} does not exist in the account of {role}; correct objectName or `region`. [{code}]"
                    ),
                ),
                GetSecretValueError::InvalidRequestException(_) if said.contains("deletion") => backend(
                    Reason::SecretPendingDeletion,
                    format!("{address} is scheduled for deletion; restore it, or remove it from the class. [{code}]"),
                ),
                GetSecretValueError::DecryptionFailure(_) => backend(
                    Reason::DecryptDenied,
                    format!("{address} cannot be decrypted as {role}; grant kms:Decrypt on its key. [{code}]"),
                ),
                GetSecretValueError::InvalidRequestException(_) | GetSecretValueError::InvalidParameterException(_) => {
                    backend(
                        Reason::InvalidParameter,
                        format!("AWS refuses to read {address}: {what_aws_said} [{code}]"),
                    )
                }
                _ if code == "AccessDeniedException" && said.to_ascii_lowercase().contains("kms") => backend(
                    Reason::DecryptDenied,
                    format!("{address} cannot be decrypted as {role}; grant kms:Decrypt on its key. [{code}]"),
                ),
                _ if code == "AccessDeniedException" => backend(
                    Reason::SecretAccessDenied,
                    format!("{address} may not be read as {role}; grant secretsmanager:GetSecretValue on it. [{code}]"),
                ),
                _ if crate::aws::is_expired(code) => backend(
                    Reason::CredentialsExpired,
                    format!("AWS takes the session of {role} for expired while reading {address}. [{code}]"),
                ),
                _ if crate::aws::is_throttling(code) || status == 429 => backend(
                    Reason::AwsThrottled,
                    format!(
                        "AWS answers too many requests while reading {address} as {role}. [{code}, request {request_id}]"
                    ),
                ),
                _ if status >= 500 => backend(
                    Reason::AwsUnavailable,
                    format!(
                        "Secrets Manager fails while reading {address}. [{code}, HTTP {status}, request {request_id}]"
                    ),
                ),
                _ => backend(
                    Reason::SecretAccessDenied,
                    format!("AWS refuses to read {address} as {role}: {what_aws_said} [{code}]"),
                ),
            }
        }
        other => {
            let (reason, problem) = crate::aws::transport_problem(other);
            backend(reason, format!("{address} was not read: {problem}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a43_an_answer_for_another_secret_is_noticed() {
        let arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:shop/db-AbCdEf";
        assert!(names(arn, "shop/db"));
        assert!(names(arn, arn));
        assert!(names(arn, "arn:aws:secretsmanager:eu-west-1:111122223333:secret:shop/db"));
        assert!(!names(arn, "shop"));
        assert!(!names(arn, "shop/db2"));
        assert!(!names(arn, "arn:aws:secretsmanager:eu-west-1:111122223333:secret:shop/other-AbCdEf"));
        assert!(!names("nonsense", "shop/db"));
    }
}
