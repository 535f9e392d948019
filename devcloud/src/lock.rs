//! How locks are taken here.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A panic in one call must not end all others: the state is whole between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
