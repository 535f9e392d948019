//! AWS Security Token Service: a token, or the session of another role, for the session of a role.

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_sdk_sts::Client;
use aws_sdk_sts::config::Builder;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::RequestId;
use aws_sdk_sts::operation::assume_role_with_web_identity::{
    AssumeRoleWithWebIdentity, AssumeRoleWithWebIdentityError, AssumeRoleWithWebIdentityInput,
    AssumeRoleWithWebIdentityOutput,
};
use aws_sdk_sts::types::Tag;

use crate::aws::{Clients, Configuration, Operation, Short, ShortWay, TENANTS, Tries, counted};
use crate::identity::Principal;
use crate::plan::aws::{Hop, Region, RoleArn};
use crate::reason::Reason;
use crate::secrets::aws::Session;
use crate::telemetry::Api;
use crate::turns::{Turn, Turns};

/// Longest role session name that STS takes.
const MAX_SESSION_NAME: usize = 64;

/// The STS of every Region.
pub struct Sts {
    short_way: ShortWay,
    for_token:
        Operation<AssumeRoleWithWebIdentityInput, AssumeRoleWithWebIdentityOutput, AssumeRoleWithWebIdentityError>,
    clients: Clients<Client>,
    turns: Turns<Region>,
    /// Most calls under way in a Region.
    calls: usize,
}

/// Why there is no session: a word, and the rest of a sentence that has named the role and the Region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub reason: Reason,
    pub problem: String,
}

/// What an operation makes of an error code that means something of its own there.
type Known<'a> = &'a (dyn Fn(&str) -> Option<(Reason, String)> + Sync);

impl Sts {
    /// `calls` is how many may be under way in a Region at the same time.
    pub fn new(configuration: Configuration, calls: usize) -> Self {
        let clients = Clients::new(configuration.sdk.clone(), "sts", |config, partition| {
            Client::from_conf(Builder::from(config).retry_partition(partition).build())
        });
        Self {
            short_way: ShortWay::new(configuration, |config| Box::pin(example(config.clone()))),
            for_token: Operation::new(&AssumeRoleWithWebIdentity::new()),
            clients,
            turns: Turns::new(),
            calls,
        }
    }

    /// A session for the token of a pod. The request is not signed.
    pub async fn for_token(
        &self,
        region: &Region,
        principal: &Principal,
        role: &RoleArn,
        known: Known<'_>,
    ) -> Result<Session, Failure> {
        let tenant = principal.scope().part(TENANTS);
        let _turn = self.turn(region, principal).await;
        let input = AssumeRoleWithWebIdentityInput::builder()
            .role_arn(role.as_str())
            .role_session_name(session_name(principal))
            .web_identity_token(principal.token().expose())
            .build()
            .map_err(|_| not_built())?;
        let exchange = self.exchange(region, tenant, input);
        let answer = counted(api("AssumeRoleWithWebIdentity"), exchange).await;
        let answer = answer.map_err(|error| failure(&error, known))?;
        session(answer.credentials, role, tenant)
    }

    async fn exchange(
        &self,
        region: &Region,
        tenant: u8,
        input: AssumeRoleWithWebIdentityInput,
    ) -> Result<AssumeRoleWithWebIdentityOutput, SdkError<AssumeRoleWithWebIdentityError>> {
        let tries = match self.short_way.ask(&self.for_token, region, None, input.clone()).await {
            Short::Answer(answer) => return answer.map_err(|error| *error),
            Short::Open(tries) => tries,
        };
        let AssumeRoleWithWebIdentityInput { role_arn, role_session_name, web_identity_token, .. } = input;
        let request = self.clients.of(region, tenant, tries).assume_role_with_web_identity();
        let request = request.set_role_arn(role_arn).set_role_session_name(role_session_name);
        // Seldom, so in a box.
        Box::pin(request.set_web_identity_token(web_identity_token).send()).await
    }

