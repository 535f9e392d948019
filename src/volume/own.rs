//! A directory that is this process's own, for which nobody else's word is needed.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use super::headroom::Headroom;
use super::write::Write;
use super::{Held, Outcome, VolumeError};
use crate::clock;
use crate::plan::{FileLayout, Files};

/// Written as a pod's volume is, but wherever it is. Whoever has it must know that nobody else writes there.
pub struct OwnDirectory(PathBuf);

impl OwnDirectory {
    /// `path` is opened for every write, and followed where it is a link.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Makes `files` its content. `given_up` is asked again and again, and says yes once nobody wants it any more. What was
    /// there before goes at once.
    ///
    /// # Errors
    /// The first step that fails; see [`VolumeError`].
    pub fn replace(
        &self,
        files: &Files,
        layout: FileLayout,
        given_up: &dyn Fn() -> bool,
    ) -> Result<Outcome, VolumeError> {
        let directory =
            File::open(&self.0).map_err(|error| VolumeError::Io { step: "opening the directory", error })?;
        let (asked, headroom) = (clock::since_boot(), Headroom::default());
        Write { files, layout, asked, headroom: &headroom, held: &Held::default, grace: Duration::ZERO, given_up }
            .run(&directory.into())
    }
}
