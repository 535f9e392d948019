//! Classes that were read before: each volume of a class brings the same text with each of its mounts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::plan::FilePermission;
use crate::spec::{Parameters, SpecError};

/// More than the pods of a node have. Reading all of them again is cheap; a queue of them would not be.
const MOST: usize = 64;
/// Most bytes of all their texts. What is read of them takes several times as much.
const MOST_BYTES: usize = 256 * 1024;
/// Longer texts are rare, and a few of them would push all others out.
const LONGEST: usize = 16 * 1024;

/// Classes by the permission that files have which name none, and by their text.
pub struct Classes<C>(Mutex<Table<C>>);

struct Table<C> {
    classes: HashMap<FilePermission, HashMap<Parameters, Arc<C>>>,
    count: usize,
    bytes: usize,
}

impl<C> Default for Table<C> {
    fn default() -> Self {
        Self { classes: HashMap::new(), count: 0, bytes: 0 }
    }
}

impl<C> Default for Classes<C> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<C> Classes<C> {
    /// The class of some parameters, read with `read` where they are new. Errors are not kept.
    pub fn get(
        &self,
        parameters: &Parameters,
        permission: FilePermission,
        read: impl FnOnce() -> Result<C, SpecError>,
    ) -> Result<Arc<C>, SpecError> {
        let known = self.table().classes.get(&permission).and_then(|classes| classes.get(parameters)).cloned();
        if let Some(class) = known {
            return Ok(class);
        }
        let class = Arc::new(read()?);
        let bytes = parameters.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes <= LONGEST {
            self.table().put(permission, parameters.clone(), bytes, class.clone());
        }
        Ok(class)
    }

    fn table(&self) -> MutexGuard<'_, Table<C>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Table<C> {
    fn put(&mut self, permission: FilePermission, parameters: Parameters, bytes: usize, class: Arc<C>) {
        if self.count >= MOST || self.bytes + bytes > MOST_BYTES {
            *self = Self::default();
        }
        // Two may have read it at the same time.
        if self.classes.entry(permission).or_default().insert(parameters, class).is_none() {
            self.count += 1;
            self.bytes += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn parameters(objects: &str) -> Parameters {
        [("objects".to_owned(), objects.to_owned())].into()
    }

    #[test]
    fn the_same_text_is_read_once_and_any_other_anew() {
        let (classes, reads) = (Classes::<String>::default(), Cell::new(0));
        let get = |objects: &str, mode: u32| {
            let read = || {
                reads.set(reads.get() + 1);
                if objects.is_empty() { Err(SpecError::NoObjects) } else { Ok(format!("{objects} {mode:o}")) }
            };
            classes.get(&parameters(objects), FilePermission::from_mode(mode).0, read).map(|class| class.to_string())
        };
        for _ in 0..3 {
            assert_eq!(get("a", 0o644).expect("valid"), "a 644");
            assert_eq!(get("a", 0o600).expect("valid"), "a 600");
            assert_eq!(get("b", 0o644).expect("valid"), "b 644");
        }
        assert_eq!(reads.get(), 3);
        let long = "x".repeat(LONGEST);
        for _ in 0..2 {
            get("", 0o644).expect_err("no objects");
            get(&long, 0o644).expect("valid");
        }
        assert_eq!(reads.get(), 7);
        for number in 0..3 * MOST {
            get(&format!("n{number}"), 0o644).expect("valid");
            get(&"x".repeat(LONGEST - 100 - number), 0o644).expect("valid");
            let table = classes.table();
            let kept = table.classes.values().flat_map(HashMap::keys);
            let bytes: usize = kept.clone().flatten().map(|(name, value)| name.len() + value.len()).sum();
            assert_eq!((table.count, table.bytes), (kept.count(), bytes));
            assert!(table.count <= MOST && table.bytes <= MOST_BYTES);
        }
    }
}
