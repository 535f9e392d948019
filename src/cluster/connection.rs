//! How the API server is reached: over HTTP/2 where it speaks that, so that a node has one connection to it, however many pods
//! start at the same time. The library's own client keeps to HTTP/1.1, which takes a connection for each question under way.

use std::time::Duration;

use anyhow::Context as _;
use http::Response;
use http_body_util::Limited;
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ConfigExt as _};
use kube::{Client, Config};
use rustls::pki_types::ServerName;
use tower::ServiceBuilder;
use tower::limit::ConcurrencyLimitLayer;
use tower::retry::RetryLayer;

use super::authorization::Authorization;
use super::trust;

/// Most questions under way. Where HTTP/1.1 is spoken, that many connections there are at most.
const AT_ONCE: usize = 32;

const CONNECT_TIME_OUT: Duration = Duration::from_secs(3);

/// A connection that is silent for this long is asked whether it is still there, and given up where it does not answer: all
/// questions go over one, and a peer that has vanished without a word would take them for a quarter of an hour.
const PING_AFTER: Duration = Duration::from_secs(10);
const PING_TIME_OUT: Duration = Duration::from_secs(5);

/// A client for the server and with the identity that `config` says, which reads `max_bytes` of an answer, also of an error.
/// Nobody is asked yet. `HTTPS_PROXY` and a kubeconfig's `proxy-url` are not followed: the way to the API server is the
/// cluster's own.
///
/// # Errors
/// Certificates, keys and tokens of the configuration that cannot be read.
pub fn client(config: &Config, max_bytes: usize) -> anyhow::Result<Client> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT_TIME_OUT));
    tcp.set_nodelay(true);
    let mut https = HttpsConnectorBuilder::new().with_tls_config(trust::tls(config)?).https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name = ServerName::try_from(name.clone()).context("tls-server-name is no name of a host")?;
        https = https.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    let http = legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_keep_alive_interval(PING_AFTER)
        .http2_keep_alive_timeout(PING_TIME_OUT)
        .http2_keep_alive_while_idle(true)
        .build::<_, Body>(https.enable_all_versions().wrap_connector(tcp));
    let authorization = Authorization::of(&config.auth_info)?;
    let service = ServiceBuilder::new()
        .map_response(move |answer: Response<_>| answer.map(|body| Limited::new(body, max_bytes)))
        .layer(config.base_uri_layer())
        .option_layer(config.default_retry.then(|| RetryLayer::new(RetryPolicy::server_retry())))
        .map_request(move |request| authorization.sign(request))
        .layer(config.extra_headers_layer()?)
        .layer(ConcurrencyLimitLayer::new(AT_ONCE))
        .map_err(tower::BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace.clone()))
}
