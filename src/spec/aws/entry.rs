//! One object of a class, checked.

use std::sync::Arc;
use std::time::Duration;

use super::contents::{Contents, Manner, contents, key};
use super::finding::{Finding, finding};
use super::location::Location;
use super::raw::{RawFailoverObject, RawObject};
use super::reader::{Reader, given};
use super::refresh::RefreshInterval;
use super::{previous, verification};
use crate::plan::aws::{Arn, Item, Parameter, Region, Revision, Secret, Stored};
use crate::plan::{
    Content, Expansion, FilePermission, Members, Object, Owner, PlannedFile, Selection, Translation, Unfolding,
    Verification,
};
use crate::spec::SpecError;

/// One object, with everything but the Region it is read in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub position: usize,
    pub name: String,
    item: Item,
    location: Location,
    /// Where it is read when the Region of the class fails.
    standby: Option<Arc<Stored>>,
    pub files: Vec<PlannedFile>,
    /// What is taken of the list that `item` is.
    pub selection: Option<Selection>,
    /// How many of the values before the current one are mounted too.
    previous: usize,
    expansion: Option<Expansion>,
    verification: Verification,
    is_optional: bool,
    pub is_for_templates: bool,
    refresh_interval: Option<Duration>,
}

/// What a class says for all its objects.
#[derive(Clone, Copy)]
pub struct Defaults<'a> {
    /// What names begin with that are no ARNs.
    pub prefix: &'a str,
    pub translation: Translation,
    pub failover_region: Option<&'a Region>,
    pub permission: FilePermission,
    pub owner: Owner,
    pub refresh_interval: Option<RefreshInterval>,
}

/// What decides, for the official provider, whether two objects are the same.
pub struct Written {
    pub alias: Option<String>,
    pub label: Option<String>,
    pub jmes_aliases: Vec<String>,
}

