//! `pathTranslation`: how a name becomes a file name.

use crate::spec::SpecError;

/// What stands for the slashes of a name in its file name.
#[derive(Clone, Copy)]
pub enum Translation {
    Off,
    To(char),
}

impl Translation {
    pub fn parse(written: Option<&str>) -> Result<Self, SpecError> {
        match written {
            None => Ok(Self::To('_')),
            Some(off) if off.eq_ignore_ascii_case("false") => Ok(Self::Off),
            Some(one) if one.len() == 1 => Ok(one.chars().next().map_or(Self::Off, Self::To)),
            Some(other) => Err(SpecError::Parameter {
                parameter: "pathTranslation",
                value: other.chars().take(super::SHOWN).collect(),
                problem: "is neither one ASCII character nor False".into(),
            }),
        }
    }

    /// Without translation leading slashes go, because a file name cannot be absolute.
    pub fn apply(self, name: &str) -> String {
        match self {
            Self::Off => name.trim_start_matches('/').to_owned(),
            Self::To(character) => name.replace('/', character.encode_utf8(&mut [0; 4])),
        }
    }
}
