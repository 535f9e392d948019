//! AWS: IRSA and Secrets Manager behind `aws.sock`.

use std::sync::Arc;

use async_trait::async_trait;
use aws_config::SdkConfig;
use tokio::sync::OnceCell;

use super::Provider;
use crate::cluster::{ClusterError, KubernetesApi};
use crate::config::Limits;
use crate::credentials::aws::{Irsa, IrsaSource};
use crate::identity::Principal;
use crate::plan::aws::{Region, StoredSecret};
use crate::plan::{FilePermission, SecretPlan};
use crate::reason::{Explained, Reason};
use crate::secrets::aws::SecretsManager;
use crate::spec::aws::Class;
use crate::spec::{Parameters, SpecError};

/// The label that cloud providers put on nodes.
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#topologykubernetesioregion>
const REGION_LABEL: &str = "topology.kubernetes.io/region";

pub struct Aws {
    cluster: Arc<dyn KubernetesApi>,
    irsa: Arc<Irsa>,
    secrets_manager: SecretsManager,
    node: Option<String>,
    /// The Region of classes that name none: given, or learned once from the label of this node.
    default_region: OnceCell<Region>,
}

impl Aws {
    /// `node` is the node this process runs on, where that is known.
    pub fn new(
        cluster: Arc<dyn KubernetesApi>,
        config: SdkConfig,
        default_region: Option<Region>,
        node: Option<String>,
    ) -> Self {
        Self {
            irsa: Arc::new(Irsa::new(cluster.clone(), config.clone())),
            secrets_manager: SecretsManager::new(config),
            cluster,
            node,
            default_region: OnceCell::new_with(default_region),
        }
    }

    /// All pods that reach this process run on its node, so the first answer holds for all.
    async fn default_region(&self, principal: &Principal) -> Result<Region, PlanError> {
        let read = async || {
            let node = match self.node.as_deref().or(principal.node()) {
                Some(node) => node.to_owned(),
                None => self.node_of(principal).await?,
            };
            let labels = self.cluster.node_labels(&node).await.map_err(PlanError::Node)?;
            let written = labels.get(REGION_LABEL).cloned().unwrap_or_default();
            written.parse().map_err(|_| PlanError::NoRegion { node, written })
        };
        self.default_region.get_or_try_init(read).await.cloned()
    }

    /// For tokens that name no node, as those of Kubernetes before 1.30.
    async fn node_of(&self, principal: &Principal) -> Result<String, PlanError> {
        let Principal::Pod(pod) = principal;
        let node = self.cluster.node_of_pod(principal.namespace(), pod.name()).await.map_err(PlanError::Node)?;
        node.ok_or(PlanError::NoNode)
    }
}

/// Why a class could not be settled.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error("the class names no `region`, and the node's cannot be read")]
    Node(#[source] ClusterError),
    #[error(
        "the class names no `region`, and the pod is on no node yet whose Region could be taken; set `region` in the class"
    )]
    NoNode,
    #[error(
        "the class names no `region`, and the label {REGION_LABEL} of node {node} is {written:?}; set `region` in the class, or AWS_REGION for the provider"
    )]
    NoRegion { node: String, written: String },
}

impl Explained for PlanError {
    fn reason(&self) -> Reason {
        match self {
            Self::Spec(error) => error.reason(),
            Self::Node(_) | Self::NoNode | Self::NoRegion { .. } => Reason::RegionUnknown,
        }
    }
}

#[async_trait]
impl Provider for Aws {
    const SOCKET: &'static str = "aws.sock";

    type Class = Class;
    type Address = StoredSecret;
    type Backend = SecretsManager;
    type Credentials = IrsaSource;
    type Error = PlanError;

    fn parse(
        &self,
        parameters: &Parameters,
        default_permission: FilePermission,
        limits: &Limits,
    ) -> Result<Class, SpecError> {
        Class::parse(parameters, default_permission, limits)
    }

    fn audience<'a>(&self, class: &'a Class) -> &'a str {
        class.audience()
    }

    async fn plan(&self, class: Class, principal: &Principal) -> Result<SecretPlan<StoredSecret>, PlanError> {
        let region = match class.region() {
            Some(region) => region.clone(),
            None => self.default_region(principal).await?,
        };
        Ok(class.plan(region)?)
    }

    fn credentials(&self, principal: &Principal) -> IrsaSource {
        self.irsa.source(principal)
    }

    fn backend(&self) -> &SecretsManager {
        &self.secrets_manager
    }
}
