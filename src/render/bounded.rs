//! Secret text that grows up to a limit.

use zeroize::Zeroize as _;

use crate::sensitive::SecretBytes;

/// Text that stops growing at a limit: an expression can repeat parts of a document many times over. Wiped when it is dropped.
pub struct Bounded {
    text: String,
    limit: usize,
}

impl Bounded {
    pub fn new(limit: usize) -> Self {
        Self { text: String::new(), limit }
    }

    /// `None` where there is no room for it.
    pub fn push(&mut self, part: &str) -> Option<()> {
        if self.text.len().saturating_add(part.len()) > self.limit {
            return None;
        }
        self.text.push_str(part);
        Some(())
    }

    /// As a JSON string.
    pub fn push_quoted(&mut self, text: &str) -> Option<()> {
        let mut quoted = serde_json::Value::String(text.to_owned()).to_string();
        let pushed = self.push(&quoted);
        quoted.zeroize();
        pushed
    }

    pub fn push_char(&mut self, character: char) -> Option<()> {
        self.push(character.encode_utf8(&mut [0; 4]))
    }
}

impl From<Bounded> for SecretBytes {
    fn from(mut bounded: Bounded) -> Self {
        std::mem::take(&mut bounded.text).into()
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        self.text.zeroize();
    }
}
