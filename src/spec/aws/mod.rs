//! The grammar of the official AWS provider: same keys, same defaults, same refusals.
//!
//! Compared with its version 3.1.1 case by case in `tests/official`. Where the two differ, `docs/migrate-from-ascp.md` says
//! why.

mod authentication;
mod compare;
mod contents;
mod entry;
mod examine;
mod finding;
mod keys;
mod location;
mod ownership;
mod pem;
mod previous;
mod raw;
mod reader;
mod refresh;
mod templates;
mod translation;
mod verification;

use std::sync::Arc;

use entry::{Defaults, Entry};
use ownership::id;
use raw::RawObject;
use refresh::RefreshInterval;

pub use examine::GRAMMAR;

use super::{Examination, Parameters, SpecError, yaml};
use crate::config::Limits;
use crate::plan::aws::{Authentication, InvalidRegion, Region, Stored};
use crate::plan::{FileLayout, FilePermission, InvalidPermission, Owner, SecretPlan, Template, Translation};

/// Most characters of a text that is refused, perhaps for its length, that its error shows.
const SHOWN: usize = 100;
/// Most bytes of `prefix`: more than names of secrets have.
const MAX_PREFIX_BYTES: usize = 512;
/// Most warnings that each mount tells: they are its class's, and a class has room for thousands of mistakes.
const MOST_WARNINGS: usize = 20;
/// Most objects with `find`: each may be many pages of names.
const MAX_FINDS: usize = 20;

/// A class whose text is right. Where it leaves the Region open, [`Class::plan`] settles that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    authentication: Authentication,
    region: Option<Region>,
    failover_region: Option<Region>,
    objects: Vec<Entry>,
    templates: Vec<Template>,
    layout: FileLayout,
    warnings: Vec<String>,
}

impl Class {
    /// Reads the parameters of a class.
    ///
    /// `default_permission` is what files get that name none: the driver sends it with every mount.
    ///
    /// # Errors
    /// The first thing that is wrong, with the object it is wrong in.
    pub fn parse(
        parameters: &Parameters,
        default_permission: FilePermission,
        limits: &Limits,
    ) -> Result<Self, SpecError> {
        let mut examination = Examination::default();
        let class = Self::read(parameters, default_permission, limits, &mut examination);
        match examination.errors.into_iter().next() {
            Some(first) => Err(first),
            None => class.ok_or(SpecError::NoObjects),
        }
    }

    /// Goes on after an error as if nothing were set there, and notes all errors in the order in which they are found. `None` is
    /// for what has no list of objects at all.
    fn read(
        parameters: &Parameters,
        default_permission: FilePermission,
        limits: &Limits,
        Examination { errors, warnings, same_files, .. }: &mut Examination,
    ) -> Option<Self> {
        let region = noted(self::region(parameters, "region"), errors).flatten();
        let failover_region = noted(self::region(parameters, "failoverRegion"), errors);
        *warnings = unknown_parameters(parameters);
        let authentication = authentication::parse(parameters, warnings, errors);
        let prefix = noted(self::prefix(parameters), errors).unwrap_or_default();
        let translation = translation::parse(parameter(parameters, "pathTranslation"));
        let translation = noted(translation, errors).unwrap_or(Translation::To('_'));
        let refresh_interval = noted(self::refresh_interval(parameters), errors).flatten();
        let layout = noted(self::layout(parameters), errors).unwrap_or_default();
        let permission = noted(self::permission(parameters, warnings), errors).flatten().unwrap_or(default_permission);
        let uid = noted(owner(parameters, "uid"), errors).flatten();
        let gid = noted(owner(parameters, "gid"), errors).flatten();
        let owner = Owner { uid, gid };

        let templates = noted(templates::parse(parameters, permission, owner, warnings), errors);

        let mut objects = Vec::new();
        for (raw, position) in noted(raw_objects(parameters, limits), errors)?.into_iter().zip(1..) {
            let Some(mut raw) = raw else {
                errors.push(SpecError::EmptyObject { position });
                continue;
            };
            if failover_region.is_none() {
                raw.failover_object = None; // what is wrong there would only follow from what is wrong with the Region
            }
            let defaults = Defaults {
                prefix,
                translation,
                failover_region: failover_region.as_ref().and_then(Option::as_ref),
                permission,
                owner,
                refresh_interval,
            };
            objects.extend(noted(Entry::parse(raw, position, defaults, warnings), errors));
        }
        let finds = objects.iter().filter(|(entry, _)| entry.selection.is_some()).count();
        if finds > MAX_FINDS {
            errors.push(SpecError::Finds { size: finds, limit: MAX_FINDS });
        }
        let of_objects: usize = objects.iter().map(|(entry, _)| entry.most_files()).sum();
        let size = of_objects.saturating_add(templates.as_ref().map_or(0, Vec::len));
        if size > limits.max_files {
            errors.push(SpecError::Limit { size, unit: "files", limit: limits.max_files, flag: "max-files" });
        }
        let _ = noted(compare::refuse_equal_objects(&objects), errors);
        let objects: Vec<Entry> = objects.into_iter().map(|(entry, _)| entry).collect();
        *same_files = noted(compare::compare_paths(&objects), errors).unwrap_or_default();
        if let Some(templates) = &templates {
            let _ = noted(templates::compare(&objects, templates), errors);
        }
        let (failover_region, templates) = (failover_region.flatten(), templates.unwrap_or_default());
        let all = warnings.iter().cloned().chain(same_files.iter().map(ToString::to_string));
        let mut warnings: Vec<String> = all.clone().take(MOST_WARNINGS).collect();
        if let Some(more @ 1..) = all.count().checked_sub(MOST_WARNINGS) {
            warnings.push(format!("and {more} more; secretmount check shows them all"));
        }
        Some(Self { authentication, region, failover_region, objects, templates, layout, warnings })
    }

