//! Lists of names, which are read and kept as values are.

use std::collections::{BTreeSet, HashSet};

use crate::plan::aws::{Item, List, Parameter, Revision, Secret, Stored};
use crate::reason::Reason;
use crate::secrets::{FetchError, SecretValue, Verdict};
use crate::sensitive::SecretBytes;

/// Most earlier versions of a parameter: AWS keeps a hundred.
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-versions.html>
const MOST_PREVIOUS: i64 = 99;

/// The pages of a list, as they come.
pub struct Pages<'a, T> {
    address: &'a Stored,
    left: usize,
    limit: usize,
    tokens: HashSet<String>,
    pub entries: Vec<T>,
}

impl<'a, T> Pages<'a, T> {
    /// `limit` is the most pages that are asked for.
    pub fn of(address: &'a Stored, limit: usize) -> Self {
        Self { address, left: limit, limit, tokens: HashSet::new(), entries: Vec::new() }
    }

    /// Takes a page, and says what the next one is asked for with, where there is one. A list that does not end is refused, and
    /// never cut.
    pub fn take(
        &mut self,
        entries: impl IntoIterator<Item = T>,
        next: Option<String>,
    ) -> Result<Option<String>, FetchError> {
        self.entries.extend(entries);
        self.left = self.left.saturating_sub(1);
        let Some(next) = next.filter(|token| !token.is_empty()) else { return Ok(None) };
        let refused =
            |reason, message| Err(FetchError::Backend { reason, message, verdict: Verdict::Final, said: None });
        if self.left == 0 {
            let (list, limit) = (self.address, self.limit);
            let message = format!(
                "{list} are more than {limit} pages of names. Narrow `find` in the class, or raise --max-find-pages"
            );
            return refused(Reason::LimitExceeded, message);
        }
        if !self.tokens.insert(next.clone()) {
            let message = format!("AWS answered with a page for the second time while listing {}", self.address);
            return refused(Reason::AnswerMismatch, message);
        }
        Ok(Some(next))
    }
}

/// Names as a value. Where pages changed while they were read, one may come twice.
pub fn value_of_names(names: Vec<String>) -> SecretValue {
    value_of(&names.into_iter().collect::<BTreeSet<_>>())
}

/// Ids of versions as a value, in their order.
pub fn value_of_versions(ids: &[String]) -> SecretValue {
    value_of(&ids)
}

fn value_of(names: &impl serde::Serialize) -> SecretValue {
    let content = serde_json::to_string(names).unwrap_or_default();
    SecretValue { content: SecretBytes::from(content), version: "list".into(), source: None }
}

/// What a list stands for, and what a parameter's version does: all versions before it.
pub fn members(list: &Stored, value: &SecretValue) -> Result<Vec<(String, Stored)>, FetchError> {
    let at = |item| Stored { region: list.region.clone(), item };
    let names = || {
        let no_list = |_| FetchError::Backend {
            reason: Reason::Internal,
            message: format!("{list} are no list of names"),
            verdict: Verdict::Final,
            said: None,
        };
        serde_json::from_slice::<Vec<String>>(value.content.expose()).map_err(no_list)
    };
    let of_secret = |id: &str, revision| Item::Secret(Secret { id: id.to_owned(), revision });
    let with = |item: fn(&str) -> Item| {
        names().map(|names| names.into_iter().map(|name| (name.clone(), at(item(&name)))).collect())
    };
    match &list.item {
        Item::List(List::Secrets(_)) => with(|name| {
            let revision = Revision::Stage(Revision::CURRENT.into());
            Item::Secret(Secret { id: name.to_owned(), revision })
        }),
        Item::List(List::Parameters(_)) => {
            with(|name| Item::Parameter(Parameter { name: name.to_owned(), selector: None }))
        }
        Item::List(List::Versions { secret }) => {
            let version = |id: String| (id.clone(), at(of_secret(secret, Revision::Version { id, stage: None })));
            names().map(|ids| ids.into_iter().map(version).collect())
        }
        Item::Parameter(Parameter { name, .. }) => {
            let current: i64 = value.version.parse().unwrap_or_default();
            let numbers = (1..current).rev().take(MOST_PREVIOUS as usize).map(|number| number.to_string());
            let selected =
                |number: &String| Item::Parameter(Parameter { name: name.clone(), selector: Some(number.clone()) });
            Ok(numbers.map(|number| (number.clone(), at(selected(&number)))).collect())
        }
        Item::Secret(_) => Ok(Vec::new()),
    }
}
