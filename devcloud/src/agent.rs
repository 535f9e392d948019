//! The EKS Pod Identity agent: trades a pod's token for the keys of the associated role.
//!
//! Like the real agent it answers refusals in plain text, with the code of the service behind it in
//! brackets and its status.

use std::collections::BTreeMap;

use http::Method;
use serde_json::json;

use crate::calls::CallFacts;
use crate::encoding;
use crate::exchange::{Answer, Asked};
use crate::iam::{NewSession, RoleArn, Trust};
use crate::lock::lock;
use crate::oidc::{Jwt, service_account_of};
use crate::state::Shared;

const AUDIENCE: &str = "pods.eks.amazonaws.com";
/// Pod Identity sessions last six hours, whatever the role's limit says.
const SESSION_SECONDS: i64 = 6 * 3600;

pub(crate) fn describe(asked: &Asked) -> CallFacts {
    CallFacts {
        service: "pod-identity-agent".into(),
        api: match asked.path.as_str() {
            "/v1/credentials" => "GetCredentials".into(),
            _ => "unknown".into(),
        },
        subject: service_account_of(asked.header("authorization")),
        ..CallFacts::default()
    }
}

pub(crate) fn refuse(status: u16, code: &str, message: &str) -> Answer {
    let fault = if status < 500 { "client" } else { "server" };
    let text = format!("[{}]: ({code}): {message}, fault: {fault}\n", encoding::uuid());
    Answer::new(status, "text/plain; charset=utf-8", text).with_code(code)
}

pub(crate) fn answer(shared: &Shared, asked: &Asked) -> Answer {
    match asked.path.as_str() {
        "/v1/credentials" if asked.method == Method::GET => {}
        "/healthz" | "/readyz" => return Answer::new(200, "text/plain; charset=utf-8", "ok"),
        _ => return Answer::new(404, "text/plain; charset=utf-8", "404 page not found\n"),
    }
    let token = asked.header("authorization");
    if token.is_empty() {
        let text = "Service account token cannot be empty\n";
        return Answer::new(400, "text/plain; charset=utf-8", text).with_code("RequestValidationError");
    }
    credentials(shared, token).unwrap_or_else(|(status, code, message)| refuse(status, code, &message))
}

type Refusal = (u16, &'static str, String);

fn credentials(shared: &Shared, token: &str) -> Result<Answer, Refusal> {
    let invalid = |why: &str| (400, "InvalidTokenException", why.to_owned());
    let jwt = Jwt::parse(token).ok_or_else(|| invalid("The provided service account token could not be parsed."))?;
    let mut aws = lock(&shared.aws);
    let cluster = lock(&shared.cluster);
    if jwt.time("exp").is_some_and(|expires| expires <= encoding::now()) {
        let text = "The provided service account token has expired.";
        return Err((400, "ExpiredTokenException", text.into()));
    }
    // Of another cluster that is registered with this audience only the signature can be checked.
    let elsewhere = aws.providers.get(jwt.text("iss")).filter(|known| known.audiences.iter().any(|a| a == AUDIENCE));
    match elsewhere.and_then(|known| known.keys.as_ref()) {
        Some(keys) => jwt.verify(keys).map_err(|_| invalid("The signature of the provided token is not valid."))?,
        None => cluster.judge_token(&shared.issuer, &jwt).map_err(invalid)?,
    }
    if !jwt.audiences().contains(&AUDIENCE) {
        return Err(invalid("The audience of the provided token is not pods.eks.amazonaws.com."));
    }
    let bound = &jwt.claims["kubernetes.io"];
    let text = |object: &str, field: &str| bound[object][field].as_str().unwrap_or("").to_owned();
    let namespace = bound["namespace"].as_str().unwrap_or("").to_owned();
    let account = text("serviceaccount", "name");
    let Some(role_arn) = cluster.associations.get(&(namespace.clone(), account.clone())) else {
        let text = format!("No association found for service account {account} in namespace {namespace}");
        return Err((404, "ResourceNotFoundException", text));
    };
    let trusted =
        aws.iam.role(role_arn).is_some_and(|role| role.trust.iter().any(|trust| matches!(trust, Trust::PodIdentity)));
    if !trusted {
        let text = "Unauthorized Exception! EKS does not have permissions to assume the associated role.";
        return Err((400, "AccessDeniedException", text.into()));
    }
    let tags = BTreeMap::from([
        ("eks-cluster-name".to_owned(), "devcloud".to_owned()),
        ("kubernetes-namespace".to_owned(), namespace),
        ("kubernetes-service-account".to_owned(), account),
        ("kubernetes-pod-name".to_owned(), text("pod", "name")),
        ("kubernetes-pod-uid".to_owned(), text("pod", "uid")),
    ]);
    let session = NewSession {
        name: format!("eks-devcloud-{}", encoding::random_text(20, b"abcdef0123456789")),
        seconds: SESSION_SECONDS,
        transitive_tag_keys: tags.keys().cloned().collect(),
        tags,
    };
    let account_id = RoleArn::parse(role_arn).map_or(String::new(), |arn| arn.account.to_owned());
    let keys = aws.iam.open_session(role_arn, session).ok_or((
        400,
        "AccessDeniedException",
        "The associated role cannot be assumed.".into(),
    ))?;
    Ok(Answer::json(
        200,
        &json!({"AccessKeyId": keys.access_key_id, "SecretAccessKey": keys.secret,
            "Token": keys.token, "AccountId": account_id,
            "Expiration": encoding::rfc3339(keys.expires.unwrap_or_default())}),
    ))
}
