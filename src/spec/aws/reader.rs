//! Reads what one object of a class says; the errors name the object.

use super::SHOWN;
use super::ownership::id;
use super::refresh::RefreshInterval;
use crate::config::parse_bool;
use crate::plan::{FilePermission, RelativePath, Translation};
use crate::spec::SpecError;

/// Most unknown keys of one place that are named.
const MOST_UNKNOWN: usize = 5;

pub struct Reader<'a> {
    pub name: String,
    pub position: usize,
    pub translation: Translation,
    pub warnings: &'a mut Vec<String>,
}

/// An empty text is as good as none, as in the official provider.
pub fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

impl Reader<'_> {
    /// `problem` reads on after the name of the object.
    pub fn wrong(&self, problem: String) -> SpecError {
        SpecError::Object { object: self.name.clone(), position: self.position, problem }
    }

    /// Of a key's value that makes no sense; `problem` reads on after it.
    pub fn wrong_value(&self, key: &str, written: &str, problem: impl std::fmt::Display) -> SpecError {
        let shown: String = written.chars().take(SHOWN).collect();
        self.wrong(format!("has the {key} {shown:?}, which {problem}"))
    }

    pub fn unknown_keys(&mut self, keys: &[String], place: &str) {
        let shown = |text: &str| text.chars().take(SHOWN).collect::<String>();
        let place = format!("{place}{:?} (object {})", shown(&self.name), self.position);
        for key in keys.iter().take(MOST_UNKNOWN) {
            self.warnings.push(format!("unknown key {:?} in {place} is ignored", shown(key)));
        }
        if let Some(more @ 1..) = keys.len().checked_sub(MOST_UNKNOWN) {
            self.warnings.push(format!("{more} more unknown keys in {place} are ignored"));
        }
    }

    pub fn permission(&mut self, written: Option<&str>) -> Result<Option<FilePermission>, SpecError> {
        let Some(value) = written.filter(|value| !value.is_empty()) else { return Ok(None) };
        let (object, position) = (self.name.clone(), self.position);
        let kept = value.parse::<FilePermission>().map_err(|problem| {
            let value = value.chars().take(SHOWN).collect();
            SpecError::Permission { value, object: object.clone(), position, problem }
        })?;
        if kept.to_string() != value {
            self.warnings.push(format!(
                "the special bits of filePermission {value:?} of {object:?} (object {position}) are not set"
            ));
        }
        Ok(Some(kept))
    }

    pub fn owner(&self, key: &str, written: Option<String>) -> Result<Option<u32>, SpecError> {
        let Some(written) = given(written) else { return Ok(None) };
        id(&written).map(Some).map_err(|problem| self.wrong_value(key, &written, problem))
    }

    pub fn refresh_interval(&self, written: &str) -> Result<RefreshInterval, SpecError> {
        RefreshInterval::parse(written).map_err(|problem| self.wrong_value("refreshInterval", written, problem))
    }

    /// What is not set is false.
    pub fn flag(&self, key: &str, written: Option<String>) -> Result<bool, SpecError> {
        let Some(written) = given(written) else { return Ok(false) };
        parse_bool(&written)
            .map_err(|help| self.wrong_value(key, &written, format!("is neither true nor false; {help}")))
    }

    /// A word out of a few; the error of its parser says which they are.
    pub fn word<T>(&self, key: &str, written: Option<String>) -> Result<Option<T>, SpecError>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        let Some(written) = given(written) else { return Ok(None) };
        let word = written.parse();
        word.map(Some).map_err(|help| self.wrong_value(key, &written, format!("is not known; {help}")))
    }

    pub fn path(&self, written: &str) -> Result<RelativePath, SpecError> {
        let file = self.translation.apply(written);
        file.parse().map_err(|problem| SpecError::FileName {
            name: file.chars().take(SHOWN).collect(),
            object: self.name.clone(),
            position: self.position,
            problem,
        })
    }
}
