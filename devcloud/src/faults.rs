//! Trouble on request: errors, silence, delays and broken connections, for chosen calls.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer};

use crate::calls::CallFacts;
use crate::lock::lock;
use crate::lot::Lot;

/// A rule that spoils calls. Every field that is set must match the call.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Service, like `sts` or `kubernetes`.
    #[serde(default)]
    pub service: Option<String>,
    /// Api, like `GetSecretValue` or `get jwks`.
    #[serde(default)]
    pub api: Option<String>,
    /// Region of the call, as far as it is known.
    #[serde(default)]
    pub region: Option<String>,
    /// A part of the call's subject.
    #[serde(default)]
    pub subject: Option<String>,
    /// How many calls it strikes; `None` means all until the faults are cleared.
    #[serde(default)]
    pub times: Option<u32>,
    /// Which share of the calls it strikes, from 0 to 1; `None` means all. They are spread as by chance, and the same in
    /// every run.
    #[serde(default)]
    pub share: Option<f64>,
    #[serde(skip)]
    lot: Lot,
    /// What happens to the call.
    pub kind: FaultKind,
}

/// What a fault does to a call.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// A refusal, written the way the service writes its own.
    Error {
        /// HTTP status.
        status: u16,
        /// Error code; for Kubernetes the `reason`.
        code: String,
        /// Text for the reader.
        #[serde(default)]
        message: String,
    },
    /// This answer, to the letter.
    RawResponse {
        /// HTTP status.
        status: u16,
        /// The whole body.
        #[serde(default)]
        body: String,
        /// `Content-Type` of the answer.
        #[serde(default = "plain_text")]
        content_type: String,
    },
    /// No answer, until the client closes the connection.
    Hang,
    /// The true answer, late. Comes on top of latency and of one other fault. In JSON: milliseconds.
    #[serde(deserialize_with = "from_milliseconds")]
    Delay(Duration),
    /// The connection is reset instead of an answer; the call has no effect.
    Reset,
    /// The true answer, cut after so many bytes of its body, though its length is announced whole.
    TruncateAfter(usize),
    /// The true answer, one byte after the other, with such a pause before each. In JSON: milliseconds.
    #[serde(deserialize_with = "from_milliseconds")]
    Drip(Duration),
}

impl Fault {
    /// Strikes every call until limited by the methods below.
    pub fn new(kind: FaultKind) -> Self {
        Self {
            service: None,
            api: None,
            region: None,
            subject: None,
            times: None,
            share: None,
            lot: Lot::default(),
            kind,
        }
    }

    /// Strikes every call of one api.
    pub fn on(api: &str, kind: FaultKind) -> Self {
        Self::new(kind).api(api)
    }

    /// An error of one api, the most common fault.
    pub fn error(api: &str, status: u16, code: &str, message: &str) -> Self {
        Self::on(api, FaultKind::Error { status, code: code.into(), message: message.into() })
    }

    /// What Kubernetes answers whom a right is missing, such as `create events`.
    pub fn forbidden(right: &str) -> Self {
        let (verb, resource) = right.split_once(' ').unwrap_or((right, ""));
        let user = "system:serviceaccount:kube-system:secretmount";
        let message = format!("{resource} is forbidden: User \"{user}\" cannot {verb} resource \"{resource}\"");
        Self::error(right, 403, "Forbidden", &message)
    }

    /// Only calls of this service.
    #[must_use]
    pub fn service(mut self, service: &str) -> Self {
        self.service = Some(service.into());
        self
    }

    /// Only calls of this api.
    #[must_use]
    pub fn api(mut self, api: &str) -> Self {
        self.api = Some(api.into());
        self
    }

    /// Only calls of this Region.
    #[must_use]
    pub fn region(mut self, region: &str) -> Self {
        self.region = Some(region.into());
        self
    }

    /// Only calls whose subject contains this text.
    #[must_use]
    pub fn subject(mut self, part: &str) -> Self {
        self.subject = Some(part.into());
        self
    }

