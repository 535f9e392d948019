//! Which volumes this process has answered with success: whoever asks for one of them again refreshes it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::volume::TargetPath;

/// More than a node has volumes. The one that was asked for longest ago goes first, for nobody tells of an unmount; it costs
/// one fresh read.
const REMEMBERED: usize = 4_096;

#[derive(Default)]
pub struct Answered(Mutex<Table>);

#[derive(Default)]
struct Table {
    asked: u64,
    targets: HashMap<TargetPath, u64>,
}

impl Answered {
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).targets.len()
    }

    pub fn contains(&self, target: &TargetPath) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).targets.contains_key(target)
    }

    pub fn note(&self, target: TargetPath) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.asked += 1;
        let now = table.asked;
        table.targets.insert(target, now);
        if table.targets.len() > REMEMBERED {
            let oldest = table.targets.iter().min_by_key(|(_, asked)| **asked).map(|(target, _)| target.clone());
            oldest.and_then(|oldest| table.targets.remove(&oldest));
        }
    }
}
