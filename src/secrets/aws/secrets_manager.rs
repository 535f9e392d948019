//! AWS Secrets Manager.

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::Builder;
use aws_sdk_secretsmanager::error::SdkError;
use aws_sdk_secretsmanager::operation::RequestId;
use aws_sdk_secretsmanager::operation::batch_get_secret_value::{
    BatchGetSecretValue, BatchGetSecretValueError, BatchGetSecretValueInput, BatchGetSecretValueOutput,
};
use aws_sdk_secretsmanager::operation::get_secret_value::{
    GetSecretValue, GetSecretValueError, GetSecretValueInput, GetSecretValueOutput,
};
use aws_sdk_secretsmanager::operation::list_secret_version_ids::ListSecretVersionIdsError;
use aws_sdk_secretsmanager::primitives::Blob;
use aws_sdk_secretsmanager::types::{
    Filter as Narrowing, FilterNameStringType, SecretListEntry, SecretValueEntry, SecretVersionsListEntry,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use futures_util::FutureExt as _;

use super::batch::Refusals;
use super::lists::{MostOfLists, Page, entries, value_of_names, value_of_versions};
use super::{MAX_MESSAGE, Session, unmodelled};
use crate::aws::{Clients, Configuration, Operation, Short, ShortWay, Tries, counted};
use crate::plan::aws::{Arn, Filter, Item, Path, Region, Revision, Secret, Stored};
use crate::reason::{Explained as _, Reason};
use crate::secrets::{FetchError, Said, SecretValue, Source, Verdict};
use crate::sensitive::SecretBytes;
use crate::telemetry::Api;

const SERVICE: &str = "Secrets Manager";
const REMEDY: &str = "grant secretsmanager:GetSecretValue on it, or correct objectName or `region`";
/// No list can be narrowed by a policy.
const REMEDY_OF_LISTS: &str = "grant secretsmanager:ListSecrets on all resources";
const REMEDY_OF_VERSIONS: &str =
    "grant secretsmanager:ListSecretVersionIds on it, or correct objectName or `region`, or write `previous: 1`";
/// Most entries of a page.
const A_PAGE: i32 = 100;
/// Most calls under way to a Region that has failed of late, and for how long that counts.
const CALLS_WHILE_FAILING: usize = 32;
const FAILING_FOR: Duration = Duration::from_secs(60);

/// Reads from Secrets Manager, in any Region, for any session.
pub struct SecretsManager {
    short_way: ShortWay,
    get: Operation<GetSecretValueInput, GetSecretValueOutput, GetSecretValueError>,
    get_many: Operation<BatchGetSecretValueInput, BatchGetSecretValueOutput, BatchGetSecretValueError>,
    clients: Clients<Client>,
    refusals: Refusals,
}

impl SecretsManager {
    pub fn new(configuration: Configuration) -> Self {
        let clients = Clients::new(configuration.sdk.clone(), "secretsmanager", |config, partition| {
            Client::from_conf(Builder::from(config).retry_partition(partition).build())
        });
        Self {
            short_way: ShortWay::new(configuration, |config| Box::pin(example(config.clone()))),
            get: Operation::new(&GetSecretValue::new()),
            get_many: Operation::new(&BatchGetSecretValue::new()),
            clients,
            refusals: Refusals::default(),
        }
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
        let answer = counted(api("GetSecretValue"), self.get(session, region, secret)).await;
        let answer = answer.map_err(|error| explain(&error, address, &session.role))?;
        let request_id = request_id(&answer);
        let GetSecretValueOutput { arn, version_id, secret_string, secret_binary, .. } = answer;
        value_of(arn, version_id, secret_string, secret_binary, secret, address, &request_id)
    }

    /// Most calls that may be under way to a Region, where it has failed of late: each then costs more, in its retries, and
    /// whatever is throttled or breaks down is not helped by more of them.
    pub fn fewer_at_once(&self, region: &Region) -> Option<usize> {
        self.short_way.has_failed(region, FAILING_FOR).then_some(CALLS_WHILE_FAILING)
    }

    /// Reads the current values of several secrets with one call, which needs `secretsmanager:BatchGetSecretValue` too. `None`
    /// for those that must be asked for alone: what is wrong with a secret, only that says.
    pub async fn read_many(
        &self,
        session: &Session,
        region: &Region,
        call: &[Arc<Stored>],
    ) -> Vec<Option<Result<SecretValue, FetchError>>> {
        let all = |answer: Option<FetchError>| call.iter().map(|_| answer.clone().map(Err)).collect();
        if self.refusals.has(session.rights(), region) {
            return all(None);
        }
        let ids = call.iter().filter_map(|address| secret_of(address)).map(|secret| secret.id.clone()).collect();
        let answer = match counted(api("BatchGetSecretValue"), self.get_many(session, region, ids)).await {
            Ok(answer) => answer,
            Err(error) => {
                let what = format!("{} secrets in {region}", call.len());
                let error = unmodelled(&error, &what, &session.role, SERVICE, "");
                if error.reason() == Reason::SecretAccessDenied {
                    self.refusals.note(session.rights(), region);
                }
                // What keeps AWS from answering at all would keep it from answering each alone too.
                let keeps_all = matches!(
                    error.reason(),
                    Reason::AwsUnavailable | Reason::AwsTimeout | Reason::TlsFailed | Reason::CredentialsExpired
                );
                return all(Some(error).filter(|_| keeps_all));
            }
        };
        let request_id = request_id(&answer);
        let value = |address: &Arc<Stored>| {
            let secret = secret_of(address)?;
            let is_it = |entry: &&SecretValueEntry| {
                entry.arn().is_some_and(|arn| names(arn, &secret.id))
                    && entry.version_stages().iter().any(|stage| stage == Revision::CURRENT)
            };
            let found = answer.secret_values().iter().find(is_it)?.clone();
            let SecretValueEntry { arn, version_id, secret_string, secret_binary, .. } = found;
            value_of(arn, version_id, secret_string, secret_binary, secret, address, &request_id).ok().map(Ok)
        };
        call.iter().map(value).collect()
    }

    /// Names of secrets, which needs `secretsmanager:ListSecrets`. AWS matches tags by how they begin, and keys and values
    /// apart, so it only narrows what is looked at here.
    /// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_Filter.html>
    pub async fn list(
        &self,
        session: &Session,
        filter: &Filter,
        address: &Stored,
        most: MostOfLists,
    ) -> Result<SecretValue, FetchError> {
        let client = &self.clients.of(&address.region, session.tenant, Tries::All);
        let page = |next| {
            async move {
                let request = client.list_secrets().set_filters(Some(narrowing(filter))).max_results(A_PAGE);
                let request = request.set_next_token(next).customize().config_override(signed_by(&session.credentials));
                let answer = counted(api("ListSecrets"), request.send()).await;
                let answer = answer.map_err(|error| {
                    unmodelled(&error, &address.to_string(), &session.role, SERVICE, REMEDY_OF_LISTS)
                })?;
                let found = answer.secret_list().iter().filter(|entry| is_of(entry, filter));
                let entries = found.filter_map(|entry| entry.name().map(str::to_owned)).collect();
                Ok(Page { entries, next: answer.next_token })
            }
            .boxed()
        };
        value_of_names(entries(address, most, page).await?, address, most)
    }

    /// Ids of the versions that a secret had before its current one: the one that rotation has kept the label for first, and then
    /// by age, also those without a label, as long as AWS keeps them.
    pub async fn versions(
        &self,
        session: &Session,
        secret: &str,
        address: &Stored,
        most: MostOfLists,
    ) -> Result<SecretValue, FetchError> {
        let client = &self.clients.of(&address.region, session.tenant, Tries::All);
        let page = |next| {
            async move {
                let request = client.list_secret_version_ids().secret_id(secret).include_deprecated(true);
                let request = request.max_results(A_PAGE).set_next_token(next);
                let request = request.customize().config_override(signed_by(&session.credentials));
                let answer = counted(api("ListSecretVersionIds"), request.send()).await;
                let answer = answer.map_err(|error| explain_versions(&error, address, &session.role))?;
                let has =
                    |entry: &SecretVersionsListEntry, stage: &str| entry.version_stages().iter().any(|s| s == stage);
                let earlier = answer
                    .versions()
                    .iter()
                    .filter(|entry| !has(entry, Revision::CURRENT) && !has(entry, Revision::PENDING));
                let earlier = earlier.filter_map(|entry| {
                    let created = entry.created_date().map_or(0.0, aws_smithy_types::DateTime::as_secs_f64);
                    Some((has(entry, Revision::PREVIOUS), created, entry.version_id()?.to_owned()))
                });
                let entries = earlier.collect();
                Ok(Page { entries, next: answer.next_token })
            }
            .boxed()
        };
        let mut earlier: Vec<(bool, f64, String)> = entries(address, most, page).await?;
        earlier
            .sort_by(|(one_kept, one, _), (other_kept, other, _)| other_kept.cmp(one_kept).then(other.total_cmp(one)));
        let ids: Vec<String> = earlier.into_iter().map(|(.., id)| id).collect();
        value_of_versions(&ids, address, most)
    }

    async fn get(
        &self,
        session: &Session,
        region: &Region,
        secret: &Secret,
    ) -> Result<GetSecretValueOutput, SdkError<GetSecretValueError>> {
        let input = GetSecretValueInput::builder()
            .secret_id(&secret.id)
            .set_version_id(secret.revision.version_id().map(str::to_owned))
            .set_version_stage(secret.revision.stage().map(str::to_owned))
            .build()
            .map_err(SdkError::construction_failure)?;
        let tries = match self.short_way.ask(&self.get, region, Some(&session.credentials), input.clone()).await {
            Short::Answer(answer) => return answer.map_err(|error| *error),
            Short::Open(tries) => tries,
        };
        let GetSecretValueInput { secret_id, version_id, version_stage, .. } = input;
        let request = self.clients.of(region, session.tenant, tries).get_secret_value();
        let request = request.set_secret_id(secret_id).set_version_id(version_id).set_version_stage(version_stage);
        request.customize().config_override(signed_by(&session.credentials)).send().await
    }

    async fn get_many(
        &self,
        session: &Session,
        region: &Region,
        ids: Vec<String>,
    ) -> Result<BatchGetSecretValueOutput, SdkError<BatchGetSecretValueError>> {
        let input = BatchGetSecretValueInput::builder().set_secret_id_list(Some(ids.clone())).build();
        let input = input.map_err(SdkError::construction_failure)?;
        let tries = match self.short_way.ask(&self.get_many, region, Some(&session.credentials), input).await {
            Short::Answer(answer) => return answer.map_err(|error| *error),
            Short::Open(tries) => tries,
        };
        let request = self.clients.of(region, session.tenant, tries).batch_get_secret_value();
        let request = request.set_secret_id_list(Some(ids));
        request.customize().config_override(signed_by(&session.credentials)).send().await
    }
}

/// As numbers name it.
const fn api(name: &'static str) -> Api {
    Api { service: "secretsmanager", name }
}

fn signed_by(credentials: &Credentials) -> Builder {
    Builder::new().credentials_provider(credentials.clone())
}

/// See [`ShortWay::new`].
async fn example(config: SdkConfig) {
    let request = Client::new(&config).get_secret_value().secret_id("example");
    let _ = request.customize().config_override(signed_by(&ShortWay::nobody())).send().await;
}

fn secret_of(address: &Stored) -> Option<&Secret> {
    match &address.item {
        Item::Secret(secret) => Some(secret),
        Item::Parameter(_) | Item::List(_) => None,
    }
}

/// What AWS can leave out of a list by itself. A value that begins with `!` would mean the opposite there.
fn narrowing(filter: &Filter) -> Vec<Narrowing> {
    let of = |key, value: &str| {
        let is_plain = !value.is_empty() && !value.starts_with('!');
        is_plain.then(|| Narrowing::builder().key(key).values(value).build())
    };
    let below = filter.path.as_ref().map(|Path { level, .. }| format!("{level}/"));
    // Of two names AWS would take either.
    let name = [below.as_ref(), filter.name_prefix.as_ref()].into_iter().flatten().max_by_key(|name| name.len());
    let tag = filter.tags.iter().next();
    [
        name.and_then(|name| of(FilterNameStringType::Name, name)),
        tag.and_then(|(key, _)| of(FilterNameStringType::TagKey, key)),
        tag.and_then(|(_, value)| of(FilterNameStringType::TagValue, value)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn is_of(entry: &SecretListEntry, filter: &Filter) -> bool {
    let has = |(key, value): (&String, &String)| {
        entry.tags().iter().any(|tag| tag.key() == Some(key) && tag.value().unwrap_or_default() == value)
    };
    entry.deleted_date().is_none() && entry.name().is_some_and(|name| filter.takes(name)) && filter.tags.iter().all(has)
}

/// The text wins over the bytes, as in the official provider.
fn value_of(
    arn: Option<String>,
    version: Option<String>,
    text: Option<String>,
    bytes: Option<Blob>,
    secret: &Secret,
    address: &Stored,
    request_id: &str,
) -> Result<SecretValue, FetchError> {
    let mismatch = |what: &str| FetchError::Backend {
        reason: Reason::AnswerMismatch,
        message: format!("AWS answered {what} for {address}"),
        verdict: Verdict::Open,
        said: Some(Said { code: "ok".into(), request_id: request_id.into() }),
    };
    let arn = arn.filter(|arn| names(arn, &secret.id)).ok_or_else(|| mismatch("with another secret"))?;
    let version = version.filter(|version| !version.is_empty()).ok_or_else(|| mismatch("without a version"))?;
    let content = match (text, bytes) {
        (Some(text), _) => SecretBytes::from(text),
        (None, Some(bytes)) => SecretBytes::from(bytes.into_inner()),
        (None, None) => return Err(mismatch("without a value")),
    };
    Ok(SecretValue { content, version, source: Some(Source { object: arn, request_id: request_id.into() }) })
}

/// The id that AWS gave the request.
fn request_id(answer: &impl RequestId) -> String {
    crate::aws::word(answer.request_id().unwrap_or("unknown"))
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
    let modelled =
        |reason, message| FetchError::Backend { reason, message, verdict: Verdict::Final, said: super::said(error) };
    let SdkError::ServiceError(service) = error else {
        return unmodelled(error, &address.to_string(), role, SERVICE, REMEDY);
    };
    let code = crate::aws::word(service.err().meta().code().unwrap_or("unknown error"));
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
        _ => unmodelled(error, &address.to_string(), role, SERVICE, REMEDY),
    }
}

fn explain_versions(error: &SdkError<ListSecretVersionIdsError>, address: &Stored, role: &str) -> FetchError {
    match error {
        SdkError::ServiceError(service)
            if matches!(service.err(), ListSecretVersionIdsError::ResourceNotFoundException(_)) =>
        {
            FetchError::Backend {
                reason: Reason::SecretNotFound,
                message: format!(
                    "{address} do not exist in the account of {role}; correct objectName or `region`. [ResourceNotFoundException]"
                ),
                verdict: Verdict::Final,
                said: super::said(error),
            }
        }
        _ => unmodelled(error, &address.to_string(), role, SERVICE, REMEDY_OF_VERSIONS),
    }
}

/// What becomes of an answer to GetSecretValue that is an error, from its HTTP status and its body: for the fuzz target
/// `aws_error`. `None` where it is none.
pub fn error_of_answer(status: u16, body: &[u8]) -> Option<FetchError> {
    let region: Region = "eu-west-1".parse().ok()?;
    let secret = Secret { id: "example".into(), revision: Revision::Stage(Revision::CURRENT.into()) };
    let address = Stored { region, item: Item::Secret(secret) };
    let answer = HttpResponse::new(StatusCode::try_from(status).ok()?, SdkBody::from(body));
    let get: Operation<GetSecretValueInput, _, _> = Operation::new(&GetSecretValue::new());
    let read: Result<GetSecretValueOutput, SdkError<GetSecretValueError>> = get.read(answer)?;
    Some(explain(&read.err()?, &address, "arn:aws:iam::111122223333:role/example"))
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
