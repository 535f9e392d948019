//! What a value must be like to be mounted.

use super::{PemText, Regexp};

/// Rules that a value is held against as it is stored. By default there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// It has at least one byte.
    pub not_empty: bool,
    /// It is JSON.
    pub json: bool,
    /// It is JSON with these keys at the top, none of them null.
    pub keys: Vec<String>,
    /// This is found in it.
    pub regexp: Option<Regexp>,
    /// It is PEM.
    pub pem: bool,
    /// It has certificates, and those that have issued none of the others have not ended.
    pub not_expired: bool,
    /// What the two are about.
    pub pem_text: PemText,
}
