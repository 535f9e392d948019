//! What is to be mounted: the typed words that every room below `spec` shares.
//!
//! `spec` makes a [`SecretPlan`] from a class; `secrets` fetches what it names, `render` turns values into files, `volume`
//! writes those. Everything here is checked when it is made, so nobody who receives it checks again. It is data without
//! behaviour but what its own words mean, names no room, and so may be named by all of them.

#[cfg(feature = "aws")]
pub mod aws;
mod decoding;
mod expansion;
mod files;
mod jmespath;
pub mod markup;
mod path;
pub mod pattern;
mod pem;
mod permission;
mod regexp;
mod template;
mod translation;
mod unfolding;
mod verification;

pub use decoding::{Decoding, InvalidDecoding};
pub use expansion::{Case, Expansion, InvalidCase};
pub use files::{File, FileLayout, Files, Owner};
pub use jmespath::{InvalidJmesPath, JmesPath};
pub use markup::{InvalidMarkup, Markup};
pub use path::{InvalidPath, RelativePath, parent_and_child};
pub use pem::{PemPart, PemText};
pub use permission::{FilePermission, InvalidPermission};
pub use regexp::{InvalidRegexp, Regexp, Searcher};
pub use template::{Body, Format, InvalidFormat, Template};
pub use translation::Translation;
pub use unfolding::{Members, Rewrite, Selection, Unfolding, ending_of_previous};
pub use verification::Verification;

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::time::Duration;

/// Where one secret value is kept: the whole question that a backend can be asked, so that equal addresses are asked once.
/// It displays as a person would name it in an error, and never holds a value.
pub trait Address: Clone + Eq + Hash + Debug + Display + Send + Sync + 'static {
    /// What a set of credentials is good for, such as a Region.
    type Place: Clone + Eq + Hash + Debug + Display + Send + Sync + 'static;

    fn place(&self) -> &Self::Place;

    /// Whether what is there can never be another value.
    fn is_pinned(&self) -> bool;

    /// Whether it is a value of the object that a class calls so.
    fn is_of(&self, object: &str) -> bool;
}

/// Everything one mount asks for. At least one object; no two planned files of which one would have to be the other's
/// directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretPlan<A> {
    pub objects: Vec<Object<A>>,
    /// More files, which are made of those of the objects.
    pub templates: Vec<Template>,
    pub layout: FileLayout,
    /// What is wrong with the class without stopping the mount, each a sentence for its author.
    pub warnings: Vec<String>,
}

impl<A> SecretPlan<A> {
    /// Whom its files belong to.
    pub fn owners(&self) -> impl Iterator<Item = Owner> {
        let of_objects = self.objects.iter().flat_map(Object::owners);
        of_objects.chain(self.templates.iter().map(|template| template.owner))
    }
}

/// One entry of a class: a secret and the files it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object<A> {
    /// Place in the class, counted from 1 as people do.
    pub position: usize,
    pub address: A,
    /// Where else the value may be read when its own address cannot be, in another place.
    pub standby: Option<A>,
    /// In the order they are written; where two have one path, the later replaces the earlier.
    pub files: Vec<PlannedFile>,
    /// More files, which only the value itself names. Those of `files` replace them.
    pub expansion: Option<Expansion>,
    /// What its value must be like.
    pub verification: Verification,
    /// Whether its files are only for the templates, and not written themselves.
    pub is_for_templates: bool,
    /// Whether the mount goes on without it where nothing is stored at its address.
    pub is_optional: bool,
    /// How old what was read may be before a refresh asks again, where the class says so.
    pub refresh_interval: Option<Duration>,
    /// More objects that the entry stands for, until they are known.
    pub unfolding: Option<Unfolding<A>>,
    /// Whether it is one of those: then nobody who reads the class has seen its files.
    pub is_unfolded: bool,
    /// How many values ago its value was the current one.
    pub ago: usize,
}

impl<A> Object<A> {
    /// What is at an address, of which nothing is wanted yet.
    pub fn at(address: A, position: usize) -> Self {
        Self {
            position,
            address,
            standby: None,
            files: Vec::new(),
            expansion: None,
            verification: Verification::default(),
            is_for_templates: false,
            is_optional: false,
            refresh_interval: None,
            unfolding: None,
            is_unfolded: false,
            ago: 0,
        }
    }

    /// Wherever its value may be read.
    pub fn addresses(&self) -> impl Iterator<Item = &A> {
        std::iter::once(&self.address).chain(&self.standby)
    }

    /// What the driver knows it by: its files, or where it has none by name, its address.
    pub fn ids(&self) -> Vec<String>
    where
        A: Display,
    {
        match self.files.as_slice() {
            [] => vec![self.address.to_string()],
            files => files.iter().map(|file| file.path.to_string()).collect(),
        }
    }

    /// Whether its value has been replaced by another one.
    pub fn is_previous(&self) -> bool {
        self.ago > 0
    }

    /// The object of the value that it had so many values ago. That was held against its rules when it was the current one.
    ///
    /// # Errors
    /// Where a file's name would be too long.
    pub fn previous(&self, ago: usize, address: A, standby: Option<A>) -> Result<Self, InvalidPath>
    where
        A: Clone,
    {
        let ending = ending_of_previous(ago);
        let mut earlier = Self { address, standby, unfolding: None, is_unfolded: true, ago, ..self.clone() };
        earlier.is_optional = true;
        earlier.verification = Verification::default();
        for file in &mut earlier.files {
            file.path = format!("{}{ending}", file.path).parse()?;
        }
        if let Some(expansion) = &mut earlier.expansion {
            expansion.ending = ending;
        }
        Ok(earlier)
    }

    fn owners(&self) -> impl Iterator<Item = Owner> {
        let found = self.unfolding.as_ref().and_then(|unfolding| match &unfolding.members {
            Members::Found(selection) => Some(selection.owner),
            Members::Previous(_) => None,
        });
        let expanded = self.expansion.as_ref().map(|expansion| expansion.owner);
        self.files.iter().map(|file| file.owner).chain(expanded).chain(found)
    }
}

/// One file and what of the secret goes into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedFile {
    pub path: RelativePath,
    pub permission: FilePermission,
    pub owner: Owner,
    pub content: Content,
    /// What becomes of the content before it is written.
    pub decoding: Decoding,
}

/// What of a secret goes into a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Its bytes, unchanged.
    Whole,
    /// What an expression selects from its JSON.
    JmesPath(JmesPath),
    /// What a key at the top of its JSON has, whatever characters are in the key.
    Key(String),
    /// A key or certificates, which that text of it has in PEM.
    Pem(PemText, PemPart),
}
