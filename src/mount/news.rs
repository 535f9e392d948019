//! What owners of pods should hear of their volumes, and would not hear from kubelet: it tells of first mounts only.

use crate::identity::ClaimedPod;
use crate::reason::Reason;

/// Whoever passes news on. Is not waited for, so it must not take long.
pub trait Listener: Send + Sync + 'static {
    /// Whether it is passed on. There may be no room for it, and then it is worth being told again.
    fn hear(&self, of: Concerned<'_>, news: News<'_>) -> bool;
}

/// The volume that news are of.
#[derive(Debug, Clone, Copy)]
pub struct Concerned<'a> {
    pub pod: &'a ClaimedPod,
    pub volume: &'a str,
    /// Name of its SecretProviderClass.
    pub class: &'a str,
    /// Where it is, once that is known.
    pub node: Option<&'a str>,
}

/// What has happened to a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News<'a> {
    /// It keeps its files, because it cannot be refreshed. Told once, and again while that goes on, but not often.
    RefreshFailed { reason: Reason, error: &'a str },
    /// It can be refreshed again.
    RefreshRecovered,
    /// It has files of other versions than before: their paths and their versions.
    Rotated(&'a [(String, String)]),
    /// Optional objects were not there: their places in the class, and why. Told with each refresh.
    ObjectsMissing(&'a [(usize, String)]),
    /// What is wrong with its class without stopping mounts. Told with each mount and refresh.
    ClassWarnings(&'a [String]),
}

/// Nobody listens.
impl Listener for () {
    fn hear(&self, _: Concerned<'_>, _: News<'_>) -> bool {
        true
    }
}
