//! The part of the Kubernetes API that a node's component talks to.
//!
//! Objects carry what such a component reads and no more; errors are `Status` objects. Without a
//! bearer token set, anybody may do anything.

use std::collections::BTreeMap;
use std::fmt;

use http::Method;
use serde_json::{Map, Value, json};

use crate::calls::CallFacts;
use crate::encoding;
use crate::exchange::{Answer, Asked};
pub(crate) use crate::objects::refuse;
use crate::objects::{Objects, Place};
use crate::oidc::{Jwt, service_account_of};
use crate::token::{self, Keyring, Subject, TokenOptions};

/// A pod as it was when it was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace, and that of its service account.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid, which no other pod of this name has.
    pub uid: String,
    /// Name of the service account it runs as.
    pub service_account: String,
    /// Uid the service account had.
    pub service_account_uid: String,
    /// Name of its node.
    pub node: String,
    /// Uid the node had.
    pub node_uid: String,
}

impl From<&Pod> for Subject {
    fn from(pod: &Pod) -> Self {
        Self {
            namespace: pod.namespace.clone(),
            service_account: (pod.service_account.clone(), pod.service_account_uid.clone()),
            pod: Some((pod.name.clone(), pod.uid.clone())),
            node: Some((pod.node.clone(), pod.node_uid.clone())),
        }
    }
}

/// Namespace and name.
type Key = (String, String);

#[derive(Clone, Debug)]
struct Object {
    uid: String,
    created: String,
    version: u64,
    /// Annotations of a service account, labels of a node.
    notes: BTreeMap<String, String>,
}

impl Object {
    fn metadata(&self, namespace: Option<&str>, name: &str) -> Map<String, Value> {
        let mut metadata = Map::new();
        metadata.insert("name".into(), name.into());
        if let Some(namespace) = namespace {
            metadata.insert("namespace".into(), namespace.into());
        }
        metadata.insert("uid".into(), json!(self.uid));
        metadata.insert("resourceVersion".into(), json!(self.version.to_string()));
        metadata.insert("creationTimestamp".into(), json!(self.created));
        metadata
    }
}

#[derive(Debug)]
pub(crate) struct Cluster {
    pub keyring: Keyring,
    /// The token that every request must bring, if set.
    pub bearer: Option<Bearer>,
    /// Role ARNs of Pod Identity, by service account.
    pub associations: BTreeMap<Key, String>,
    /// What was put as it is. It goes before what stands below.
    pub objects: Objects,
    service_accounts: BTreeMap<Key, Object>,
    nodes: BTreeMap<String, Object>,
    pods: BTreeMap<Key, (Pod, Object)>,
    events: Vec<Value>,
    version: u64,
}

impl Cluster {
    pub fn new() -> Self {
        Self {
            keyring: Keyring::new(),
            bearer: None,
            associations: BTreeMap::new(),
            objects: Objects::default(),
            service_accounts: BTreeMap::new(),
            nodes: BTreeMap::new(),
            pods: BTreeMap::new(),
            events: Vec::new(),
            version: 1,
        }
    }

    fn object(&mut self, notes: &[(&str, &str)]) -> Object {
        self.version += 1;
        Object {
            uid: encoding::uuid(),
            created: encoding::rfc3339(encoding::now()),
            version: self.version,
            notes: owned(notes),
        }
    }

    /// Creates a service account, or changes the annotations of an existing one. Gives its uid.
    pub fn put_service_account(&mut self, namespace: &str, name: &str, annotations: &[(&str, &str)]) -> String {
        let mut fresh = self.object(annotations);
        let key = (namespace.to_owned(), name.to_owned());
        if let Some(old) = self.service_accounts.get(&key) {
            fresh.uid.clone_from(&old.uid);
            fresh.created.clone_from(&old.created);
        }
        let uid = fresh.uid.clone();
        self.service_accounts.insert(key, fresh);
        uid
    }

    pub fn delete_service_account(&mut self, namespace: &str, name: &str) {
        self.service_accounts.remove(&(namespace.to_owned(), name.to_owned()));
    }

    pub fn service_account_uid(&self, namespace: &str, name: &str) -> Option<String> {
        let key = (namespace.to_owned(), name.to_owned());
        Some(self.service_accounts.get(&key)?.uid.clone())
    }

