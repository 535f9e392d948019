//! Classes that were read before: each volume of a class brings the same text with each of its mounts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::plan::FilePermission;
use crate::spec::{Parameters, SpecError};

/// More than the pods of a node have. Reading all of them again is cheap; a queue of them would not be.
const MOST: usize = 64;
/// Longer texts are rare, and 64 of them would be much.
const LONGEST: usize = 16 * 1024;

/// Classes by their text and by the permission that files have which name none.
pub struct Classes<C>(Mutex<HashMap<(Parameters, FilePermission), Arc<C>>>);

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
        let length: usize = parameters.iter().map(|(name, value)| name.len() + value.len()).sum();
        if length > LONGEST {
            return read().map(Arc::new);
        }
        let key = (parameters.clone(), permission);
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(class) = known {
            return Ok(class);
        }
        let class = Arc::new(read()?);
        let mut classes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if classes.len() >= MOST {
            classes.clear();
        }
        classes.insert(key, class.clone());
        Ok(class)
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
        (0..3 * MOST).for_each(|number| drop(get(&format!("n{number}"), 0o644)));
        assert!(classes.0.lock().expect("unpoisoned").len() <= MOST);
    }
}
