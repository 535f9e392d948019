//! Values by key that are dear to make: each is made by one caller at a time, and whoever else wants it waits for that one.
//!
//! What a value is worth, and for how long, the holder decides. Bounded: the keys that were asked for longest ago go first.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places of values.
pub struct Flights<K, V> {
    table: Mutex<Table<K, V>>,
    capacity: usize,
}

struct Table<K, V> {
    places: HashMap<K, (Arc<Place<V>>, u64)>,
    asked: u64,
}

/// Where one value is, and the right to make it.
pub struct Place<V> {
    value: Mutex<Option<V>>,
    flight: tokio::sync::Mutex<()>,
}

/// The right to make a value. Passes on when dropped, also by a maker that was cancelled or panicked.
pub struct Flight<'a>(#[expect(dead_code, reason = "held, not read")] tokio::sync::MutexGuard<'a, ()>);

impl<K: Hash + Eq + Clone, V: Clone> Flights<K, V> {
    /// At most `capacity` keys.
    pub fn new(capacity: usize) -> Self {
        Self { table: Mutex::new(Table { places: HashMap::new(), asked: 0 }), capacity }
    }

    /// The place of a key. Where there are too many, the one that was asked for longest ago and that nobody is using gives
    /// way; its value is dropped.
    pub fn place(&self, key: K) -> Arc<Place<V>> {
        let mut table = lock(&self.table);
        table.asked += 1;
        let now = table.asked;
        if let Some((place, asked)) = table.places.get_mut(&key) {
            *asked = now;
            return place.clone();
        }
        if table.places.len() >= self.capacity {
            let unused = table.places.iter().filter(|(_, (place, _))| Arc::strong_count(place) == 1);
            let oldest = unused.min_by_key(|(_, (_, asked))| *asked).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| table.places.remove(&oldest));
        }
        let place = Arc::new(Place { value: Mutex::new(None), flight: tokio::sync::Mutex::new(()) });
        table.places.insert(key, (place.clone(), now));
        place
    }

    /// Gives a place back. Where nobody else is using it, it goes, with its value.
    pub fn leave(&self, key: &K, place: Arc<Place<V>>) {
        let mut table = lock(&self.table);
        drop(place);
        if table.places.get(key).is_some_and(|(place, _)| Arc::strong_count(place) == 1) {
            table.places.remove(key);
        }
    }

    /// Drops the values that are no longer worth keeping, but for those in use.
    pub fn sweep(&self, is_worth_keeping: impl Fn(&V) -> bool) {
        let is_kept = |place: &Arc<Place<V>>| {
            Arc::strong_count(place) > 1 || lock(&place.value).as_ref().is_some_and(&is_worth_keeping)
        };
        lock(&self.table).places.retain(|_, (place, _)| is_kept(place));
    }

    /// What is there, one after the other.
    #[cfg(feature = "aws")] // nobody else looks at it
    pub fn each(&self, mut look: impl FnMut(&K, &V)) {
        for (key, (place, _)) in &lock(&self.table).places {
            if let Some(value) = &*lock(&place.value) {
                look(key, value);
            }
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        lock(&self.table).places.len()
    }
}

impl<V: Clone> Place<V> {
    pub fn value(&self) -> Option<V> {
        lock(&self.value).clone()
    }

    pub fn put(&self, value: V) {
        *lock(&self.value) = Some(value);
    }

    /// Waits for the right to make the value. Look at the value again then: somebody may have made it meanwhile.
    pub async fn flight(&self) -> Flight<'_> {
        Flight(self.flight.lock().await)
    }

    /// The right to make the value, unless somebody has it.
    pub fn try_flight(&self) -> Option<Flight<'_>> {
        self.flight.try_lock().ok().map(Flight)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn f19_one_makes_while_the_others_wait_and_a_maker_that_is_cancelled_is_followed() {
        let flights = Arc::new(Flights::<&str, u32>::new(4));
        let made = Arc::new(AtomicUsize::new(0));
        let get = |stalls: bool| {
            let (flights, made) = (flights.clone(), made.clone());
            tokio::spawn(async move {
                let place = flights.place("key");
                let _flight = place.flight().await;
                if let Some(value) = place.value() {
                    return value;
                }
                made.fetch_add(1, Ordering::Relaxed);
                if stalls {
                    std::future::pending::<()>().await;
                }
                place.put(7);
                7
            })
        };
        let first = get(true);
        while made.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        let waiting: Vec<_> = (0..20).map(|_| get(false)).collect();
        tokio::task::yield_now().await;
        first.abort();
        for each in waiting {
            assert_eq!(each.await.expect("ran"), 7);
        }
        assert_eq!(made.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn f27_the_one_asked_for_longest_ago_goes_and_none_in_use() {
        let flights = Flights::<u32, u32>::new(3);
        for key in [1, 2, 3, 1] {
            flights.place(key).put(key);
        }
        let in_use = flights.place(3);
        flights.place(4).put(4);
        flights.place(5).put(5);
        assert_eq!((flights.len(), flights.place(3).value()), (3, Some(3)));
        assert_eq!((flights.place(2).value(), in_use.value()), (None, Some(3)));
        let other = flights.place(3);
        flights.leave(&3, in_use);
        assert_eq!(flights.len(), 3, "somebody else is using it");
        flights.leave(&3, other);
        assert_eq!(flights.len(), 2);
        flights.sweep(|value| *value == 5);
        assert_eq!((flights.len(), flights.place(5).value()), (1, Some(5)));
    }
}
