//! What is told once.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Mutex, PoisonError};

/// The things that were told. Of too many the oldest are forgotten, and then told once more.
pub struct Once {
    told: Mutex<(HashSet<u64>, VecDeque<u64>)>,
    capacity: usize,
    /// They are told apart by a number that nobody can choose.
    hasher: RandomState,
}

impl Once {
    pub fn new(capacity: usize) -> Self {
        Self { told: Mutex::default(), capacity, hasher: RandomState::new() }
    }

    /// Whether it was not told before. From now on it was.
    pub fn is_first(&self, thing: impl Hash) -> bool {
        let thing = self.hasher.hash_one(thing);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, order) = &mut *told;
        if !known.insert(thing) {
            return false;
        }
        order.push_back(thing);
        if order.len() > self.capacity
            && let Some(oldest) = order.pop_front()
        {
            known.remove(&oldest);
        }
        true
    }

    /// It was not told after all.
    pub fn forget(&self, thing: impl Hash) {
        let thing = self.hasher.hash_one(thing);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, order) = &mut *told;
        known.remove(&thing);
        order.retain(|other| *other != thing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_forgets_the_oldest_first() {
        let once = Once::new(100);
        for number in 0..1_000 {
            assert!(once.is_first(number));
            assert!(!once.is_first(number));
        }
        assert!(!once.is_first(900) && once.is_first(0));
        once.forget(950);
        assert!(once.is_first(950));
        let told = once.told.lock().expect("unpoisoned");
        assert_eq!((told.0.len(), told.1.len()), (100, 100));
    }
}
