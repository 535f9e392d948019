//! A public document, read as AWS is: through the same proxy, and from whom the same authorities vouch for.

use std::convert::Infallible;
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::SdkError;
use http_body_util::{BodyExt as _, Limited};

use super::configuration::{connector, tls_context};
use super::names::Names;
use super::transport_problem;

const TIME_OUT: Duration = Duration::from_secs(5);
const MAX_BYTES: usize = 256 * 1024;

/// A document at a URL that the operator names. Redirects are not followed.
pub struct Document {
    url: String,
    connector: Connector,
}

impl Document {
    /// # Errors
    /// Authorities that cannot be read.
    pub fn at(url: &str) -> anyhow::Result<Self> {
        Ok(Self { url: url.to_owned(), connector: connector(None, &tls_context()?, 1, Names::new()) })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The text that is there now, or why there is none.
    pub async fn read(&self) -> Result<String, String> {
        match tokio::time::timeout(TIME_OUT, self.get()).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer in {TIME_OUT:?}")),
        }
    }

    async fn get(&self) -> Result<String, String> {
        let request = HttpRequest::get(&self.url).map_err(|_| "it is no URL")?;
        let answer = self.connector.call(request).await;
        let answer =
            answer.map_err(|error| transport_problem(&SdkError::<Infallible, ()>::dispatch_failure(error)).1)?;
        if answer.status().as_u16() != 200 {
            return Err(format!("HTTP {}", answer.status().as_u16()));
        }
        let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await;
        let body = body.map_err(|_| "the answer broke off, or is too long")?.to_bytes();
        String::from_utf8(body.to_vec()).map_err(|_| "the answer is no text".into())
    }
}
