//! One write of one volume.

use std::os::fd::OwnedFd;
use std::time::Duration;

use super::headroom::Headroom;
use super::record::Record;
use super::{Held, Outcome, VolumeError, atomic, plain};
use crate::clock;
use crate::plan::{FileLayout, Files};

pub struct Write<'a> {
    pub files: &'a Files,
    pub layout: FileLayout,
    /// When it was asked for, in nanoseconds since the node's start, which all processes count alike.
    pub asked: u64,
    pub headroom: &'a Headroom,
    /// What is already written, for whoever is told that there is no headroom.
    pub held: &'a dyn Fn() -> Held,
    /// How long a set stays after another one has taken its place: whoever was on his way to one of its files when that happened
    /// gets there. The next write clears it away, which with rotation comes within minutes.
    pub grace: Duration,
    /// Says yes once nobody wants it any more. It cannot be interrupted, so it asks.
    pub given_up: &'a dyn Fn() -> bool,
}

impl Write<'_> {
    /// Whether a set still stays that has been replaced at a time, in nanoseconds since the node's start.
    pub fn stays(&self, replaced: u64) -> bool {
        clock::since_boot().checked_sub(replaced).is_some_and(|age| Duration::from_nanos(age) < self.grace)
    }

    /// Makes the files the content of the volume.
    ///
    /// # Errors
    /// The first step that fails; see the layouts.
    pub fn run(&self, volume: &OwnedFd) -> Result<Outcome, VolumeError> {
        if (self.given_up)() {
            return Err(VolumeError::GivenUp);
        }
        match self.layout {
            FileLayout::Atomic => atomic::replace(volume, self),
            FileLayout::Files => plain::replace(volume, self),
        }
    }

    /// # Errors
    /// When it is not wanted any more, or when another process, such as the next version of this provider, has written what
    /// was asked for later.
    pub fn check(&self, volume: &OwnedFd) -> Result<(), VolumeError> {
        if (self.given_up)() {
            return Err(VolumeError::GivenUp);
        }
        match Record::read(volume) {
            // What lies in the future nobody has written on this node.
            Some(record) if record.asked > self.asked && record.asked <= clock::since_boot() => {
                Err(VolumeError::Outdated)
            }
            _ => Ok(()),
        }
    }
}