impl Entry {
    /// Also gives back the alias and label as written, which decide whether two objects count as the same.
    pub fn parse(
        mut raw: RawObject,
        position: usize,
        defaults: Defaults<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<(Self, Written), SpecError> {
        let translation = defaults.translation;
        let name = match (given(raw.object_name.clone()), &raw.find) {
            (Some(name), _) => name,
            (None, Some(_)) => "find".into(),
            (None, None) => return Err(SpecError::NoName { position }),
        };
        let mut reader = Reader { name, position, translation, warnings };
        reader.unknown_keys(&raw.unknown_keys, "");

        let service = service_of(&reader.name, raw.object_type.as_deref()).map_err(|problem| reader.wrong(problem))?;
        let found = finding(&mut reader, &mut raw, service, defaults.prefix)?;
        let choice =
            Choice { version: given(raw.object_version.take()), label: given(raw.object_version_label.take()) };
        let item = match &found {
            Some(found) => found.item.clone(),
            None => {
                let stored = prefixed(defaults.prefix, &reader.name).map_err(|problem| reader.wrong(problem))?;
                choice.of(service, &stored).map_err(|problem| reader.wrong(problem))?
            }
        };
        let previous = previous::count(&reader, raw.previous.take(), &item)?;
        let location = Location::parse(&reader, raw.region.take(), raw.account_id.take())?;
        let alias = given(raw.object_alias.take());
        let failover = raw.failover_object.take().unwrap_or_default();
        let standby = match (&found, defaults.failover_region) {
            (Some(found), Some(region)) => Some(Stored { region: region.clone(), item: found.item.clone() }),
            (Some(_), None) => None,
            (None, _) => reader.standby(failover, defaults, service, &choice, alias.is_some())?,
        };
        let standby = standby.map(|standby| location.stored(standby.item, &standby.region));

        let uid = reader.owner("uid", raw.uid.take())?.or(defaults.owner.uid);
        let gid = reader.owner("gid", raw.gid.take())?.or(defaults.owner.gid);
        let manner = Manner {
            permission: reader.permission(raw.file_permission.as_deref())?.unwrap_or(defaults.permission),
            owner: Owner { uid, gid },
            decoding: reader.word("decode", raw.decode.take())?.unwrap_or_default(),
        };
        let is_for_templates = reader.flag("templateOnly", raw.template_only.take())?;
        let is_optional = reader.flag("optional", raw.optional.take())?;
        let verification = verification::parse(&mut reader, raw.verify.take())?;
        let (contents, selection) = match found {
            None => (contents(&mut reader, &mut raw, alias.as_deref(), manner)?, None),
            Some(Finding { name, rewrites, .. }) => {
                let content = key(&reader, raw.key.take())?.map_or(Content::Whole, Content::Key);
                let prefix = defaults.prefix.to_owned();
                let Manner { permission, owner, decoding } = manner;
                let selection = Selection { prefix, name, rewrites, translation, permission, owner, content, decoding };
                (Contents::default(), Some(selection))
            }
        };
        let verification = Verification { pem_text: contents.pem, ..verification };
        let refresh_interval = match given(raw.refresh_interval) {
            Some(written) => Some(reader.refresh_interval(&written)?),
            None => defaults.refresh_interval,
        };
        let refresh_interval = refresh_interval.map(|interval| interval.of(item.is_pinned())).transpose();
        let refresh_interval = refresh_interval.map_err(|problem| reader.wrong(problem))?.flatten();
        let (files, expansion) = (contents.files, contents.expansion);
        let entry = Self {
            position,
            name: reader.name,
            item,
            location,
            standby,
            files,
            selection,
            previous,
            expansion,
            verification,
            is_optional,
            is_for_templates,
            refresh_interval,
        };
        Ok((entry, Written { alias, label: choice.label, jmes_aliases: contents.aliases }))
    }

    /// How many files it becomes at most, as far as the class says: those of its earlier values too.
    pub fn most_files(&self) -> usize {
        self.files.len().saturating_mul(self.previous.saturating_add(1))
    }

    /// The object as it is read where it says, or else in the Region of its class; and that of the value before the current one,
    /// where that needs no list to be found.
    pub fn in_region(&self, of_class: &Region) -> Result<Vec<Object<Arc<Stored>>>, SpecError> {
        let region = self.location.region.as_ref().unwrap_or(of_class);
        if self.standby.as_ref().is_some_and(|standby| standby.region == *region) {
            let problem =
                format!("is in {region}, which is the failoverRegion as well; name another one, or remove it");
            return Err(SpecError::Object { object: self.name.clone(), position: self.position, problem });
        }
        let address = self.location.stored(self.item.clone(), region);
        let object = Object {
            standby: self.standby.clone(),
            files: self.files.clone(),
            expansion: self.expansion.clone(),
            verification: self.verification.clone(),
            is_optional: self.is_optional,
            is_for_templates: self.is_for_templates,
            refresh_interval: self.refresh_interval,
            ..Object::at(address.clone(), self.position)
        };
        if let Some(selection) = &self.selection {
            let (standby, members) = (self.standby.clone(), Members::Found(selection.clone()));
            return Ok(vec![Object { unfolding: Some(Unfolding { list: address, standby, members }), ..object }]);
        }
        previous::with_previous(object, self.previous, &self.name)
    }
}

impl Reader<'_> {
    /// The same object in the failover Region, with what `failoverObject` says differently there.
    fn standby(
        &mut self,
        failover: RawFailoverObject,
        Defaults { failover_region: region, prefix, .. }: Defaults<'_>,
        service: Service,
        primary: &Choice,
        has_alias: bool,
    ) -> Result<Option<Stored>, SpecError> {
        self.unknown_keys(&failover.unknown_keys, "the failoverObject of ");
        let named = given(failover.object_name);
        let own = Choice { version: given(failover.object_version), label: given(failover.object_version_label) };
        let Some(region) = region else {
            return match named {
                None => Ok(None), // as good as absent, as there
                Some(_) => Err(self.wrong("has a failoverObject, but the class has no failoverRegion; set it".into())),
            };
        };
        if let Some(named) = &named {
            if !has_alias {
                let problem = "has a failoverObject and no objectAlias; set it, so that both have one file name";
                return Err(self.wrong(problem.into()));
            }
            if own.version != primary.version {
                let problem =
                    "has another objectVersion than its failoverObject; write the same in both, or in neither";
                return Err(self.wrong(problem.into()));
            }
            let of_standby = service_of(named, Some(service.object_type()))
                .and_then(|_| own.of(service, named))
                .and_then(|_| match Arn::parse(named) {
                    Some(arn) if arn.region != region.as_str() => {
                        Err(format!("is in {}, but failoverRegion is {region}; correct one of them", arn.region))
                    }
                    _ => Ok(()),
                });
            of_standby.map_err(|problem| self.wrong(format!("has the failoverObject {named:?}, which {problem}")))?;
        }
        let name = named.unwrap_or_else(|| in_other_region(&self.name, region));
        let name = prefixed(prefix, &name).map_err(|problem| self.wrong(problem))?;
        let choice =
            Choice { version: own.version.or(primary.version.clone()), label: own.label.or(primary.label.clone()) };
        let item = choice.with_version_first(service).of(service, &name).map_err(|problem| self.wrong(problem))?;
        Ok(Some(Stored { region: region.clone(), item }))
    }
}

