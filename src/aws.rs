//! What both rooms that talk to AWS need of its SDK: one connector, one configuration, and its errors in our words.
//!
//! The SDK's default chain of credentials is not part of the configuration: whoever makes a request brings a pod's own.

use std::time::Duration;

use aws_config::meta::region::{ProvideRegion, future};
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, ConfigLoader, SdkConfig};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, Connector, tls};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::result::SdkError;

use crate::reason::Reason;

/// Variables that the SDK reads endpoints from, for the services that are called.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>
const ENDPOINT_VARIABLES: [&str; 3] = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL_STS"];

/// As many as one mount has requests under way; with fewer the pool would throw warm connections away.
const IDLE_CONNECTIONS_PER_HOST: usize = 64;

/// Endpoints, FIPS and dual-stack as the environment says; connector, time-outs and retries as a mount needs them; no
/// credentials, no Region.
///
/// # Errors
/// An endpoint that is no URL, or a machine without CA certificates: both would otherwise fail every mount.
pub async fn configuration() -> anyhow::Result<SdkConfig> {
    for variable in ENDPOINT_VARIABLES {
        if let Ok(value) = std::env::var(variable) {
            check_endpoint(&value).map_err(|problem| anyhow::anyhow!("{variable}: {problem}"))?;
        }
    }
    anyhow::ensure!(
        !rustls_native_certs::load_native_certs().certs.is_empty(),
        "no CA certificates were found, without which AWS cannot be told from anybody else; \
         put them into /etc/ssl/certs, or set SSL_CERT_FILE"
    );
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_millis(3_100))
        .read_timeout(Duration::from_secs(5))
        .operation_attempt_timeout(Duration::from_secs(10))
        .build();
    // The budget of the mount ends them; these only decide how often it is tried until then.
    let retries = RetryConfig::standard()
        .with_max_attempts(5)
        .with_initial_backoff(Duration::from_millis(100))
        .with_max_backoff(Duration::from_secs(5));
    Ok(ConfigLoader::default()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .app_name(AppName::new(concat!("secretmount-", env!("CARGO_PKG_VERSION")))?)
        .no_credentials()
        .region(NoRegion)
        .http_client(http_client())
        .timeout_config(timeouts)
        .retry_config(retries)
        .load()
        .await)
}

/// Every request names its Region. Without this the loader would look for one, and ask the node's metadata service for it.
#[derive(Debug)]
struct NoRegion;

impl ProvideRegion for NoRegion {
    fn region(&self) -> future::ProvideRegion<'_> {
        future::ProvideRegion::ready(None)
    }
}

fn check_endpoint(value: &str) -> Result<(), &'static str> {
    const HELP: &str = "write a URL like https://secretsmanager.eu-west-1.amazonaws.com";
    let uri: http::Uri = value.parse().map_err(|_| HELP)?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(()),
        _ => Err(HELP),
    }
}

/// One for the process: clients of all Regions and roles share its connections. Honours `HTTPS_PROXY` and `NO_PROXY`.
fn http_client() -> SharedHttpClient {
    Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = Connector::builder()
            .proxy_config(ProxyConfig::from_env())
            .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST);
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.tls_provider(tls::Provider::Rustls(CryptoMode::AwsLc)).build()
    })
}

/// Whether AWS means that the credentials of a request have run out.
pub fn is_expired(code: &str) -> bool {
    matches!(code, "ExpiredToken" | "ExpiredTokenException" | "RequestExpired")
}

/// Whether AWS means that there were too many requests.
pub fn is_throttling(code: &str) -> bool {
    matches!(
        code,
        "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "TooManyRequestsException"
            | "RequestLimitExceeded"
            | "RequestThrottled"
            | "LimitExceededException"
            | "SlowDown"
    )
}

/// Why no usable answer came, in words that stay the same from try to try. Nothing of the SDK's own text is passed on,
/// because that can hold the request, and with it a token.
pub fn transport_problem<E, R>(error: &SdkError<E, R>) -> (Reason, &'static str) {
    match error {
        SdkError::TimeoutError(_) => (Reason::AwsTimeout, "AWS did not answer in time"),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            (Reason::AwsTimeout, "no connection to AWS in time; check the node's route, VPC endpoints and proxy")
        }
        SdkError::DispatchFailure(failure) if failure.is_io() => {
            (Reason::AwsUnavailable, "no connection to AWS; check the node's DNS, route, VPC endpoints and proxy")
        }
        SdkError::DispatchFailure(_) => (Reason::AwsUnavailable, "the request could not be sent to AWS"),
        SdkError::ResponseError(_) => (Reason::AwsUnavailable, "AWS's answer broke off or was no answer"),
        SdkError::ConstructionFailure(_) => (Reason::Internal, "the request could not be built"),
        SdkError::ServiceError(_) => (Reason::Internal, "AWS answered with an error"),
        _ => (Reason::Internal, "the request failed"),
    }
}

/// The first `limit` characters of a text of AWS, on one line. It may quote what a class says; what looks like a token is
/// left out.
pub fn shorten(text: &str, limit: usize) -> String {
    // Every JSON Web Token starts with the base64 of `{"`.
    let words = text.split_whitespace().map(|word| if word.contains("eyJ") { "(token)" } else { word });
    words.collect::<Vec<_>>().join(" ").chars().take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a44_texts_of_aws_are_short_lines_without_tokens() {
        assert_eq!(shorten("bad\n token eyJhbGciOi.x.y given", 100), "bad token (token) given");
        assert_eq!(shorten(&"x ".repeat(1 << 20), 5), "x x x");
    }

    #[test]
    fn an_endpoint_must_be_a_url() {
        for url in ["http://127.0.0.1:4566", "https://vpce-1.sts.eu-west-1.vpce.amazonaws.com/"] {
            assert_eq!(check_endpoint(url), Ok(()), "{url}");
        }
        for other in ["", "notaurl", "127.0.0.1:80", "ftp://x", "/path", "http://"] {
            assert!(check_endpoint(other).is_err(), "{other:?} was accepted");
        }
    }
}
