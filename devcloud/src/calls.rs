//! The log of every call that arrived: what tests count, order and wait for.
//!
//! A call is in the log from its arrival, before latency and faults, and is closed when its answer
//! is ready or its client is gone. Tokens and values never come here.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};
use tokio::sync::watch;

use crate::lock::lock;

/// Older calls are forgotten, so that a long demo or a benchmark does not fill memory.
const KEPT: usize = 200_000;

/// One call to one of the services.
#[derive(Clone, Debug, Serialize)]
pub struct Call {
    /// Grows by one with each call, over all services; never starts again.
    pub sequence: u64,
    /// `sts`, `secretsmanager`, `ssm`, `kubernetes` or `pod-identity-agent`.
    pub service: String,
    /// `GetSecretValue` and the like; for Kubernetes `get serviceaccounts`, `get jwks`.
    pub api: String,
    /// The Region of the signature; for unsigned calls that of the host name, if it has one.
    pub region: Option<String>,
    /// ARN of the role (not of the session) whose keys signed the call.
    pub caller: Option<String>,
    /// What was asked for: secret ids, parameter names, `namespace/name`. Several are joined by `,`.
    pub subject: Option<String>,
    /// Arrival, counted from the start of the cloud. In JSON: milliseconds.
    #[serde(serialize_with = "milliseconds")]
    pub started: Duration,
    /// When the answer was ready or the client was gone.
    #[serde(serialize_with = "optional_milliseconds")]
    pub finished: Option<Duration>,
    /// Calls of the same api under way at arrival, this one included.
    pub in_flight: usize,
    /// HTTP status. `None` of a finished call: no answer was given, or the client did not wait.
    pub status: Option<u16>,
    /// Error code of a refusal.
    pub code: Option<String>,
    /// Tells the connections apart, over all listeners.
    pub connection: u64,
    /// What the connection's keys were agreed on with, `X25519MLKEM768` or the like. `None` without TLS.
    pub key_exchange: Option<String>,
}

/// What a call came over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    pub connection: u64,
    pub key_exchange: Option<String>,
}

/// What is known about a call before it is judged.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallFacts {
    pub service: String,
    pub api: String,
    pub region: Option<String>,
    pub caller: Option<String>,
    pub subject: Option<String>,
}

#[derive(Debug)]
pub(crate) struct CallLog {
    epoch: Instant,
    pages: Mutex<Pages>,
    arrivals: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Pages {
    next: u64,
    calls: BTreeMap<u64, Call>,
    in_flight: HashMap<String, usize>,
}

impl CallLog {
    pub fn new() -> Self {
        Self { epoch: Instant::now(), pages: Mutex::default(), arrivals: watch::Sender::new(0) }
    }

    /// Enters a call. It stays open until the guard is closed or dropped.
    pub fn open(self: &Arc<Self>, facts: &CallFacts, line: &Line) -> OpenCall {
        let mut pages = lock(&self.pages);
        let sequence = pages.next;
        pages.next += 1;
        let in_flight = pages.in_flight.entry(facts.api.clone()).or_default();
        *in_flight += 1;
        let call = Call {
            sequence,
            service: facts.service.clone(),
            api: facts.api.clone(),
            region: facts.region.clone(),
            caller: facts.caller.clone(),
            subject: facts.subject.clone(),
            started: self.epoch.elapsed(),
            finished: None,
            in_flight: *in_flight,
            status: None,
            code: None,
            connection: line.connection,
            key_exchange: line.key_exchange.clone(),
        };
        pages.calls.insert(sequence, call);
        if pages.calls.len() > KEPT {
            pages.calls.pop_first();
        }
        drop(pages);
        self.arrivals.send_replace(sequence + 1);
        OpenCall { log: Arc::clone(self), sequence, api: facts.api.clone(), outcome: None }
    }

    pub fn all(&self) -> Vec<Call> {
        lock(&self.pages).calls.values().cloned().collect()
    }

    pub fn count(&self, api: &str) -> usize {
        let pages = lock(&self.pages);
        pages.calls.values().filter(|call| call.api == api).count()
    }

    pub fn clear(&self) {
        lock(&self.pages).calls.clear();
    }

    pub async fn wait_for(&self, api: &str) {
        let mut arrivals = self.arrivals.subscribe();
        while self.count(api) == 0 {
            if arrivals.changed().await.is_err() {
                return;
            }
        }
    }
}

/// A call under way. Dropped without an outcome means that nobody was answered.
#[derive(Debug)]
pub(crate) struct OpenCall {
    log: Arc<CallLog>,
    sequence: u64,
    api: String,
    outcome: Option<(u16, Option<String>)>,
}

impl OpenCall {
    pub fn close(mut self, status: u16, code: Option<String>) {
        self.outcome = Some((status, code));
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let finished = self.log.epoch.elapsed();
        let mut pages = lock(&self.log.pages);
        if let Some(in_flight) = pages.in_flight.get_mut(&self.api) {
            *in_flight = in_flight.saturating_sub(1);
        }
        if let Some(call) = pages.calls.get_mut(&self.sequence) {
            call.finished = Some(finished);
            if let Some((status, code)) = self.outcome.take() {
                call.status = Some(status);
                call.code = code;
            }
        }
    }
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64() * 1000.0)
}

fn optional_milliseconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => milliseconds(duration, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(api: &str) -> CallFacts {
        CallFacts { service: "sts".into(), api: api.into(), ..CallFacts::default() }
    }

    #[test]
    fn calls_under_way_are_counted_per_api_and_a_dropped_call_has_no_status() {
        let log = Arc::new(CallLog::new());
        let first = log.open(&facts("A"), &Line::default());
        let second = log.open(&facts("A"), &Line::default());
        let other = log.open(&facts("B"), &Line::default());
        first.close(200, None);
        drop(second);
        drop(other);
        let calls = log.all();
        assert_eq!(calls.iter().map(|call| call.in_flight).collect::<Vec<_>>(), [1, 2, 1]);
        assert_eq!(calls[0].status, Some(200));
        assert_eq!(calls[1].status, None);
        assert!(calls.iter().all(|call| call.finished.is_some()));
        assert_eq!(log.open(&facts("A"), &Line::default()).log.all()[3].in_flight, 1);
    }

    #[tokio::test]
    async fn waiting_ends_with_the_first_call_since_the_log_was_cleared() {
        let log = Arc::new(CallLog::new());
        log.open(&facts("A"), &Line::default()).close(200, None);
        log.clear();
        let waiting = {
            let log = Arc::clone(&log);
            tokio::spawn(async move { log.wait_for("A").await })
        };
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        let _open = log.open(&facts("A"), &Line::default());
        waiting.await.expect("arrived");
    }
}
