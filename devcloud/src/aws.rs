//! The front desk of AWS: finds out which service and operation is meant, checks the signature, and
//! writes answers and refusals the way the service's protocol does.
//!
//! Two protocols: STS takes forms and answers XML, Secrets Manager and Parameter Store speak JSON 1.1.

use serde_json::{Map, Value, json};

use crate::calls::CallFacts;
use crate::encoding;
use crate::error::AwsError;
use crate::exchange::{Answer, Asked};
use crate::lock::lock;
use crate::sigv4::{self, Authorization, Refused};
use crate::state::{Aws, Shared};
use crate::{secretsmanager, ssm, sts};

/// Service and operation of a request, by what the client cannot leave out.
fn operation(asked: &Asked) -> (String, String) {
    if is_key_set(asked) {
        return ("oidc".to_owned(), "GetKeys".to_owned());
    }
    let target = asked.header("x-amz-target");
    if let Some((prefix, operation)) = target.split_once('.') {
        let service = match prefix {
            "secretsmanager" => "secretsmanager",
            "AmazonSSM" => "ssm",
            other => other,
        };
        return (service.to_owned(), operation.to_owned());
    }
    if let Some(action) = sts::Form::of(asked).get("Action") {
        return ("sts".to_owned(), action.to_owned());
    }
    let service =
        Authorization::parse(asked.header("authorization")).map_or("unknown", |authorization| authorization.service);
    (service.to_owned(), "unknown".to_owned())
}

/// Where EKS publishes the key set of a cluster: `https://oidc.eks.eu-west-1.amazonaws.com/id/<cluster>/keys`.
fn is_key_set(asked: &Asked) -> bool {
    asked.method == "GET" && asked.header("host").starts_with("oidc.eks.") && asked.path.ends_with("/keys")
}

pub(crate) fn describe(shared: &Shared, asked: &Asked) -> CallFacts {
    let (service, api) = operation(asked);
    let authorization = Authorization::parse(asked.header("authorization")).ok();
    let caller = authorization.as_ref().and_then(|authorization| {
        let aws = lock(&shared.aws);
        let keys = aws.iam.keys(authorization.access_key_id)?;
        Some(keys.principal.role_or_own_arn().to_owned())
    });
    let region = match &authorization {
        Some(authorization) => Some(authorization.region.to_owned()),
        None => region_of_host(asked.header("host")),
    };
    let subject = match service.as_str() {
        "sts" => sts::Form::of(asked).get("RoleArn").map(str::to_owned),
        _ => subject(&asked.body),
    };
    CallFacts { service, api, region, caller, subject }
}

/// `eu-west-1` of `sts.eu-west-1.amazonaws.com`.
fn region_of_host(host: &str) -> Option<String> {
    let (_, rest) = host.split_once('.')?;
    let (region, domain) = rest.split_once('.')?;
    domain.starts_with("amazonaws.com").then(|| region.to_owned())
}

/// The names in a JSON request; nothing else of it may come into the log.
fn subject(body: &[u8]) -> Option<String> {
    let input: Value = serde_json::from_slice(body).ok()?;
    for single in ["SecretId", "Name", "Path"] {
        if let Some(name) = input[single].as_str() {
            return Some(name.to_owned());
        }
    }
    for several in ["SecretIdList", "Names"] {
        if let Some(names) = input[several].as_array() {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            return Some(names.join(","));
        }
    }
    None
}

pub(crate) fn answer(shared: &Shared, asked: &Asked) -> Answer {
    let (service, operation) = operation(asked);
    let outcome = match service.as_str() {
        "oidc" => return Answer::json(200, &lock(&shared.cluster).keyring.jwks()),
        "sts" => sts::answer(shared, asked, &operation),
        "secretsmanager" | "ssm" => json_service(shared, asked, &service, &operation),
        _ => Err(AwsError::new(404, "UnknownOperationException", "")),
    };
    outcome.unwrap_or_else(|error| refuse(&service, error.status, &error.code, &error.message))
}

fn json_service(shared: &Shared, asked: &Asked, service: &str, operation: &str) -> Result<Answer, AwsError> {
    let mut aws = lock(&shared.aws);
    let caller = sigv4::authenticate(&aws.iam, asked, service).map_err(json_refusal)?;
    let input: Map<String, Value> = match asked.body.is_empty() {
        true => Map::new(),
        false => serde_json::from_slice(&asked.body)
            .map_err(|_| AwsError::bad("SerializationException", "The body is no JSON object"))?,
    };
    let Aws { iam, secrets, parameters, .. } = &mut *aws;
    let body = match service {
        "ssm" => ssm::call(parameters, secrets, iam, &caller, operation, &input)?,
        _ => secretsmanager::call(secrets, iam, &caller, operation, &input)?,
    };
    Ok(Answer::new(200, "application/x-amz-json-1.1", body.to_string())
        .with_header("x-amzn-requestid", encoding::uuid()))
}

fn json_refusal(refused: Refused) -> AwsError {
    match refused {
        Refused::Missing => AwsError::bad("MissingAuthenticationTokenException", "Missing Authentication Token"),
        Refused::Incomplete(text) => AwsError::bad("IncompleteSignatureException", text),
        Refused::UnknownKey => {
            AwsError::bad("UnrecognizedClientException", "The security token included in the request is invalid.")
        }
        Refused::ExpiredKey => {
            AwsError::bad("ExpiredTokenException", "The security token included in the request is expired")
        }
        Refused::Wrong(text) => AwsError::bad("InvalidSignatureException", text),
    }
}