    pub fn put_node(&mut self, name: &str, labels: &[(&str, &str)]) -> String {
        let mut fresh = self.object(labels);
        if let Some(old) = self.nodes.get(name) {
            fresh.uid.clone_from(&old.uid);
            fresh.created.clone_from(&old.created);
        }
        let uid = fresh.uid.clone();
        self.nodes.insert(name.to_owned(), fresh);
        uid
    }

    pub fn put_pod(&mut self, namespace: &str, name: &str, service_account: &str, node: &str) -> Pod {
        let key = (namespace.to_owned(), service_account.to_owned());
        let service_account_uid = match self.service_accounts.get(&key) {
            Some(account) => account.uid.clone(),
            None => self.put_service_account(namespace, service_account, &[]),
        };
        let node_uid = match self.nodes.get(node) {
            Some(node) => node.uid.clone(),
            None => self.put_node(node, &[]),
        };
        let object = self.object(&[]);
        let pod = Pod {
            namespace: namespace.into(),
            name: name.into(),
            uid: object.uid.clone(),
            service_account: service_account.into(),
            service_account_uid,
            node: node.into(),
            node_uid,
        };
        self.pods.insert((namespace.to_owned(), name.to_owned()), (pod.clone(), object));
        pod
    }

    pub fn delete_pod(&mut self, namespace: &str, name: &str) {
        self.pods.remove(&(namespace.to_owned(), name.to_owned()));
    }

    pub fn events(&self) -> Vec<Value> {
        self.events.clone()
    }

    /// Why a token does not count, if so: the signature, the times, the objects it is bound to.
    pub fn judge_token(&self, issuer: &str, jwt: &Jwt<'_>) -> Result<(), &'static str> {
        let now = encoding::now();
        if jwt.verify(&self.keyring.jwks()).is_err() {
            return Err("invalid bearer token, token signature is not valid");
        }
        if jwt.text("iss") != issuer {
            return Err("invalid bearer token, issuer claim is not valid");
        }
        if jwt.time("exp").is_none_or(|end| end <= now) {
            return Err("service account token has expired");
        }
        if jwt.time("nbf").is_some_and(|start| start > now) {
            return Err("service account token is not valid yet");
        }
        let bound = &jwt.claims.get("kubernetes.io").cloned().unwrap_or_default();
        let text = |object: &str, field: &str| bound[object][field].as_str().unwrap_or_default();
        let namespace = bound["namespace"].as_str().unwrap_or_default();
        let key = |object| (namespace.to_owned(), text(object, "name").to_owned());
        match self.service_accounts.get(&key("serviceaccount")) {
            Some(account) if account.uid == text("serviceaccount", "uid") => {}
            _ => return Err("service account has been deleted"),
        }
        let subject = format!("system:serviceaccount:{namespace}:{}", text("serviceaccount", "name"));
        if jwt.text("sub") != subject {
            return Err("sub claim does not match the service account");
        }
        if !bound["pod"].is_null() {
            match self.pods.get(&key("pod")) {
                Some((pod, _)) if pod.uid == text("pod", "uid") => {}
                _ => return Err("pod has been deleted"),
            }
        }
        Ok(())
    }
}

/// A token that requests must bring. Printed only as redacted.
pub(crate) struct Bearer(pub String);

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(redacted)")
    }
}

