//! What AWS stores: secrets, each read with a call of its own, and parameters, read in tens; and lists of both.

mod batch;
mod lists;
mod pace;
mod parameter_store;
mod secrets_manager;

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::operation::RequestId;
use parameter_store::ParameterStore;
use secrets_manager::SecretsManager;

use super::{FetchError, Said, SecretBackend, SecretValue, Verdict};
use crate::aws::Configuration;
use crate::plan::aws::{Item, List, Region, Stored};
use crate::reason::Reason;

pub use lists::MostOfLists;
pub use secrets_manager::error_of_answer;

/// Longest part of AWS's own message that is passed on.
const MAX_MESSAGE: usize = 200;

/// Temporary credentials, and whose they are, as errors name it: a role's ARN, or words for a role whose ARN nobody tells.
#[derive(Debug, Clone)]
pub struct Session {
    pub credentials: aws_credential_types::Credentials,
    pub role: String,
    /// Whose retries its requests use: see [`Clients`](crate::aws::Clients).
    pub tenant: u8,
}

impl Session {
    /// Tells sessions apart. No secret.
    pub fn id(&self) -> &str {
        self.credentials.access_key_id()
    }

    /// Tells those apart who have different rights: roles, and where nobody tells the role, sessions.
    fn rights(&self) -> &str {
        if self.role.starts_with("arn:") { &self.role } else { self.id() }
    }

    /// Whose quotas its requests use, empty where nobody tells.
    fn account(&self) -> &str {
        self.credentials.account_id().map_or("", |account| account.as_str())
    }
}

/// What the calls to a host, and where its quota is small those of an account, have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    SecretsManager(Region),
    /// Of Secrets Manager too, with a quota of their own.
    Batches(Region),
    ParameterStore {
        region: Region,
        account: String,
    },
    /// Of either, see [`lists::CALLS_AT_ONCE`].
    Lists(Box<Endpoint>),
}

/// Reads from Secrets Manager and Parameter Store, in any Region, for any session.
pub struct AwsBackend {
    secrets_manager: SecretsManager,
    parameter_store: ParameterStore,
    batches: bool,
    most_of_lists: MostOfLists,
}

impl AwsBackend {
    /// With `batches` many secrets are read with one call, by roles that may do so.
    pub fn new(configuration: Configuration, batches: bool, most_of_lists: MostOfLists) -> Self {
        let parameter_store = ParameterStore::new(configuration.sdk.clone());
        Self { secrets_manager: SecretsManager::new(configuration), parameter_store, batches, most_of_lists }
    }

    async fn list(&self, session: &Session, list: &List, address: &Stored) -> Result<SecretValue, FetchError> {
        let most = self.most_of_lists;
        match list {
            List::Secrets(filter) => self.secrets_manager.list(session, filter, address, most).await,
            List::Versions { secret } => self.secrets_manager.versions(session, secret, address, most).await,
            List::Parameters(filter) => self.parameter_store.list(session, filter, address, most).await,
        }
    }
}

#[async_trait]
impl SecretBackend for AwsBackend {
    type Address = Arc<Stored>;
    type Credentials = Session;
    type Endpoint = Endpoint;

    fn calls(&self, addresses: Vec<Arc<Stored>>) -> Vec<Vec<Arc<Stored>>> {
        let (lists, values): (Vec<_>, Vec<_>) =
            addresses.into_iter().partition(|address| matches!(address.item, Item::List(_)));
        let (secrets, parameters): (Vec<_>, Vec<_>) =
            values.into_iter().partition(|address| matches!(address.item, Item::Secret(_)));
        let secrets = match self.batches {
            true => batch::calls(secrets),
            false => secrets.into_iter().map(|secret| vec![secret]).collect(),
        };
        let lists = lists.into_iter().map(|list| vec![list]);
        secrets.into_iter().chain(parameter_store::calls(parameters)).chain(lists).collect()
    }

