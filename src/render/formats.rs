//! Names and texts in the formats of programs that want them in one file.
//!
//! What is written means the same to every reader of the format. Where readers do not agree on any spelling of a text, it is
//! refused rather than written for some of them.

use super::bounded::Bounded;
use crate::plan::Format;

/// Why a text cannot be written; reads on after "the file … cannot be written as …: ". Texts are not shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    #[error(
        "with it a file or all of `templates` would be over a limit; put less into it, or raise --max-value-bytes or --max-mount-bytes"
    )]
    TooLarge,
    #[error("`files` takes none of the class's files")]
    Nothing,
    #[error("{0:?} is no text; leave it out with `files`")]
    NoText(String),
    #[error(
        "{0:?} is no name of a variable, which has letters, digits and _; set another objectAlias, or `prefix` and `case` of expandJson"
    )]
    Name(String),
    #[error(
        "the text of {0:?} has characters, or quotes among others, that readers of this format take differently; mount it as a file of its own, or choose another format"
    )]
    Text(String),
}

/// Writes names with their texts, in their order.
pub fn write(format: Format, entries: &[(&str, &str)], out: &mut Bounded) -> Result<(), Unwritable> {
    let written = match format {
        Format::Dotenv => return entries.iter().try_for_each(|(name, text)| dotenv(name, text, out)),
        Format::Json => json(entries, out),
        Format::Properties => entries.iter().try_for_each(|(name, text)| properties(name, text, out)),
        Format::Toml => entries.iter().try_for_each(|(name, text)| pair(name, " = ", text, out)),
        Format::Yaml if entries.is_empty() => out.push("{}\n"),
        Format::Yaml => entries.iter().try_for_each(|(name, text)| pair(name, ": ", text, out)),
    };
    written.ok_or(Unwritable::TooLarge)
}

/// <https://www.rfc-editor.org/rfc/rfc8259>
fn json(entries: &[(&str, &str)], out: &mut Bounded) -> Option<()> {
    out.push("{")?;
    for (index, (name, text)) in entries.iter().enumerate() {
        out.push(if index == 0 { "\n  " } else { ",\n  " })?;
        out.push_quoted(name)?;
        out.push(": ")?;
        out.push_quoted(text)?;
    }
    out.push(if entries.is_empty() { "}\n" } else { "\n}\n" })
}

/// A line of TOML or YAML, which have the escapes of double quotes in common that are used here.
/// <https://toml.io/en/v1.0.0#string>, <https://yaml.org/spec/1.2.2/#57-escaped-characters>
fn pair(name: &str, between: &str, text: &str, out: &mut Bounded) -> Option<()> {
    quoted(name, out)?;
    out.push(between)?;
    quoted(text, out)?;
    out.push("\n")
}

/// Between double quotes that JSON has too.
pub fn quoted(text: &str, out: &mut Bounded) -> Option<()> {
    out.push("\"")?;
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                out.push("\\")?;
                out.push_char(character)?;
            }
            '\n' => out.push("\\n")?,
            '\t' => out.push("\\t")?,
            '\r' => out.push("\\r")?,
            // What YAML does not let stand, or takes for a break of lines or a mark of the encoding.
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                out.push(&format!("\\u{:04X}", u32::from(character)))?;
            }
            _ => out.push_char(character)?,
        }
    }
    out.push("\"")
}

/// <https://docs.oracle.com/en/java/javase/21/docs/api/java.base/java/util/Properties.html#load(java.io.Reader)>, in ASCII, so
/// that it does not matter which encoding a reader expects.
fn properties(name: &str, text: &str, out: &mut Bounded) -> Option<()> {
    property(name, true, out)?;
    out.push("=")?;
    property(text, false, out)?;
    out.push("\n")
}

fn property(text: &str, is_name: bool, out: &mut Bounded) -> Option<()> {
    for (index, character) in text.chars().enumerate() {
        match character {
            '\n' => out.push("\\n")?,
            '\t' => out.push("\\t")?,
            '\r' => out.push("\\r")?,
            '\\' => out.push("\\\\")?,
            ' ' if is_name || index == 0 => out.push("\\ ")?,
            '=' | ':' | '#' | '!' if is_name => {
                out.push("\\")?;
                out.push_char(character)?;
            }
            ' '..='~' => out.push_char(character)?,
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    out.push(&format!("\\u{unit:04X}"))?;
                }
            }
        }
    }
    Some(())
}

/// A line that a POSIX shell, [dotenv](https://www.npmjs.com/package/dotenv) of Node and
/// [python-dotenv](https://pypi.org/project/python-dotenv/) read alike.
fn dotenv(name: &str, text: &str, out: &mut Bounded) -> Result<(), Unwritable> {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !name.starts_with(is_first) || !name.chars().all(|c| is_first(c) || c.is_ascii_digit()) {
        return Err(Unwritable::Name(name.to_owned()));
    }
    let quote = dotenv_quote(text).ok_or_else(|| Unwritable::Text(name.to_owned()))?;
    let mut line = || {
        out.push(name)?;
        out.push("=")?;
        out.push(quote)?;
        out.push(text)?;
        out.push(quote)?;
        out.push("\n")
    };
    line().ok_or(Unwritable::TooLarge)
}

