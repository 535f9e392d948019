//! Events, as `events.k8s.io/v1` has them.
//! <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>

use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use http::Request;
use http::header::CONTENT_TYPE;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::{ClusterError, KubernetesClient};

/// Who reports, as Kubernetes names controllers.
const CONTROLLER: &str = "secretmount.dev/provider";
/// Most bytes of a pod's name in that of an event, and of the name of whoever reports.
const MOST_NAME_BYTES: usize = 200;
const MOST_INSTANCE_BYTES: usize = 128;

/// Something that the owner of a pod should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodEvent {
    /// Tells it from others of the pod, so that there are not two of it where it is sent twice.
    pub id: String,
    pub at: SystemTime,
    pub namespace: String,
    pub pod: String,
    pub pod_uid: String,
    /// In a word, for programs.
    pub reason: &'static str,
    pub is_warning: bool,
    /// For people, at most 1,024 bytes.
    pub note: String,
    /// The node that reports it.
    pub node: String,
}

/// Where events go.
#[async_trait]
pub trait PodEvents: Send + Sync + 'static {
    /// Needs `create` on `events` of `events.k8s.io`. One that is there already is as good as created.
    async fn create(&self, event: &PodEvent) -> Result<(), ClusterError>;
}

#[async_trait]
impl PodEvents for KubernetesClient {
    async fn create(&self, event: &PodEvent) -> Result<(), ClusterError> {
        let what = format!("create events.events.k8s.io in namespace {}", event.namespace);
        // It becomes a part of the path.
        if !event.namespace.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(ClusterError::NotFound { what });
        }
        let request = Request::post(format!("/apis/events.k8s.io/v1/namespaces/{}/events", event.namespace));
        let request = request.header(CONTENT_TYPE, "application/json").body(body(event).to_string().into_bytes());
        let request = request.map_err(kube::Error::HttpError);
        let answer = async { self.client.request_text(request?).await.map(drop) };
        match Self::ask(("create", "events"), what, answer).await {
            Err(ClusterError::Exists { .. }) => Ok(()),
            answer => answer,
        }
    }
}

fn body(event: &PodEvent) -> serde_json::Value {
    let PodEvent { id, at, namespace, pod, pod_uid, reason, is_warning, note, node } = event;
    let start = beginning(pod, MOST_NAME_BYTES).trim_end_matches(['-', '.']);
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": namespace, "name": format!("{start}.{id}")},
        "eventTime": micro_time(*at),
        "reportingController": CONTROLLER,
        "reportingInstance": beginning(node, MOST_INSTANCE_BYTES),
        "action": "Mount",
        "reason": reason,
        "regarding": {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": pod, "uid": pod_uid},
        "note": note,
        "type": if *is_warning { "Warning" } else { "Normal" },
    })
}

fn micro_time(at: SystemTime) -> Option<MicroTime> {
    let at = at.duration_since(UNIX_EPOCH).ok()?;
    let (seconds, nanoseconds) = (i64::try_from(at.as_secs()).ok()?, i32::try_from(at.subsec_nanos()).ok()?);
    Timestamp::new(seconds, nanoseconds).ok().map(MicroTime)
}

/// No more than so many bytes.
fn beginning(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_that_the_api_server_takes() {
        let event = PodEvent {
            id: "0123456789abcdef".into(),
            at: SystemTime::now(),
            namespace: "shop".into(),
            pod: format!("{}-{}", "a".repeat(MOST_NAME_BYTES - 1), "b".repeat(50)),
            pod_uid: "1".into(),
            reason: "SecretRotated",
            is_warning: false,
            note: "new files".into(),
            node: "n".repeat(300),
        };
        let body = body(&event);
        let name = body["metadata"]["name"].as_str().expect("a name");
        assert!(name.len() <= 253 && !name.contains("-.") && name.contains("a."), "{name}");
        assert_eq!(body["reportingInstance"].as_str().map(str::len), Some(MOST_INSTANCE_BYTES));
        // Six digits after the point, or none at all, and UTC.
        let time = body["eventTime"].as_str().expect("a time");
        assert!(time.contains('T') && time.ends_with('Z'), "{time}");
        let read: k8s_openapi::api::events::v1::Event = serde_json::from_value(body).expect("an event");
        assert_eq!(read.regarding.and_then(|pod| pod.uid).as_deref(), Some("1"));
    }
}
