//! Objects of the Kubernetes API that nothing here acts on: what is put at a path is read there, listed with its like, and
//! changed by JSON patches (RFC 6902). And who may do what, as reviews are told.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::{Value, json};

use crate::exchange::{Answer, Asked};

#[derive(Debug, Default)]
pub(crate) struct Objects {
    by_path: BTreeMap<String, Value>,
    /// User, and what that one may not do: `create tokenreviews`, `get /openid/v1/jwks`.
    denied: BTreeSet<(String, String)>,
    version: u64,
}

/// What a path means: <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris>
pub(crate) struct Place<'a> {
    pub resource: &'a str,
    pub namespace: Option<&'a str>,
    pub name: Option<&'a str>,
}

impl<'a> Place<'a> {
    pub fn of(path: &'a str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let below = match parts[..] {
            ["api", _, ref below @ ..] | ["apis", _, _, ref below @ ..] => below,
            _ => return None,
        };
        let (resource, namespace, name) = match *below {
            ["namespaces", namespace, resource] => (resource, Some(namespace), None),
            ["namespaces", namespace, resource, name] => (resource, Some(namespace), Some(name)),
            [resource] => (resource, None, None),
            [resource, name] => (resource, None, Some(name)),
            _ => return None,
        };
        Some(Self { resource, namespace, name })
    }
}

impl Objects {
    pub fn put(&mut self, path: &str, mut object: Value) {
        self.version += 1;
        if let (Some(place), Some(Value::Object(metadata))) = (Place::of(path), object.get_mut("metadata")) {
            let namespace = place.namespace.map(|namespace| ("namespace", namespace));
            for (key, value) in place.name.map(|name| ("name", name)).into_iter().chain(namespace) {
                metadata.entry(key).or_insert_with(|| value.into());
            }
            metadata.insert("resourceVersion".into(), self.version.to_string().into());
        }
        self.by_path.insert(path.to_owned(), object);
    }

    pub fn get(&self, path: &str) -> Option<&Value> {
        self.by_path.get(path)
    }

    pub fn remove(&mut self, path: &str) {
        self.by_path.remove(path);
    }

    pub fn deny(&mut self, user: &str, what: &str) {
        self.denied.insert((user.to_owned(), what.to_owned()));
    }

    /// `None` where nothing was put at the path.
    pub fn answer(&mut self, asked: &Asked) -> Option<Answer> {
        match asked.method {
            Method::GET => self.get(&asked.path).map(|object| Answer::json(200, object)),
            Method::PATCH if self.by_path.contains_key(&asked.path) => Some(self.patch(asked)),
            Method::POST if asked.path.ends_with("/subjectaccessreviews") => Some(self.review(asked)),
            _ => None,
        }
    }

    /// Those of a collection, in all namespaces where the path names none. `limit` and `continue` as the API server has them.
    pub fn list(&self, asked: &Asked) -> Answer {
        let place = match Place::of(&asked.path) {
            Some(place) if place.name.is_none() && asked.method == Method::GET => place,
            _ => return refuse(404, "NotFound", "the server could not find the requested resource"),
        };
        let root = asked.path.split("/namespaces/").next().unwrap_or_default().trim_end_matches(place.resource);
        let labels = asked.query_value("labelSelector").unwrap_or_default();
        let found: Vec<&Value> = self
            .by_path
            .iter()
            .filter(|(path, object)| {
                Place::of(path).is_some_and(|one| {
                    path.starts_with(root.trim_end_matches('/'))
                        && one.resource == place.resource
                        && one.name.is_some()
                        && (place.namespace.is_none() || one.namespace == place.namespace)
                }) && labels.split(',').filter(|label| !label.is_empty()).all(|label| has_label(object, label))
            })
            .map(|(_, object)| object)
            .collect();
        let number = |key| asked.query_value(key).and_then(|value| value.parse::<usize>().ok());
        let start = number("continue").unwrap_or_default();
        let end = number("limit").map_or(found.len(), |limit| found.len().min(start.saturating_add(limit)));
        let next = if end < found.len() { end.to_string() } else { String::new() };
        let items = found.get(start..end).unwrap_or_default();
        let metadata = json!({"resourceVersion": self.version.to_string(), "continue": next});
        Answer::json(200, &json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items}))
    }

    fn patch(&mut self, asked: &Asked) -> Answer {
        let Ok(Value::Array(steps)) = serde_json::from_slice(&asked.body) else {
            return refuse(400, "BadRequest", "the body is no list of operations");
        };
        if !asked.header("content-type").starts_with("application/json-patch+json") {
            return refuse(415, "UnsupportedMediaType", "only JSON patches are understood here");
        }
        let Some(mut object) = self.get(&asked.path).cloned() else {
            return refuse(404, "NotFound", "there is no such object");
        };
        if !steps.iter().all(|step| apply(&mut object, step).is_some()) {
            return refuse(422, "Invalid", "the server rejected our request due to an error in our request");
        }
        self.put(&asked.path, object.clone());
        Answer::json(200, &object)
    }

    /// A `SubjectAccessReview`: everybody may do everything, but for what was denied.
    fn review(&self, asked: &Asked) -> Answer {
        let Ok(mut review @ Value::Object(_)) = serde_json::from_slice::<Value>(&asked.body) else {
            return refuse(400, "BadRequest", "the body is no JSON object");
        };
        let spec = &review["spec"];
        let user = spec["user"].as_str().unwrap_or_default().to_owned();
        let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
        let (verb, on) = match resource.is_null() {
            true => (&path["verb"], &path["path"]),
            false => (&resource["verb"], &resource["resource"]),
        };
        let what = format!("{} {}", verb.as_str().unwrap_or_default(), on.as_str().unwrap_or_default());
        let allowed = !self.denied.contains(&(user, what));
        review["status"] = json!({"allowed": allowed});
        Answer::json(201, &review)
    }
}

