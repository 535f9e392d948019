//! The grammar of the official AWS provider: same keys, same defaults, same refusals.
//!
//! Checked against its version 3.1.1. What it accepts and we refuse is listed in `docs/parameters.md`.

mod object;

use std::collections::{BTreeMap, HashMap, HashSet};

use object::RawObject;

use super::{Parameters, SpecError, yaml};
use crate::config::{Limits, parse_bool};
use crate::plan::aws::{Arn, Region, Revision, StoredSecret};
use crate::plan::{Content, FilePermission, JmesPath, Object, PlannedFile, RelativePath, SecretPlan};

/// Audience of the token that STS takes, in every partition.
/// <https://docs.aws.amazon.com/eks/latest/userguide/iam-roles-for-service-accounts.html>
pub const STS_AUDIENCE: &str = "sts.amazonaws.com";

/// Most characters of a text that is refused, perhaps for its length, that its error shows.
const SHOWN: usize = 100;

/// A class whose text is right. Where it leaves the Region open, [`Class::plan`] settles that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    region: Option<Region>,
    objects: Vec<Entry>,
    warnings: Vec<String>,
}

/// One object, with everything but the Region it is read in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    position: usize,
    name: String,
    revision: Revision,
    files: Vec<PlannedFile>,
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
        let region = parameter(parameters, "region").map(parse_region).transpose()?;
        refuse_what_is_not_here_yet(parameters)?;
        let translation = Translation::parse(parameter(parameters, "pathTranslation"))?;
        let mut warnings = unknown_parameters(parameters);

        let objects = raw_objects(parameters, limits)?
            .into_iter()
            .zip(1..)
            .map(|(raw, position)| {
                let raw = raw.ok_or(SpecError::EmptyObject { position })?;
                Entry::parse(raw, position, translation, default_permission, &mut warnings)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let files: usize = objects.iter().map(|(entry, _)| entry.files.len()).sum();
        if files > limits.max_files {
            let (size, limit) = (files, limits.max_files);
            return Err(SpecError::Limit { size, unit: "files", limit, flag: "max-files" });
        }
        refuse_equal_objects(&objects)?;
        let objects: Vec<Entry> = objects.into_iter().map(|(entry, _)| entry).collect();
        warnings.extend(compare_paths(&objects)?);
        Ok(Self { region, objects, warnings })
    }

    /// Region that the class names for all its objects.
    pub fn region(&self) -> Option<&Region> {
        self.region.as_ref()
    }

    /// The audience that the pod's token must be for.
    pub fn audience(&self) -> &'static str {
        STS_AUDIENCE
    }

    /// The plan, with `region` where the class names none.
    ///
    /// # Errors
    /// An ARN of another Region: the object would be asked for where it is not.
    pub fn plan(self, region: Region) -> Result<SecretPlan<StoredSecret>, SpecError> {
        let region = self.region.unwrap_or(region);
        let objects = self.objects.into_iter().map(|entry| entry.in_region(&region)).collect::<Result<_, _>>()?;
        Ok(SecretPlan { objects, warnings: self.warnings })
    }
}

