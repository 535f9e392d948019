//! Values that are stored in an encoding.

use base64::Engine as _;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::plan::Decoding;
use crate::sensitive::SecretBytes;

/// Why a value is not what it is said to be. Offsets count bytes from 0; what stands there is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("is no base64: at byte offset {0} is none of its characters")]
    Base64(usize),
    #[error("is no base64url: at byte offset {0} is none of its characters")]
    Base64Url(usize),
    #[error("is no hex: at byte offset {0} is no hexadecimal digit")]
    Hex(usize),
    #[error("has no whole number of encoded bytes: it is cut off, or wrongly padded")]
    Incomplete,
}

/// The bytes that a value stands for. White space in it counts for nothing, and padding may be missing.
pub fn decode(content: SecretBytes, decoding: Decoding) -> Result<SecretBytes, DecodeError> {
    match decoding {
        Decoding::None => Ok(content),
        Decoding::Base64 => base64(&content, &STANDARD, DecodeError::Base64),
        Decoding::Base64Url => base64(&content, &URL_SAFE, DecodeError::Base64Url),
        Decoding::Hex => hex(&content),
        Decoding::Auto => Ok(auto(&content).unwrap_or(content)),
    }
}

fn base64(
    content: &SecretBytes,
    alphabet: &Alphabet,
    wrong_at: fn(usize) -> DecodeError,
) -> Result<SecretBytes, DecodeError> {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let dense = without(content, |byte| byte.is_ascii_whitespace());
    let decoded = GeneralPurpose::new(alphabet, config).decode(dense.expose());
    decoded.map(SecretBytes::from).map_err(|error| match error {
        base64::DecodeError::InvalidByte(at, _) => wrong_at(offset(content, at)),
        base64::DecodeError::InvalidLastSymbol(..)
        | base64::DecodeError::InvalidLength(_)
        | base64::DecodeError::InvalidPadding => DecodeError::Incomplete,
    })
}

fn hex(content: &SecretBytes) -> Result<SecretBytes, DecodeError> {
    let dense = without(content, |byte| byte.is_ascii_whitespace());
    hex::decode(dense.expose()).map(SecretBytes::from).map_err(|error| match error {
        hex::FromHexError::InvalidHexCharacter { index, .. } => DecodeError::Hex(offset(content, index)),
        hex::FromHexError::OddLength | hex::FromHexError::InvalidStringLength => DecodeError::Incomplete,
    })
}

/// Strict, because any short word is base64 to a lenient reader.
fn auto(content: &SecretBytes) -> Option<SecretBytes> {
    let dense = without(content, |byte| matches!(byte, b'\r' | b'\n'));
    let decode = |alphabet| GeneralPurpose::new(alphabet, GeneralPurposeConfig::new()).decode(dense.expose());
    decode(&STANDARD).or_else(|_| decode(&URL_SAFE)).ok().map(SecretBytes::from)
}

fn without(content: &SecretBytes, is_dropped: impl Fn(&u8) -> bool) -> SecretBytes {
    let mut dense = Vec::with_capacity(content.len()); // not to grow, which would leave copies behind
    dense.extend(content.expose().iter().filter(|byte| !is_dropped(byte)));
    dense.into()
}

