//! `pathTranslation`: how a name becomes a file name.

use crate::plan::Translation;
use crate::spec::SpecError;

pub fn parse(written: Option<&str>) -> Result<Translation, SpecError> {
    match written {
        None => Ok(Translation::To('_')),
        Some(off) if off.eq_ignore_ascii_case("false") => Ok(Translation::Off),
        Some(one) if one.len() == 1 => Ok(one.chars().next().map_or(Translation::Off, Translation::To)),
        Some(other) => Err(SpecError::Parameter {
            parameter: "pathTranslation",
            value: other.chars().take(super::SHOWN).collect(),
            problem: "is neither one ASCII character nor False".into(),
        }),
    }
}
