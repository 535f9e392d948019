//! Objects by their paths, for what is asked seldom and of whose answers little is read: whoever asks says what that is.

use std::time::Duration;

use http::{Request, header};
use kube::Config;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{ClusterError, KubernetesClient};
use crate::clock::Instant;

/// A page of a list comes from far away, too, and has some MiB where nodes are large.
const PAGE_WITHIN: Duration = Duration::from_secs(30);
const OF_A_PAGE: usize = 100;
/// Most pages of a list: 20,000 objects, more than a cluster has nodes.
const MOST_PAGES: usize = 200;

/// Where kubelet mounts the token of a pod's service account.
const TOKEN_OF_POD: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

#[derive(Deserialize)]
struct Page<T> {
    #[serde(default)]
    metadata: PageMetadata,
    items: Vec<T>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PageMetadata {
    r#continue: String,
}

impl KubernetesClient {
    /// The namespace of the pod that this process runs in, if `config` is that of a pod.
    pub fn namespace_of_pod(config: &Config) -> Option<&str> {
        let is_pod = config.auth_info.token_file.as_deref() == Some(TOKEN_OF_POD);
        is_pod.then_some(config.default_namespace.as_str())
    }

    /// What is at a path. `what` names the right that is needed, such as `get csinodes`.
    ///
    /// # Errors
    /// What the API server says instead.
    pub async fn get<T: DeserializeOwned>(&self, what: &'static str, path: &str) -> Result<T, ClusterError> {
        self.send(what, Request::get(path), Vec::new()).await
    }

    /// All of a collection, page by page. `query` is empty, or begins with `&`.
    ///
    /// # Errors
    /// What the API server says instead, and a list without an end.
    pub async fn list<T: DeserializeOwned>(
        &self,
        what: &'static str,
        path: &str,
        query: &str,
    ) -> Result<Vec<T>, ClusterError> {
        let (mut found, mut from) = (Vec::new(), String::new());
        for _ in 0..MOST_PAGES {
            let page = format!("{path}?limit={OF_A_PAGE}{query}{from}");
            let page: Page<T> = self.send(what, Request::get(page), Vec::new()).await?;
            found.extend(page.items);
            if page.metadata.r#continue.is_empty() {
                return Ok(found);
            }
            from = format!("&continue={}", escaped(&page.metadata.r#continue));
        }
        Err(ClusterError::Unavailable { what: what.into(), problem: "the list has no end".into() })
    }

    /// What the API server makes of an object.
    ///
    /// # Errors
    /// What it says instead.
    pub async fn create<T: DeserializeOwned>(
        &self,
        what: &'static str,
        path: &str,
        object: &Value,
    ) -> Result<T, ClusterError> {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        self.send(what, request, object.to_string().into_bytes()).await
    }

    /// Changes an object by a JSON patch (RFC 6902). `false` where it is not as a `test` of the patch says, and then nothing
    /// of it was done.
    ///
    /// # Errors
    /// What the API server says instead.
    pub async fn patch(&self, what: &'static str, path: &str, steps: &Value) -> Result<bool, ClusterError> {
        let request = Request::patch(path).header(header::CONTENT_TYPE, "application/json-patch+json");
        let request = request.body(steps.to_string().into_bytes()).map_err(kube::Error::HttpError);
        let answer = async {
            match self.client.request_text(request?).await {
                Ok(_) => Ok(true),
                Err(kube::Error::Api(status)) if matches!(status.code, 409 | 422) => Ok(false),
                Err(error) => Err(error),
            }
        };
        Self::ask(words(what), what.into(), answer).await
    }

    /// The library's own reader would log an answer that it cannot read.
    async fn send<T: DeserializeOwned>(
        &self,
        what: &'static str,
        request: http::request::Builder,
        body: Vec<u8>,
    ) -> Result<T, ClusterError> {
        let request = request.body(body).map_err(kube::Error::HttpError);
        let answer = async {
            let text = self.client.request_text(request?).await?;
            serde_json::from_str(&text).map_err(kube::Error::SerdeError)
        };
        let left = self.until.map_or(PAGE_WITHIN, |until| until.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return Err(ClusterError::Unavailable {
                what: what.into(),
                problem: "the time for all answers is over".into(),
            });
        }
        Self::ask_within(left.min(PAGE_WITHIN), words(what), what.into(), answer).await
    }
}

/// As a value in a query: <https://www.rfc-editor.org/rfc/rfc3986#section-2>.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => escaped.push(byte.into()),
            byte if byte.is_ascii_alphanumeric() => escaped.push(byte.into()),
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// Verb and resource of a right.
fn words(right: &'static str) -> (&'static str, &'static str) {
    right.split_once(' ').unwrap_or((right, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_server_goes_on_from_is_one_value_of_the_query() {
        assert_eq!(escaped("eyJ2IjoibWV0YSJ9-_.~"), "eyJ2IjoibWV0YSJ9-_.~");
        assert_eq!(escaped("a+b/c==&limit=1 #é"), "a%2Bb%2Fc%3D%3D%26limit%3D1%20%23%C3%A9");
    }
}
