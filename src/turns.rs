//! Turns at an endpoint: how many calls may use it at the same time, shared fairly among namespaces.
//!
//! A call has a connection to itself, so this bounds connections too. A namespace may have three times as many turns as are still
//! free: alone it gets three quarters of all, two get three sevenths each, and there is always one left for whoever comes next,
//! so that nobody waits for another's slow calls. Those who wait are served namespace by namespace.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// How many turns a namespace may have for each one that is free.
const FOR_EACH_FREE: usize = 3;

/// The turns of all endpoints, by what tells endpoints apart.
pub struct Turns<K: Clone + Eq + Hash>(Arc<Mutex<HashMap<K, Line<K>>>>);

/// The right to use an endpoint, until it is dropped.
pub struct Turn<K: Clone + Eq + Hash> {
    /// `None` for one that nobody took: it was given back where it was offered.
    turns: Option<Turns<K>>,
    endpoint: K,
    namespace: Arc<str>,
}

/// Those who use one endpoint, and those who wait for it.
struct Line<K: Clone + Eq + Hash> {
    most: usize,
    taken: usize,
    /// How many of them each namespace has.
    of_namespaces: HashMap<Arc<str>, usize>,
    /// Each namespace once, the next to be served first.
    waiting: VecDeque<(Arc<str>, Queue<K>)>,
}

type Queue<K> = VecDeque<oneshot::Sender<Turn<K>>>;

impl<K: Clone + Eq + Hash> Turns<K> {
    pub fn new() -> Self {
        Self(Arc::default())
    }

    /// Waits for a turn at an endpoint that at most `most` may use at the same time. Of several who say different numbers, the
    /// last one counts: an endpoint may come to bear less.
    pub async fn take(&self, endpoint: K, most: usize, namespace: &Arc<str>) -> Turn<K> {
        let (sender, receiver) = oneshot::channel();
        self.change(&endpoint, |lines| {
            let line = lines.entry(endpoint.clone()).or_insert_with(Line::new);
            line.most = most.max(1);
            line.join(namespace.clone(), sender);
        });
        match receiver.await {
            Ok(turn) => turn,
            // Nobody who waits is ever left out.
            Err(_) => std::future::pending().await,
        }
    }

    /// Changes the lines, and then serves those who wait at an endpoint.
    fn change(&self, endpoint: &K, change: impl FnOnce(&mut HashMap<K, Line<K>>)) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut lines);
        let Some(line) = lines.get_mut(endpoint) else { return };
        while let Some((namespace, sender)) = line.next() {
            let turn = Turn { turns: Some(self.clone()), endpoint: endpoint.clone(), namespace };
            // Whoever has gone away is passed over here and not by dropping the turn: that would serve the next from within, and
            // a driver that goes away leaves thousands behind.
            if let Err(mut turn) = sender.send(turn) {
                turn.turns = None;
                line.leave(&turn.namespace);
            }
        }
        if line.taken == 0 {
            lines.remove(endpoint);
        }
    }
}

impl<K: Clone + Eq + Hash> Clone for Turns<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Clone + Eq + Hash> Drop for Turn<K> {
    fn drop(&mut self) {
        let Some(turns) = &self.turns else { return };
        turns.change(&self.endpoint, |lines| {
            if let Some(line) = lines.get_mut(&self.endpoint) {
                line.leave(&self.namespace);
            }
        });
    }
}

impl<K: Clone + Eq + Hash> Line<K> {
    fn new() -> Self {
        Self { most: 1, taken: 0, of_namespaces: HashMap::new(), waiting: VecDeque::new() }
    }

    fn join(&mut self, namespace: Arc<str>, sender: oneshot::Sender<Turn<K>>) {
        match self.waiting.iter_mut().find(|(waiting, _)| *waiting == namespace) {
            Some((_, senders)) => senders.push_back(sender),
            None => self.waiting.push_back((namespace, VecDeque::from([sender]))),
        }
    }

    fn leave(&mut self, namespace: &Arc<str>) {
        self.taken -= 1;
        if let Some(of_namespace) = self.of_namespaces.get_mut(namespace) {
            *of_namespace -= 1;
            if *of_namespace == 0 {
                self.of_namespaces.remove(namespace);
            }
        }
    }