/// What a path asks for.
enum Route<'a> {
    ServiceAccount(&'a str, &'a str),
    Token(&'a str, &'a str),
    Pod(&'a str, &'a str),
    Node(&'a str),
    Events(&'a str, Option<&'a str>),
    TokenReviews,
    Keys,
    Discovery,
    Version,
    Health,
    Other(&'a str),
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Self {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match parts[..] {
            ["api", "v1", "namespaces", namespace, "serviceaccounts", name] => Self::ServiceAccount(namespace, name),
            ["api", "v1", "namespaces", namespace, "serviceaccounts", name, "token"] => Self::Token(namespace, name),
            ["api", "v1", "namespaces", namespace, "pods", name] => Self::Pod(namespace, name),
            ["api", "v1", "nodes", name] => Self::Node(name),
            ["api", "v1", "namespaces", namespace, "events"]
            | ["apis", "events.k8s.io", "v1", "namespaces", namespace, "events"] => Self::Events(namespace, None),
            ["api", "v1", "namespaces", namespace, "events", name]
            | ["apis", "events.k8s.io", "v1", "namespaces", namespace, "events", name] => {
                Self::Events(namespace, Some(name))
            }
            ["apis", "authentication.k8s.io", "v1", "tokenreviews"] => Self::TokenReviews,
            ["openid", "v1", "jwks"] => Self::Keys,
            [".well-known", "openid-configuration"] => Self::Discovery,
            ["version"] => Self::Version,
            ["livez" | "readyz" | "healthz"] => Self::Health,
            _ => Self::Other(path),
        }
    }

    fn resource(&self) -> &'a str {
        match self {
            Self::ServiceAccount(..) => "serviceaccounts",
            Self::Token(..) => "serviceaccounts/token",
            Self::Pod(..) => "pods",
            Self::Node(_) => "nodes",
            Self::Events(..) => "events",
            Self::TokenReviews => "tokenreviews",
            Self::Keys => "jwks",
            Self::Discovery => "openid-configuration",
            Self::Version => "version",
            Self::Health => "health",
            Self::Other(path) => Place::of(path).map_or("unknown", |place| place.resource),
        }
    }

    fn subject(&self, asked: &Asked) -> Option<String> {
        match self {
            Self::ServiceAccount(namespace, name)
            | Self::Token(namespace, name)
            | Self::Pod(namespace, name)
            | Self::Events(namespace, Some(name)) => Some(format!("{namespace}/{name}")),
            Self::Events(namespace, None) => Some((*namespace).to_owned()),
            Self::Node(name) => Some((*name).to_owned()),
            Self::TokenReviews => {
                let review: Value = serde_json::from_slice(&asked.body).ok()?;
                service_account_of(review["spec"]["token"].as_str()?)
            }
            Self::Other(path) => {
                let place = Place::of(path)?;
                Some([place.namespace, place.name].into_iter().flatten().collect::<Vec<_>>().join("/"))
            }
            _ => None,
        }
    }
}

pub(crate) fn describe(asked: &Asked) -> CallFacts {
    let route = Route::of(&asked.path);
    let is_list = |path: &str| Place::of(path).is_some_and(|place| place.name.is_none());
    let verb = match asked.method {
        Method::GET if matches!(route, Route::Other(path) if is_list(path)) => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "get",
    };
    CallFacts {
        service: "kubernetes".into(),
        api: format!("{verb} {}", route.resource()),
        subject: route.subject(asked),
        ..CallFacts::default()
    }
}

pub(crate) fn answer(cluster: &mut Cluster, issuer: &str, asked: &Asked) -> Answer {
    let route = Route::of(&asked.path);
    let open = matches!(route, Route::Health | Route::Version);
    if let Some(Bearer(bearer)) = &cluster.bearer
        && !open
        && asked.header("authorization") != format!("Bearer {bearer}")
    {
        return refuse(401, "Unauthorized", "Unauthorized");
    }
    if let Some(answer) = cluster.objects.answer(asked) {
        return answer;
    }
    match (&asked.method, route) {
        (&Method::GET, Route::ServiceAccount(namespace, name)) => service_account(cluster, namespace, name),
        (&Method::GET, Route::Pod(namespace, name)) => pod(cluster, namespace, name),
        (&Method::GET, Route::Node(name)) => node(cluster, name),
        (&Method::GET, Route::Keys) => Answer::new(200, "application/jwk-set+json", cluster.keyring.jwks().to_string()),
        (&Method::GET, Route::Discovery) => Answer::json(200, &discovery(issuer)),
        (&Method::GET, Route::Version) => Answer::json(
            200,
            &json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0", "gitCommit": "",
                "gitTreeState": "clean", "buildDate": "2025-08-27T10:09:04Z",
                "goVersion": "go1.24.6", "compiler": "gc", "platform": "linux/amd64"}),
        ),
        (&Method::GET, Route::Health) => Answer::new(200, "text/plain; charset=utf-8", "ok"),
        (&Method::GET, Route::Events(namespace, None)) => event_list(cluster, namespace),
        (&Method::GET, Route::Events(namespace, Some(name))) => {
            match cluster.events.iter().find(|e| is_event(e, namespace, name)) {
                Some(event) => Answer::json(200, event),
                None => not_found("events", name),
            }
        }
        (&Method::POST, Route::Events(namespace, None)) => create_event(cluster, namespace, asked),
        (&Method::PATCH, Route::Events(namespace, Some(name))) => patch_event(cluster, namespace, name, asked),
        (&Method::POST, Route::Token(namespace, name)) => token_request(cluster, issuer, namespace, name, asked),
        (&Method::POST, Route::TokenReviews) => token_review(cluster, issuer, asked),
        (_, Route::Other(_)) => cluster.objects.list(asked),
        _ => refuse(405, "MethodNotAllowed", "the server does not allow this method on the requested resource"),
    }
}

