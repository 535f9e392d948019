//! Whether a cluster has what mounts need: the driver, this provider and its rights. For `secretmount check --cluster`, run from
//! outside, or from a pod such as that of `helm test`.
//!
//! Only Kubernetes is asked, and nothing is changed. What whoever asks may not read is told with the right that is missing, and
//! is no mistake of the installation.

mod driver;
mod facts;
mod provider;
mod report;
mod rights;
mod started;

pub use report::{Category, Check, Outcome, Report};

use serde::Deserialize;

use crate::cluster::KubernetesClient;
use facts::Facts;

/// What is expected of the cluster.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Where this provider is.
    pub namespace: String,
    /// Directories of the nodes in which the driver looks for sockets, where its DaemonSet is not asked.
    pub provider_volumes: Vec<String>,
}

/// Looks at everything. Where the API server does not answer at all, at nothing else.
pub async fn examine(cluster: &KubernetesClient, expected: &Expected) -> Report {
    #[derive(Deserialize)]
    struct Version {
        #[serde(rename = "gitVersion")]
        version: String,
    }
    let answers = match cluster.get::<Version>("get /version", "/version").await {
        Ok(found) => Check::success(format!("the API server answers ({})", found.version)),
        Err(error) => {
            let hint = Some("kubectl get --raw /readyz".into());
            Check { hint, ..Check::unanswered("which version the API server has", &error) }
        }
    };
    let is_reached = answers.outcome != Outcome::Unreachable;
    let mut categories = vec![Category { name: "kubernetes", checks: vec![answers] }];
    if is_reached {
        let facts = Facts::gather(cluster, expected).await;
        categories.push(Category { name: "secrets store csi driver", checks: driver::checks(&facts) });
        categories.push(Category { name: "secretmount", checks: provider::checks(&facts) });
        categories.push(Category { name: "rights", checks: rights::checks(cluster, &facts).await });
    }
    Report { categories }
}
