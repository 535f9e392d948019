//! The taint that keeps pods off a node until their secrets can be mounted.
//!
//! Whoever makes nodes gives it to them. It is taken away here, from the own node only, once the driver's question is answered
//! through every socket and kubelet has the driver among those of the node; and again where it comes back, as on a node that
//! is registered anew. No taint is ever added, and no other is touched.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::admin::Health;
use crate::cluster::objects::{CsiNode, Node};
use crate::cluster::{ClusterError, KubernetesClient};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Pods wait for every look at a node that has the taint.
const LONGEST_PAUSE_WITH_IT: Duration = Duration::from_secs(5);
/// A node without it is looked at for its whole life. A watch would bring each of kubelet's reports of the node; a look a
/// minute, which the API server answers from its memory, costs less.
const LONGEST_PAUSE_WITHOUT: Duration = Duration::from_secs(60);
const LONGEST_PAUSE_IN_TROUBLE: Duration = Duration::from_secs(15);
/// As many changes by others one after the other are none.
const MOST_OVERTAKEN: u32 = 10;

/// The taint with this key, on this node.
pub struct StartupTaint {
    key: String,
    node: String,
    cluster: KubernetesClient,
    health: Health,
}

/// What a look at the node came to.
enum Look {
    /// It has no such taint.
    Without,
    /// It keeps the taint, and what for.
    Waits(&'static str),
    /// Somebody else changes its taints at the same time.
    Overtaken,
    Removed,
}

impl StartupTaint {
    /// Serving is what `health` says.
    pub fn new(key: String, node: String, cluster: KubernetesClient, health: Health) -> Self {
        Self { key, node, cluster, health }
    }

    /// Looks after it until `stop`. What goes wrong is logged, once for each cause: a right that is missing is no reason not to
    /// serve.
    pub async fn look_after(self, stop: CancellationToken) {
        let looking = async {
            let (key, node) = (self.key.as_str(), self.node.as_str());
            let (mut pause, mut told, mut overtaken) = (FIRST_PAUSE, String::new(), 0_u32);
            loop {
                let longest = match self.look().await {
                    Ok(Look::Without) => {
                        (told, overtaken) = (String::new(), 0);
                        LONGEST_PAUSE_WITHOUT
                    }
                    Ok(Look::Removed) => {
                        info!(key, node, "the startup taint is removed");
                        (told, overtaken) = (String::new(), 0);
                        FIRST_PAUSE
                    }
                    // Or somebody who has a say in all changes refuses this one, which looks alike.
                    Ok(Look::Overtaken) => {
                        debug!(key, node, "the node's taints have changed meanwhile");
                        overtaken = overtaken.saturating_add(1);
                        if overtaken == MOST_OVERTAKEN {
                            warn!(key, node, "the startup taint stays: the API server takes no change of it");
                        }
                        if overtaken < MOST_OVERTAKEN { FIRST_PAUSE } else { LONGEST_PAUSE_IN_TROUBLE }
                    }
                    Ok(Look::Waits(what)) => {
                        if told != what {
                            info!(key, node, until = what, "the startup taint stays");
                            told = what.into();
                        }
                        LONGEST_PAUSE_WITH_IT
                    }
                    Err(error) => {
                        let text = error.to_string();
                        if told != text {
                            warn!(error = text, key, node, "the startup taint cannot be looked after");
                            told = text;
                        }
                        match error {
                            ClusterError::Forbidden { .. } => LONGEST_PAUSE_WITHOUT,
                            _ => LONGEST_PAUSE_IN_TROUBLE,
                        }
                    }
                };
                pause = pause.min(longest);
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = looking => {}
        }
    }

    async fn look(&self) -> Result<Look, ClusterError> {
        let taints = self.taints().await?;
        let others: Vec<&Value> = taints.iter().filter(|taint| taint["key"] != *self.key).collect();
        if others.len() == taints.len() {
            return Ok(Look::Without);
        }
        if !self.health.is_ready().await {
            return Ok(Look::Waits("every socket answers"));
        }
        if !self.has_driver().await? {
            return Ok(Look::Waits("kubelet knows the driver"));
        }
        // Nobody else's change is undone: where one came between, the test fails, and nothing is done.
        let steps = json!([
            {"op": "test", "path": "/spec/taints", "value": taints},
            {"op": "replace", "path": "/spec/taints", "value": others},
        ]);
        match self.cluster.patch("patch nodes", &self.node_path(), &steps).await? {
            true => Ok(Look::Removed),
            false => Ok(Look::Overtaken),
        }
    }

    /// As they are written. A node that is not there yet has none.
    async fn taints(&self) -> Result<Vec<Value>, ClusterError> {
        // From the API server's memory. Where that is old, the patch is refused.
        let path = format!("{}?resourceVersion=0", self.node_path());
        match self.cluster.get::<Node>("get nodes", &path).await {
            Ok(node) => Ok(node.spec.taints),
            Err(ClusterError::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Kubelet makes the object of a node's drivers some time after the node's own.
    async fn has_driver(&self) -> Result<bool, ClusterError> {
        let path = format!("/apis/storage.k8s.io/v1/csinodes/{}", self.node);
        match self.cluster.get::<CsiNode>("get csinodes", &path).await {
            Ok(node) => Ok(node.has_driver()),
            Err(ClusterError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn node_path(&self) -> String {
        format!("/api/v1/nodes/{}", self.node)
    }
}
