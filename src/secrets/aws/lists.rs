//! Lists of names, which are read and kept as values are.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::plan::aws::{Item, List, Parameter, Revision, Secret, Stored};
use crate::reason::Reason;
use crate::secrets::{FetchError, SecretValue, Verdict};
use crate::sensitive::SecretBytes;

/// Most earlier versions of a parameter: AWS keeps a hundred.
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-versions.html>
const MOST_PREVIOUS: i64 = 99;

/// Lists that are read at the same time at an endpoint. One goes on for many pages, and names are not to wait for more of
/// another's than values do.
pub const CALLS_AT_ONCE: usize = 4;

/// How much of a list is read. One that goes on is refused, and never cut.
#[derive(Debug, Clone, Copy)]
pub struct MostOfLists {
    pub pages: usize,
    /// Of what is kept of all names.
    pub bytes: usize,
}

/// A page of a list, and what the next one is asked for with, where there is one.
pub struct Page<T> {
    pub entries: Vec<T>,
    pub next: Option<String>,
}

/// All that is on the pages of a list.
pub async fn entries<'a, T>(
    address: &Stored,
    most: MostOfLists,
    mut page: impl FnMut(Option<String>) -> BoxFuture<'a, Result<Page<T>, FetchError>>,
) -> Result<Vec<T>, FetchError> {
    let (mut all, mut tokens, mut next) = (Vec::new(), HashSet::new(), None);
    for _ in 0..most.pages {
        let Page { entries, next: following } = page(next.take()).await?;
        all.extend(entries);
        let Some(token) = following.filter(|token| !token.is_empty()) else { return Ok(all) };
        if !tokens.insert(token.clone()) {
            let message = format!("AWS answered with a page for the second time while listing {address}");
            return Err(refused(Reason::AnswerMismatch, message));
        }
        next = Some(token);
    }
    Err(too_much(address, most.pages, "pages of names", "--max-find-pages"))
}

/// Names as a value. Where pages changed while they were read, one may come twice.
pub fn value_of_names(names: Vec<String>, address: &Stored, most: MostOfLists) -> Result<SecretValue, FetchError> {
    value_of(&names.into_iter().collect::<BTreeSet<_>>(), address, most)
}

/// Ids of versions as a value, in their order.
pub fn value_of_versions(ids: &[String], address: &Stored, most: MostOfLists) -> Result<SecretValue, FetchError> {
    value_of(&ids, address, most)
}

fn value_of(names: &impl serde::Serialize, address: &Stored, most: MostOfLists) -> Result<SecretValue, FetchError> {
    let content = serde_json::to_string(names).unwrap_or_default();
    match content.len() > most.bytes {
        true => Err(too_much(address, most.bytes, "bytes of names", "--max-value-bytes")),
        false => Ok(SecretValue { content: SecretBytes::from(content), version: "list".into(), source: None }),
    }
}

fn too_much(list: &Stored, limit: usize, unit: &str, flag: &str) -> FetchError {
    let message = format!("{list} are more than {limit} {unit}. Narrow `find` in the class, or raise {flag}");
    refused(Reason::LimitExceeded, message)
}

fn refused(reason: Reason, message: String) -> FetchError {
    FetchError::Backend { reason, message, verdict: Verdict::Final, said: None }
}

/// What a list stands for, and what a parameter's version does: all versions before it.
pub fn members(list: &Stored, value: &SecretValue) -> Result<Vec<(String, Arc<Stored>)>, FetchError> {
    let at = |item| Arc::new(Stored { region: list.region.clone(), item });
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