impl Entry {
    /// Also gives back the alias and label as written, which decide whether two objects count as the same.
    fn parse(
        raw: RawObject,
        position: usize,
        translation: Translation,
        default_permission: FilePermission,
        warnings: &mut Vec<String>,
    ) -> Result<(Self, Written), SpecError> {
        let name = raw.object_name.filter(|name| !name.is_empty()).ok_or(SpecError::NoName { position })?;
        let wrong = |problem: String| SpecError::Object { object: name.clone(), position, problem };
        let unsupported = |feature: &str, instead| SpecError::Unsupported {
            feature: format!("{feature} of {name:?} (object {position})"),
            instead,
        };
        match service_of(&name, raw.object_type.as_deref()).map_err(wrong)? {
            Service::SecretsManager => {}
            Service::ParameterStore => {
                return Err(unsupported("the type ssmparameter", "keep the value in Secrets Manager"));
            }
        }
        if raw.has_failover_object {
            return Err(unsupported("failoverObject", "remove it to read from one Region"));
        }
        for key in raw.unknown_keys {
            warnings.push(format!("unknown key {key:?} in {name:?} (object {position}) is ignored"));
        }

        let permission = |written: Option<&str>, warnings: &mut Vec<String>| match written {
            None | Some("") => Ok(None),
            Some(value) => {
                let kept = value.parse::<FilePermission>().map_err(|problem| SpecError::Permission {
                    value: value.into(),
                    object: name.clone(),
                    position,
                    problem,
                })?;
                if kept.to_string() != value {
                    warnings.push(format!(
                        "the special bits of filePermission {value:?} of {name:?} (object {position}) are not set"
                    ));
                }
                Ok(Some(kept))
            }
        };
        let path = |written: &str| {
            let file = translation.apply(written);
            file.parse::<RelativePath>().map_err(|problem| SpecError::FileName {
                name: file.chars().take(SHOWN).collect(),
                object: name.clone(),
                position,
                problem,
            })
        };

        let alias = raw.object_alias.filter(|alias| !alias.is_empty());
        let own_permission = permission(raw.file_permission.as_deref(), warnings)?.unwrap_or(default_permission);
        let mut files = vec![PlannedFile {
            path: path(alias.as_deref().unwrap_or(&name))?,
            permission: own_permission,
            content: Content::Whole,
        }];
        let mut jmes_aliases = Vec::new();
        for entry in raw.jmes_path.unwrap_or_default() {
            let entry = entry.ok_or_else(|| wrong("has an empty entry in jmesPath".into()))?;
            let expression = entry.path.filter(|path| !path.is_empty());
            let expression = expression.ok_or_else(|| wrong("has a jmesPath entry without `path`".into()))?;
            let alias = entry.object_alias.filter(|alias| !alias.is_empty());
            let alias = alias.ok_or_else(|| {
                wrong(format!("has no objectAlias for the jmesPath {expression:?}; it names the file"))
            })?;
            for key in entry.unknown_keys {
                warnings.push(format!(
                    "unknown key {key:?} in the jmesPath {expression:?} of {name:?} (object {position}) is ignored"
                ));
            }
            files.push(PlannedFile {
                path: path(&alias)?,
                permission: permission(entry.file_permission.as_deref(), warnings)?.unwrap_or(own_permission),
                content: Content::JmesPath(expression.parse::<JmesPath>().map_err(|problem| SpecError::JmesPath {
                    expression: expression.chars().take(SHOWN).collect(),
                    object: name.clone(),
                    position,
                    problem,
                })?),
            });
            jmes_aliases.push(alias);
        }

        let label = raw.object_version_label.filter(|label| !label.is_empty());
        let revision = match raw.object_version.filter(|version| !version.is_empty()) {
            Some(id) => Revision::Version { id, stage: label.clone() },
            None => Revision::Stage(label.clone().unwrap_or_else(|| Revision::CURRENT.into())),
        };
        Ok((Self { position, name, revision, files }, Written { alias, label, jmes_aliases }))
    }

    fn in_region(self, region: &Region) -> Result<Object<StoredSecret>, SpecError> {
        if let Some(arn) = Arn::parse(&self.name)
            && arn.region != region.as_str()
        {
            let problem =
                format!("is in {}, but the class reads from {region}; set `region: {}`", arn.region, arn.region);
            return Err(SpecError::Object { object: self.name, position: self.position, problem });
        }
        let address = StoredSecret { region: region.clone(), id: self.name, revision: self.revision };
        Ok(Object { position: self.position, address, files: self.files })
    }
}

/// What decides, for the official provider, whether two objects are the same.
struct Written {
    alias: Option<String>,
    label: Option<String>,
    jmes_aliases: Vec<String>,
}

/// What stands for the slashes of a name in its file name.
#[derive(Clone, Copy)]
enum Translation {
    Off,
    To(char),
}

impl Translation {
    fn parse(written: Option<&str>) -> Result<Self, SpecError> {
        match written {
            None => Ok(Self::To('_')),
            Some(off) if off.eq_ignore_ascii_case("false") => Ok(Self::Off),
            Some(one) if one.len() == 1 => Ok(one.chars().next().map_or(Self::Off, Self::To)),
            Some(other) => Err(SpecError::Parameter {
                parameter: "pathTranslation",
                value: other.into(),
                problem: "is neither one ASCII character nor False".into(),
            }),
        }
    }

    /// Without translation leading slashes go, because a file name cannot be absolute.
    fn apply(self, name: &str) -> String {
        match self {
            Self::Off => name.trim_start_matches('/').to_owned(),
            Self::To(character) => name.replace('/', character.encode_utf8(&mut [0; 4])),
        }
    }
}

