//! Files become the volume's new content, all at once or not at all, and never a byte elsewhere.
//!
//! A volume is a tmpfs that kubelet has mounted for one pod. Its content stands in a generation, a directory of its own;
//! `..data` is a link to the current one, and every visible name is a relative link through `..data`. So one rename of
//! `..data` changes everything, as kubelet's own Secret volumes do:
//!
//! ```text
//! ..data -> ..generation-5f0c…    ..generation-5f0c…/password    password -> ..data/password    ..secretmount
//! ```
//!
//! `..secretmount` is a record of what was written, readable by root only, so that a file need not be read back to know
//! that nothing has changed. Whatever starts with `..` is skipped by the driver's own listing.
//!
//! A class may ask for plain files instead (`plain.rs`), which the official provider writes.
//!
//! Nothing below the target is open while a mount waits for AWS, nor when it answers: an open directory there makes the
//! driver's unmount fail, and the driver then takes the volume for mounted.

// Nothing that comes from outside may end the process.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

mod atomic;
mod directory;
mod headroom;
mod leftovers;
mod own;
mod plain;
mod record;
mod served;
mod stage;
mod target;
mod write;
mod writer;

pub use headroom::Lack;
pub use own::OwnDirectory;
pub use served::Held;
pub use target::{PodTarget, TargetPath, has_unique_mount_ids};
pub use writer::Volumes;

use std::io;

use crate::reason::{Explained, Reason};

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Readers see the new set.
    Changed,
    /// The set was there already; what an earlier crash had left was put right.
    Unchanged,
}

/// Why a volume was not written. Until the change-over its earlier content is untouched; where only clearing away failed, the
/// new content is there, and the next call finishes.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error("the target path {path:?} is not a volume of this pod: {problem}")]
    UnexpectedPath { path: String, problem: &'static str },
    #[error("the target {path:?} cannot be reached: {problem}. {help}")]
    Unreachable { path: String, problem: String, help: &'static str },
    #[error(
        "the target {path:?} is not the tmpfs that the driver mounts ({problem}); give the provider's kubelet directory `mountPropagation: HostToContainer`"
    )]
    NotTmpfs { path: String, problem: &'static str },
    #[error("the target {path:?} was mounted anew while its secrets were fetched; the mount is tried again")]
    Replaced { path: String },
    #[error("a newer request for this volume has been served")]
    Outdated,
    #[error("the caller went away, or the time ran out, before anything was changed")]
    GivenUp,
    #[error("the volume has no room for {bytes} bytes in {files} files")]
    NoSpace { bytes: usize, files: usize },
    #[error(
        "the file {path:?} cannot be given to the uid or gid of the class; add the capability CHOWN to the provider's container"
    )]
    NotOurs { path: String },
    #[error(
        "the set takes {} KiB with all that belongs to it, and this provider's memory limit leaves {} MiB, half of which it may take, beside {} MiB in {} volumes that it has written; raise the memory limit of the provider's container, or mount less",
        lack.size.div_ceil(1 << 10), lack.left >> 20, held.bytes >> 20, held.volumes
    )]
    NoHeadroom { lack: Lack, held: Held },
    #[error("the volume could not be written: {step}: {error}")]
    Io { step: &'static str, error: io::Error },
}

impl Explained for VolumeError {
    fn reason(&self) -> Reason {
        match self {
            Self::UnexpectedPath { .. } | Self::Unreachable { .. } => Reason::TargetUnexpected,
            Self::NotTmpfs { .. } => Reason::TargetNotTmpfs,
            Self::Replaced { .. } | Self::Outdated => Reason::TargetChanged,
            Self::GivenUp => Reason::BudgetSpent,
            Self::NoSpace { .. } => Reason::NoSpace,
            Self::NoHeadroom { .. } => Reason::MemoryLimit,
            Self::NotOurs { .. } => Reason::ChownForbidden,
            Self::Io { .. } => Reason::WriteFailed,
        }
    }
}

/// Names a step for the error of its system call.
trait Step<T> {
    fn step(self, step: &'static str) -> Result<T, VolumeError>;
}

impl<T> Step<T> for rustix::io::Result<T> {
    fn step(self, step: &'static str) -> Result<T, VolumeError> {
        self.map_err(|errno| VolumeError::Io { step, error: errno.into() })
    }
}

#[cfg(test)]
mod tests;
