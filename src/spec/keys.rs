//! The keys of a grammar as data: what `check` compares a class with, and what its JSON Schemas are made of.
//!
//! The readers of a grammar stay its judge. Tests hold these tables against them, so neither knows a key that the other
//! does not.

/// One parameter of a class, or one key of something in it.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// In the spelling of the documents.
    pub name: &'static str,
    pub kind: Kind,
    /// What it is without being set, where that is a value.
    pub default: Option<&'static str>,
    pub is_required: bool,
    /// One sentence.
    pub about: &'static str,
}

/// What stands behind a key.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Any text.
    Text,
    /// Text of this shape, as a regular expression of ECMA-262.
    Pattern(&'static str),
    /// Digits, which need no quotes inside of a list.
    Number(&'static str),
    OneOf(&'static [&'static str]),
    Flag,
    Texts,
    /// Texts by names that the author chooses.
    TextMap,
    Map(&'static [Key]),
    FlagOrMap(&'static [Key]),
    /// A list of maps.
    List(&'static [Key]),
    /// Text that is YAML again: a list of maps.
    Yaml(&'static [Key]),
}

impl Kind {
    /// The keys of the maps that stand here.
    pub fn keys(&self) -> Option<&'static [Key]> {
        match self {
            Self::Map(keys) | Self::FlagOrMap(keys) | Self::List(keys) | Self::Yaml(keys) => Some(keys),
            Self::Text
            | Self::Pattern(_)
            | Self::Number(_)
            | Self::OneOf(_)
            | Self::Flag
            | Self::Texts
            | Self::TextMap => None,
        }
    }
}

impl Key {
    pub const fn new(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, kind, default: None, is_required: false, about }
    }

    #[must_use]
    pub const fn required(self) -> Self {
        Self { is_required: true, ..self }
    }

    #[must_use]
    pub const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }
}