fn service_account(cluster: &Cluster, namespace: &str, name: &str) -> Answer {
    let key = (namespace.to_owned(), name.to_owned());
    let Some(account) = cluster.service_accounts.get(&key) else {
        return not_found("serviceaccounts", name);
    };
    let mut metadata = account.metadata(Some(namespace), name);
    if !account.notes.is_empty() {
        metadata.insert("annotations".into(), json!(account.notes));
    }
    let body = json!({"kind": "ServiceAccount", "apiVersion": "v1", "metadata": metadata});
    Answer::json(200, &body)
}

fn pod(cluster: &Cluster, namespace: &str, name: &str) -> Answer {
    let key = (namespace.to_owned(), name.to_owned());
    let Some((pod, object)) = cluster.pods.get(&key) else {
        return not_found("pods", name);
    };
    let body = json!({"kind": "Pod", "apiVersion": "v1",
        "metadata": object.metadata(Some(namespace), name),
        "spec": {"serviceAccountName": pod.service_account, "serviceAccount": pod.service_account,
            "nodeName": pod.node, "containers": [{"name": "app", "image": "app"}]},
        "status": {"phase": "Pending"}});
    Answer::json(200, &body)
}

fn node(cluster: &Cluster, name: &str) -> Answer {
    let Some(node) = cluster.nodes.get(name) else {
        return not_found("nodes", name);
    };
    let mut metadata = node.metadata(None, name);
    metadata.insert("labels".into(), json!(node.notes));
    let body = json!({"kind": "Node", "apiVersion": "v1", "metadata": metadata,
        "spec": {}, "status": {}});
    Answer::json(200, &body)
}

/// What an issuer publishes about itself.
pub(crate) fn discovery(issuer: &str) -> Value {
    json!({"issuer": issuer, "jwks_uri": format!("{issuer}/openid/v1/jwks"),
        "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"]})
}

fn is_event(event: &Value, namespace: &str, name: &str) -> bool {
    event["metadata"]["namespace"] == namespace && event["metadata"]["name"] == name
}

fn event_list(cluster: &Cluster, namespace: &str) -> Answer {
    let items: Vec<&Value> =
        cluster.events.iter().filter(|event| event["metadata"]["namespace"] == namespace).collect();
    let body = json!({"kind": "EventList", "apiVersion": "events.k8s.io/v1",
        "metadata": {"resourceVersion": cluster.version.to_string()}, "items": items});
    Answer::json(200, &body)
}

fn create_event(cluster: &mut Cluster, namespace: &str, asked: &Asked) -> Answer {
    let Ok(Value::Object(mut event)) = serde_json::from_slice(&asked.body) else {
        return refuse(400, "BadRequest", "the body is no JSON object");
    };
    let object = cluster.object(&[]);
    let metadata = event.entry("metadata").or_insert_with(|| json!({}));
    let Some(metadata) = metadata.as_object_mut() else {
        return refuse(400, "BadRequest", "metadata is no object");
    };
    let name = match (metadata.get("name"), metadata.get("generateName")) {
        (Some(Value::String(name)), _) if !name.is_empty() => name.clone(),
        (_, Some(Value::String(start))) => {
            let random = encoding::random_text(5, b"bcdfghjklmnpqrstvwxz2456789");
            format!("{start}{random}")
        }
        _ => return refuse(422, "Invalid", "name or generateName is required"),
    };
    if cluster.events.iter().any(|e| is_event(e, namespace, &name)) {
        return refuse(409, "AlreadyExists", &format!("events \"{name}\" already exists"));
    }
    metadata.extend(object.metadata(Some(namespace), &name));
    let event = Value::Object(event);
    cluster.events.push(event.clone());
    Answer::json(201, &event)
}

/// A merge patch. Server-side apply creates what is missing, the other kinds of patch do not.
fn patch_event(cluster: &mut Cluster, namespace: &str, name: &str, asked: &Asked) -> Answer {
    let Ok(patch @ Value::Object(_)) = serde_json::from_slice::<Value>(&asked.body) else {
        return refuse(400, "BadRequest", "the body is no JSON object");
    };
    let object = cluster.object(&[]);
    let known = cluster.events.iter().position(|event| is_event(event, namespace, name));
    let applies = asked.header("content-type").starts_with("application/apply-patch");
    let (at, status) = match known {
        Some(at) => (at, 200),
        None if applies => {
            cluster.events.push(json!({"metadata": object.metadata(Some(namespace), name)}));
            (cluster.events.len() - 1, 201)
        }
        None => return not_found("events", name),
    };
    let event = &mut cluster.events[at];
    merge(event, &patch);
    // Whatever the patch says, the event stays where and what it is.
    let mut metadata = object.metadata(Some(namespace), name);
    metadata.remove("uid");
    merge(event, &json!({"metadata": metadata}));
    Answer::json(status, event)
}

