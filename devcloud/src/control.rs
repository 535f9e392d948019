//! Plain HTTP paths beside the AWS services, for scripts that cannot use the Rust API.
//!
//! These calls are neither logged nor spoiled by faults.

use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::exchange::{Answer, Asked};
use crate::faults::Fault;
use crate::iam::Role;
use crate::lock::lock;
use crate::seed::{Oidc, Seed};
use crate::state::Shared;

pub(crate) const PREFIX: &str = "/_devcloud/";

pub(crate) fn answer(shared: &Shared, asked: &Asked) -> Answer {
    act(shared, asked).unwrap_or_else(|(status, error)| Answer::json(status, &json!({"error": error})))
}

type Refusal = (u16, String);

fn act(shared: &Shared, asked: &Asked) -> Result<Answer, Refusal> {
    let path = asked.path.strip_prefix(PREFIX).unwrap_or_default();
    let (what, rest) = path.split_once('/').unwrap_or((path, ""));
    let done = || Answer::json(200, &json!({}));
    Ok(match (&asked.method, what) {
        (&Method::PUT, "secrets") => {
            let name = need(asked, "name")?;
            let body = asked.body.to_vec();
            let value = match String::from_utf8(body) {
                Ok(text) => text.into(),
                Err(binary) => binary.into_bytes().into(),
            };
            let version = shared.put_secret(rest, &name, value);
            Answer::json(200, &json!({"arn": version.arn, "version_id": version.version_id}))
        }
        (&Method::DELETE, "secrets") => {
            let name = need(asked, "name")?;
            let mut aws = lock(&shared.aws);
            aws.secrets.schedule_deletion(&shared.account, rest, &name);
            done()
        }
        (&Method::GET, "calls") => {
            let calls = serde_json::to_value(shared.calls.all());
            Answer::json(200, &calls.unwrap_or(Value::Null))
        }
        (&Method::DELETE, "calls") => {
            shared.calls.clear();
            done()
        }
        (&Method::PUT, "latency") => {
            let milliseconds = need(asked, "ms")?;
            let milliseconds = milliseconds.parse().map_err(|error| (400, format!("ms: {error}")))?;
            let latency = Duration::from_millis(milliseconds);
            match asked.query_value("api") {
                Some(api) => shared.faults.set_latency_of(&api, latency),
                None => shared.faults.set_latency(latency),
            }
            done()
        }
        (&Method::DELETE, "latency") => {
            shared.faults.clear_latency();
            done()
        }
        (&Method::PUT, "quota") => {
            let a_second = need(asked, "per_second")?;
            let a_second = a_second.parse().map_err(|error| (400, format!("per_second: {error}")))?;
            shared.faults.set_quota(&need(asked, "api")?, a_second);
            done()
        }
        (&Method::POST, "faults") => {
            shared.faults.inject(read::<Fault>(asked)?);
            done()
        }
        (&Method::DELETE, "faults") => {
            shared.faults.clear();
            done()
        }
        (&Method::PUT, "oidc") => {
            let Oidc { issuer, audiences, jwks } = read(asked)?;
            shared.register_oidc(&issuer, audiences, jwks);
            done()
        }
        (&Method::PUT, "roles") => {
            lock(&shared.aws).iam.put_role(read::<Role>(asked)?);
            done()
        }
        (&Method::PUT, "seed") => {
            read::<Seed>(asked)?.sow(shared);
            done()
        }
        (&Method::GET, "events") => Answer::json(200, &json!(lock(&shared.cluster).events())),
        (&Method::POST, "keys") => {
            #[derive(Deserialize)]
            #[serde(deny_unknown_fields)]
            struct Withdrawn {
                withdraw: Option<String>,
            }
            let mut cluster = lock(&shared.cluster);
            match read::<Withdrawn>(asked)?.withdraw {
                Some(kid) => cluster.keyring.withdraw(&kid),
                None => cluster.keyring.rotate(),
            }
            Answer::json(200, &json!({"key_ids": cluster.keyring.kids()}))
        }
        _ => return Err((404, "no such control".into())),
    })
}

fn need(asked: &Asked, name: &str) -> Result<String, Refusal> {
    let value = asked.query_value(name);
    value.ok_or_else(|| (400, format!("the query lacks {name}")))
}

fn read<T: DeserializeOwned>(asked: &Asked) -> Result<T, Refusal> {
    serde_json::from_slice(&asked.body).map_err(|error| (400, error.to_string()))
}
