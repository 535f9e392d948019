//! Asking the provider of this node, over its socket for operators.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::admin::Problem;
use crate::config::{ADMIN_SOCKET, parse_admin_socket};
use crate::reason::visible;
use crate::socket::is_allowed;

/// The answer is no.
pub const NO: u8 = 1;
/// Nobody could be asked.
const NOT_REACHED: u8 = 3;
/// Far longer than a status takes.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);
/// More than the status of any node has.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

#[derive(Debug, Args)]
pub struct Whom {
    /// Unix socket of the provider
    #[arg(long, env = "SECRETMOUNT_ADMIN_SOCKET", value_name = "FILE", value_parser = parse_admin_socket,
        default_value = ADMIN_SOCKET)]
    admin_socket: PathBuf,

    /// How to show the answer
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Text,
    /// One document for programs
    Json,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error(
        "no provider answers on {socket}: {problem}. Ask in its container, as with kubectl exec --namespace kube-system ds/secretmount -- secretmount status; it listens there unless it was started without a directory for --admin-socket"
    )]
    NotReached { socket: String, problem: String },
    #[error("the provider of this container has no socket for operators; name one with --admin-socket")]
    NoSocket,
    #[error("{}", .0.message)]
    Refused(Problem),
}

impl Whom {
    /// Asks, shows the answer, and says how the process ends: as `is_no` says of the answer.
    pub fn ask<T: DeserializeOwned + Serialize>(
        &self,
        method: Method,
        path: &str,
        wish: &impl Serialize,
        text: impl FnOnce(&T) -> String,
        is_no: impl FnOnce(&T) -> bool,
    ) -> ExitCode {
        self.ask_for(method, path, wish, |answer: T| answer, text, is_no)
    }

    /// The same where of the answer only a part is meant.
    pub fn ask_for<T: DeserializeOwned + Serialize>(
        &self,
        method: Method,
        path: &str,
        wish: &impl Serialize,
        part: impl FnOnce(T) -> T,
        text: impl FnOnce(&T) -> String,
        is_no: impl FnOnce(&T) -> bool,
    ) -> ExitCode {
        let body = match method {
            Method::GET => Vec::new(),
            _ => serde_json::to_vec(wish).unwrap_or_default(),
        };
        match self.answer(method, path, body).map(part) {
            Ok(answer) => {
                match self.output {
                    Output::Text => print(&text(&answer)),
                    Output::Json => print(&json(&answer)),
                }
                if is_no(&answer) { NO.into() } else { ExitCode::SUCCESS }
            }
            Err(error) => {
                match self.output {
                    Output::Text => eprintln!("error: {}", visible(&error.to_string())),
                    Output::Json => print(&json(&error.problem())),
                }
                error.exit_code().into()
            }
        }
    }

    fn answer<T: DeserializeOwned>(&self, method: Method, path: &str, body: Vec<u8>) -> Result<T, Unanswered> {
        if self.admin_socket.as_os_str().is_empty() {
            return Err(Unanswered::NoSocket);
        }
        let socket = self.admin_socket.display().to_string();
        let not_reached = |problem: String| Unanswered::NotReached { socket: socket.clone(), problem };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| not_reached(error.to_string()))?;
        let asking = async {
            let answered = tokio::time::timeout(ANSWERED_WITHIN, self.exchange(method, path, body)).await;
            answered.unwrap_or_else(|_| Err(format!("no answer in {ANSWERED_WITHIN:?}")))
        };
        let (status, answer) = runtime.block_on(asking).map_err(not_reached)?;
        let unknown = |error: serde_json::Error| not_reached(format!("it answers something else: {error}"));
        match status {
            StatusCode::OK => serde_json::from_slice(&answer).map_err(unknown),
            _ => Err(Unanswered::Refused(serde_json::from_slice(&answer).map_err(unknown)?)),
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Vec<u8>) -> Result<(StatusCode, Bytes), String> {
        let broken = |error: hyper::Error| format!("the connection broke: {error}");
        let stream = UnixStream::connect(&self.admin_socket).await.map_err(|error| error.to_string())?;
        if !is_allowed(&stream) {
            return Err("the socket is another user's, who is not believed".into());
        }
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let connection = tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header(http::header::HOST, "localhost");
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
        connection.abort();
        Ok((status, body.map_err(|error| format!("the answer broke off: {error}"))?.to_bytes()))
    }
}

impl Unanswered {
    fn problem(&self) -> Problem {
        match self {
            Self::NotReached { .. } | Self::NoSocket => Problem::new("NotReached", self.to_string()),
            Self::Refused(problem) => Problem::new(&problem.reason, problem.message.clone()),
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::NotReached { .. } | Self::NoSocket => NOT_REACHED,
            Self::Refused(_) => NO,
        }
    }
}

fn json(document: &impl Serialize) -> String {
    serde_json::to_string_pretty(document).map(|text| text + "\n").unwrap_or_default()
}

/// Who has closed the output early has seen enough.
fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
