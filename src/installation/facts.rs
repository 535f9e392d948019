//! What the cluster says, before anybody judges it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::Expected;
use super::started::{Started, repository_of};
use crate::cluster::objects::{CSI_DRIVER, Container, CsiDriver, CsiNode, DaemonSet, Node, Pod};
use crate::cluster::{ClusterError, KubernetesClient};

/// The label of this provider's DaemonSet and pods, with its value.
pub const OUR_LABEL: (&str, &str) = ("app.kubernetes.io/name", "secretmount");
/// What the official provider's DaemonSets are labelled with: by its chart, and by its manifest.
const OFFICIAL_LABELS: [&str; 2] = ["secrets-store-csi-driver-provider-aws", "csi-secrets-store-provider-aws"];
const OFFICIAL_IMAGE: &str = "secrets-store-csi-driver-provider-aws";
/// What the driver's container is called in its chart, and what its image is.
const DRIVER_CONTAINER: &str = "secrets-store";
const DRIVER_IMAGE: &str = "csi-secrets-store/driver";

/// An answer, or why there is none.
pub type Found<T> = Result<T, ClusterError>;

pub struct Facts {
    pub namespace: String,
    pub provider_volumes: Vec<String>,
    pub csi_driver: Found<CsiDriver>,
    /// Whether the kind is served.
    pub classes: Found<bool>,
    pub csi_nodes: Found<Vec<CsiNode>>,
    pub nodes: Found<Vec<Node>>,
    pub daemon_sets: Found<Vec<DaemonSet>>,
    /// Why those of other namespaces are not among them, if so.
    pub other_namespaces: Option<ClusterError>,
    /// By namespace and name of their DaemonSet.
    pods: BTreeMap<(String, String), Found<Vec<Pod>>>,
    pub key_set: Found<String>,
    pub issuer: Found<String>,
}

impl Facts {
    pub async fn gather(cluster: &KubernetesClient, expected: &Expected) -> Self {
        let (daemon_sets, other_namespaces) = daemon_sets(cluster, &expected.namespace).await;
        let mut facts = Self {
            namespace: expected.namespace.clone(),
            provider_volumes: expected.provider_volumes.clone(),
            csi_driver: {
                let path = format!("/apis/storage.k8s.io/v1/csidrivers/{CSI_DRIVER}");
                cluster.get("get csidrivers", &path).await
            },
            classes: classes(cluster).await,
            csi_nodes: cluster.list("list csinodes", "/apis/storage.k8s.io/v1/csinodes", "").await,
            nodes: cluster.list("list nodes", "/api/v1/nodes", "").await,
            daemon_sets,
            other_namespaces,
            pods: BTreeMap::new(),
            key_set: cluster.get_text("jwks", "/openid/v1/jwks").await,
            issuer: issuer(cluster).await,
        };
        let mut pods = BTreeMap::new();
        for set in facts.ours().into_iter().chain(facts.officials()) {
            pods.insert(key(set), pods_of(cluster, set).await);
        }
        facts.pods = pods;
        facts
    }

    fn sets(&self) -> impl Iterator<Item = &DaemonSet> {
        self.daemon_sets.iter().flatten()
    }

    /// This provider's DaemonSets in its namespace. While one version takes over from another there may be two.
    pub fn ours(&self) -> Vec<&DaemonSet> {
        self.sets().filter(|set| is_ours(set) && set.metadata.namespace == self.namespace).collect()
    }

    /// Another namespace in which there is one.
    pub fn elsewhere(&self) -> Option<&str> {
        self.sets().find(|set| is_ours(set)).map(|set| set.metadata.namespace.as_str())
    }

    pub fn officials(&self) -> Vec<&DaemonSet> {
        self.sets().filter(|set| is_official(set)).collect()
    }

    /// The driver's DaemonSet for Linux: of several that look like it, the one with the most nodes.
    pub fn driver_set(&self) -> Option<&DaemonSet> {
        let is_drivers = |set: &&DaemonSet| {
            let hosts = set.spec.template.spec.volumes.iter().filter_map(|volume| volume.host_path.as_ref());
            driver_in(set).is_some() && hosts.map(|host| &host.path).all(|path| path.starts_with('/'))
        };
        self.sets().filter(is_drivers).max_by_key(|set| set.status.desired_number_scheduled)
    }