    /// A session for one of another role, or for keys.
    pub async fn for_session(
        &self,
        region: &Region,
        principal: &Principal,
        by: &Session,
        hop: &Hop,
        known: Known<'_>,
    ) -> Result<Session, Failure> {
        let tenant = principal.scope().part(TENANTS);
        let tags = hop.session_tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
        let tags: Vec<Tag> = tags.collect::<Result<_, _>>().map_err(|_| not_built())?;
        let keys: Vec<String> = hop.transitive_tag_keys.iter().cloned().collect();
        let seconds = hop.duration.map(|duration| i32::try_from(duration.as_secs()).unwrap_or(i32::MAX));
        let _turn = self.turn(region, principal).await;
        let request = self
            .clients
            .of(region, tenant, Tries::All)
            .assume_role()
            .role_arn(hop.role.as_str())
            .role_session_name(session_name(principal))
            .set_external_id(hop.external_id.clone())
            .set_tags(Some(tags).filter(|tags| !tags.is_empty()))
            .set_transitive_tag_keys(Some(keys).filter(|keys| !keys.is_empty()))
            .set_duration_seconds(seconds)
            .customize()
            .config_override(Builder::new().credentials_provider(by.credentials.clone()));
        let answer = counted(api("AssumeRole"), request.send()).await.map_err(|error| failure(&error, known))?;
        session(answer.credentials, &hop.role, tenant)
    }

    async fn turn(&self, region: &Region, principal: &Principal) -> Turn<Region> {
        self.turns.take(region.clone(), self.calls, &principal.namespace().into()).await
    }
}

/// See [`ShortWay::new`].
async fn example(config: SdkConfig) {
    let signed_by = Builder::new().credentials_provider(ShortWay::nobody());
    let _ = Client::new(&config).get_caller_identity().customize().config_override(signed_by).send().await;
}

/// As numbers name it.
const fn api(name: &'static str) -> Api {
    Api { service: "sts", name }
}

fn not_built() -> Failure {
    Failure { reason: Reason::Internal, problem: "the request could not be built".into() }
}

fn session(given: Option<aws_sdk_sts::types::Credentials>, role: &RoleArn, tenant: u8) -> Result<Session, Failure> {
    let unusable =
        || Failure { reason: Reason::AnswerMismatch, problem: "STS answered without usable credentials".into() };
    let given = given.ok_or_else(unusable)?;
    let expiration = given.expiration.try_into().map_err(|_| unusable())?;
    let credentials = Credentials::builder()
        .access_key_id(given.access_key_id)
        .secret_access_key(given.secret_access_key)
        .session_token(given.session_token)
        .expiry(expiration)
        .account_id(role.account())
        .provider_name("sts")
        .build();
    Ok(Session { credentials, role: role.to_string(), tenant })
}

/// The SDK's `Debug` can hold a whole request, so only codes and AWS's message leave it.
fn failure<E: ProvideErrorMetadata + std::error::Error + 'static>(error: &SdkError<E>, known: Known<'_>) -> Failure
where
    SdkError<E>: RequestId,
{
    let SdkError::ServiceError(service) = error else {
        let (reason, problem) = crate::aws::transport_problem(error);
        return Failure { reason, problem: problem.into() };
    };
    let status = service.raw().status().as_u16();
    let code = crate::aws::word(service.err().meta().code().unwrap_or("unknown error"));
    let request_id = crate::aws::word(error.request_id().unwrap_or("unknown"));
    let (reason, problem) = match code.as_str() {
        _ if status < 400 => {
            let (reason, problem) = crate::aws::NO_ANSWER;
            (reason, problem.into())
        }
        _ if let Some((reason, problem)) = known(&code) => (reason, format!("{problem}. [{code}]")),
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
    Failure { reason, problem }
}

/// `namespace.serviceaccount`: pods share the session, so no pod's name stands in it. Both are DNS names, whose characters
/// STS takes; what is too long keeps its beginning and ends in a digest, so that two accounts never look like one.
fn session_name(principal: &Principal) -> String {
    fitted(format!("{}.{}", principal.namespace(), principal.service_account()))
}

fn fitted(name: String) -> String {
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
        fn every_session_name_is_one_that_sts_takes(name in "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?") {
            let fit = fitted(name.clone());
            let allowed = |c: char| c.is_ascii_alphanumeric() || "+=,.@-_".contains(c);
            prop_assert!((2..=64).contains(&fit.len()) && fit.chars().all(allowed), "{}", fit);
            prop_assert_ne!(fitted(format!("{name}x")), fit);
        }
    }
}
