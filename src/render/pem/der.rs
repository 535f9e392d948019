//! As much of DER as certificates and keys are taken apart with: <https://www.itu.int/rec/T-REC-X.690>.
//!
//! Of a certificate a few fields are needed, and the parser that TLS brings along does not show when it ends. `x509-cert` would
//! make the binary 70 kB larger, `x509-parser` 130.

pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const OCTET_STRING: u8 = 0x04;
pub const OBJECT_IDENTIFIER: u8 = 0x06;
pub const UTC_TIME: u8 = 0x17;
pub const GENERALIZED_TIME: u8 = 0x18;
pub const SEQUENCE: u8 = 0x30;

/// One element.
#[derive(Debug, Clone, Copy)]
pub struct Element<'a> {
    pub tag: u8,
    pub content: &'a [u8],
    /// With tag and length.
    pub whole: &'a [u8],
}

/// Elements one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    pub fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next one, which must have this tag.
    pub fn expect(&mut self, tag: u8) -> Option<Element<'a>> {
        self.next().filter(|element| element.tag == tag)
    }

    /// The next one where it has this tag.
    pub fn optional(&mut self, tag: u8) -> Option<Element<'a>> {
        let element = self.clone().expect(tag)?;
        self.next();
        Some(element)
    }

    /// That there is nothing more.
    pub fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    /// Tags are single bytes and lengths as short as they can be, which is so in everything that is read here.
    fn next(&mut self) -> Option<Element<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = digits.iter().fold(0, |length: usize, digit| length << 8 | usize::from(*digit));
                let shortest = if digits.len() == 1 {
                    0x80
                } else {
                    1usize.checked_shl(digits.len().checked_sub(1)?.checked_mul(8)?.try_into().ok()?)?
                };
                (length >= shortest).then_some((length, rest))?
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        let whole = self.0.get(..self.0.len().checked_sub(rest.len())?)?;
        self.0 = rest;
        (tag & 0x1f != 0x1f).then_some(Element { tag, content, whole })
    }
}

/// The one element that some bytes are.
pub fn single(bytes: &[u8]) -> Option<Element<'_>> {
    let mut elements = Elements::of(bytes);
    let element = elements.next()?;
    elements.end()?;
    Some(element)
}

/// The elements of the one sequence that some bytes are.
pub fn sequence(bytes: &[u8]) -> Option<Elements<'_>> {
    single(bytes).filter(|element| element.tag == SEQUENCE).map(|element| Elements::of(element.content))
}