/// A name as it is stored, which must not become an ARN by its prefix: that would be one of any Region.
fn prefixed(prefix: &str, name: &str) -> Result<String, String> {
    if Arn::parse(name).is_some() {
        return Ok(name.to_owned());
    }
    match format!("{prefix}{name}") {
        arn if arn.starts_with("arn:") && !prefix.is_empty() => {
            Err("is an ARN with the `prefix` of the class; write the whole ARN in objectName".into())
        }
        stored => Ok(stored),
    }
}

/// The ARN of a replica differs in the Region only:
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/replicate-secrets.html>. A name is the same everywhere.
fn in_other_region(name: &str, region: &Region) -> String {
    match Arn::parse(name) {
        Some(Arn { partition, service, account, resource, .. }) => {
            format!("arn:{partition}:{service}:{region}:{account}:{resource}")
        }
        None => name.to_owned(),
    }
}

/// `objectVersion` and `objectVersionLabel`.
#[derive(Debug, Clone)]
struct Choice {
    version: Option<String>,
    label: Option<String>,
}

impl Choice {
    /// What is asked for under a name.
    fn of(&self, service: Service, name: &str) -> Result<Item, String> {
        let Self { version, label } = self.clone();
        match service {
            Service::SecretsManager => {
                let revision = match version {
                    Some(id) => Revision::Version { id, stage: label },
                    None => Revision::Stage(label.unwrap_or_else(|| Revision::CURRENT.into())),
                };
                Ok(Item::Secret(Secret { id: name.to_owned(), revision }))
            }
            Service::ParameterStore => {
                let in_name = Parameter::parse(name);
                let mut selectors = [in_name.selector, version, label].into_iter().flatten();
                let selector = selectors.next();
                match selectors.next() {
                    Some(_) => Err("names more than one version; for a parameter write objectVersion, \
                        objectVersionLabel, or neither"
                        .into()),
                    None => Ok(Item::Parameter(Parameter { name: in_name.name, selector })),
                }
            }
        }
    }

    /// Where one comes from the object and one from its failoverObject, the official provider takes a parameter's version.
    fn with_version_first(mut self, service: Service) -> Self {
        if matches!(service, Service::ParameterStore) && self.version.is_some() {
            self.label = None;
        }
        self
    }
}

/// Where the official provider's objects are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    SecretsManager,
    ParameterStore,
}

impl Service {
    fn object_type(self) -> &'static str {
        match self {
            Self::SecretsManager => "secretsmanager",
            Self::ParameterStore => "ssmparameter",
        }
    }
}

/// The name and the type must agree on a service.
fn service_of(name: &str, object_type: Option<&str>) -> Result<Service, String> {
    const TYPES: &str = "write secretsmanager or ssmparameter";
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