    /// Only the next so many calls.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Only this share of the calls, from 0 to 1.
    #[must_use]
    pub fn share(mut self, share: f64) -> Self {
        self.share = Some(share);
        self
    }

    fn strikes(&self, call: &CallFacts) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|w| w == is);
        self.times != Some(0)
            && same(&self.service, &call.service)
            && same(&self.api, &call.api)
            && same(&self.region, call.region.as_deref().unwrap_or_default())
            && self
                .subject
                .as_deref()
                .is_none_or(|part| call.subject.as_deref().is_some_and(|subject| subject.contains(part)))
    }
}

/// What a call has to suffer: how long to wait, and then perhaps something worse.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub wait: Duration,
    pub fault: Option<FaultKind>,
}

/// The rules in force, with latency beside them.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Rules>);

#[derive(Debug, Default)]
struct Rules {
    faults: Vec<Fault>,
    latency: Duration,
    latency_of: HashMap<String, Duration>,
    quotas: HashMap<String, Quota>,
}

/// A bucket that holds the calls of one second.
#[derive(Debug)]
struct Quota {
    a_second: f64,
    left: f64,
    filled: Instant,
}

impl Quota {
    fn new(a_second: f64) -> Self {
        Self { a_second, left: a_second, filled: Instant::now() }
    }

    fn takes_one(&mut self) -> bool {
        let now = Instant::now();
        self.left = (self.left + (now - self.filled).as_secs_f64() * self.a_second).min(self.a_second);
        self.filled = now;
        let is_there = self.left >= 1.0;
        if is_there {
            self.left -= 1.0;
        }
        is_there
    }
}

impl Faults {
    pub fn inject(&self, mut fault: Fault) {
        let faults = &mut lock(&self.0).faults;
        fault.lot = Lot::seeded(faults.len() as u64); // two rules do not strike the same calls
        faults.push(fault);
    }

    pub fn clear(&self) {
        lock(&self.0).faults.clear();
    }

    pub fn set_latency(&self, latency: Duration) {
        lock(&self.0).latency = latency;
    }

    /// `api` may also name a whole service. The latency of an api replaces that of its service, which replaces
    /// the general one.
    pub fn set_latency_of(&self, api: &str, latency: Duration) {
        lock(&self.0).latency_of.insert(api.into(), latency);
    }

    /// Ends all latency, the general one and that of single apis.
    pub fn clear_latency(&self) {
        let mut rules = lock(&self.0);
        rules.latency = Duration::ZERO;
        rules.latency_of.clear();
    }

    /// Refuses the calls of an api that are more than so many a second.
    pub fn set_quota(&self, api: &str, a_second: f64) {
        lock(&self.0).quotas.insert(api.into(), Quota::new(a_second));
    }

    /// Uses up one stroke of each rule it applies: all delays, and of the others the oldest.
    pub fn judge(&self, call: &CallFacts) -> Verdict {
        let mut rules = lock(&self.0);
        let mut verdict = Verdict {
            wait: *rules
                .latency_of
                .get(&call.api)
                .or_else(|| rules.latency_of.get(&call.service))
                .unwrap_or(&rules.latency),
            fault: None,
        };
        if rules.quotas.get_mut(&call.api).is_some_and(|quota| !quota.takes_one()) {
            let (code, message) = ("ThrottlingException".into(), "Rate exceeded".into());
            verdict.fault = Some(FaultKind::Error { status: 400, code, message });
        }
        for fault in &mut rules.faults {
            if !fault.strikes(call) || !fault.share.is_none_or(|share| fault.lot.falls_into(share)) {
                continue;
            }
            match &fault.kind {
                FaultKind::Delay(delay) => verdict.wait += *delay,
                _ if verdict.fault.is_some() => continue,
                kind => verdict.fault = Some(kind.clone()),
            }
            if let Some(times) = &mut fault.times {
                *times -= 1; // `strikes` has refused 0
            }
        }
        rules.faults.retain(|fault| fault.times != Some(0));
        verdict
    }
}

