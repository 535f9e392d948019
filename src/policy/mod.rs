//! What the operator of the cluster lets each namespace ask for, whatever AWS would allow.
//!
//! The grammar of the rules belongs to a cloud, as that of classes does. Without a policy everything is allowed; with one,
//! only what it names.

#[cfg(feature = "aws")]
pub mod aws;
