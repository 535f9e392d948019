//! The grammar of the official AWS provider: same keys, same defaults, same refusals.
//!
//! Compared with its version 3.1.1 case by case in `tests/official`. Where the two differ, `docs/migrate-from-ascp.md` says
//! why.

mod authentication;
mod compare;
mod contents;
mod entry;
mod location;
mod ownership;
mod pem;
mod raw;
mod reader;
mod refresh;
mod templates;
mod translation;
mod verification;

use entry::{Defaults, Entry};
use ownership::id;
use raw::RawObject;
use refresh::RefreshInterval;

use super::{Parameters, SpecError, yaml};
use crate::config::Limits;
use crate::plan::aws::{Authentication, InvalidRegion, Region, Stored};
use crate::plan::{FileLayout, FilePermission, InvalidPermission, Owner, SecretPlan, Template};

/// Most characters of a text that is refused, perhaps for its length, that its error shows.
const SHOWN: usize = 100;
/// Most bytes of `prefix`: more than names of secrets have.
const MAX_PREFIX_BYTES: usize = 512;

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
        let region = self::region(parameters, "region")?;
        let failover_region = self::region(parameters, "failoverRegion")?;
        let mut warnings = unknown_parameters(parameters);
        let authentication = authentication::parse(parameters, &mut warnings)?;
        let prefix = self::prefix(parameters)?;
        let translation = translation::parse(parameter(parameters, "pathTranslation"))?;
        let refresh_interval = self::refresh_interval(parameters)?;
        let layout = self::layout(parameters)?;
        let permission = self::permission(parameters, &mut warnings)?.unwrap_or(default_permission);
        let owner = Owner { uid: owner(parameters, "uid")?, gid: owner(parameters, "gid")? };

        let templates = templates::parse(parameters, permission, owner, &mut warnings)?;

        let objects = raw_objects(parameters, limits)?
            .into_iter()
            .zip(1..)
            .map(|(raw, position)| {
                let raw = raw.ok_or(SpecError::EmptyObject { position })?;
                let defaults = Defaults {
                    prefix,
                    translation,
                    failover_region: failover_region.as_ref(),
                    permission,
                    owner,
                    refresh_interval,
                };
                Entry::parse(raw, position, defaults, &mut warnings)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let files: usize =
            objects.iter().map(|(entry, _)| entry.files.len()).sum::<usize>().saturating_add(templates.len());
        if files > limits.max_files {
            let (size, limit) = (files, limits.max_files);
            return Err(SpecError::Limit { size, unit: "files", limit, flag: "max-files" });
        }
        compare::refuse_equal_objects(&objects)?;
        let objects: Vec<Entry> = objects.into_iter().map(|(entry, _)| entry).collect();
        warnings.extend(compare::compare_paths(&objects)?);
        templates::compare(&objects, &templates)?;
        Ok(Self { authentication, region, failover_region, objects, templates, layout, warnings })
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
    pub fn plan(&self, default_region: &Region) -> Result<SecretPlan<Stored>, SpecError> {
        let region = self.region.as_ref().unwrap_or(default_region);
        if self.failover_region.as_ref() == Some(region) {
            return Err(SpecError::Parameter {
                parameter: "failoverRegion",
                value: region.to_string(),
                problem: "is the Region of the class itself; name another one, or remove it".into(),
            });
        }
        let objects = self.objects.iter().map(|entry| entry.in_region(region)).collect::<Result<_, _>>()?;
        let (templates, warnings) = (self.templates.clone(), self.warnings.clone());
        Ok(SecretPlan { objects, templates, layout: self.layout, warnings })
    }
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
    /// The last is no parameter of a class, but stands among them: the class's name, which the driver adds.
    const KNOWN: [&str; 17] = [
        "objects",
        "region",
        "failoverRegion",
        "pathTranslation",
        "prefix",
        "usePodIdentity",
        "preferredAddressType",
        "auth",
        "roleArn",
        "assumeRoles",
        "templates",
        "refreshInterval",
        "fileLayout",
        "filePermission",
        "uid",
        "gid",
        "secretProviderClass",
    ];
    parameters
        .keys()
        .filter(|name| !KNOWN.contains(&name.as_str()))
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
