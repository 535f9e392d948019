//! What operators of a node ask its provider, and have it do.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use async_trait::async_trait;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tracing::info;

use super::status::{API_VERSION, About, Looked, Status, Writer};
use super::{Health, Page, Pages};
use crate::clock::Instant;
use crate::hardening::Confined;
use crate::mount::{Forgotten, Mounter, Whose};
use crate::provider::Provider;
use crate::telemetry::Log;

/// The pages of the socket: `GET /status`, with `?names` for names of secrets too; `POST /refresh`; `PUT /log-level`.
pub struct Operations<P: Provider> {
    started: Instant,
    writer: Writer,
    confined: Confined,
    node: Option<String>,
    health: Health,
    log: Weak<Log>,
    /// Once it serves.
    mounter: OnceLock<Arc<Mounter<P>>>,
    /// Why it does not serve yet.
    waits_for: Mutex<Option<String>>,
}

/// Whose secrets are to be read anew. Without anything, all.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
}

/// What was done about it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refreshed {
    pub api_version: String,
    pub kind: String,
    /// The volumes that are meant, and those of them that were left alone after a failure.
    pub volumes: usize,
    pub left_alone: usize,
    /// Answers of AWS that are forgotten.
    pub answers: usize,
}

/// What is to be logged, until the process starts anew.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLevel {
    pub level: String,
}

/// What cannot be done, as JSON.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    pub api_version: String,
    pub kind: String,
    pub reason: String,
    pub message: String,
}

impl Problem {
    pub fn new(reason: &str, message: String) -> Self {
        Self { api_version: API_VERSION.into(), kind: "Error".into(), reason: reason.into(), message }
    }
}

impl<P: Provider> Operations<P> {
    /// `sockets` are the places that the driver dials.
    pub fn new(
        sockets: Vec<PathBuf>,
        writer: Writer,
        confined: Confined,
        node: Option<String>,
        log: Weak<Log>,
    ) -> Self {
        let health = Health::new(sockets);
        let (started, mounter, waits_for) = (Instant::now(), OnceLock::new(), Mutex::default());
        Self { started, writer, confined, node, health, log, mounter, waits_for }
    }

    /// It serves from now on.
    pub fn serves(&self, mounter: Arc<Mounter<P>>) {
        self.waits_for(None);
        let _ = self.mounter.set(mounter);
    }

    /// What keeps it from serving.
    pub fn waits_for(&self, what: Option<String>) {
        *self.waits_for.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    async fn status(&self, with_names: bool) -> Status {
        let state = match self.mounter.get() {
            Some(mounter) => Some(mounter.state().await),
            None => None,
        };
        let node = state.as_ref().and_then(|state| state.node.clone()).or_else(|| self.node.clone());
        let about = About::of_this(node, self.started.elapsed(), self.writer);
        let sockets = self.health.ready().await;
        let waits_for = self.waits_for.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Status::of(Looked { about, waits_for, sockets, confined: self.confined, state, with_names })
    }

    fn refresh(&self, Refresh { namespace, pod, object }: Refresh) -> Result<Refreshed, Problem> {
        let mounter = self.mounter.get().ok_or_else(|| {
            Problem::new("NotServing", "the provider does not serve yet; secretmount status says why".into())
        })?;
        let Forgotten { volumes, left_alone, answers } = mounter.forget(&Whose { namespace, pod }, object.as_deref());
        info!(volumes, left_alone, answers, "an operator wants secrets to be read anew");
        Ok(Refreshed { api_version: API_VERSION.into(), kind: "Refresh".into(), volumes, left_alone, answers })
    }

    fn set_log_level(&self, wanted: LogLevel) -> Result<LogLevel, Problem> {
        let gone = || Problem::new("NotServing", "the provider is ending".into());
        let log = self.log.upgrade().ok_or_else(gone)?;
        log.set_level(&wanted.level).map_err(|error| Problem::new("InvalidRequest", error.to_string()))?;
        info!(level = wanted.level, "an operator has changed what is logged");
        Ok(wanted)
    }
}

#[async_trait]
impl<P: Provider> Pages for Operations<P> {
    const NAME: &'static str = "operations";

    async fn page(&self, path: &str, query: Option<&str>, _: &str) -> Option<Page> {
        match path {
            "/status" => {
                let with_names = query.is_some_and(|query| query.split('&').any(|part| part == "names"));
                Some(page(Ok(self.status(with_names).await)))
            }
            _ => None,
        }
    }

    async fn act(&self, method: &Method, path: &str, body: Limited<Incoming>) -> Option<Page> {
        match (method.as_str(), path) {
            ("POST", "/refresh") => Some(page(read(body).await.and_then(|wish| self.refresh(wish)))),
            ("PUT", "/log-level") => Some(page(read(body).await.and_then(|wish| self.set_log_level(wish)))),
            _ => None,
        }
    }
}

async fn read<T: DeserializeOwned>(body: Limited<Incoming>) -> Result<T, Problem> {
    let invalid = |why: String| Problem::new("InvalidRequest", why);
    let body = body.collect().await.map_err(|error| invalid(error.to_string()))?.to_bytes();
    serde_json::from_slice(&body).map_err(|error| invalid(error.to_string()))
}

fn page(result: Result<impl Serialize, Problem>) -> Page {
    let (status, body) = match &result {
        Ok(done) => (StatusCode::OK, serde_json::to_string(done)),
        Err(problem) => (StatusCode::BAD_REQUEST, serde_json::to_string(problem)),
    };
    Page { status, content_type: "application/json", body: body.unwrap_or_default() }
}