/// JSON merge patch (RFC 7396).
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    if let Value::Object(target) = target {
        for (name, value) in patch {
            match value {
                Value::Null => {
                    target.remove(name);
                }
                value => merge(target.entry(name.as_str()).or_insert(Value::Null), value),
            }
        }
    }
}

fn token_request(cluster: &Cluster, issuer: &str, namespace: &str, name: &str, asked: &Asked) -> Answer {
    let Ok(mut request @ Value::Object(_)) = serde_json::from_slice::<Value>(&asked.body) else {
        return refuse(400, "BadRequest", "the body is no JSON object");
    };
    let key = (namespace.to_owned(), name.to_owned());
    let Some(account) = cluster.service_accounts.get(&key) else {
        return not_found("serviceaccounts", name);
    };
    let seconds = request["spec"]["expirationSeconds"].as_i64().unwrap_or(3600);
    if !(600..=1 << 32).contains(&seconds) {
        let message = format!(
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: {seconds}: \
             may not specify a duration less than 10 minutes"
        );
        return refuse(422, "Invalid", &message);
    }
    let mut subject = Subject {
        namespace: namespace.into(),
        service_account: (name.into(), account.uid.clone()),
        ..Subject::default()
    };
    let bound = &request["spec"]["boundObjectRef"];
    if bound["kind"] == "Pod" {
        let pod_name = bound["name"].as_str().unwrap_or_default();
        let pod_key = (namespace.to_owned(), pod_name.to_owned());
        let Some((pod, _)) = cluster.pods.get(&pod_key) else {
            return not_found("pods", pod_name);
        };
        if bound["uid"].as_str().is_some_and(|uid| uid != pod.uid) {
            let message = format!("the UID in the bound object reference does not match the UID of pod {pod_name}");
            return refuse(409, "Conflict", &message);
        }
        if pod.service_account != name {
            let message = format!("pod {pod_name} does not run as service account {name}");
            return refuse(400, "BadRequest", &message);
        }
        subject = Subject { service_account: subject.service_account, ..Subject::from(pod) };
    }
    let audiences = texts(&request["spec"]["audiences"]);
    let options = TokenOptions {
        audiences: match audiences.is_empty() {
            true => vec![issuer.to_owned()],
            false => audiences,
        },
        expires_in: Some(seconds),
        ..TokenOptions::default()
    };
    let token = token::issue(&cluster.keyring, issuer, &subject, &options);
    request["kind"] = json!("TokenRequest");
    request["apiVersion"] = json!("authentication.k8s.io/v1");
    request["status"] = json!({"token": token.as_str(), "expirationTimestamp": token.expiration()});
    Answer::json(201, &request)
}

fn token_review(cluster: &Cluster, issuer: &str, asked: &Asked) -> Answer {
    let Ok(review) = serde_json::from_slice::<Value>(&asked.body) else {
        return refuse(400, "BadRequest", "the body is no JSON");
    };
    let token = review["spec"]["token"].as_str().unwrap_or_default();
    let wanted = match texts(&review["spec"]["audiences"]) {
        audiences if audiences.is_empty() => vec![issuer.to_owned()],
        audiences => audiences,
    };
    let status = match review_status(cluster, issuer, token, &wanted) {
        Ok(status) => status,
        Err(error) => json!({"user": {}, "error": error}),
    };
    let body = json!({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {}, "spec": review["spec"], "status": status});
    Answer::json(201, &body)
}