/// A `Status` object of this reason.
pub(crate) fn refuse(status: u16, reason: &str, message: &str) -> Answer {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": status});
    Answer::json(status, &body).with_code(reason)
}

fn has_label(object: &Value, label: &str) -> bool {
    let (key, value) = label.split_once('=').unwrap_or((label, ""));
    object["metadata"]["labels"][key] == value
}

/// One operation. `None` where it cannot be done, and then none of the patch counts.
fn apply(object: &mut Value, step: &Value) -> Option<()> {
    let path = step["path"].as_str()?;
    match step["op"].as_str()? {
        "test" => (object.pointer(path)? == &step["value"]).then_some(()),
        "replace" => object.pointer_mut(path).map(|place| *place = step["value"].clone()),
        "remove" => {
            let (parent, name) = path.rsplit_once('/')?;
            match object.pointer_mut(parent)? {
                Value::Object(members) => members.remove(name).map(drop),
                Value::Array(list) => {
                    let at = name.parse().ok().filter(|at| *at < list.len())?;
                    list.remove(at);
                    Some(())
                }
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: Method, path: &str, query: &str, body: &Value) -> Asked {
        let mut headers = http::HeaderMap::new();
        headers.insert("content-type", http::HeaderValue::from_static("application/json-patch+json"));
        Asked { method, path: path.into(), query: query.into(), headers, body: body.to_string().into() }
    }

    fn names(answer: &Answer) -> Vec<String> {
        let list: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let items = list["items"].as_array().expect("a list").iter();
        items.map(|item| item["metadata"]["name"].as_str().expect("a name").to_owned()).collect()
    }

    #[test]
    fn a_list_has_its_own_kind_its_labels_and_its_pages() {
        let mut objects = Objects::default();
        for (namespace, name, label) in [("a", "one", "x"), ("a", "two", "y"), ("b", "three", "x")] {
            let object = json!({"metadata": {"labels": {"app": label}}});
            objects.put(&format!("/api/v1/namespaces/{namespace}/pods/{name}"), object);
        }
        objects.put("/apis/apps/v1/namespaces/a/daemonsets/four", json!({"metadata": {}}));
        let list = |path: &str, query: &str| names(&objects.list(&asked(Method::GET, path, query, &Value::Null)));
        assert_eq!(list("/api/v1/pods", ""), ["one", "two", "three"]);
        assert_eq!(list("/api/v1/namespaces/a/pods", "labelSelector=app%3Dx"), ["one"]);
        assert_eq!(list("/api/v1/pods", "limit=2"), ["one", "two"]);
        assert_eq!(list("/api/v1/pods", "limit=2&continue=2"), ["three"]);
        assert_eq!(list("/apis/apps/v1/daemonsets", ""), ["four"]);
        assert!(list("/api/v1/nodes", "").is_empty());
    }

    #[test]
    fn a_patch_is_done_as_a_whole_or_not_at_all() {
        let mut objects = Objects::default();
        let path = "/api/v1/nodes/a";
        objects.put(path, json!({"metadata": {}, "spec": {"taints": [{"key": "x"}]}}));
        let mut patch = |steps: Value| objects.answer(&asked(Method::PATCH, path, "", &steps)).expect("there").status;
        let test = |key: &str| json!({"op": "test", "path": "/spec/taints", "value": [{"key": key}]});
        let replace = json!({"op": "replace", "path": "/spec/taints", "value": []});
        assert_eq!(patch(json!([replace, test("y")])), 422);
        assert_eq!(patch(json!([test("x"), replace])), 200);
        assert_eq!(patch(json!([{"op": "remove", "path": "/spec/taints/0"}])), 422);
        assert_eq!(patch(json!([{"op": "remove", "path": "/spec/taints"}])), 200);
        assert_eq!(objects.get(path).expect("there")["spec"], json!({}));
    }
}
