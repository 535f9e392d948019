//! One entry of `objects`, or of `assumeRoles`, as it is written, before anything is checked.
//!
//! Keys match without regard to case, as in the official provider; the last of equal keys wins. Keys that are not known are
//! kept by name, so that a typo can be pointed out.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

#[derive(Debug, Default)]
pub struct RawObject {
    pub object_name: Option<String>,
    pub object_type: Option<String>,
    pub object_alias: Option<String>,
    pub object_version: Option<String>,
    pub object_version_label: Option<String>,
    pub file_permission: Option<String>,
    pub key: Option<String>,
    pub jmes_path: Option<Vec<Option<RawJmesPath>>>,
    pub expand_json: Option<RawExpandJson>,
    pub extract_only: Option<String>,
    pub decode: Option<String>,
    pub optional: Option<String>,
    pub template_only: Option<String>,
    pub verify: Option<RawVerify>,
    pub region: Option<String>,
    pub account_id: Option<String>,
    pub failover_object: Option<RawFailoverObject>,
    pub refresh_interval: Option<String>,
    pub uid: Option<String>,
    pub gid: Option<String>,
    pub unknown_keys: Vec<String>,
}

/// What differs in the failover Region.
#[derive(Debug, Default)]
pub struct RawFailoverObject {
    pub object_name: Option<String>,
    pub object_version: Option<String>,
    pub object_version_label: Option<String>,
    pub unknown_keys: Vec<String>,
}

#[derive(Debug, Default)]
pub struct RawJmesPath {
    pub path: Option<String>,
    pub key: Option<String>,
    pub object_alias: Option<String>,
    pub file_permission: Option<String>,
    pub decode: Option<String>,
    pub unknown_keys: Vec<String>,
}

/// `expandJson`, which may be a word or say more.
#[derive(Debug)]
pub enum RawExpandJson {
    Word(String),
    Selection(RawSelection),
}

/// Which keys, and what their files are called.
#[derive(Debug, Default)]
pub struct RawSelection {
    pub include: Option<Vec<String>>,
    pub exclude: Option<Vec<String>>,
    pub prefix: Option<String>,
    pub case: Option<String>,
    pub unknown_keys: Vec<String>,
}

/// What a value must be like.
#[derive(Debug, Default)]
pub struct RawVerify {
    pub not_empty: Option<String>,
    pub json: Option<String>,
    pub keys: Option<Vec<String>>,
    pub regexp: Option<String>,
    pub unknown_keys: Vec<String>,
}

/// One entry of `templates`.
#[derive(Debug, Default)]
pub struct RawTemplate {
    pub path: Option<String>,
    pub format: Option<String>,
    pub files: Option<Vec<String>>,
    pub file_permission: Option<String>,
    pub uid: Option<String>,
    pub gid: Option<String>,
    pub unknown_keys: Vec<String>,
}

/// One entry of `assumeRoles`.
#[derive(Debug, Default)]
pub struct RawHop {
    pub role_arn: Option<String>,
    pub external_id: Option<String>,
    /// The keys of tags keep their case.
    pub session_tags: Option<BTreeMap<String, Option<String>>>,
    pub transitive_tag_keys: Option<Vec<String>>,
    pub duration_seconds: Option<String>,
    pub unknown_keys: Vec<String>,
}

/// A map whose keys are read one by one, in lower case.
trait ReadKeys: Default {
    const EXPECTED: &'static str;

    fn read_key<'de, M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<bool, M::Error>;
    fn unknown(&mut self, key: String);
}

impl ReadKeys for RawObject {
    const EXPECTED: &'static str = "an object with objectName and objectType";

    fn read_key<'de, M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<bool, M::Error> {
        match key {
            "objectname" => self.object_name = map.next_value()?,
            "objecttype" => self.object_type = map.next_value()?,
            "objectalias" => self.object_alias = map.next_value()?,
            "objectversion" => self.object_version = map.next_value()?,
            "objectversionlabel" => self.object_version_label = map.next_value()?,
            "filepermission" => self.file_permission = map.next_value()?,
            "key" => self.key = map.next_value()?,
            "jmespath" => self.jmes_path = map.next_value()?,
            "expandjson" => self.expand_json = map.next_value()?,
            "region" => self.region = map.next_value()?,
            "accountid" => self.account_id = map.next_value()?,
            "verify" => self.verify = map.next_value()?,
            "templateonly" => self.template_only = map.next_value()?,
            "optional" => self.optional = map.next_value()?,
            "extractonly" => self.extract_only = map.next_value()?,
            "decode" => self.decode = map.next_value()?,
            "failoverobject" => self.failover_object = map.next_value()?,
            "refreshinterval" => self.refresh_interval = map.next_value()?,
            "uid" => self.uid = map.next_value()?,
            "gid" => self.gid = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn unknown(&mut self, key: String) {
        self.unknown_keys.push(key);
    }
}

impl ReadKeys for RawFailoverObject {
    const EXPECTED: &'static str = "a failoverObject with objectName";