/// A refusal in the protocol of this service.
pub(crate) fn refuse(service: &str, status: u16, code: &str, message: &str) -> Answer {
    let request = encoding::uuid();
    let answer = match service {
        "sts" => Answer::new(status, "text/xml", sts::error_document(status, code, message, &request)),
        _ => {
            let mut body = json!({"__type": code});
            // Secrets Manager's own errors have a capital, those of the layers before it do not.
            match (service, code) {
                (_, "UnknownOperationException") => {}
                ("secretsmanager", code) if secretsmanager::ERRORS.contains(&code) => {
                    body["Message"] = message.into();
                }
                _ => body["message"] = message.into(),
            }
            Answer::new(status, "application/x-amz-json-1.1", body.to_string())
        }
    };
    answer.with_header("x-amzn-requestid", request).with_code(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iam::{ADMIN_ACCESS_KEY_ID, ADMIN_SECRET_ACCESS_KEY};
    use crate::options::Options;
    use crate::sigv4::sign_for_test;
    use http::{HeaderMap, HeaderValue, Method};

    /// Status and body of an operation that the admin signs.
    fn ask(shared: &Shared, service: &str, operation: &str, body: &Value) -> (u16, Value) {
        let prefix = if service == "ssm" { "AmazonSSM" } else { service };
        let target = HeaderValue::from_str(&format!("{prefix}.{operation}")).expect("plain text");
        let mut asked = Asked {
            method: Method::POST,
            path: "/".into(),
            query: String::new(),
            headers: HeaderMap::from_iter([("x-amz-target".parse().expect("a name"), target)]),
            body: body.to_string().into(),
        };
        let (id, secret) = (ADMIN_ACCESS_KEY_ID, ADMIN_SECRET_ACCESS_KEY);
        sign_for_test(id, secret, "eu-west-1", service, &mut asked);
        let answer = answer(shared, &asked);
        let body = serde_json::from_slice(&answer.body).expect("JSON");
        (answer.status, body)
    }

    const OPERATIONS: [(&str, &[&str]); 2] = [
        (
            "secretsmanager",
            &[
                "GetSecretValue",
                "BatchGetSecretValue",
                "CreateSecret",
                "PutSecretValue",
                "UpdateSecret",
                "DescribeSecret",
                "ListSecrets",
                "ListSecretVersionIds",
                "UpdateSecretVersionStage",
                "TagResource",
                "UntagResource",
                "DeleteSecret",
                "RestoreSecret",
            ],
        ),
        (
            "ssm",
            &[
                "PutParameter",
                "GetParameter",
                "GetParameters",
                "GetParametersByPath",
                "DescribeParameters",
                "LabelParameterVersion",
                "GetParameterHistory",
                "DeleteParameter",
                "DeleteParameters",
            ],
        ),
    ];

    #[test]
    fn strange_input_is_refused_or_ignored_and_never_a_panic() {
        let shared = Shared::new(&Options::default());
        let names = [
            "SecretId",
            "Name",
            "Path",
            "SecretIdList",
            "Names",
            "VersionId",
            "VersionStage",
            "Filters",
            "MaxResults",
            "NextToken",
            "SecretBinary",
            "Tags",
            "Labels",
            "ClientRequestToken",
            "ParameterFilters",
            "RecoveryWindowInDays",
            "MoveToVersionId",
            "Value",
            "Type",
        ];
        let values = [
            json!(null),
            json!("é"),
            json!("arn:aws:ssm:"),
            json!(-1),
            json!([]),
            json!({}),
            json!([{}]),
            json!([1]),
            json!("arn:aws:secretsmanager:eu-west-1:111122223333:secret:é"),
            json!(["/a:é"]),
            json!("cGFnZTo5OTk5OTk5OTk5OTk5"),
            json!("arn:aws:ssm:eu-west-1:111122223333:parameteré"),
        ];
        for (service, operations) in OPERATIONS {
            for operation in operations {
                for name in names {
                    for value in &values {
                        for id in ["SecretId", "Name", "Path"] {
                            let body = json!({id: "/x", name: value});
                            ask(&shared, service, operation, &body);
                        }
                    }
                }
                assert_eq!(ask(&shared, service, operation, &json!([])).0, 400);
            }
        }
    }

    #[test]
    fn an_operation_that_is_not_there_says_so() {
        let shared = Shared::new(&Options::default());
        for (service, _) in OPERATIONS {
            let (status, body) = ask(&shared, service, "MakeTea", &json!({}));
            assert_eq!((status, body), (400, json!({"__type": "UnknownOperationException"})));
        }
    }

    #[test]
    fn the_log_learns_names_and_never_values() {
        let body = br#"{"Name":"shop/db","SecretString":"hunter2"}"#;
        assert_eq!(subject(body).as_deref(), Some("shop/db"));
        assert_eq!(subject(br#"{"SecretString":"hunter2"}"#), None);
        assert_eq!(subject(br#"{"Names":["a","b"]}"#).as_deref(), Some("a,b"));
        assert_eq!(subject(b"no json"), None);
    }

    #[test]
    fn the_region_of_an_unsigned_call_is_that_of_its_host() {
        let region = region_of_host("sts.eu-west-1.amazonaws.com:443");
        assert_eq!(region.as_deref(), Some("eu-west-1"));
        assert_eq!(region_of_host("127.0.0.1:1234"), None);
        assert_eq!(region_of_host("sts.amazonaws.com"), None);
    }
}