    /// Takes a turn for who is to be served now, if anybody is.
    fn next(&mut self) -> Option<(Arc<str>, oneshot::Sender<Turn<K>>)> {
        let of = |namespace: &Arc<str>| self.of_namespaces.get(namespace).copied().unwrap_or_default();
        let room = FOR_EACH_FREE * self.most.saturating_sub(self.taken);
        let place = self.waiting.iter().position(|(namespace, _)| of(namespace) < room)?;
        let (namespace, mut senders) = self.waiting.remove(place)?;
        let sender = senders.pop_front()?;
        if !senders.is_empty() {
            self.waiting.push_back((namespace.clone(), senders));
        }
        self.taken += 1;
        *self.of_namespaces.entry(namespace.clone()).or_default() += 1;
        Some((namespace, sender))
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;

    use futures_util::future::poll_immediate;
    use proptest::prelude::*;

    use super::*;

    type Waiting = Pin<Box<dyn Future<Output = Turn<&'static str>>>>;

    /// Everybody at one endpoint.
    struct World {
        turns: Turns<&'static str>,
        most: usize,
        waiting: Vec<(&'static str, Waiting)>,
        served: Vec<(&'static str, Turn<&'static str>)>,
    }

    impl World {
        fn new(most: usize) -> Self {
            Self { turns: Turns::new(), most, waiting: vec![], served: vec![] }
        }

        fn come(&mut self, namespace: &'static str) {
            let (turns, most) = (self.turns.clone(), self.most);
            self.waiting.push((namespace, Box::pin(async move { turns.take("aws", most, &namespace.into()).await })));
        }

        /// Who gets a turn now, in the order of their coming.
        async fn look(&mut self) -> Vec<&'static str> {
            tokio::task::yield_now().await; // after some hundred looks of a task Tokio shows it nothing any more
            let mut now = vec![];
            let mut still = vec![];
            for (namespace, mut each) in std::mem::take(&mut self.waiting) {
                match poll_immediate(&mut each).await {
                    Some(turn) => {
                        now.push(namespace);
                        self.served.push((namespace, turn));
                    }
                    None => still.push((namespace, each)),
                }
            }
            self.waiting = still;
            now
        }

        fn of(&self, namespace: &str) -> usize {
            self.served.iter().filter(|(of, _)| *of == namespace).count()
        }
    }

    #[tokio::test]
    async fn p12_a_namespace_that_takes_all_it_can_get_leaves_room_for_others() {
        let mut world = World::new(128);
        (0..1_000).for_each(|_| world.come("greedy"));
        world.look().await;
        assert_eq!(world.of("greedy"), 96);
        for namespace in ["shop", "bank", "blog"] {
            world.come(namespace);
            assert_eq!(world.look().await, [namespace], "at once, though nobody has left");
        }
        (0..1_000).for_each(|_| world.come("greedy too"));
        world.look().await;
        assert!(
            world.of("greedy too") > 10 && world.served.len() < 128,
            "{} {}",
            world.of("greedy too"),
            world.served.len()
        );
        // The greedy get no more until they are as the others.
        world.served.remove(0);
        assert!(!world.look().await.contains(&"greedy"));
    }

    #[tokio::test]
    async fn an_endpoint_that_comes_to_bear_less_is_given_back_before_others_get_it() {
        let mut world = World::new(128);
        (0..1_000).for_each(|_| world.come("shop"));
        world.look().await;
        assert_eq!(world.of("shop"), 96);
        world.most = 10;
        world.come("bank");
        while world.served.len() > 10 {
            assert!(world.look().await.is_empty(), "{} are still there", world.served.len());
            world.served.pop();
        }
        world.served.pop();
        assert_eq!(world.look().await, ["bank"]);
        world.most = 128;
        world.come("blog");
        world.look().await;
        assert!(world.look().await.len() > 50, "it bears more again");
    }

    #[tokio::test]
    async fn those_who_wait_are_served_namespace_by_namespace() {
        let mut world = World::new(1);
        for namespace in ["a", "a", "a", "b", "c", "b"] {
            world.come(namespace);
        }
        let mut order = vec![];
        for _ in 0..6 {
            order.extend(world.look().await);
            world.served.clear();
        }
        assert_eq!(order, ["a", "a", "b", "c", "a", "b"]);
        assert!(world.turns.0.lock().expect("unpoisoned").is_empty(), "nothing stays of an endpoint that nobody uses");
    }

    #[tokio::test]
    async fn f41_a_driver_that_goes_away_leaves_nothing_behind_however_many_wait() {
        let mut world = World::new(2);
        for _ in 0..100_000 {
            world.come("shop");
        }
        world.look().await;
        world.waiting.clear();
        world.served.clear();
        assert!(world.turns.0.lock().expect("unpoisoned").is_empty());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Come(&'static str),
        Leave(usize),
        GoAway(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => prop_oneof![Just("a"), Just("b"), Just("c")].prop_map(Step::Come),
            2 => any::<usize>().prop_map(Step::Leave),
            1 => any::<usize>().prop_map(Step::GoAway),
        ]
    }

    proptest! {
        #[test]
        fn f41_no_turn_is_lost_or_given_twice(most in 1_usize..12, steps in proptest::collection::vec(step(), 1..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(async {
                let mut world = World::new(most);
                for step in steps {
                    match step {
                        Step::Come(namespace) => world.come(namespace),
                        Step::Leave(which) if !world.served.is_empty() => {
                            drop(world.served.swap_remove(which % world.served.len()));
                        }
                        Step::GoAway(which) if !world.waiting.is_empty() => {
                            drop(world.waiting.swap_remove(which % world.waiting.len()));
                        }
                        Step::Leave(_) | Step::GoAway(_) => {}
                    }
                    // Now and then, so that turns also come to those who go away without having looked.
                    if !(world.waiting.len() + world.served.len()).is_multiple_of(3) {
                        world.look().await;
                    }
                    assert!(world.served.len() <= most);
                }
                // In the end everybody has been served.
                while !world.waiting.is_empty() {
                    world.served.clear();
                    assert!(!world.look().await.is_empty(), "somebody is left out");
                }
                world.served.clear();
                assert!(world.turns.0.lock().expect("unpoisoned").is_empty());
            });
        }
    }
}