    fn role<'a>(&self, session: &'a Session) -> &'a str {
        &session.role
    }

    fn endpoint(&self, session: &Session, call: &[Arc<Stored>]) -> Option<(Endpoint, Option<usize>)> {
        let Stored { region, item } = &**call.first()?;
        let secrets_manager = || Endpoint::SecretsManager(region.clone());
        let parameter_store =
            || Endpoint::ParameterStore { region: region.clone(), account: session.account().to_owned() };
        let lists = |endpoint| (Endpoint::Lists(Box::new(endpoint)), Some(lists::CALLS_AT_ONCE));
        Some(match item {
            Item::Secret(_) if call.len() > 1 => (Endpoint::Batches(region.clone()), Some(batch::CALLS_AT_ONCE)),
            Item::Secret(_) => (secrets_manager(), self.secrets_manager.fewer_at_once(region)),
            Item::Parameter(_) => (parameter_store(), Some(parameter_store::CALLS_AT_ONCE)),
            Item::List(List::Secrets(_) | List::Versions { .. }) => lists(secrets_manager()),
            Item::List(List::Parameters(_)) => lists(parameter_store()),
        })
    }

    fn members(&self, list: &Arc<Stored>, value: &SecretValue) -> Result<Vec<(String, Arc<Stored>)>, FetchError> {
        lists::members(list, value)
    }

    async fn read(&self, session: &Session, call: &[Arc<Stored>]) -> Vec<Option<Result<SecretValue, FetchError>>> {
        match call {
            [address] if let Item::Secret(secret) = &address.item => {
                vec![Some(self.secrets_manager.read(session, &address.region, secret, address).await)]
            }
            [address] if let Item::List(list) = &address.item => vec![Some(self.list(session, list, address).await)],
            [first, ..] if let Item::Secret(_) = &first.item => {
                self.secrets_manager.read_many(session, &first.region, call).await
            }
            parameters => self.parameter_store.read(session, parameters).await.into_iter().map(Some).collect(),
        }
    }
}

/// An error that the service's model does not name, as one sentence: nobody knows what the service would have said. The
/// SDK's `Debug` can hold a whole request, so only codes and AWS's message leave it. `remedy` is what helps whoever may not
/// read.
fn unmodelled<E>(error: &SdkError<E>, what: &str, role: &str, service: &str, remedy: &str) -> FetchError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    SdkError<E>: RequestId,
{
    let said = said(error);
    let (reason, message) = match error {
        SdkError::ServiceError(failure) => {
            let status = failure.raw().status().as_u16();
            // A page of a proxy, say, has none.
            let code = failure.err().meta().code().map_or_else(|| format!("HTTP {status}"), crate::aws::word);
            let said = failure.err().meta().message().unwrap_or("it does not say why.");
            let request_id = crate::aws::word(error.request_id().unwrap_or("unknown"));
            match code.as_str() {
                _ if status < 400 => {
                    let (reason, problem) = crate::aws::NO_ANSWER;
                    (reason, format!("{what} was not read: {problem}"))
                }
                "AccessDeniedException" if said.to_ascii_lowercase().contains("kms") => (
                    Reason::DecryptDenied,
                    format!("{what} cannot be decrypted as {role}; grant kms:Decrypt on its key. [{code}]"),
                ),
                "AccessDeniedException" => (
                    Reason::SecretAccessDenied,
                    // AWS says the same of a name that does not exist, where the policy does not cover it.
                    format!("{what} may not be read as {role}; {remedy}. [{code}]"),
                ),
                _ if crate::aws::is_expired(&code) => (
                    Reason::CredentialsExpired,
                    format!("AWS takes the session of {role} for expired while reading {what}. [{code}]"),
                ),
                _ if crate::aws::is_throttling(&code) || status == 429 => (
                    Reason::AwsThrottled,
                    format!(
                        "AWS answers too many requests while reading {what} as {role}. [{code}, request {request_id}]"
                    ),
                ),
                _ if status >= 500 => (
                    Reason::AwsUnavailable,
                    format!("{service} fails while reading {what}. [{code}, HTTP {status}, request {request_id}]"),
                ),
                _ => {
                    let said = crate::aws::shorten(said, MAX_MESSAGE);
                    (Reason::SecretAccessDenied, format!("AWS refuses to read {what} as {role}: {said} [{code}]"))
                }
            }
        }
        other => {
            let (reason, problem) = crate::aws::transport_problem(other);
            (reason, format!("{what} was not read: {problem}"))
        }
    };
    FetchError::Backend { reason, message, verdict: Verdict::Open, said }
}

/// AWS's own words, where it has answered.
fn said<E>(error: &SdkError<E>) -> Option<Said>
where
    E: ProvideErrorMetadata,
    SdkError<E>: RequestId,
{
    let code = crate::aws::word(error.as_service_error()?.meta().code().unwrap_or("unknown"));
    Some(Said { code, request_id: crate::aws::word(error.request_id().unwrap_or("unknown")) })
}
