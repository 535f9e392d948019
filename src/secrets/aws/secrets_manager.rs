//! AWS Secrets Manager.

use aws_config::SdkConfig;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::Builder;
use aws_sdk_secretsmanager::error::SdkError;
use aws_sdk_secretsmanager::operation::get_secret_value::{GetSecretValueError, GetSecretValueOutput};

use super::{MAX_MESSAGE, Session, unmodelled};
use crate::aws::Clients;
use crate::plan::aws::{Arn, Region, Secret, Stored};
use crate::reason::Reason;
use crate::secrets::{FetchError, SecretValue, Verdict};
use crate::sensitive::SecretBytes;

const SERVICE: &str = "Secrets Manager";
const ACTION: &str = "secretsmanager:GetSecretValue";

/// Reads from Secrets Manager, in any Region, for any session.
pub struct SecretsManager(Clients<Client>);

impl SecretsManager {
    pub fn new(config: SdkConfig) -> Self {
        Self(Clients::new(config, "secretsmanager", |config, partition| {
            Client::from_conf(Builder::from(config).retry_partition(partition).build())
        }))
    }

    /// Needs `secretsmanager:GetSecretValue` on the secret, and `kms:Decrypt` where it has a key of its own. Errors name
    /// `address`.
    pub async fn read(
        &self,
        session: &Session,
        region: &Region,
        secret: &Secret,
        address: &Stored,
    ) -> Result<SecretValue, FetchError> {
        let credentials = Builder::new().credentials_provider(session.credentials.clone());
        let answer = self
            .0
            .of(region, session.tenant)
            .get_secret_value()
            .secret_id(&secret.id)
            .set_version_id(secret.revision.version_id().map(str::to_owned))
            .set_version_stage(secret.revision.stage().map(str::to_owned))
            .customize()
            .config_override(credentials)
            .send()
            .await
            .map_err(|error| explain(&error, address, &session.role))?;
        value_of(answer, secret, address)
    }
}

/// The text wins over the bytes, as in the official provider.
fn value_of(answer: GetSecretValueOutput, secret: &Secret, address: &Stored) -> Result<SecretValue, FetchError> {
    let mismatch = |what: &str| FetchError::Backend {
        reason: Reason::AnswerMismatch,
        message: format!("AWS answered {what} for {address}"),
        verdict: Verdict::Open,
    };
    if answer.arn().is_none_or(|arn| !names(arn, &secret.id)) {
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

/// What the service's model names is its last word on the secret.
fn explain(error: &SdkError<GetSecretValueError>, address: &Stored, role: &str) -> FetchError {
    let modelled = |reason, message| FetchError::Backend { reason, message, verdict: Verdict::Final };
    let SdkError::ServiceError(service) = error else {
        return unmodelled(error, &address.to_string(), role, SERVICE, ACTION);
    };
    let code = service.err().meta().code().unwrap_or("unknown error");
    let said = service.err().meta().message().unwrap_or_default();
    match service.err() {
        GetSecretValueError::ResourceNotFoundException(_) if said.contains("secret value") => modelled(
            Reason::SecretVersionNotFound,
            format!(
                "{address} has no such value; correct objectVersion or objectVersionLabel, or put a value into it. [{code}]"
            ),
        ),
        GetSecretValueError::ResourceNotFoundException(_) => modelled(
            Reason::SecretNotFound,
            format!("{address} does not exist in the account of {role}; correct objectName or `region`. [{code}]"),
        ),
        // It has no code of its own. AWS says "marked for deletion", doubles of AWS say it in other words.
        GetSecretValueError::InvalidRequestException(_) if said.contains("delet") => modelled(
            Reason::SecretPendingDeletion,
            format!("{address} is scheduled for deletion; restore it, or remove it from the class. [{code}]"),
        ),
        GetSecretValueError::DecryptionFailure(_) => modelled(
            Reason::DecryptDenied,
            format!("{address} cannot be decrypted as {role}; grant kms:Decrypt on its key. [{code}]"),
        ),
        GetSecretValueError::InvalidRequestException(_) | GetSecretValueError::InvalidParameterException(_) => {
            let said = crate::aws::shorten(said, MAX_MESSAGE);
            modelled(Reason::InvalidParameter, format!("AWS refuses to read {address}: {said} [{code}]"))
        }
        _ => unmodelled(error, &address.to_string(), role, SERVICE, ACTION),
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