/// An empty parameter is one that is not set, as there.
fn parameter<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a str> {
    parameters.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

fn parse_region(value: &str) -> Result<Region, SpecError> {
    value.parse().map_err(|source: crate::plan::aws::InvalidRegion| SpecError::Parameter {
        parameter: "region",
        value: value.into(),
        problem: source.to_string(),
    })
}

/// Silence about these would be worse than a refusal: the pod would run without what its class asks for.
fn refuse_what_is_not_here_yet(parameters: &Parameters) -> Result<(), SpecError> {
    let unsupported = |feature: &str, instead| SpecError::Unsupported { feature: feature.into(), instead };
    if let Some(value) = parameter(parameters, "usePodIdentity") {
        let wrong = |problem| SpecError::Parameter { parameter: "usePodIdentity", value: value.into(), problem };
        if parse_bool(value).map_err(|help| wrong(format!("is neither true nor false; {help}")))? {
            return Err(unsupported("usePodIdentity: \"true\"", "use a role for the service account (IRSA)"));
        }
    }
    if parameter(parameters, "failoverRegion").is_some() {
        return Err(unsupported("failoverRegion", "remove it to read from one Region"));
    }
    Ok(())
}

fn unknown_parameters(parameters: &Parameters) -> Vec<String> {
    /// The last two are no parameters of the official grammar, but stand among them: the class's name, added by the driver,
    /// and a setting of Pod Identity, which does nothing without that.
    const KNOWN: [&str; 7] = [
        "objects",
        "region",
        "failoverRegion",
        "pathTranslation",
        "usePodIdentity",
        "secretProviderClass",
        "preferredAddressType",
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

/// Where the official provider's objects are stored.
enum Service {
    SecretsManager,
    ParameterStore,
}

/// The name and the type must agree on a service.
fn service_of(name: &str, object_type: Option<&str>) -> Result<Service, String> {
    const TYPES: &str = "write secretsmanager";
    let arn = match name.starts_with("arn:") {
        true => Some(Arn::parse(name).ok_or("is not a whole ARN; write all six parts, or the plain name")?),
        false => None,
    };
    let of_type = match object_type.filter(|written| !written.is_empty()) {
        None => None,
        Some("secretsmanager") => Some("secretsmanager"),
        Some("ssmparameter") => Some("ssm"),
        Some(other) => return Err(format!("has the unknown objectType {other:?}; {TYPES}")),
    };
    let service = match (of_type, arn.map(|arn| arn.service)) {
        (None, None) => return Err(format!("has no objectType; {TYPES}")),
        (Some(of_type), Some(of_arn)) if of_type != of_arn => {
            return Err(format!("has an ARN of {of_arn}, which its objectType contradicts"));
        }
        (Some(service), _) | (None, Some(service)) => service,
    };
    match service {
        "secretsmanager" => Ok(Service::SecretsManager),
        "ssm" => Ok(Service::ParameterStore),
        other => Err(format!("is an ARN of {other}, which holds no secrets; {TYPES}")),
    }
}

/// The official provider compares each object with the last one of its name, and all aliases with each other.
fn refuse_equal_objects(objects: &[(Entry, Written)]) -> Result<(), SpecError> {
    let mut by_name: HashMap<&str, &Written> = HashMap::new();
    let mut aliases: HashSet<&str> = HashSet::new();
    for (entry, written) in objects {
        let (object, position) = (entry.name.clone(), entry.position);
        if let Some(earlier) = by_name.insert(&entry.name, written)
            && earlier.alias == written.alias
            && earlier.label == written.label
        {
            let problem = "give it another objectAlias or objectVersionLabel";
            return Err(SpecError::Duplicate { object, position, problem });
        }
        if let Some(alias) = written.alias.iter().chain(&written.jmes_aliases).find(|alias| !aliases.insert(alias)) {
            return Err(SpecError::AliasTwice { object, position, alias: alias.clone() });
        }
    }
    Ok(())
}

/// Two objects may write one path, for the later one then wins; but nothing can be a file and a directory.
fn compare_paths(objects: &[Entry]) -> Result<Vec<String>, SpecError> {
    let mut warnings = Vec::new();
    let mut paths: BTreeMap<&RelativePath, usize> = BTreeMap::new();
    for entry in objects {
        for file in &entry.files {
            let (path, position) = (file.path.as_str(), entry.position);
            match paths.insert(&file.path, position) {
                None => {}
                Some(earlier) if earlier == position => {
                    warnings.push(format!("object {position} writes the file {path:?} twice; the later one is kept"));
                }
                Some(earlier) => {
                    warnings.push(format!(
                        "the file {path:?} of object {earlier} is replaced by that of object {position}"
                    ));
                }
            }
        }
    }
    for (child, &child_position) in &paths {
        let mut parent = child.as_str();
        while let Some((shorter, _)) = parent.rsplit_once('/') {
            parent = shorter;
            let found = parent.parse::<RelativePath>().ok().and_then(|path| paths.get_key_value(&path));
            if let Some((parent, &parent_position)) = found {
                return Err(SpecError::FileIsDirectory {
                    parent: parent.to_string(),
                    parent_position,
                    child: child.to_string(),
                    child_position,
                });
            }
        }
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests;
