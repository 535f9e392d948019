//! One cloud, as the pipeline sees it: its socket, its grammar, its way to credentials and its stores.
//!
//! The pipeline is generic over this, so that another cloud is another implementation beside `aws` and nothing above
//! changes. An implementation only puts together what its folders under `spec`, `credentials` and `secrets` hold.

#[cfg(feature = "aws")]
pub mod aws;

use std::sync::Arc;

use async_trait::async_trait;

use crate::clock::{Freshness, Instant};
use crate::config::Limits;
use crate::identity::Principal;
use crate::plan::{Address, FilePermission, SecretPlan};
use crate::reason::Explained;
use crate::secrets::{CredentialSource, SecretBackend};
use crate::sensitive::MountSecrets;
use crate::spec::{Parameters, SpecError};

#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Name of the socket in the driver's directory: the driver appends `.sock` to the class's `provider`.
    const SOCKET: &'static str;

    /// A class whose text is right, and which may leave open what depends on the pod's node.
    type Class: Send + Sync;
    type Address: Address;
    type Backend: SecretBackend<Address = Self::Address>;
    type Credentials: CredentialSource<
            Place = <Self::Address as Address>::Place,
            Credentials = <Self::Backend as SecretBackend>::Credentials,
        >;
    type Error: Explained;

    /// Reads a class. Asks nobody.
    fn parse(
        &self,
        parameters: &Parameters,
        default_permission: FilePermission,
        limits: &Limits,
    ) -> Result<Self::Class, SpecError>;

    /// The audiences that the token a class needs may be for, the best first.
    fn audiences(&self, class: &Self::Class) -> &[String];

    /// The way to credentials that a class names, in a word for logs.
    fn way(&self, class: &Self::Class) -> &'static str;

    /// Settles what a class leaves open, for a pod that is proved, and refuses what the operator does not allow it.
    /// Mounts of a class may share it.
    async fn plan(
        &self,
        class: &Self::Class,
        principal: &Principal,
    ) -> Result<Arc<SecretPlan<Self::Address>>, Self::Error>;

    /// Refuses what the operator does not allow a pod, of a plan whose addresses were only found.
    ///
    /// # Errors
    /// The first address that is not allowed.
    fn check(
        &self,
        class: &Self::Class,
        principal: &Principal,
        plan: &SecretPlan<Self::Address>,
    ) -> Result<(), Self::Error>;

    /// The credentials that a principal can have, by the way that the class names and until `deadline`; `secrets` came with the
    /// request. What they depend on, such as an annotation, may have been read as long ago as `freshness` allows. Nothing is
    /// asked before they are needed.
    fn credentials(
        &self,
        class: &Self::Class,
        principal: &Principal,
        secrets: &MountSecrets,
        freshness: Freshness,
        deadline: Instant,
    ) -> Result<Self::Credentials, Self::Error>;

    /// How many credentials are kept, and what they take in bytes.
    fn credentials_kept(&self) -> (usize, usize);

    fn backend(&self) -> Arc<Self::Backend>;
}
