//! One entry of `objects`, `templates` or `assumeRoles`, as it is written, before anything is checked.
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
    pub pem: Option<RawPem>,
    pub decode: Option<String>,
    pub optional: Option<String>,
    pub template_only: Option<String>,
    pub verify: Option<RawVerify>,
    pub region: Option<String>,
    pub account_id: Option<String>,
    pub find: Option<RawFind>,
    pub rewrite: Option<Vec<Option<RawRewrite>>>,
    pub previous: Option<String>,
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

/// `find`: which of all there are.
#[derive(Debug, Default)]
pub struct RawFind {
    pub path: Option<String>,
    pub recursive: Option<String>,
    pub name_prefix: Option<String>,
    pub name_regexp: Option<String>,
    /// The keys of tags keep their case.
    pub tags: Option<BTreeMap<String, Option<String>>>,
    pub unknown_keys: Vec<String>,
}

/// One entry of `rewrite`.
#[derive(Debug, Default)]
pub struct RawRewrite {
    pub regexp: Option<String>,
    pub replacement: Option<String>,
    pub unknown_keys: Vec<String>,
}

/// What of a key and its certificates goes into which file.
#[derive(Debug, Default)]
pub struct RawPem {
    pub from: Option<Vec<String>>,
    pub key: Option<String>,
    pub certificate: Option<String>,
    pub chain: Option<String>,
    pub full_chain: Option<String>,
    pub bundle: Option<String>,
    pub unknown_keys: Vec<String>,
}

/// What a value must be like.
#[derive(Debug, Default)]
pub struct RawVerify {
    pub not_empty: Option<String>,
    pub json: Option<String>,
    pub keys: Option<Vec<String>>,
    pub regexp: Option<String>,
    pub pem: Option<String>,
    pub not_expired: Option<String>,
    pub unknown_keys: Vec<String>,
}

/// One entry of `templates`.
#[derive(Debug, Default)]
pub struct RawTemplate {
    pub path: Option<String>,
    pub format: Option<String>,
    pub content: Option<String>,
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
    /// What [`Self::read_key`] knows.
    #[cfg(test)]
    const KEYS: &'static [&'static str];

    fn read_key<'de, M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<bool, M::Error>;
    fn unknown(&mut self, key: String);
}

/// What each of them has under which key, and what is expected where there is something else. serde's derive knows no keys in
/// any case.
macro_rules! read_in_any_case {
    ($($raw:ident, $expected:literal: $($key:literal => $field:ident)+;)+) => {
        $(
            impl ReadKeys for $raw {
                const EXPECTED: &'static str = $expected;
                #[cfg(test)]
                const KEYS: &'static [&'static str] = &[$($key),+];

                fn read_key<'de, M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<bool, M::Error> {
                    match key {
                        $($key => self.$field = map.next_value()?,)+
                        _ => return Ok(false),
                    }
                    Ok(true)
                }

                fn unknown(&mut self, key: String) {
                    self.unknown_keys.push(key);
                }
            }

            impl<'de> Deserialize<'de> for $raw {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    deserializer.deserialize_map(KeyVisitor(std::marker::PhantomData))
                }
            }
        )+
    };
}

read_in_any_case! {
    RawObject, "an object with objectName and objectType":
        "objectname" => object_name
        "objecttype" => object_type
        "objectalias" => object_alias
        "objectversion" => object_version
        "objectversionlabel" => object_version_label
        "filepermission" => file_permission
        "key" => key
        "jmespath" => jmes_path
        "expandjson" => expand_json
        "region" => region
        "accountid" => account_id
        "find" => find
        "rewrite" => rewrite
        "previous" => previous
        "verify" => verify
        "templateonly" => template_only
        "optional" => optional
        "extractonly" => extract_only
        "pem" => pem
        "decode" => decode
        "failoverobject" => failover_object
        "refreshinterval" => refresh_interval
        "uid" => uid
        "gid" => gid;
    RawFailoverObject, "a failoverObject with objectName":
        "objectname" => object_name
        "objectversion" => object_version
        "objectversionlabel" => object_version_label;
    RawJmesPath, "an entry with path and objectAlias, or with key":
        "path" => path
        "key" => key
        "objectalias" => object_alias
        "filepermission" => file_permission
        "decode" => decode;
    RawSelection, "true, or a map with include, exclude, prefix or case":
        "include" => include
        "exclude" => exclude
        "prefix" => prefix
        "case" => case;
    RawFind, "a map with path, namePrefix, nameRegexp or tags":
        "path" => path
        "recursive" => recursive
        "nameprefix" => name_prefix
        "nameregexp" => name_regexp
        "tags" => tags;
    RawRewrite, "a rule with regexp and replacement":
        "regexp" => regexp
        "replacement" => replacement;
    RawPem, "a map with key, certificate, chain, fullChain or bundle":
        "from" => from
        "key" => key
        "certificate" => certificate
        "chain" => chain
        "fullchain" => full_chain
        "bundle" => bundle;
    RawVerify, "a map with notEmpty, json, keys, regexp, pem or notExpired":
        "notempty" => not_empty
        "json" => json
        "keys" => keys
        "regexp" => regexp
        "pem" => pem
        "notexpired" => not_expired;
    RawTemplate, "an entry with path, and format or content":
        "path" => path
        "format" => format
        "content" => content
        "files" => files
        "filepermission" => file_permission
        "uid" => uid
        "gid" => gid;
    RawHop, "an entry with roleArn":
        "rolearn" => role_arn
        "externalid" => external_id
        "sessiontags" => session_tags
        "transitivetagkeys" => transitive_tag_keys
        "durationseconds" => duration_seconds;
}

/// What is read of an entry, and of the maps in it, by the place that it stands in.
#[cfg(test)]
pub fn keys_by_place() -> BTreeMap<&'static str, &'static [&'static str]> {
    BTreeMap::from([
        ("objects", RawObject::KEYS),
        ("objects.failoverObject", RawFailoverObject::KEYS),
        ("objects.jmesPath", RawJmesPath::KEYS),
        ("objects.expandJson", RawSelection::KEYS),
        ("objects.find", RawFind::KEYS),
        ("objects.pem", RawPem::KEYS),
        ("objects.rewrite", RawRewrite::KEYS),
        ("objects.verify", RawVerify::KEYS),
        ("templates", RawTemplate::KEYS),
        ("assumeRoles", RawHop::KEYS),
    ])
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
