//! A node of the cluster: kubelet's directory with its volumes, the driver's calls, and a provider process.
//!
//! It does what kubelet 1.34 and the Secrets Store CSI driver 1.6.0 do as far as a provider can tell: a tmpfs for each
//! volume, attributes and tokens as the driver sends them, the driver's deadline. The provider is any program that serves
//! the driver's API on a socket.

mod class;
mod driver;
mod provider;
mod volume;

pub use class::Class;
pub use driver::{Driver, Mount};
pub use provider::Provider;
pub use tonic::Status;
pub use volume::{Entry, Volume};

/// Generated from the driver's API.
#[allow(clippy::all, clippy::pedantic, reason = "generated code")]
pub mod v1alpha1 {
    tonic::include_proto!("v1alpha1");

    impl std::fmt::Debug for MountRequest {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("MountRequest(redacted)")
        }
    }

    /// Versions only.
    impl std::fmt::Debug for MountResponse {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("MountResponse").field("object_version", &self.object_version).finish_non_exhaustive()
        }
    }

    /// Path and mode only.
    impl std::fmt::Debug for File {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("File").field("path", &self.path).field("mode", &self.mode).finish_non_exhaustive()
        }
    }
}

use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Pod;

/// A node with directories of its own below the system's temporary one. They go when it is dropped.
#[derive(Debug)]
pub struct Node {
    root: TempDir,
}

impl Node {
    /// A node without volumes.
    pub fn new() -> io::Result<Self> {
        let root = tempfile::Builder::new().prefix("node-").tempdir()?;
        std::fs::create_dir_all(root.path().join("kubelet/pods"))?;
        std::fs::create_dir(root.path().join("providers"))?;
        Ok(Self { root })
    }

    /// Kubelet's root directory, elsewhere `/var/lib/kubelet`.
    pub fn kubelet_dir(&self) -> PathBuf {
        self.root.path().join("kubelet")
    }

    /// Where the driver looks for sockets of providers.
    pub fn providers_dir(&self) -> PathBuf {
        self.root.path().join("providers")
    }

    /// A place for other files of a test, removed with the node.
    pub fn scratch(&self) -> &Path {
        self.root.path()
    }

    /// Mounts a volume for a pod, as the driver does before it calls a provider.
    ///
    /// # Errors
    /// Where this process may not mount anything.
    pub fn publish(&self, pod: &Pod, name: &str) -> io::Result<Volume> {
        Volume::mount(self.target(pod, name))
    }

    /// The directory of a volume without anything mounted on it.
    pub fn unmounted(&self, pod: &Pod, name: &str) -> io::Result<PathBuf> {
        let target = self.target(pod, name);
        std::fs::create_dir_all(&target)?;
        Ok(target)
    }

    fn target(&self, pod: &Pod, name: &str) -> PathBuf {
        self.kubelet_dir().join("pods").join(&pod.uid).join("volumes/kubernetes.io~csi").join(name).join("mount")
    }
}
