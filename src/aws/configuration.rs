//! The one configuration of the AWS SDK: endpoints, connector, time-outs, retries.
//!
//! The SDK's default chain of credentials is not part of it: whoever makes a request brings a pod's own.

use std::time::Duration;

use anyhow::Context as _;
use aws_config::meta::region::{ProvideRegion, future};
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, ConfigLoader, SdkConfig};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector, http_client_fn};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::bounded::Bounded;
use super::clients::Tries;
use super::names::Names;

/// Variables that the SDK reads endpoints from, for the services that are called.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>
const ENDPOINT_VARIABLES: [&str; 4] =
    ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL_SSM", "AWS_ENDPOINT_URL_STS"];

/// How often a request is tried at once; how long it is worth trying, whoever waits for it decides.
const TRIES: u32 = 3;
/// Between the first two tries, at most.
pub(super) const FIRST_BACKOFF: Duration = Duration::from_millis(100);

const CONNECT_TIME_OUT: Duration = Duration::from_millis(3_100);
const READ_TIME_OUT: Duration = Duration::from_secs(5);
/// Of one try, with its answer read.
pub(super) const ATTEMPT_TIME_OUT: Duration = Duration::from_secs(10);

/// What all requests to AWS are made with.
#[derive(Clone)]
pub struct Configuration {
    /// Endpoints, FIPS and dual-stack as the environment says; connector, time-outs and retries as a mount needs them; no
    /// credentials, no Region.
    pub sdk: SdkConfig,
    /// One for the process: clients of all Regions and roles share its connections.
    pub(super) connector: SharedHttpConnector,
}

/// The configuration of this process. `connections` is how many to one host stay open while nobody uses them.
///
/// # Errors
/// An endpoint that is no URL, endpoints of one's own together with FIPS, and authorities that cannot be read: each would
/// otherwise fail every mount.
pub async fn configuration(connections: usize) -> anyhow::Result<Configuration> {
    let endpoint = endpoint_variable()?;
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIME_OUT)
        .read_timeout(READ_TIME_OUT)
        .operation_attempt_timeout(ATTEMPT_TIME_OUT)
        .build();
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIME_OUT).read_timeout(READ_TIME_OUT);
    let connector = connector(Some(settings.build()), &tls_context()?, connections, Names::new());
    let connector = SharedHttpConnector::new(Bounded(connector));
    let of_all = connector.clone();
    let config = ConfigLoader::default()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .app_name(AppName::new(concat!("secretmount-", env!("CARGO_PKG_VERSION")))?)
        .no_credentials()
        .region(NoRegion)
        .http_client(http_client_fn(move |_, _| of_all.clone()))
        .timeout_config(timeouts)
        .retry_config(retries(Tries::All))
        .load()
        .await;
    // The SDK refuses the two together, but with the first request.
    if let (Some(true), Some(variable)) = (config.use_fips(), endpoint) {
        anyhow::bail!(
            "{variable} and AWS_USE_FIPS_ENDPOINT exclude each other: AWS's FIPS endpoints have URLs of their own. Remove \
             one; to use a FIPS endpoint behind a URL of yours, only set the URL"
        );
    }
    Ok(Configuration { sdk: config, connector })
}

pub(super) fn retries(tries: Tries) -> RetryConfig {
    let left = match tries {
        Tries::All => TRIES,
        Tries::AfterOne => TRIES - 1,
    };
    RetryConfig::standard()
        .with_max_attempts(left)
        .with_initial_backoff(FIRST_BACKOFF)
        .with_max_backoff(Duration::from_secs(1))
}

/// The first variable that sets an endpoint, all of them being URLs. `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS` switches them off.
fn endpoint_variable() -> anyhow::Result<Option<&'static str>> {
    let is_true = |value: String| value.eq_ignore_ascii_case("true");
    if std::env::var("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_ok_and(is_true) {
        return Ok(None);
    }
    let mut first = None;
    for variable in ENDPOINT_VARIABLES {
        if let Some(value) = std::env::var(variable).ok().filter(|value| !value.is_empty()) {
            check_endpoint(&value).map_err(|problem| anyhow::anyhow!("{variable}: {problem}"))?;
            first = first.or(Some(variable));
        }
    }
    Ok(first)
}

/// Whom to take for AWS: the authorities in the file that `AWS_CA_BUNDLE` names and no others, as AWS's own tools read it;
/// without it, the system's. There is no way to do without.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-gen-config.html>
pub(super) fn tls_context() -> anyhow::Result<TlsContext> {
    let bundle = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty());
    let trusted = match bundle {
        Some(path) => {
            let path = std::path::PathBuf::from(path);
            let pem =
                std::fs::read(&path).with_context(|| format!("AWS_CA_BUNDLE: {} cannot be read", path.display()))?;
            let certificates = CertificateDer::pem_slice_iter(&pem).filter(Result::is_ok).count();
            anyhow::ensure!(certificates > 0, "AWS_CA_BUNDLE: {} has no certificate in PEM form", path.display());
            TrustStore::empty().with_pem_certificate(pem)
        }
        None => {
            anyhow::ensure!(
                !rustls_native_certs::load_native_certs().certs.is_empty(),
                "no CA certificates were found, without which AWS cannot be told from anybody else; \
                 put them into /etc/ssl/certs, or set AWS_CA_BUNDLE or SSL_CERT_FILE"
            );
            TrustStore::default()
        }
    };
    Ok(TlsContext::builder().with_trust_store(trusted).build()?)
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

/// Honours `HTTPS_PROXY` and `NO_PROXY`. Without `settings` there are no time-outs.
pub(super) fn connector(
    settings: Option<HttpConnectorSettings>,
    tls_context: &TlsContext,
    connections: usize,
    names: Names,
) -> Connector {
    let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env()).pool_max_idle_per_host(connections);
    connector.set_connector_settings(settings);
    let tls_provider = tls::Provider::Rustls(CryptoMode::AwsLc);
    connector.tls_provider(tls_provider).tls_context(tls_context.clone()).build_with_resolver(names)
}

#[cfg(test)]
mod tests {
    use super::*;

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
