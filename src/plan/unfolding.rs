//! Objects that a class does not name one by one.

use super::{Content, Decoding, FilePermission, InvalidPath, Owner, PlannedFile, Regexp, RelativePath, Translation};

/// What more objects an entry stands for, and where that is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfolding<A> {
    /// Where it is said which they are.
    pub list: A,
    /// Where else, when the list cannot be read.
    pub standby: Option<A>,
    pub members: Members,
}

/// What the objects are that a list leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Members {
    /// All that are called in a way. The entry itself is none.
    Found(Selection),
    /// So many of the values that the entry's own had before, as far as there are any.
    Previous(usize),
}

/// Which names of a list are taken, and what becomes of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// What names begin with that is not looked at: files are called without it.
    pub prefix: String,
    /// What must be found in a name.
    pub name: Option<Regexp>,
    /// What makes the name of a file of it, one after another.
    pub rewrites: Vec<Rewrite>,
    pub translation: Translation,
    pub permission: FilePermission,
    pub owner: Owner,
    pub content: Content,
    pub decoding: Decoding,
}

/// Something else in the place of what is found in a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    pub regexp: Regexp,
    pub replacement: String,
}

impl Selection {
    /// The file of a value that has this name after all rewriting.
    pub fn file(&self, name: &str) -> Result<PlannedFile, InvalidPath> {
        let path: RelativePath = self.translation.apply(name).parse()?;
        let (permission, owner) = (self.permission, self.owner);
        Ok(PlannedFile { path, permission, owner, content: self.content.clone(), decoding: self.decoding })
    }
}

/// What the files of an earlier value are called: as those of the current one, and how many values ago it was.
pub fn ending_of_previous(ago: usize) -> String {
    format!(".previous-{ago}")
}