    /// Region that the class names for all its objects.
    pub fn region(&self) -> Option<&Region> {
        self.region.as_ref()
    }

    /// How the pod gets credentials.
    pub fn authentication(&self) -> &Authentication {
        &self.authentication
    }

    /// The plan, with `default_region` where the class names none.
    ///
    /// # Errors
    /// A failover Region that is the first one.
    pub fn plan(&self, default_region: &Region) -> Result<SecretPlan<Arc<Stored>>, SpecError> {
        let region = self.region.as_ref().unwrap_or(default_region);
        if self.failover_region.as_ref() == Some(region) {
            return Err(SpecError::Parameter {
                parameter: "failoverRegion",
                value: region.to_string(),
                problem: "is the Region of the class itself; name another one, or remove it".into(),
            });
        }
        let of_entries = self.objects.iter().map(|entry| entry.in_region(region)).collect::<Result<Vec<_>, _>>()?;
        let mut objects = Vec::with_capacity(of_entries.iter().map(Vec::len).sum());
        objects.extend(of_entries.into_iter().flatten());
        let (templates, warnings) = (self.templates.clone(), self.warnings.clone());
        Ok(SecretPlan { objects, templates, layout: self.layout, warnings })
    }
}

/// What came out of a step, unless it went wrong.
fn noted<T>(result: Result<T, SpecError>, errors: &mut Vec<SpecError>) -> Option<T> {
    result.map_err(|error| errors.push(error)).ok()
}

/// An empty parameter is one that is not set, as there.
fn parameter<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a str> {
    parameters.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

fn region(parameters: &Parameters, name: &'static str) -> Result<Option<Region>, SpecError> {
    let Some(value) = parameter(parameters, name) else { return Ok(None) };
    let region = value.parse().map_err(|problem: InvalidRegion| wrong(name, value, problem))?;
    Ok(Some(region))
}

fn prefix(parameters: &Parameters) -> Result<&str, SpecError> {
    match parameter(parameters, "prefix") {
        Some(long) if long.len() > MAX_PREFIX_BYTES => {
            Err(wrong("prefix", long, format!("… has {} bytes; {MAX_PREFIX_BYTES} is the limit", long.len())))
        }
        prefix => Ok(prefix.unwrap_or_default()),
    }
}

fn refresh_interval(parameters: &Parameters) -> Result<Option<RefreshInterval>, SpecError> {
    let Some(value) = parameter(parameters, "refreshInterval") else { return Ok(None) };
    let interval = RefreshInterval::parse(value).map_err(|problem| wrong("refreshInterval", value, problem))?;
    Ok(Some(interval))
}

fn wrong(parameter: &'static str, value: &str, problem: impl ToString) -> SpecError {
    SpecError::Parameter { parameter, value: value.chars().take(SHOWN).collect(), problem: problem.to_string() }
}

fn layout(parameters: &Parameters) -> Result<FileLayout, SpecError> {
    match parameter(parameters, "fileLayout") {
        None | Some("atomic") => Ok(FileLayout::Atomic),
        Some("files") => Ok(FileLayout::Files),
        Some(value) => Err(wrong("fileLayout", value, "is no layout; write atomic or files")),
    }
}

fn permission(parameters: &Parameters, warnings: &mut Vec<String>) -> Result<Option<FilePermission>, SpecError> {
    let Some(value) = parameter(parameters, "filePermission") else { return Ok(None) };
    let kept: FilePermission = value
        .parse()
        .map_err(|problem: InvalidPermission| wrong("filePermission", value, format!("is invalid; {problem}")))?;
    if kept.to_string() != value {
        warnings.push(format!("the special bits of filePermission {value:?} of the class are not set"));
    }
    Ok(Some(kept))
}

fn owner(parameters: &Parameters, name: &'static str) -> Result<Option<u32>, SpecError> {
    let Some(value) = parameter(parameters, name) else { return Ok(None) };
    id(value).map(Some).map_err(|problem| wrong(name, value, problem))
}

fn unknown_parameters(parameters: &Parameters) -> Vec<String> {
    /// No parameter of a class, but stands among them: the class's name, which the driver adds.
    const OF_DRIVER: &str = "secretProviderClass";
    let is_known = |name: &str| name == OF_DRIVER || keys::PARAMETERS.iter().any(|known| known.name == name);
    parameters
        .keys()
        .filter(|name| !is_known(name))
        .map(|name| format!("unknown parameter {name:?} of the class is ignored"))
        .collect()
}

fn raw_objects(parameters: &Parameters, limits: &Limits) -> Result<Vec<Option<RawObject>>, SpecError> {
    let text = parameter(parameters, "objects").ok_or(SpecError::NoObjects)?;
    if text.len() > limits.max_objects_bytes {
        let (size, limit) = (text.len(), limits.max_objects_bytes);
        return Err(SpecError::Limit { size, unit: "bytes", limit, flag: "max-objects-bytes" });
    }
    let objects: Option<Vec<Option<RawObject>>> = yaml::read(text).map_err(SpecError::Yaml)?;
    let objects = objects.filter(|objects| !objects.is_empty()).ok_or(SpecError::NoObjects)?;
    if objects.len() > limits.max_objects {
        let (size, limit) = (objects.len(), limits.max_objects);
        return Err(SpecError::Limit { size, unit: "objects", limit, flag: "max-objects" });
    }
    Ok(objects)
}

#[cfg(test)]
mod tests;
