//! Trades the proved token of a [`Principal`](crate::identity::Principal) for temporary credentials.
//!
//! Nothing is handed out without a principal that was proved in the same request, and nothing but what the pod's own token
//! is worth: no credentials of the node, of this process or of the environment are ever used.
//!
//! Not here: whether a token is genuine (`identity`), what the credentials read (`secrets`, whose
//! [`CredentialSource`](crate::secrets::CredentialSource) is implemented here).

mod accounts;
#[cfg(feature = "aws")]
pub mod aws;

pub use accounts::ServiceAccounts;
