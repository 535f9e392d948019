//! Whether this process lives, and whether the driver can reach it. Nobody outside is asked: an AWS that is down is no reason
//! to restart a provider, nor to take it for unready.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tokio::net::UnixStream;

use super::{Page, Pages};
use crate::grpc::v1alpha1::VersionRequest;

/// Longest that a socket may take to answer: it does in a millisecond.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);
/// The driver's simplest question. <https://secrets-store-csi-driver.sigs.k8s.io/providers>
const QUESTION: &str = "http://localhost/v1alpha1.CSIDriverProvider/Version";

/// The pages of probes: `/livez`, and `/readyz`, which takes `?verbose`.
pub struct Health {
    sockets: Vec<PathBuf>,
}

impl Health {
    /// `sockets` are the places that the driver dials.
    pub fn new(sockets: Vec<PathBuf>) -> Self {
        Self { sockets }
    }

    /// Whether every socket answers. Where there is none, there is nobody who could.
    pub async fn is_ready(&self) -> bool {
        let found = self.ready().await;
        is_ready(&found)
    }

    /// Each socket, with what is wrong with it. The path that the driver dials is dialled, so one that another process has put
    /// there, or somebody has removed, is seen.
    pub(super) async fn ready(&self) -> Vec<(String, Result<(), String>)> {
        let mut found = Vec::new();
        for socket in &self.sockets {
            let asked = tokio::time::timeout(ANSWERED_WITHIN, ask(socket)).await;
            let asked = asked.unwrap_or_else(|_| Err(format!("no answer in {ANSWERED_WITHIN:?}")));
            found.push((socket.display().to_string(), asked));
        }
        found
    }
}

fn is_ready(found: &[(String, Result<(), String>)]) -> bool {
    !found.is_empty() && found.iter().all(|(_, result)| result.is_ok())
}

async fn ask(socket: &PathBuf) -> Result<(), String> {
    let broken = |error: hyper::Error| format!("the connection broke: {error}");
    let stream = UnixStream::connect(socket).await.map_err(|error| format!("it cannot be dialled: {error}"))?;
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(broken)?;
    let connection = tokio::spawn(connection);
    let answered = async {
        let answer = sender.send_request(question()?).await.map_err(broken)?;
        let status = answer.headers().get("grpc-status").cloned();
        let body = answer.into_body().collect().await.map_err(broken)?;
        let status = status.or_else(|| body.trailers()?.get("grpc-status").cloned());
        match status.as_ref().map(http::HeaderValue::as_bytes) {
            Some(b"0") => Ok(()),
            _ => Err("it answers something else than a version".into()),
        }
    };
    let answered = answered.await;
    connection.abort();
    answered
}

/// One message, not compressed, with its length: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.
fn question() -> Result<Request<Full<Bytes>>, String> {
    let message = VersionRequest { version: "v1alpha1".into() }.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap_or_default().to_be_bytes();
    let body = [&[0], &length[..], &message].concat();
    Request::post(QUESTION)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())
}

#[async_trait]
impl Pages for Health {
    const NAME: &'static str = "health";

    async fn page(&self, path: &str, query: Option<&str>, _: &str) -> Option<Page> {
        let content_type = "text/plain; charset=utf-8";
        match path {
            // Whoever gets this far has been scheduled, and that is all that a restart could mend.
            "/livez" => Some(Page { status: StatusCode::OK, content_type, body: "ok\n".into() }),
            "/readyz" => {
                let found = self.ready().await;
                let is_ready = is_ready(&found);
                let is_verbose = query.is_some_and(|query| query.split('&').any(|part| part.starts_with("verbose")));
                let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                let mut body = String::new();
                if is_verbose || !is_ready {
                    for (socket, result) in &found {
                        body += &match result {
                            Ok(()) => format!("[+] {socket} ok\n"),
                            Err(problem) => format!("[-] {socket}: {problem}\n"),
                        };
                    }
                }
                body += if is_ready { "ok\n" } else { "not ready\n" };
                Some(Page { status, content_type, body })
            }
            _ => None,
        }
    }
}
