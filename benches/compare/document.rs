//! A document whose tables are written by the machine: each stands between two comments that name it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

pub struct Document {
    path: PathBuf,
    text: String,
}

impl Document {
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(Self { path: path.into(), text })
    }

    /// Puts `content` between `<!-- begin NAME -->` and `<!-- end NAME -->`.
    pub fn replace(&mut self, name: &str, content: &str) -> anyhow::Result<()> {
        let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
        let missing = || format!("{} has no place for {name}: {begin}{end}", self.path.display());
        let (before, rest) = self.text.split_once(&begin).with_context(missing)?;
        let (_, after) = rest.split_once(&end).with_context(missing)?;
        self.text = format!("{before}{begin}\n{}\n\n{end}{after}", content.trim_end());
        Ok(())
    }

    pub fn save(&self) -> anyhow::Result<()> {
        fs::write(&self.path, &self.text).with_context(|| format!("writing {}", self.path.display()))
    }
}
