//! Keys of an IAM user, or other keys, that a pod's volume brings along from a Secret (`nodePublishSecretRef`).
//!
//! For clusters whose tokens AWS cannot check. The pod is proved like any other; the keys are used for its mount alone and not
//! kept, since each request brings them again.
//!
//! <https://kubernetes-csi.github.io/docs/secrets-and-credentials-storage-class.html>

use aws_credential_types::Credentials;
use aws_lc_rs::digest::{Context, SHA256};

use super::CredentialError;
use crate::aws::TENANTS;
use crate::identity::Principal;
use crate::reason::{Explained, Reason};
use crate::secrets::aws::Session;
use crate::sensitive::MountSecrets;

/// As AWS's own tools name them in files, in any case, so that the names of their variables do too.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-static-credentials.html>
const ACCESS_KEY_ID: &str = "aws_access_key_id";
const SECRET_ACCESS_KEY: &str = "aws_secret_access_key";
const SESSION_TOKEN: &str = "aws_session_token";

/// The keys of one request.
pub struct StaticKeys(Session);

impl StaticKeys {
    /// Takes the keys out of what came with the request.
    ///
    /// # Errors
    /// Names what is missing or no key. Never quotes it.
    pub fn of(secrets: &MountSecrets, principal: &Principal) -> Result<Self, StaticKeysError> {
        let id = find(secrets, ACCESS_KEY_ID)?.ok_or_else(|| missing(secrets, ACCESS_KEY_ID))?;
        let secret = find(secrets, SECRET_ACCESS_KEY)?.ok_or_else(|| missing(secrets, SECRET_ACCESS_KEY))?;
        let token = find(secrets, SESSION_TOKEN)?;
        let credentials = Credentials::new(id, secret, token, None, "node-publish-secret");
        let role = "the keys of nodePublishSecretRef".into();
        Ok(Self(Session { credentials, role, tenant: principal.scope().part(TENANTS) }))
    }

    /// Tells sets of keys apart. The id alone would not do: whoever knows it would share what the whole set has opened.
    pub fn digest(&self) -> [u8; 32] {
        let keys = &self.0.credentials;
        let mut context = Context::new(&SHA256);
        for part in [keys.access_key_id(), keys.secret_access_key(), keys.session_token().unwrap_or_default()] {
            context.update(part.as_bytes());
            context.update(b"\n"); // which no part has in it
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        digest
    }

    pub fn session(&self) -> Session {
        self.0.clone()
    }

    /// There are no others until kubelet sends others.
    pub fn expired(&self) -> CredentialError {
        StaticKeysError::Expired.into()
    }
}

/// Secrets that were made of files often end in a line break.
fn find(secrets: &MountSecrets, name: &'static str) -> Result<Option<String>, StaticKeysError> {
    let mut found = secrets.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
    let Some((_, value)) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(StaticKeysError::Twice { name });
    }
    let value = value.expose().trim_ascii();
    // They become headers of requests.
    match std::str::from_utf8(value) {
        Ok("") => Ok(None),
        Ok(text) if value.iter().all(u8::is_ascii_graphic) => Ok(Some(text.to_owned())),
        Ok(_) | Err(_) => Err(StaticKeysError::NoKey { name }),
    }
}

fn missing(secrets: &MountSecrets, name: &'static str) -> StaticKeysError {
    match secrets.is_empty() {
        true => StaticKeysError::NoSecret,
        false => StaticKeysError::Missing { name },
    }
}

/// Why the keys cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StaticKeysError {
    #[error(
        "auth is nodePublishSecret, and no Secret came with the mount; name one in nodePublishSecretRef of the pod's volume, with {ACCESS_KEY_ID} and {SECRET_ACCESS_KEY} in it"
    )]
    NoSecret,
    #[error("the Secret of nodePublishSecretRef has no {name}; put {ACCESS_KEY_ID} and {SECRET_ACCESS_KEY} into it")]
    Missing { name: &'static str },
    #[error("the Secret of nodePublishSecretRef has {name} twice, in another case; remove one")]
    Twice { name: &'static str },
    #[error(
        "{name} in the Secret of nodePublishSecretRef is no key of AWS: it has blanks, line breaks or other characters"
    )]
    NoKey { name: &'static str },
    #[error("AWS takes the keys of nodePublishSecretRef for expired; put new ones into that Secret")]
    Expired,
}

impl Explained for StaticKeysError {
    fn reason(&self) -> Reason {
        match self {
            Self::NoSecret | Self::Missing { .. } | Self::Twice { .. } | Self::NoKey { .. } => {
                Reason::CredentialsMissing
            }
            Self::Expired => Reason::CredentialsExpired,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_in(pairs: &[(&str, &str)]) -> Result<Option<String>, StaticKeysError> {
        let secrets = pairs.iter().map(|(key, value)| ((*key).to_owned(), value.to_string().into())).collect();
        find(&secrets, ACCESS_KEY_ID)
    }

    #[test]
    fn keys_are_found_by_the_names_of_files_and_of_variables() {
        for (pairs, found) in [
            (&[("aws_access_key_id", "AKIA1")][..], Some("AKIA1")),
            (&[("AWS_ACCESS_KEY_ID", "AKIA1\n"), ("other", "x")], Some("AKIA1")),
            (&[("aws_access_key_id", "\n")], None),
            (&[("access_key_id", "AKIA1")], None),
        ] {
            assert_eq!(find_in(pairs), Ok(found.map(str::to_owned)), "{pairs:?}");
        }
    }

    #[test]
    fn a07_what_cannot_be_a_key_is_refused_without_being_quoted() {
        for value in ["hunter2 x", "hunter2\r\nHost: x", "hunter2é", "hunter2\u{0}"] {
            let error = find_in(&[("aws_access_key_id", value)]).expect_err(value);
            assert_eq!(error, StaticKeysError::NoKey { name: ACCESS_KEY_ID });
            assert!(!error.to_string().contains("hunter2"));
        }
        let twice = find_in(&[("aws_access_key_id", "AKIA1"), ("AWS_ACCESS_KEY_ID", "AKIA2")]);
        assert_eq!(twice, Err(StaticKeysError::Twice { name: ACCESS_KEY_ID }));
    }
}
