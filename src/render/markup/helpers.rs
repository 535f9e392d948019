//! What can be done with values. `docs/parameters.md` lists it.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::value::{Text, Value};
use super::{Filler, Problem, STEPS_AN_ITEM};
use crate::plan::markup::Helper;
use crate::plan::{Decoding, PemPart};
use crate::render::bounded::Bounded;
use crate::render::decode::decode;
use crate::render::formats::quoted;
use crate::render::json::Document;
use crate::render::pem::Bundle;
use crate::sensitive::SecretBytes;

/// Steps that a byte of JSON costs: what is read of it is some ten times its text.
const STEPS_A_BYTE_OF_JSON: usize = 2;
/// Most spaces of `indent`.
const MAX_INDENT: u32 = 100;

impl<'a> Filler<'a, '_> {
    pub fn help(&mut self, helper: Helper, arguments: &[Value<'a>]) -> Result<Value<'a>, Problem> {
        let name = helper.as_str();
        match (helper, arguments) {
            (Helper::Json, [Value::Text(text)]) => self.document(text),
            (Helper::ToJson, [value]) => {
                let value = value.clone();
                let limit = self.budget.bytes_of_markup().min(self.limit);
                let mut out = Bounded::new(limit);
                self.write_json(&value, &mut out)?;
                self.given(out.into())
            }
            (Helper::Join, [list, rest @ ..]) => {
                let between = match rest {
                    [] => Text::Written(""),
                    [between, ..] => self.text(between)?,
                };
                let items = self.items(list.clone(), 1)?;
                let mut texts = Vec::new();
                for item in items.iter().filter_map(|item| item.first()) {
                    texts.push(self.text(item)?);
                }
                self.made(|out| {
                    for (index, text) in texts.iter().enumerate() {
                        if index > 0 {
                            out.push(between.as_str()?).ok_or(Problem::TooExpensive)?;
                        }
                        out.push(text.as_str()?).ok_or(Problem::TooExpensive)?;
                    }
                    Ok(())
                })
            }
            (Helper::Base64Encode, [value]) => {
                let text = self.text(value)?;
                let length = text.bytes().len().div_ceil(3).saturating_mul(4);
                if length > self.limit {
                    return Err(Problem::TooLarge);
                }
                self.pay(0, length)?;
                let mut encoded = vec![0; length];
                BASE64.encode_slice(text.bytes(), &mut encoded).map_err(|_| Problem::TooLarge)?; // it is as long as that
                self.given(encoded.into())
            }
            (Helper::Base64Decode, [Value::Text(text)]) => {
                self.pay(0, text.bytes().len())?;
                let decoded = decode(SecretBytes::from(text.bytes().to_vec()), Decoding::Base64);
                self.given(decoded.map_err(Problem::NotBase64)?)
            }
            (Helper::PemKey, [Value::Text(text)]) => self.pem(name, PemPart::Key, text),
            (Helper::PemCertificate, [Value::Text(text)]) => self.pem(name, PemPart::Certificate, text),
            (Helper::PemChain, [Value::Text(text)]) => self.pem(name, PemPart::Chain, text),
            (Helper::PemFullChain, [Value::Text(text)]) => self.pem(name, PemPart::FullChain, text),
            (Helper::PemBundle, [Value::Text(text)]) => self.pem(name, PemPart::Bundle, text),
            (helper, [value, rest @ ..]) => {
                let text = self.text(value)?;
                let text = text.as_str()?;
                self.pay(0, text.len())?;
                match (helper, rest) {
                    (Helper::Quote, []) => self.made(|out| quoted(text, out).ok_or(Problem::TooExpensive)),
                    (Helper::Trim, []) => self.copied(text.trim()),
                    (Helper::Upper, []) => self.each(text.chars().flat_map(char::to_uppercase)),
                    (Helper::Lower, []) => self.each(text.chars().flat_map(char::to_lowercase)),
                    (Helper::UrlEncode, []) => self.made(|out| url_encoded(text, out).ok_or(Problem::TooExpensive)),
                    (Helper::Indent, [Value::Number(spaces @ ..=MAX_INDENT)]) => {
                        let spaces = " ".repeat(*spaces as usize);
                        self.made(|out| indented(text, &spaces, out).ok_or(Problem::TooExpensive))
                    }
                    (Helper::Replace, [Value::Text(from), Value::Text(to)]) => {
                        let (from, to) = (from.as_str()?, to.as_str()?);
                        if from.is_empty() {
                            return Err(Problem::NothingToReplace);
                        }
                        self.made(|out| replaced(text, from, to, out).ok_or(Problem::TooExpensive))
                    }
                    (Helper::Split, [Value::Text(at)]) => {
                        let at = at.as_str()?;
                        let mut items = Vec::new();
                        // Between all characters where it is empty, which nobody means.
                        for item in text.split(at).take(if at.is_empty() { 0 } else { usize::MAX }) {
                            self.pay(STEPS_AN_ITEM, 0)?;
                            items.push(self.copied(item)?);
                        }
                        Ok(Value::List(Rc::new(items)))
                    }
                    _ => Err(Problem::WrongArgument(name)),
                }
            }
            _ => Err(Problem::WrongArgument(name)),
        }
    }

    fn copied(&mut self, text: &str) -> Result<Value<'a>, Problem> {
        self.pay(1, text.len())?;
        Ok(Value::Text(Text::Made(Rc::new(SecretBytes::from(text.to_owned())))))
    }

    fn each(&mut self, mut characters: impl Iterator<Item = char>) -> Result<Value<'a>, Problem> {
        self.made(|out| characters.try_for_each(|character| out.push_char(character)).ok_or(Problem::TooExpensive))
    }

    /// What a text says as JSON. That of a file is read once, however often it is asked for.
    fn document(&mut self, text: &Text<'a>) -> Result<Value<'a>, Problem> {
        let place = match text {
            Text::Of(bytes) => Some((bytes.as_ptr(), bytes.len())),
            Text::Written(_) | Text::Made(_) => None,
        };
        let known = place.and_then(|place| self.documents.get(&place).cloned());
        let document = match known {
            Some(known) => known,
            None => {
                self.pay(text.bytes().len().saturating_mul(STEPS_A_BYTE_OF_JSON), 0)?;
                let document = Rc::new(Document::parse(text.bytes()).map_err(Problem::NotJson)?);
                if let Some(place) = place {
                    self.documents.insert(place, document.clone());
                }
                document
            }
        };
        let root = document.root().clone();
        if root.is_null() {
            return Err(Problem::NotJson("it is null".into()));
        }
        self.json(&document, &root)
    }

    fn write_json(&mut self, value: &Value<'a>, out: &mut Bounded) -> Result<(), Problem> {
        self.pay(1, 0)?;
        match value {
            Value::Text(text) => out.push_quoted(text.as_str()?).ok_or(Problem::TooExpensive),
            Value::List(items) => {
                out.push("[").ok_or(Problem::TooExpensive)?;
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(",").ok_or(Problem::TooExpensive)?;
                    }
                    self.write_json(item, out)?;
                }
                out.push("]").ok_or(Problem::TooExpensive)
            }
            Value::Files => {
                out.push("{").ok_or(Problem::TooExpensive)?;
                for (index, item) in self.items(Value::Files, 2)?.iter().enumerate() {
                    if index > 0 {
                        out.push(",").ok_or(Problem::TooExpensive)?;
                    }
                    for (value, behind) in item.iter().zip([":", ""]) {
                        self.write_json(value, out)?;
                        out.push(behind).ok_or(Problem::TooExpensive)?;
                    }
                }
                out.push("}").ok_or(Problem::TooExpensive)
            }
            other => {
                let text = self.text(other)?;
                out.push(text.as_str()?).ok_or(Problem::TooExpensive)
            }
        }
    }

    fn pem(&mut self, name: &'static str, part: PemPart, text: &Text<'a>) -> Result<Value<'a>, Problem> {
        self.pay(0, text.bytes().len())?;
        let texts = [SecretBytes::from(text.bytes().to_vec())];
        let bundle = Bundle::of(&texts, self.budget).map_err(|problem| Problem::Pem(name, problem))?;
        let made = bundle.part(part, self.limit).map_err(|problem| Problem::Pem(name, problem))?;
        self.given(made.ok_or(Problem::TooLarge)?)
    }
}

/// <https://www.rfc-editor.org/rfc/rfc3986#section-2.3>: everything but what is never reserved.
fn url_encoded(text: &str, out: &mut Bounded) -> Option<()> {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push_char(char::from(byte))?,
            other => {
                out.push("%")?;
                out.push_char(*DIGITS.get(usize::from(other >> 4))?)?;
                out.push_char(*DIGITS.get(usize::from(other & 0xf))?)?;
            }
        }
    }
    Some(())
}

/// All lines but the first, and empty ones.
fn indented(text: &str, spaces: &str, out: &mut Bounded) -> Option<()> {
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if index > 0 && !line.trim().is_empty() {
            out.push(spaces)?;
        }
        out.push(line)?;
    }
    Some(())
}

fn replaced(text: &str, from: &str, to: &str, out: &mut Bounded) -> Option<()> {
    for (index, part) in text.split(from).enumerate() {
        if index > 0 {
            out.push(to)?;
        }
        out.push(part)?;
    }
    Some(())
}