    fn read_key<'de, M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<bool, M::Error> {
        match key {
            "objectname" => self.object_name = map.next_value()?,
            "objectversion" => self.object_version = map.next_value()?,
            "objectversionlabel" => self.object_version_label = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn unknown(&mut self, key: String) {
        self.unknown_keys.push(key);
    }
}

impl ReadKeys for RawJmesPath {
    const EXPECTED: &'static str = "an entry with path and objectAlias, or with key";

    fn read_key<'de, M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<bool, M::Error> {
        match key {
            "path" => self.path = map.next_value()?,
            "key" => self.key = map.next_value()?,
            "objectalias" => self.object_alias = map.next_value()?,
            "filepermission" => self.file_permission = map.next_value()?,
            "decode" => self.decode = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn unknown(&mut self, key: String) {
        self.unknown_keys.push(key);
    }
}

impl ReadKeys for RawSelection {
    const EXPECTED: &'static str = "true, or a map with include, exclude, prefix or case";

    fn read_key<'de, M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<bool, M::Error> {
        match key {
            "include" => self.include = map.next_value()?,
            "exclude" => self.exclude = map.next_value()?,
            "prefix" => self.prefix = map.next_value()?,
            "case" => self.case = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn unknown(&mut self, key: String) {
        self.unknown_keys.push(key);
    }
}

impl ReadKeys for RawVerify {
    const EXPECTED: &'static str = "a map with notEmpty, json, keys or regexp";

    fn read_key<'de, M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<bool, M::Error> {
        match key {
            "notempty" => self.not_empty = map.next_value()?,
            "json" => self.json = map.next_value()?,
            "keys" => self.keys = map.next_value()?,
            "regexp" => self.regexp = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn unknown(&mut self, key: String) {
        self.unknown_keys.push(key);
    }
}

impl ReadKeys for RawTemplate {
    const EXPECTED: &'static str = "an entry with path and format";

    fn read_key<'de, M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<bool, M::Error> {
        match key {
            "path" => self.path = map.next_value()?,
            "format" => self.format = map.next_value()?,
            "files" => self.files = map.next_value()?,
            "filepermission" => self.file_permission = map.next_value()?,
            "uid" => self.uid = map.next_value()?,
            "gid" => self.gid = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn unknown(&mut self, key: String) {
        self.unknown_keys.push(key);
    }
}

impl ReadKeys for RawHop {
    const EXPECTED: &'static str = "an entry with roleArn";

    fn read_key<'de, M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<bool, M::Error> {
        match key {
            "rolearn" => self.role_arn = map.next_value()?,
            "externalid" => self.external_id = map.next_value()?,
            "sessiontags" => self.session_tags = map.next_value()?,
            "transitivetagkeys" => self.transitive_tag_keys = map.next_value()?,
            "durationseconds" => self.duration_seconds = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn unknown(&mut self, key: String) {
        self.unknown_keys.push(key);
    }
}

struct KeyVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: ReadKeys> Visitor<'de> for KeyVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<T, M::Error> {
        let mut read = T::default();
        while let Some(key) = map.next_key::<String>()? {
            if !read.read_key(&key.to_ascii_lowercase(), &mut map)? {
                map.next_value::<IgnoredAny>()?;
                read.unknown(key);
            }
        }
        Ok(read)
    }
}

struct ExpandJsonVisitor;

impl<'de> Visitor<'de> for ExpandJsonVisitor {
    type Value = RawExpandJson;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(RawSelection::EXPECTED)
    }

    fn visit_bool<E>(self, word: bool) -> Result<RawExpandJson, E> {
        Ok(RawExpandJson::Word(word.to_string()))
    }

    fn visit_str<E>(self, word: &str) -> Result<RawExpandJson, E> {
        Ok(RawExpandJson::Word(word.to_owned()))
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<RawExpandJson, M::Error> {
        KeyVisitor(std::marker::PhantomData).visit_map(map).map(RawExpandJson::Selection)
    }
}

impl<'de> Deserialize<'de> for RawExpandJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ExpandJsonVisitor)
    }
}

/// serde's derive knows no keys in any case, so each of these has this.
macro_rules! read_in_any_case {
    ($($raw:ident)+) => {
        $(impl<'de> Deserialize<'de> for $raw {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_map(KeyVisitor(std::marker::PhantomData))
            }
        })+
    };
}

read_in_any_case!(RawObject RawFailoverObject RawJmesPath RawVerify RawTemplate RawHop);
