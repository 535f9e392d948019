//! EKS Pod Identity: the role that is associated with the pod's service account, through the agent on the node.
//!
//! <https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html>
//!
//! Kubernetes is asked nothing for it. The session carries the pod's own name and UID as tags, so it is never shared.

use std::sync::Arc;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sdk_sts::primitives::{DateTime, DateTimeFormat};
use http::StatusCode;
use serde::Deserialize;

use super::agent::{Agent, Failure};
use super::cache::Way;
use super::{CredentialError, Source};
use crate::aws::TENANTS;
use crate::clock::Instant;
use crate::identity::Principal;
use crate::plan::aws::{AddressFamily, Region};
use crate::reason::{Explained, Reason};
use crate::secrets::aws::Session;

/// Exchanges the token of one pod, for sessions that are good in every Region.
pub struct PodIdentity {
    pub agent: Arc<Agent>,
    pub principal: Principal,
    pub family: AddressFamily,
    pub deadline: Instant,
}

impl PodIdentity {
    fn service_account(&self) -> String {
        format!("{}/{}", self.principal.namespace(), self.principal.service_account())
    }

    fn explain(&self, failure: Failure) -> PodIdentityError {
        let agent = format!("the EKS Pod Identity agent at {}", self.agent.addresses(self.family));
        let account = self.service_account();
        const CHECK: &str = "check the DaemonSet eks-pod-identity-agent on this node";
        let (reason, message) = match failure {
            Failure::NoAddress => (
                Reason::AgentUnavailable,
                "no address of the EKS Pod Identity agent is of the class's preferredAddressType; correct that, or \
                 --pod-identity-endpoint"
                    .into(),
            ),
            Failure::Unreachable => (
                Reason::AgentUnavailable,
                format!("{agent} cannot be reached: there is no route from this provider's pod; {CHECK}"),
            ),
            Failure::Silent(problem) => {
                (Reason::AgentUnavailable, format!("{agent} does not answer: {problem}; {CHECK}"))
            }
            Failure::Strange(problem) => {
                (Reason::AgentUnavailable, format!("{agent} is not to be used: {problem}; {CHECK}"))
            }
            Failure::Refused(status, text) => refused(status, &text, &agent, &account),
        };
        PodIdentityError { reason, message }
    }
}

/// Refusals are plain text with EKS's own code in brackets.
fn refused(status: StatusCode, text: &str, agent: &str, account: &str) -> (Reason, String) {
    let in_brackets = text.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(code, _)| code);
    let is_code =
        |code: &&str| code.len() < 60 && !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let code = in_brackets.filter(is_code).unwrap_or("no code");
    match code {
        "ResourceNotFoundException" => (
            Reason::PodIdentityMissing,
            format!(
                "EKS knows no Pod Identity association for service account {account}; create one, or set usePodIdentity \
                 to \"false\". [{code}]"
            ),
        ),
        "AccessDeniedException" if text.contains("eks-auth:") => (
            Reason::AssumeRoleDenied,
            format!(
                "the node's own role may not ask for Pod Identity; grant it eks-auth:AssumeRoleForPodIdentity. [{code}]"
            ),
        ),
        "AccessDeniedException" => (
            Reason::AssumeRoleDenied,
            format!(
                "EKS may not assume the role of the Pod Identity association of {account}; its trust policy must allow \
                 pods.eks.amazonaws.com sts:AssumeRole and sts:TagSession. [{code}]"
            ),
        ),
        "ExpiredTokenException" => (Reason::TokenExpired, format!("EKS takes the pod's token for expired. [{code}]")),
        "InvalidTokenException" => (
            Reason::TokenInvalid,
            format!("EKS does not take the pod's token; is this an EKS cluster, and {account} of it? [{code}]"),
        ),
        _ if status == StatusCode::TOO_MANY_REQUESTS || code == "ThrottlingException" => {
            (Reason::AgentThrottled, format!("{agent} answers too many requests. [{code}]"))
        }
        _ if status.is_server_error() => {
            (Reason::AgentUnavailable, format!("{agent} fails. [{code}, HTTP {}]", status.as_u16()))
        }
        _ => {
            let said = crate::aws::shorten(text, 200);
            (Reason::AgentUnavailable, format!("{agent} refuses: {said} [{code}, HTTP {}]", status.as_u16()))
        }
    }
}