    pub fn pods(&self, set: &DaemonSet) -> Option<&Found<Vec<Pod>>> {
        self.pods.get(&key(set))
    }

    /// Names of the nodes that kubelet has told the driver of.
    pub fn nodes_with_driver(&self) -> Result<BTreeSet<&str>, &ClusterError> {
        let nodes = self.csi_nodes.as_ref()?.iter().filter(|node| node.has_driver());
        Ok(nodes.map(|node| node.metadata.name.as_str()).collect())
    }
}

/// This provider's container.
pub fn provider_in(set: &DaemonSet) -> Option<Started<'_>> {
    let by_image = |container: &Container| repository_of(&container.image) == OUR_LABEL.1;
    let by_name = |container: &Container| container.name == OUR_LABEL.1;
    Started::of(set, by_image).or_else(|| Started::of(set, by_name)).or_else(|| Started::of(set, |_| true))
}

/// The driver's container.
pub fn driver_in(set: &DaemonSet) -> Option<Started<'_>> {
    Started::of(set, |container| container.name == DRIVER_CONTAINER || container.image.contains(DRIVER_IMAGE))
}

/// By its label, or, where only the image of the official DaemonSet was changed, by that.
pub fn is_ours(set: &DaemonSet) -> bool {
    let labels = [&set.metadata.labels, &set.spec.template.metadata.labels];
    let is_labelled = labels.iter().any(|labels| labels.get(OUR_LABEL.0).is_some_and(|name| name == OUR_LABEL.1));
    // The chart gives another name to all but the container.
    let by_container =
        |container: &Container| repository_of(&container.image) == OUR_LABEL.1 || container.name == OUR_LABEL.1;
    is_labelled || Started::of(set, by_container).is_some()
}

fn is_official(set: &DaemonSet) -> bool {
    let label = set.spec.template.metadata.labels.get("app").map(String::as_str).unwrap_or_default();
    let by_image = Started::of(set, |container| container.image.contains(OFFICIAL_IMAGE)).is_some();
    !is_ours(set) && (by_image || OFFICIAL_LABELS.contains(&label))
}

fn key(set: &DaemonSet) -> (String, String) {
    (set.metadata.namespace.clone(), set.metadata.name.clone())
}

/// Those of all namespaces, or where that is forbidden, of one.
async fn daemon_sets(cluster: &KubernetesClient, namespace: &str) -> (Found<Vec<DaemonSet>>, Option<ClusterError>) {
    const WHAT: &str = "list daemonsets";
    match cluster.list(WHAT, "/apis/apps/v1/daemonsets", "").await {
        Err(error @ ClusterError::Forbidden { .. }) => {
            let path = format!("/apis/apps/v1/namespaces/{namespace}/daemonsets");
            (cluster.list(WHAT, &path, "").await, Some(error))
        }
        found => (found, None),
    }
}

async fn pods_of(cluster: &KubernetesClient, set: &DaemonSet) -> Found<Vec<Pod>> {
    let labels = set.spec.selector.match_labels.iter();
    let labels: Vec<_> = labels.map(|(key, value)| format!("{}%3D{value}", key.replace('/', "%2F"))).collect();
    let path = format!("/api/v1/namespaces/{}/pods", set.metadata.namespace);
    cluster.list("list pods", &path, &format!("&labelSelector={}", labels.join("%2C"))).await
}

/// The list of what a group serves, which everybody may read.
async fn classes(cluster: &KubernetesClient) -> Found<bool> {
    #[derive(Deserialize)]
    struct Served {
        resources: Vec<crate::cluster::objects::Named>,
    }
    match cluster.get::<Served>("get /apis/secrets-store.csi.x-k8s.io/v1", "/apis/secrets-store.csi.x-k8s.io/v1").await
    {
        Ok(served) => Ok(served.resources.iter().any(|kind| kind.name == "secretproviderclasses")),
        Err(ClusterError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// As the API server's own document says it, and nobody else.
async fn issuer(cluster: &KubernetesClient) -> Found<String> {
    #[derive(Deserialize)]
    struct Discovery {
        issuer: String,
    }
    let what = "get /.well-known/openid-configuration";
    Ok(cluster.get::<Discovery>(what, "/.well-known/openid-configuration").await?.issuer)
}
