//! The finished content of a volume.

use std::collections::BTreeMap;

use super::{FilePermission, RelativePath};
use crate::sensitive::SecretBytes;

/// One file, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub permission: FilePermission,
    pub content: SecretBytes,
    /// Changes when, and only when, the secret behind the file has got another version.
    pub version: String,
}

/// The files of one volume by path. No path in it is the parent of another, since a [`SecretPlan`](super::SecretPlan) has none.
pub type Files = BTreeMap<RelativePath, File>;
