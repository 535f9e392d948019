//! Who was given what: a line for each answer of a backend to the question for a value, and one for each delivery into a volume.
//! They are joined by the id that the backend gave the request. No value is in them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use tracing::{Level, enabled, info};

use super::record::Operation;
use crate::identity::ClaimedPod;

/// The target of these lines, by which a filter can switch them off.
pub const AUDIT: &str = "secretmount::audit";

/// Most bytes of the objects in a line. Container runtimes cut lines at 16 KiB.
const MOST_BYTES: usize = 8 * 1024;

/// What a mount asks backends for, and on whose behalf.
#[derive(Debug)]
pub struct Reading {
    mount_id: String,
    namespace: Arc<str>,
    service_account: String,
    calls: AtomicU64,
    role: OnceLock<String>,
}

/// What a backend has said of one value.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// As the backend calls it, where it has answered with a value, and otherwise as the class does.
    pub object: &'a str,
    /// Of the value, if there is one.
    pub version: Option<&'a str>,
    /// `ok`, or the backend's word for why there is no value.
    pub code: &'a str,
    pub request_id: &'a str,
}

/// What came into a volume of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// As the backend calls it.
    pub object: String,
    pub version: String,
    /// Of the request that has read it, perhaps on behalf of another pod with the same rights.
    pub request_id: String,
    /// Those that are of it alone.
    pub files: Vec<String>,
}

/// What came into a volume.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    pub objects: Vec<Delivered>,
    /// Files that are made of those of others.
    pub templates: Vec<String>,
}

impl Reading {
    /// Of the mount with an id, for a service account that is proved.
    pub fn new(mount_id: &str, namespace: &str, service_account: &str) -> Self {
        Self {
            mount_id: mount_id.into(),
            namespace: namespace.into(),
            service_account: service_account.into(),
            calls: AtomicU64::new(0),
            role: OnceLock::new(),
        }
    }

    pub fn namespace(&self) -> &Arc<str> {
        &self.namespace
    }

    /// How many calls were made.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// As whom the first of them was made.
    pub fn role(&self) -> Option<&str> {
        self.role.get().map(String::as_str)
    }

    /// A call is made.
    pub fn call(&self, role: &str) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.role.get_or_init(|| role.to_owned());
    }

    /// A backend has answered.
    pub fn read(&self, role: &str, Answered { object, version, code, request_id }: Answered<'_>) {
        info!(
            target: AUDIT, kind = "read", mount_id = self.mount_id, pod_namespace = &*self.namespace,
            service_account = self.service_account, role, object, object_version = version, code,
            backend_request_id = request_id, "read"
        );
    }
}

impl Delivery {
    /// Whether anybody wants to know.
    pub fn is_wanted() -> bool {
        enabled!(target: AUDIT, Level::INFO)
    }

    /// In as many lines as it takes.
    pub(super) fn tell(&self, mount_id: &str, operation: Operation, pod: &ClaimedPod, class: &str, volume: &str) {
        let lines = lines(&self.objects);
        let templates = json(&self.templates);
        for (objects, part) in lines.iter().zip(1_u64..) {
            info!(
                target: AUDIT, kind = "delivered", mount_id, operation = operation.word(), pod_namespace = pod.namespace,
                pod_name = pod.name, pod_uid = pod.uid, service_account = pod.service_account,
                secret_provider_class = class, volume, objects, templates, part, parts = lines.len() as u64, "delivered"
            );
        }
    }
}

/// JSON arrays of all objects, none much longer than a line may be.
fn lines(objects: &[Delivered]) -> Vec<String> {
    let mut lines = vec![String::from("[")];
    for object in objects.iter().map(json) {
        match lines.last_mut() {
            Some(line) if line.len() == 1 => line.push_str(&object),
            Some(line) if line.len() + object.len() < MOST_BYTES => {
                line.push(',');
                line.push_str(&object);
            }
            _ => lines.push(format!("[{object}")),
        }
    }
    lines.iter_mut().for_each(|line| line.push(']'));
    lines
}

fn json(value: &(impl Serialize + ?Sized)) -> String {
    // Texts in lists never fail.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_objects_come_in_several_lines_and_none_twice() {
        let object = |number: usize| Delivered {
            object: format!("arn:aws:secretsmanager:eu-west-1:111122223333:secret:shop/{number}-AbCdEf"),
            version: "v1".into(),
            request_id: "r".into(),
            files: vec![format!("shop_{number}")],
        };
        for count in [0, 1, 500] {
            let objects: Vec<Delivered> = (0..count).map(object).collect();
            let lines = lines(&objects);
            assert!(lines.iter().all(|line| line.len() < MOST_BYTES + 1_024));
            assert_eq!(lines.len() > 1, count == 500);
            let read = |line: &String| serde_json::from_str::<Vec<serde_json::Value>>(line).expect("JSON");
            let again: Vec<_> = lines.iter().flat_map(read).map(|object| object["object"].clone()).collect();
            assert_eq!(again, objects.iter().map(|object| object.object.clone()).collect::<Vec<_>>());
        }
    }
}