fn plain_text() -> String {
    "text/plain".into()
}

fn from_milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(subject: &str) -> CallFacts {
        CallFacts {
            service: "secretsmanager".into(),
            api: "GetSecretValue".into(),
            subject: Some(subject.into()),
            ..CallFacts::default()
        }
    }

    #[test]
    fn a_limited_fault_strikes_only_its_subject_and_wears_off() {
        let faults = Faults::default();
        faults.inject(Fault::on("GetSecretValue", FaultKind::Hang).subject("db").times(1));
        assert!(faults.judge(&call("shop/cache")).fault.is_none());
        assert!(faults.judge(&call("shop/db")).fault.is_some());
        assert!(faults.judge(&call("shop/db")).fault.is_none());
    }

    #[test]
    fn two_faults_of_a_share_each_strike_calls_of_their_own() {
        let faults = Faults::default();
        faults.inject(Fault::new(FaultKind::Hang).share(0.2));
        faults.inject(Fault::new(FaultKind::Reset).share(0.05));
        let verdicts: Vec<Verdict> = (0..1_000).map(|_| faults.judge(&call("x"))).collect();
        let count = |wanted: fn(&FaultKind) -> bool| {
            verdicts.iter().filter(|verdict| verdict.fault.as_ref().is_some_and(wanted)).count()
        };
        assert!((150..250).contains(&count(|kind| matches!(kind, FaultKind::Hang))));
        assert!((20..80).contains(&count(|kind| matches!(kind, FaultKind::Reset))));
    }

    #[test]
    fn delays_add_up_and_leave_room_for_one_other_fault() {
        let faults = Faults::default();
        faults.set_latency(Duration::from_millis(1));
        faults.set_latency_of("secretsmanager", Duration::from_millis(2));
        faults.inject(Fault::new(FaultKind::Delay(Duration::from_millis(10))));
        faults.inject(Fault::new(FaultKind::Delay(Duration::from_millis(20))));
        faults.inject(Fault::new(FaultKind::Reset));
        faults.inject(Fault::new(FaultKind::Hang));
        let verdict = faults.judge(&call("x"));
        assert_eq!(verdict.wait, Duration::from_millis(32));
        assert!(matches!(verdict.fault, Some(FaultKind::Reset)));
    }

    #[test]
    fn the_latency_of_an_api_stands_before_the_general_one_until_all_ends() {
        let faults = Faults::default();
        let wait = |faults: &Faults| faults.judge(&call("x")).wait.as_millis();
        faults.set_latency_of("GetSecretValue", Duration::ZERO);
        faults.set_latency(Duration::from_millis(20));
        assert_eq!(wait(&faults), 0);
        faults.clear_latency();
        faults.set_latency(Duration::from_millis(20));
        assert_eq!(wait(&faults), 20);
        faults.clear_latency();
        assert_eq!(wait(&faults), 0);
    }

    #[test]
    fn a_quota_refuses_what_is_over_it() {
        let faults = Faults::default();
        faults.set_quota("GetSecretValue", 3.0);
        let refused = (0..10).filter(|_| faults.judge(&call("x")).fault.is_some()).count();
        assert!((6..=7).contains(&refused), "{refused} of 10 at once");
    }

    #[test]
    fn faults_are_written_in_json() {
        let fault: Fault = serde_json::from_str(
            r#"{"api":"GetSecretValue","times":2,"kind":{"error":{"status":400,"code":"ThrottlingException"}}}"#,
        )
        .expect("readable");
        assert!(matches!(fault.kind, FaultKind::Error { status: 400, .. }));
        let delay: Fault = serde_json::from_str(r#"{"kind":{"delay":250}}"#).expect("readable");
        assert!(matches!(delay.kind, FaultKind::Delay(wait) if wait.as_millis() == 250));
        serde_json::from_str::<Fault>(r#"{"kind":"hang"}"#).expect("readable");
        serde_json::from_str::<Fault>(r#"{"kind":"hang","tims":1}"#).expect_err("a typo");
    }
}