fn review_status(cluster: &Cluster, issuer: &str, token: &str, wanted: &[String]) -> Result<Value, String> {
    let jwt = Jwt::parse(token).ok_or("invalid bearer token")?;
    cluster.judge_token(issuer, &jwt)?;
    let audiences: Vec<&str> =
        jwt.audiences().into_iter().filter(|audience| wanted.iter().any(|wanted| wanted == audience)).collect();
    if audiences.is_empty() {
        return Err(format!("token audiences {:?} is invalid for the target audiences {wanted:?}", jwt.audiences()));
    }
    let bound = &jwt.claims["kubernetes.io"];
    let namespace = bound["namespace"].as_str().unwrap_or_default();
    let mut extra = Map::new();
    extra.insert("authentication.kubernetes.io/credential-id".into(), json!([format!("JTI={}", jwt.text("jti"))]));
    for object in ["node", "pod"] {
        for field in ["name", "uid"] {
            if let Some(text) = bound[object][field].as_str() {
                let name = format!("authentication.kubernetes.io/{object}-{field}");
                extra.insert(name, json!([text]));
            }
        }
    }
    let groups = [
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated".to_owned(),
    ];
    Ok(json!({"authenticated": true, "audiences": audiences,
        "user": {"username": jwt.text("sub"), "uid": bound["serviceaccount"]["uid"],
            "groups": groups, "extra": extra}}))
}

fn not_found(kind: &str, name: &str) -> Answer {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("{kind} \"{name}\" not found"), "reason": "NotFound",
        "details": {"name": name, "kind": kind}, "code": 404});
    Answer::json(404, &body).with_code("NotFound")
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().map_or_else(Vec::new, |list| {
        let texts = list.iter().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    })
}

fn owned(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://issuer.example";

    fn judge(cluster: &Cluster, token: &token::Token, audience: &str) -> Result<Value, String> {
        review_status(cluster, ISSUER, token.as_str(), &[audience.to_owned()])
    }

    #[test]
    fn a_token_ends_with_the_pod_and_the_service_account_it_is_bound_to() {
        let mut cluster = Cluster::new();
        let pod = cluster.put_pod("shop", "web-1", "web", "node-a");
        let options = TokenOptions::audience("sts.amazonaws.com");
        let token = token::issue(&cluster.keyring, ISSUER, &Subject::from(&pod), &options);
        let verdict = judge(&cluster, &token, "sts.amazonaws.com").expect("good");
        assert_eq!(verdict["user"]["extra"]["authentication.kubernetes.io/pod-uid"], json!([pod.uid]));
        judge(&cluster, &token, "other").expect_err("another audience");

        cluster.put_service_account("shop", "web", &[("a", "b")]);
        judge(&cluster, &token, "sts.amazonaws.com").expect("annotations do not matter");
        cluster.put_pod("shop", "web-1", "web", "node-a");
        judge(&cluster, &token, "sts.amazonaws.com").expect_err("the pod is another one");
    }

    #[test]
    fn a_merge_patch_removes_what_is_null() {
        let mut event = json!({"a": {"b": 1, "c": 2}});
        merge(&mut event, &json!({"a": {"b": null, "d": 3}}));
        assert_eq!(event, json!({"a": {"c": 2, "d": 3}}));
    }

    #[test]
    fn strange_input_is_refused_and_never_a_panic() {
        let mut cluster = Cluster::new();
        cluster.put_pod("shop", "web-1", "web", "node-a");
        let paths = [
            "/",
            "/api/v1/namespaces/shop/serviceaccounts/web/token",
            "/apis/authentication.k8s.io/v1/tokenreviews",
            "/apis/events.k8s.io/v1/namespaces/shop/events",
            "/apis/events.k8s.io/v1/namespaces/shop/events/e",
        ];
        let bodies = [
            "",
            "[]",
            "{}",
            r#"{"metadata": 1}"#,
            r#"{"metadata": {"name": "e"}}"#,
            r#"{"metadata": {"name": 7, "generateName": 7}}"#,
            r#"{"spec": []}"#,
            r#"{"spec": {"token": "a.b.c", "audiences": 7, "expirationSeconds": 1e99}}"#,
            r#"{"spec": {"token": "e30.e30.AA", "boundObjectRef": {"kind": "Pod", "name": 7}}}"#,
        ];
        for _ in 0..2 {
            for path in paths {
                for (method, body) in bodies.iter().flat_map(|body| [(Method::POST, body), (Method::PATCH, body)]) {
                    let asked = Asked {
                        method,
                        path: path.into(),
                        query: String::new(),
                        headers: http::HeaderMap::new(),
                        body: (*body).into(),
                    };
                    describe(&asked);
                    answer(&mut cluster, ISSUER, &asked);
                }
            }
        }
        let events = cluster.events();
        assert_eq!(events.len(), 1);
        assert!(is_event(&events[0], "shop", "e"), "a patch does not move it");
    }
}