/// Where a byte was before white space was dropped.
fn offset(content: &SecretBytes, dense: usize) -> usize {
    let kept = content.expose().iter().enumerate().filter(|(_, byte)| !byte.is_ascii_whitespace());
    kept.map(|(at, _)| at).nth(dense).unwrap_or(content.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(text: &str, decoding: Decoding) -> Result<Vec<u8>, DecodeError> {
        decode(SecretBytes::from(text.to_owned()), decoding).map(|bytes| bytes.expose().to_vec())
    }

    #[test]
    fn a38_malformed_texts_are_refused_with_the_offset() {
        use Decoding::{Base64, Base64Url, Hex};
        for (text, decoding, error) in [
            ("aGk!", Base64, DecodeError::Base64(3)),
            ("aG\n k!", Base64, DecodeError::Base64(5)),
            ("-_-_", Base64, DecodeError::Base64(0)),
            ("aGk=aGk=", Base64, DecodeError::Base64(3)),
            ("+/+/", Base64Url, DecodeError::Base64Url(0)),
            ("aGkxa", Base64, DecodeError::Incomplete),
            ("aGk==", Base64, DecodeError::Base64(3)),
            ("68 6g", Hex, DecodeError::Hex(4)),
            ("686", Hex, DecodeError::Incomplete),
            ("0x68", Hex, DecodeError::Hex(1)),
        ] {
            let seen = decoded(text, decoding).expect_err(text);
            assert_eq!(seen, error, "{text}");
            assert!(!seen.to_string().contains(text), "{seen}");
        }
    }

    #[test]
    fn padding_and_white_space_do_not_matter() {
        for text in ["aGk=", "aGk", " aG\r\n\tk= ", "aGl="] {
            assert_eq!(decoded(text, Decoding::Base64).expect(text), b"hi", "{text}");
        }
        assert_eq!(decoded("-_-_", Decoding::Base64Url).expect("valid"), [0xfb, 0xff, 0xbf]);
        assert_eq!(decoded("DeadBEEF\n", Decoding::Hex).expect("valid"), [0xde, 0xad, 0xbe, 0xef]);
        for decoding in [Decoding::Base64, Decoding::Base64Url, Decoding::Hex, Decoding::Auto, Decoding::None] {
            assert_eq!(decoded("", decoding).expect("empty"), b"");
        }
    }

    #[test]
    fn auto_decodes_what_is_whole_and_leaves_the_rest() {
        for (text, bytes) in [("aGk=", &b"hi"[..]), ("aGk=\n", b"hi"), ("_-_-", &[0xff, 0xef, 0xfe])] {
            assert_eq!(decoded(text, Decoding::Auto).expect(text), bytes, "{text}");
        }
        for text in ["aGk", "hunter2!", "aG k=", "postgres://x"] {
            assert_eq!(decoded(text, Decoding::Auto).expect(text), text.as_bytes(), "{text}");
        }
    }

    /// Bit by bit, as RFC 4648 has it.
    fn reference(text: &str, alphabet: &str, bits: u32) -> Option<Vec<u8>> {
        let (mut value, mut count, mut bytes) = (0u32, 0, Vec::new());
        for c in text.chars().filter(|c| !c.is_ascii_whitespace() && *c != '=') {
            value = value << bits | u32::try_from(alphabet.find(c)?).ok()?;
            count += bits;
            if count >= 8 {
                count -= 8;
                bytes.push(u8::try_from(value >> count & 0xff).ok()?);
            }
        }
        (count < bits).then_some(bytes)
    }

    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

    proptest! {
        #[test]
        fn what_is_decoded_is_what_the_rfc_says(text in "[A-Za-z0-9+/ \n]{0,40}={0,2}|[A-Za-z0-9_-]{0,12}|[0-9a-f]{0,12}") {
            let padded = text.trim_end().len() - text.trim_end().trim_end_matches('=').len();
            let digits = text.chars().filter(|c| !c.is_ascii_whitespace() && *c != '=').count();
            let has_room = padded <= (4 - digits % 4) % 4;
            for (alphabet, decoding) in [("+/", Decoding::Base64), ("-_", Decoding::Base64Url)] {
                let expected = reference(&text, &format!("{LETTERS}{alphabet}"), 6).filter(|_| has_room);
                prop_assert_eq!(decoded(&text, decoding).ok(), expected, "{:?} {:?}", text, decoding);
            }
            if padded == 0 {
                let expected = reference(&text.to_lowercase(), "0123456789abcdef", 4);
                prop_assert_eq!(decoded(&text, Decoding::Hex).ok(), expected, "{:?}", text);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            for decoding in [Decoding::Base64, Decoding::Base64Url, Decoding::Hex, Decoding::Auto] {
                let _ = decode(bytes.clone().into(), decoding);
            }
        }
    }
}
