//! Which request was served last in each volume, and what it has left there.

use std::collections::HashMap;

use super::{PodTarget, TargetPath};
use crate::clock;

/// Volumes that are remembered. The oldest go first; nobody tells when one is unmounted.
const REMEMBERED: usize = 4_096;

#[derive(Default)]
pub struct Served {
    /// No two requests came at the same time.
    next: u64,
    last: HashMap<TargetPath, Last>,
}

struct Last {
    /// When the request came, in nanoseconds since the node's start.
    asked: u64,
    target: PodTarget,
    bytes: u64,
}

/// What this process has written into volumes that are still mounted, which its memory limit counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    pub volumes: usize,
    /// With all that belongs to them.
    pub bytes: u64,
}

impl Served {
    /// When a request that comes now has come.
    pub fn ask(&mut self) -> u64 {
        self.next = clock::since_boot().max(self.next.saturating_add(1));
        self.next
    }

    /// Whether one that came later has been served.
    pub fn is_outdated(&self, path: &TargetPath, asked: u64) -> bool {
        self.last.get(path).is_some_and(|last| last.asked > asked)
    }

    pub fn note(&mut self, target: PodTarget, asked: u64, bytes: u64) {
        let path = target.path();
        if self.last.len() >= REMEMBERED && !self.last.contains_key(path) {
            let oldest = self.last.iter().min_by_key(|(_, last)| last.asked).map(|(path, _)| path.clone());
            oldest.and_then(|oldest| self.last.remove(&oldest));
        }
        self.last.insert(path.clone(), Last { asked, target, bytes });
    }

    /// Each volume, mounted or not by now, with the bytes that are in it.
    pub fn targets(&self) -> Vec<(PodTarget, u64)> {
        self.last.values().map(|last| (last.target.clone(), last.bytes)).collect()
    }
}

impl Held {
    /// Looks at each volume once, without opening it.
    pub fn of(targets: &[(PodTarget, u64)]) -> Self {
        let mounted = targets.iter().filter(|(target, _)| target.is_mounted());
        mounted.fold(Self::default(), |held, (_, bytes)| Self {
            volumes: held.volumes.saturating_add(1),
            bytes: held.bytes.saturating_add(*bytes),
        })
    }
}
