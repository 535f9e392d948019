//! Who is measured: a binary and how it is started.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::{Advice, fadvise};

#[derive(Clone, Debug)]
pub struct Contender {
    /// As tables call it.
    pub name: String,
    pub binary: PathBuf,
    arguments: Vec<String>,
    is_ours: bool,
}

impl Contender {
    pub fn ours(binary: &Path) -> Self {
        Self { name: "secretmount".into(), binary: binary.into(), arguments: vec!["serve".into()], is_ours: true }
    }

    pub fn peer(binary: &Path) -> Self {
        Self { name: "peer".into(), binary: binary.into(), arguments: Vec::new(), is_ours: false }
    }

    /// Has the kernel read the binary from disk again when it is started. How much of it a process maps depends on how it came
    /// into the page cache: what has just been built is there in larger pieces than what a node reads.
    pub fn leave_page_cache(&self) -> anyhow::Result<()> {
        let binary = File::open(&self.binary).with_context(|| self.binary.display().to_string())?;
        binary.sync_all()?; // what is not written stays
        Ok(fadvise(&binary, 0, None, Advice::DontNeed)?)
    }

    /// With more arguments, which become part of the name.
    pub fn variant(&self, arguments: &str) -> Self {
        let mut variant = self.clone();
        variant.name = format!("{} {arguments}", self.name);
        variant.arguments.extend(arguments.split_whitespace().map(str::to_owned));
        variant
    }

    /// With a setting that a scenario is about and that a peer does not have.
    pub fn set(&self, argument: &str) -> Self {
        let mut set = self.clone();
        if self.is_ours {
            set.arguments.push(argument.into());
        }
        set
    }

    /// All arguments for a node.
    pub fn arguments(&self, providers: &Path, kubelet: &Path) -> Vec<String> {
        let mut arguments = self.arguments.clone();
        arguments.push(format!("--provider-volume={}", providers.display()));
        if self.is_ours {
            arguments.push(format!("--kubelet-dir={}", kubelet.display()));
        }
        arguments
    }
}
