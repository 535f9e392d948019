//! Encodings in which values are stored.

use std::str::FromStr;

/// What becomes of a value before it is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Decoding {
    /// It stays as it is.
    #[default]
    None,
    /// [RFC 4648](https://www.rfc-editor.org/rfc/rfc4648), section 4.
    Base64,
    /// Section 5 there: the alphabet for URLs and file names.
    Base64Url,
    /// Section 8 there, in either case.
    Hex,
    /// One of the two alphabets of base64 where the value is whole and padded in it, and otherwise none.
    Auto,
}

/// Why a text is no [`Decoding`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write one of none, base64, base64url, hex and auto")]
pub struct InvalidDecoding;

impl FromStr for Decoding {
    type Err = InvalidDecoding;

    fn from_str(raw: &str) -> Result<Self, InvalidDecoding> {
        match raw.to_ascii_lowercase().as_str() {
            "none" => Ok(Self::None),
            "base64" => Ok(Self::Base64),
            "base64url" => Ok(Self::Base64Url),
            "hex" => Ok(Self::Hex),
            "auto" => Ok(Self::Auto),
            _ => Err(InvalidDecoding),
        }
    }
}
