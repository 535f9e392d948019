//! Many secrets with one call, where the operator allows it.
//!
//! Such a call needs a right of its own and has a quota of its own (100 a second), so it is only ever the short way: what it does
//! not answer is asked for alone, and a role that may not make it is not asked to again for a while.
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_BatchGetSecretValue.html>

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Instant;
use crate::plan::aws::{Item, Region, Revision, Stored};

/// Most secrets that a call may name.
const SECRETS_A_CALL: usize = 20;
/// Most calls under way: a third of what a whole account may make in a second.
pub const CALLS_AT_ONCE: usize = 32;
/// How long it is remembered that a role may not make such calls: whoever grants the right need not restart anything.
const REFUSAL_LIFE: Duration = Duration::from_secs(10 * 60);
/// More roles than the pods of a node have.
const MOST_REFUSALS: usize = 1_024;

/// As few calls as possible. Only current values come with many, all others alone.
pub fn calls(secrets: Vec<Arc<Stored>>) -> Vec<Vec<Arc<Stored>>> {
    let (current, others): (Vec<_>, Vec<_>) = secrets.into_iter().partition(|address| is_current(address));
    let many = current.chunks(SECRETS_A_CALL).map(<[Arc<Stored>]>::to_vec);
    many.chain(others.into_iter().map(|secret| vec![secret])).collect()
}

fn is_current(address: &Stored) -> bool {
    match &address.item {
        Item::Secret(secret) => matches!(&secret.revision, Revision::Stage(stage) if stage == Revision::CURRENT),
        Item::Parameter(_) | Item::List(_) => false,
    }
}

/// Roles, or sessions of unknown ones, that may not read many secrets at once.
#[derive(Default)]
pub struct Refusals(Mutex<HashMap<(String, Region), Instant>>);

impl Refusals {
    pub fn has(&self, rights: &str, region: &Region) -> bool {
        let refusals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.get(&(rights.to_owned(), region.clone())).is_some_and(|at| at.elapsed() < REFUSAL_LIFE)
    }

    pub fn note(&self, rights: &str, region: &Region) {
        let mut refusals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.len() >= MOST_REFUSALS {
            refusals.retain(|_, at| at.elapsed() < REFUSAL_LIFE);
            // It costs each of them one call.
            if refusals.len() >= MOST_REFUSALS {
                refusals.clear();
            }
        }
        refusals.insert((rights.to_owned(), region.clone()), Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::aws::Secret;

    fn stored(id: usize, revision: Revision) -> Arc<Stored> {
        let region = "eu-west-1".parse().expect("a Region");
        Arc::new(Stored { region, item: Item::Secret(Secret { id: id.to_string(), revision }) })
    }

    #[test]
    fn current_values_come_in_twenties_and_others_alone() {
        let current = |id| stored(id, Revision::Stage(Revision::CURRENT.into()));
        let pending = stored(100, Revision::Stage("AWSPENDING".into()));
        let pinned = stored(101, Revision::Version { id: "1".into(), stage: None });
        let mut secrets: Vec<_> = (0..45).map(current).collect();
        secrets.splice(10..10, [pending, pinned]);
        let calls = calls(secrets);
        assert_eq!(calls.iter().map(Vec::len).collect::<Vec<_>>(), [20, 20, 5, 1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_remembered_for_a_role_and_a_region_and_not_for_ever() {
        let refusals = Refusals::default();
        let (here, there) = ("eu-west-1".parse().expect("a Region"), "eu-west-2".parse().expect("a Region"));
        refusals.note("web", &here);
        assert!(refusals.has("web", &here) && !refusals.has("web", &there) && !refusals.has("bank", &here));
        tokio::time::advance(REFUSAL_LIFE).await;
        assert!(!refusals.has("web", &here));
        (0..2 * MOST_REFUSALS).for_each(|number| refusals.note(&number.to_string(), &here));
        assert!(refusals.0.lock().expect("unpoisoned").len() <= MOST_REFUSALS);
    }
}
