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

/// Most bytes of the objects in a line, each of which takes two there if it is a quote: they are JSON in a text of JSON.
/// Container runtimes cut lines at 16 KiB.
const MOST_BYTES: usize = 7 * 1024;

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
#[derive(Debug, Clone, PartialEq, Eq)]
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
        let parts = self.parts();
        for ((objects, templates), part) in parts.iter().zip(1_u64..) {
            info!(
                target: AUDIT, kind = "delivered", mount_id, operation = operation.word(), pod_namespace = pod.namespace,
                pod_name = pod.name, pod_uid = pod.uid, service_account = pod.service_account,
                secret_provider_class = class, volume, objects, templates, part, parts = parts.len() as u64, "delivered"
            );
        }
    }

    /// What stands in each line, as JSON: objects, and files that are made of several. An object with many files comes in
    /// several lines, each time with some of them.
    fn parts(&self) -> Vec<(String, String)> {
        let mut objects = Packed::default();
        self.objects.iter().for_each(|object| objects.push_object(object, &object.files));
        let mut templates = Packed::default();
        self.templates.iter().for_each(|file| templates.push(file));
        let (mut objects, mut templates) = (objects.arrays(), templates.arrays());
        let none = || "[]".to_owned();
        let bytes: usize = objects.iter().chain(&templates).map(String::len).sum();
        if bytes <= MOST_BYTES {
            return vec![(objects.pop().unwrap_or_else(none), templates.pop().unwrap_or_else(none))];
        }
        // Where one line has no room for both, each has lines of its own.
        let objects = objects.into_iter().map(|objects| (objects, none()));
        objects.chain(templates.into_iter().map(|templates| (none(), templates))).collect()
    }
}

/// An object in a line, with some of its files.
#[derive(Serialize)]
struct Told<'a> {
    object: &'a str,
    version: &'a str,
    request_id: &'a str,
    files: &'a [String],
}

/// JSON arrays of as many elements as have room in a line. Elements are written where they stay: a mount of many secrets has
/// many.
#[derive(Default)]
struct Packed {
    full: Vec<String>,
    /// The array that is filled, without its end.
    last: Vec<u8>,
}

impl Packed {
    fn push_object(&mut self, of: &Delivered, files: &[String]) {
        let start = self.last.len();
        self.write(&Told { object: &of.object, version: &of.version, request_id: &of.request_id, files });
        if self.last.len() - start > MOST_BYTES && files.len() > 1 {
            self.last.truncate(start);
            let (some, others) = files.split_at(files.len() / 2);
            self.push_object(of, some);
            self.push_object(of, others);
        } else {
            self.keep(start);
        }
    }

    fn push(&mut self, element: &str) {
        let start = self.last.len();
        self.write(&element);
        self.keep(start);
    }

    fn write(&mut self, element: &impl Serialize) {
        if self.last.is_empty() {
            self.last.reserve_exact(MOST_BYTES);
        }
        self.last.push(if self.last.is_empty() { b'[' } else { b',' });
        // Texts never fail to be written into memory.
        let _ = serde_json::to_writer(&mut self.last, element);
    }

    /// What was written last, from `start` on: here, or where it has no room, in an array of its own.
    fn keep(&mut self, start: usize) {
        if start > 0 && self.last.len() > MOST_BYTES {
            let mut next = self.last.split_off(start);
            next[0] = b'[';
            self.end();
            self.last = next;
        }
    }

    /// The array is full.
    fn end(&mut self) {
        let mut array = std::mem::take(&mut self.last);
        array.push(b']');
        // It is UTF-8, as all JSON is.
        self.full.push(String::from_utf8(array).unwrap_or_default());
    }

    /// None where there is nothing.
    fn arrays(mut self) -> Vec<String> {
        if !self.last.is_empty() {
            self.end();
        }
        self.full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(number: usize, files: Vec<String>) -> Delivered {
        let object = format!("arn:aws:secretsmanager:eu-west-1:111122223333:secret:shop/{number}-AbCdEf");
        Delivered { object, version: "v1".into(), request_id: "r".into(), files }
    }

    /// What else a line has: names of a namespace, a pod, a service account, a class and a volume, ids, and the words around them.
    const MOST_OF_NAMES: usize = 63 + 3 * 253 + 63 + 3 * 36 + 500;

    /// All files of all objects, and all templates, as they stand in lines none of which is too long.
    fn again(delivery: &Delivery) -> (usize, Vec<String>, Vec<String>) {
        let parts = delivery.parts();
        let (mut files, mut templates) = (Vec::new(), Vec::new());
        for (of_objects, of_templates) in &parts {
            let written = serde_json::to_string(&(of_objects, of_templates)).expect("texts");
            assert!(written.len() + MOST_OF_NAMES < 16 * 1_024, "{}", written.len());
            let objects: Vec<serde_json::Value> = serde_json::from_str(of_objects).expect("JSON");
            let names = objects.iter().flat_map(|object| object["files"].as_array().expect("an array"));
            files.extend(names.map(|name| name.as_str().expect("a text").to_owned()));
            templates.extend(serde_json::from_str::<Vec<String>>(of_templates).expect("JSON"));
        }
        (parts.len(), files, templates)
    }

    #[test]
    fn many_objects_many_files_and_many_templates_come_in_several_lines_and_none_twice() {
        let names = |count: usize, name: &str| (0..count).map(|number| format!("{number}{name}")).collect::<Vec<_>>();
        let long = "\"".repeat(250);
        for (objects, files, templates, has_one) in [
            (0, 0, 0, true),
            (1, 1, 1, true),
            (20, 1, 20, false),
            (500, 1, 0, false),
            (1, 1_000, 0, false),
            (3, 2, 2_000, false),
            (500, 1, 2_000, false),
        ] {
            let files = names(files, if files == 1_000 { &long } else { "" });
            let delivery = Delivery {
                objects: (0..objects).map(|number| delivered(number, files.clone())).collect(),
                templates: names(templates, &long),
            };
            let (lines, told, made) = again(&delivery);
            assert_eq!(lines == 1, has_one, "{lines}");
            assert_eq!(told, vec![files; objects].concat());
            assert_eq!(made, delivery.templates);
        }
        assert_eq!(Delivery::default().parts(), [("[]".into(), "[]".into())]);
    }
}