/// The credentials of an answer, if they can stand in the header of a request.
pub fn credentials_of_answer(body: &[u8]) -> Option<Credentials> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        access_key_id: String,
        secret_access_key: String,
        token: String,
        expiration: String,
        account_id: Option<String>,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let is_sound = |text: &String| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if ![&answer.access_key_id, &answer.secret_access_key, &answer.token].into_iter().all(is_sound) {
        return None;
    }
    let expiration = DateTime::from_str(&answer.expiration, DateTimeFormat::DateTimeWithOffset).ok()?;
    let expiration = expiration.try_into().ok()?;
    let Answer { access_key_id, secret_access_key, token, account_id, .. } = answer;
    let mut credentials = Credentials::builder()
        .access_key_id(access_key_id)
        .secret_access_key(secret_access_key)
        .session_token(token)
        .expiry(expiration)
        .provider_name("pod-identity");
    let is_account = |id: &String| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit());
    credentials.set_account_id(account_id.filter(is_account).map(Into::into));
    Some(credentials.build())
}

#[async_trait]
impl Source for PodIdentity {
    async fn way(&self, _: &Region) -> Result<Way, CredentialError> {
        Ok(Way::PodIdentity { pod_uid: self.principal.pod_uid().to_owned() })
    }

    async fn exchange(&self, _: &Region) -> Result<Session, CredentialError> {
        let answer = self.agent.ask(self.principal.token(), self.family, self.deadline).await;
        let credentials = match answer {
            Ok(body) => credentials_of_answer(&body).ok_or(Failure::Strange("it answers without usable credentials")),
            Err(failure) => Err(failure),
        };
        let credentials = credentials.map_err(|failure| self.explain(failure))?;
        let role = format!("the Pod Identity role of service account {}", self.service_account());
        Ok(Session { credentials, role, tenant: self.principal.scope().part(TENANTS) })
    }
}

/// Why there are no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PodIdentityError {
    reason: Reason,
    message: String,
}

#[cfg(test)]
impl PodIdentityError {
    pub fn for_test(reason: Reason) -> Self {
        Self { reason, message: "made up".into() }
    }
}

impl Explained for PodIdentityError {
    fn reason(&self) -> Reason {
        self.reason
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn f24_only_whole_credentials_are_taken() {
        let answer = |key: &str, token: &str, expiration: &str| {
            format!(
                r#"{{"AccessKeyId": "{key}", "SecretAccessKey": "s", "Token": "{token}", "Expiration": "{expiration}", "AccountId": "1"}}"#
            )
        };
        let time = "2030-01-01T00:00:00Z";
        assert!(credentials_of_answer(answer("AKIA", "t", time).as_bytes()).is_some());
        for other in [
            answer("AK\\nIA", "t", time),
            answer("AKIA", "a b", time),
            answer("", "t", time),
            answer("AKIA", "t", "tomorrow"),
            "<html></html>".into(),
            "{}".into(),
            "null".into(),
        ] {
            assert!(credentials_of_answer(other.as_bytes()).is_none(), "{other} was taken");
        }
    }

    proptest! {
        #[test]
        fn a44_no_answer_makes_it_panic_or_passes_a_token_on(status in 300_u16..600, text in "\\PC{0,300}") {
            let text = format!("{text} eyJhbGciOiJSUzI1NiJ9.e30.c2ln");
            let status = StatusCode::from_u16(status).expect("three digits");
            let (_, message) = refused(status, &text, "the agent", "shop/web");
            prop_assert!(!message.contains("eyJhbGciOi") && message.len() < 900, "{}", message);
            let _ = credentials_of_answer(text.as_bytes());
        }
    }
}