/// The quotes between which a text means itself to all of them. Python looks for backslashes between single quotes too, and
/// for variables in braces everywhere; Node knows no backslash between double quotes but in `\n` and `\r`.
fn dotenv_quote(text: &str) -> Option<&'static str> {
    if text.chars().all(|c| c.is_ascii_alphanumeric() || "_./:@%+,-".contains(c)) {
        return Some("");
    }
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return None;
    }
    if !text.contains('\'') && !text.contains("\\\\") && !text.ends_with('\\') && !text.contains("${") {
        return Some("'");
    }
    (!text.contains(['"', '\\', '$', '`'])).then_some("\"")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::sensitive::SecretBytes;

    fn written(format: Format, entries: &BTreeMap<String, String>) -> Result<String, Unwritable> {
        let entries: Vec<_> = entries.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let mut out = Bounded::new(10_000);
        write(format, &entries, &mut out)?;
        Ok(String::from_utf8(SecretBytes::from(out).expose().to_vec()).expect("UTF-8"))
    }

    fn one(format: Format, name: &str, text: &str) -> Result<String, Unwritable> {
        written(format, &[(name.to_owned(), text.to_owned())].into())
    }

    #[test]
    fn each_format_quotes_in_its_way() {
        let text = "a\"b\\c\n\u{1}é";
        for (format, expected) in [
            (Format::Json, "{\n  \"k\": \"a\\\"b\\\\c\\n\\u0001é\"\n}\n"),
            (Format::Toml, "\"k\" = \"a\\\"b\\\\c\\n\\u0001é\"\n"),
            (Format::Yaml, "\"k\": \"a\\\"b\\\\c\\n\\u0001é\"\n"),
            (Format::Properties, "k=a\"b\\\\c\\n\\u0001\\u00E9\n"),
        ] {
            assert_eq!(one(format, "k", text).expect("written"), expected, "{format}");
        }
        assert_eq!(one(Format::Properties, "a b=c", " x y").expect("written"), "a\\ b\\=c=\\ x y\n");
        assert_eq!(one(Format::Properties, "k", "😀").expect("written"), "k=\\uD83D\\uDE00\n");
        for (format, empty) in [(Format::Json, "{}\n"), (Format::Yaml, "{}\n"), (Format::Toml, "")] {
            assert_eq!(written(format, &BTreeMap::new()).expect("written"), empty);
        }
    }

    #[test]
    fn dotenv_has_a_text_in_the_quotes_that_all_readers_understand_or_not_at_all() {
        for (text, line) in [
            ("", "K=\n"),
            ("abc/1.2:3@x%+,-", "K=abc/1.2:3@x%+,-\n"),
            ("two words", "K='two words'\n"),
            ("a\"b$c`d#e\\f", "K='a\"b$c`d#e\\f'\n"),
            ("it's", "K=\"it's\"\n"),
            ("-----BEGIN\nx\n", "K='-----BEGIN\nx\n'\n"),
        ] {
            assert_eq!(one(Format::Dotenv, "K", text).expect("written"), line);
        }
        for text in ["it's \"both\"", "it's $5", "a\\\\b", "end\\", "${X}", "\r", "\0", "it's\\"] {
            let error = one(Format::Dotenv, "K", text).expect_err(text);
            assert_eq!(error, Unwritable::Text("K".into()));
            assert!(!error.to_string().contains(text), "{error}");
        }
        for name in ["", "1A", "a-b", "tls/key", "é", "A=B"] {
            assert_eq!(one(Format::Dotenv, name, "x"), Err(Unwritable::Name(name.into())));
        }
    }

    proptest! {
        #[test]
        fn a40_what_is_written_is_read_again(
            entries in proptest::collection::btree_map("([a-z\"'\\\\{}:#= ]|\\PC){0,6}", "([a-z\"'\\\\$`{}:#!&*= \n\t\r\0]|\\PC|[\u{7f}-\u{a0}\u{2028}\u{feff}\u{fffe}\u{ffff}😀]){0,12}", 0..5),
        ) {
            let json: BTreeMap<String, String> = serde_json::from_str(&written(Format::Json, &entries).expect("written")).expect("JSON");
            prop_assert_eq!(&json, &entries);
            let text = written(Format::Yaml, &entries).expect("written");
            let yaml: BTreeMap<String, String> = serde_yaml::from_str(&text).expect(&text);
            prop_assert_eq!(&yaml, &entries);
            let text = written(Format::Toml, &entries).expect("written");
            let toml: BTreeMap<String, String> = toml::from_str(&text).expect(&text);
            prop_assert_eq!(&toml, &entries);
            let properties = written(Format::Properties, &entries).expect("written");
            prop_assert!(properties.is_ascii());
        }
    }
}
