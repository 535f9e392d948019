//! The Secrets Store CSI driver, as a provider sees it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::v1alpha1::csi_driver_provider_client::CsiDriverProviderClient;
use super::v1alpha1::{MountRequest, MountResponse, VersionRequest, VersionResponse};
use super::{Class, Volume};
use crate::{Pod, Token};

const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";

/// A connection to a provider's socket.
#[derive(Clone, Debug)]
pub struct Driver {
    client: CsiDriverProviderClient<Channel>,
}

impl Driver {
    /// Dials a socket.
    pub async fn dial(socket: &Path) -> Result<Self, tonic::transport::Error> {
        let channel = Endpoint::from_shared(format!("unix://{}", socket.display()))?.connect().await?;
        Ok(Self { client: CsiDriverProviderClient::new(channel) })
    }

    /// Asks for the provider's version.
    pub async fn version(&self) -> Result<VersionResponse, Status> {
        let request = VersionRequest { version: "v1alpha1".into() };
        Ok(self.client.clone().version(request).await?.into_inner())
    }

    /// Asks for a mount.
    pub async fn mount(&self, mount: &Mount) -> Result<MountResponse, Status> {
        let mut request = Request::new(mount.request());
        request.set_timeout(mount.timeout);
        Ok(self.client.clone().mount(request).await?.into_inner())
    }
}

/// What a driver says of one mount.
#[derive(Clone, Debug)]
pub struct Mount {
    attributes: BTreeMap<String, String>,
    tokens: BTreeMap<String, serde_json::Value>,
    tokens_in_secrets: bool,
    secrets: serde_json::Map<String, serde_json::Value>,
    target: String,
    permission: String,
    timeout: Duration,
}

impl Mount {
    /// A mount of a class for a pod, at a target path. No token yet.
    pub fn new(pod: &Pod, class: &Class, target: &Path) -> Self {
        let mut attributes = class.parameters.clone();
        for (name, value) in [
            ("csi.storage.k8s.io/pod.name", pod.name.as_str()),
            ("csi.storage.k8s.io/pod.namespace", &pod.namespace),
            ("csi.storage.k8s.io/pod.uid", &pod.uid),
            ("csi.storage.k8s.io/serviceAccount.name", &pod.service_account),
            ("csi.storage.k8s.io/ephemeral", "true"),
            ("secretProviderClass", &class.name),
        ] {
            attributes.insert(name.into(), value.into());
        }
        Self {
            attributes,
            tokens: BTreeMap::new(),
            tokens_in_secrets: false,
            secrets: serde_json::Map::new(),
            target: target.display().to_string(),
            permission: "420".into(),
            timeout: Duration::from_secs(120), // kubelet's for a CSI call
        }
    }

    /// A mount into a volume.
    pub fn into(pod: &Pod, class: &Class, volume: &Volume) -> Self {
        Self::new(pod, class, volume.path())
    }

    /// Adds a token under an audience.
    #[must_use]
    pub fn token(mut self, audience: &str, token: &Token) -> Self {
        let entry = json!({"token": token.as_str(), "expirationTimestamp": token.expiration()});
        self.tokens.insert(audience.into(), entry);
        self
    }

    /// Sends the tokens among the secrets, as for a CSIDriver with `serviceAccountTokenInSecrets`.
    #[must_use]
    pub fn tokens_in_secrets(mut self) -> Self {
        self.tokens_in_secrets = true;
        self
    }

    /// Adds an entry of the Secret that the pod's volume names in `nodePublishSecretRef`.
    #[must_use]
    pub fn secret(mut self, name: &str, value: &str) -> Self {
        self.secrets.insert(name.into(), value.into());
        self
    }

    /// Sets an attribute, whatever it is.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }

    /// Sets how long the caller waits.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the JSON of the default mode.
    #[must_use]
    pub fn permission(mut self, permission: &str) -> Self {
        self.permission = permission.into();
        self
    }

    /// Sets the target path, whatever it is.
    #[must_use]
    pub fn target(mut self, target: &str) -> Self {
        self.target = target.into();
        self
    }

    fn request(&self) -> MountRequest {
        let mut attributes = self.attributes.clone();
        let mut secrets = self.secrets.clone();
        if !self.tokens.is_empty() {
            let tokens = json!(self.tokens).to_string();
            match self.tokens_in_secrets {
                true => drop(secrets.insert(TOKENS.into(), tokens.into())),
                false => drop(attributes.insert(TOKENS.into(), tokens)),
            }
        }
        // What the driver makes of none.
        let secrets = if secrets.is_empty() { json!(null) } else { json!(secrets) };
        MountRequest {
            attributes: json!(attributes).to_string(),
            secrets: secrets.to_string(),
            target_path: self.target.clone(),
            permission: self.permission.clone(),
            current_object_version: Vec::new(),
        }
    }
}
