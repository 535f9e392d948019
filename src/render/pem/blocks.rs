//! PEM: text in which blocks of base64 stand between lines that say what they are.
//!
//! Not the reader of `rustls-pki-types`: it leaves copies of keys behind, and passes over what it does not know, such as
//! encrypted keys.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroize as _;

use super::key::KeyFormat;
use super::{MAX_BLOCKS, PemError};
use crate::sensitive::SecretBytes;

/// <https://www.rfc-editor.org/rfc/rfc7468#section-2>: padding may be missing, as many readers have it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Bytes that a line of 64 characters stands for.
const BYTES_A_LINE: usize = 48;

/// One block, decoded.
pub struct Block {
    /// Counted from 1, through all texts.
    pub number: usize,
    pub kind: Kind,
    pub content: SecretBytes,
    /// How a key was encrypted, where lines before the base64 say so.
    headers: Option<SecretBytes>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Certificate,
    Key(KeyFormat),
    /// The curve of a key.
    Parameters,
    Other,
}

impl Block {
    /// As a text of its own: lines of 64 characters, and nothing around it.
    pub fn text(&self) -> SecretBytes {
        let label = match self.kind {
            Kind::Certificate => "CERTIFICATE",
            Kind::Key(format) => format.label(),
            Kind::Parameters | Kind::Other => "PARAMETERS", // neither is ever written
        };
        let headers = self.headers.as_ref().map_or(0, SecretBytes::len);
        let lines = self.content.len().div_ceil(BYTES_A_LINE);
        // Not to grow, which would leave copies behind.
        let mut out = Vec::with_capacity(lines.saturating_mul(65).saturating_add(headers).saturating_add(100));
        out.extend_from_slice(format!("-----BEGIN {label}-----\n").as_bytes());
        out.extend_from_slice(self.headers.as_ref().map_or(&[], |headers| headers.expose()));
        let mut line = [0; 64];
        for bytes in self.content.expose().chunks(BYTES_A_LINE) {
            let length = BASE64.encode_slice(bytes, &mut line).unwrap_or_default(); // 48 bytes are 64 characters
            out.extend_from_slice(line.get(..length).unwrap_or_default());
            out.push(b'\n');
        }
        line.zeroize();
        out.extend_from_slice(format!("-----END {label}-----\n").as_bytes());
        out.into()
    }
}

/// Adds the blocks of a text to those of the texts before. What stands between them is nothing.
pub fn blocks(text: &[u8], blocks: &mut Vec<Block>) -> Result<(), PemError> {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    while let Some(line) = lines.next() {
        let number = blocks.len().saturating_add(1);
        let Some(label) = line.strip_prefix(b"-----BEGIN ") else {
            // The end of a block whose beginning is lost, or two blocks in one line.
            if line.starts_with(b"-----END ") {
                return Err(PemError::Broken(number));
            }
            continue;
        };
        let label = label.strip_suffix(b"-----").ok_or(PemError::Broken(number))?;
        if number > MAX_BLOCKS {
            return Err(PemError::TooManyBlocks);
        }
        let block = block(label, &mut lines, number, text.len()).ok_or(PemError::Broken(number))?;
        blocks.push(block);
    }
    Ok(())
}

/// `size` is at least that of the block.
fn block<'a>(label: &[u8], lines: &mut impl Iterator<Item = &'a [u8]>, number: usize, size: usize) -> Option<Block> {
    if !label.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') || label.windows(2).any(|pair| pair == b"--")
    {
        return None; // the lines of the block are one
    }
    let mut kind = kind(label);
    let mut base64 = Vec::with_capacity(size);
    let mut headers: Option<Vec<u8>> = None;
    let decoded = loop {
        let Some(line) = lines.next() else { break None };
        if let Some(end) = line.strip_prefix(b"-----END ") {
            break (end.strip_suffix(b"-----") == Some(label)).then(|| BASE64.decode(&base64).ok()).flatten();
        }
        // <https://www.rfc-editor.org/rfc/rfc1421#section-4.6>, which OpenSSL's own encryption of keys still uses.
        if base64.is_empty() && (line.contains(&b':') || headers.is_some() && line.is_empty()) {
            let headers = headers.get_or_insert_with(|| Vec::with_capacity(size));
            headers.extend_from_slice(line);
            headers.push(b'\n');
        } else {
            base64.extend_from_slice(line);
        }
    };
    base64.zeroize();
    let headers = headers.map(SecretBytes::from);
    let is_encrypted = |headers: &SecretBytes| headers.expose().windows(9).any(|word| word == b"ENCRYPTED");
    let headers = headers.filter(is_encrypted);
    if let (Kind::Key(format), Some(_)) = (&mut kind, &headers) {
        *format = format.encrypted();
    }
    let content = SecretBytes::from(decoded?);
    (!content.is_empty()).then_some(Block { number, kind, content, headers })
}

/// <https://www.rfc-editor.org/rfc/rfc7468#section-4>, and what OpenSSL reads besides.
fn kind(label: &[u8]) -> Kind {
    match label {
        b"CERTIFICATE" | b"X509 CERTIFICATE" | b"X.509 CERTIFICATE" => Kind::Certificate,
        b"PRIVATE KEY" => Kind::Key(KeyFormat::Pkcs8),
        b"ENCRYPTED PRIVATE KEY" => Kind::Key(KeyFormat::EncryptedPkcs8),
        b"RSA PRIVATE KEY" => Kind::Key(KeyFormat::Pkcs1 { is_encrypted: false }),
        b"EC PRIVATE KEY" => Kind::Key(KeyFormat::Sec1 { is_encrypted: false }),
        b"EC PARAMETERS" => Kind::Parameters,
        _ => Kind::Other,
    }
}
