//! AWS: IRSA and EKS Pod Identity, Secrets Manager and Parameter Store behind `aws.sock`.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::Provider;
use crate::clock::{Freshness, Instant};
use crate::cluster::{ClusterError, KubernetesApi};
use crate::config::Limits;
use crate::credentials::aws::{AwsCredentials, Exchange, StaticKeysError};
use crate::identity::Principal;
use crate::plan::aws::{Origin, Region, Stored};
use crate::plan::{FilePermission, SecretPlan};
use crate::policy::aws::{Policy, Refusal};
use crate::reason::{Explained, Reason};
use crate::secrets::aws::AwsBackend;
use crate::sensitive::MountSecrets;
use crate::spec::aws::Class;
use crate::spec::{Parameters, SpecError};

/// The label that cloud providers put on nodes.
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#topologykubernetesioregion>
const REGION_LABEL: &str = "topology.kubernetes.io/region";

/// Audience of the tokens that EKS Pod Identity takes.
/// <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html>
const POD_IDENTITY_AUDIENCE: &str = "pods.eks.amazonaws.com";

pub struct Aws {
    cluster: Arc<dyn KubernetesApi>,
    exchange: Exchange,
    backend: Arc<AwsBackend>,
    policy: Arc<Policy>,
    irsa_audiences: Vec<String>,
    pod_identity_audiences: Vec<String>,
    /// For credentials that no token is exchanged for: then it only proves the pod.
    any_audiences: Vec<String>,
    node: Option<String>,
    /// The Region of classes that name none: given, or learned once from the label of this node.
    default_region: OnceCell<Region>,
}

impl Aws {
    /// `irsa_audiences` are those that the account's IAM OIDC provider takes tokens for. `node` is the node this process
    /// runs on, where that is known.
    pub fn new(
        cluster: Arc<dyn KubernetesApi>,
        exchange: Exchange,
        backend: AwsBackend,
        policy: Arc<Policy>,
        irsa_audiences: Vec<String>,
        default_region: Option<Region>,
        node: Option<String>,
    ) -> Self {
        let pod_identity_audiences = vec![POD_IDENTITY_AUDIENCE.to_owned()];
        Self {
            cluster,
            exchange,
            backend: Arc::new(backend),
            policy,
            any_audiences: [&irsa_audiences[..], &pod_identity_audiences].concat(),
            irsa_audiences,
            pod_identity_audiences,
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

/// A class, and the plan that its mounts share while some are under way: a node's start has a hundred of one class.
pub struct Settled {
    class: Class,
    plan: Mutex<Weak<SecretPlan<Arc<Stored>>>>,
}

impl Settled {
    /// `default_region` is the same with each call, since all of a process run on one node.
    fn plan(&self, default_region: &Region) -> Result<Arc<SecretPlan<Arc<Stored>>>, SpecError> {
        let mut shared = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = shared.upgrade() {
            return Ok(plan);
        }
        let plan = Arc::new(self.class.plan(default_region)?);
        *shared = Arc::downgrade(&plan);
        Ok(plan)
    }
}

/// Why a class could not be settled.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    NotAllowed(#[from] Refusal),
    #[error(transparent)]
    StaticKeys(#[from] StaticKeysError),
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
            Self::NotAllowed(refusal) => refusal.reason(),
            Self::StaticKeys(error) => error.reason(),
            Self::Node(_) | Self::NoNode | Self::NoRegion { .. } => Reason::RegionUnknown,
        }
    }
}

#[async_trait]
impl Provider for Aws {
    const SOCKET: &'static str = "aws.sock";

    type Class = Settled;
    type Address = Arc<Stored>;
    type Backend = AwsBackend;
    type Credentials = AwsCredentials;
    type Error = PlanError;

    fn parse(
        &self,
        parameters: &Parameters,
        default_permission: FilePermission,
        limits: &Limits,
    ) -> Result<Settled, SpecError> {
        let class = Class::parse(parameters, default_permission, limits)?;
        Ok(Settled { class, plan: Mutex::default() })
    }

    fn audiences(&self, Settled { class, .. }: &Settled) -> &[String] {
        match class.authentication().origin {
            Origin::Irsa { .. } => &self.irsa_audiences,
            Origin::PodIdentity(_) => &self.pod_identity_audiences,
            Origin::NodePublishSecret => &self.any_audiences,
        }
    }

    fn way(&self, Settled { class, .. }: &Settled) -> &'static str {
        match class.authentication().origin {
            Origin::Irsa { .. } => "irsa",
            Origin::PodIdentity(_) => "podIdentity",
            Origin::NodePublishSecret => "nodePublishSecret",
        }
    }

    async fn plan(&self, class: &Settled, principal: &Principal) -> Result<Arc<SecretPlan<Arc<Stored>>>, PlanError> {
        let region = match class.class.region() {
            Some(region) => region.clone(),
            None => self.default_region(principal).await?,
        };
        let plan = class.plan(&region)?;
        self.check(class, principal, &plan)?;
        Ok(plan)
    }

    fn check(
        &self,
        Settled { class, .. }: &Settled,
        principal: &Principal,
        plan: &SecretPlan<Arc<Stored>>,
    ) -> Result<(), PlanError> {
        Ok(self.policy.check(principal.namespace(), class.authentication(), plan)?)
    }

    fn credentials(
        &self,
        Settled { class, .. }: &Settled,
        principal: &Principal,
        secrets: &MountSecrets,
        freshness: Freshness,
        deadline: Instant,
    ) -> Result<AwsCredentials, PlanError> {
        Ok(self.exchange.source(principal, class.authentication(), secrets, freshness, deadline)?)
    }

    fn credentials_kept(&self) -> (usize, usize) {
        self.exchange.sessions_kept()
    }

    fn backend(&self) -> Arc<AwsBackend> {
        self.backend.clone()
    }
}
