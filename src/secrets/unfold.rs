//! Objects that a class does not name are looked up, and stand in the plan like all others from then on.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::Hash;

use super::{CredentialSource, Demand, FetchError, Fetched, Fetcher, Found, SecretBackend};
use crate::config::Limits;
use crate::plan::{Address, InvalidPath, Members, Object, PlannedFile, Searcher, SecretPlan, Selection, Unfolding};
use crate::reason::{Explained, Reason};

/// Most bytes that the regular expressions of one mount look through: with the largest ones that takes half a second.
const SEARCHED: usize = 256 * 1024;
/// Most bytes of a name, whatever is made of it.
const MAX_NAME_BYTES: usize = 1024;
/// How much of a name an error shows.
const SHOWN: usize = 100;

/// Why it is not known which objects there are, or why they cannot stand beside each other.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UnfoldError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(
        "object {position} finds nothing: {looked_at} there are of {list}{of_regexp}. Correct `find` in the class, or make the object optional"
    )]
    Nothing { position: usize, list: String, looked_at: usize, of_regexp: &'static str },
    #[error(
        "the class finds more than {limit} names, with those that object {position} finds in {list}. Narrow `find` in the class, or raise --max-find-matches"
    )]
    TooMany { position: usize, list: String, limit: usize },
    #[error(
        "with object {position} the class stands for more than {limit} values, each a file at least. Narrow `find`, lower `previous`, or raise --max-files"
    )]
    TooManyFiles { position: usize, limit: usize },
    #[error(
        "the regular expressions of `find` and `rewrite` would look through more than {SEARCHED} bytes in one mount. Narrow `path` or `namePrefix`"
    )]
    TooMuch,
    #[error("the file name {file:?} of {name:?} (object {position}) {problem}; correct `rewrite` in the class")]
    FileName { file: String, name: String, position: usize, problem: InvalidPath },
    #[error(
        "{name:?} and {other:?} (object {position}) would both be the file {file:?}; correct `rewrite` in the class"
    )]
    SameFile { name: String, other: String, position: usize, file: String },
}

impl Explained for UnfoldError {
    fn reason(&self) -> Reason {
        match self {
            Self::Fetch(error) => error.reason(),
            Self::Nothing { .. } => Reason::SecretNotFound,
            Self::TooMany { .. } | Self::TooManyFiles { .. } | Self::TooMuch => Reason::LimitExceeded,
            Self::FileName { .. } => Reason::InvalidFileName,
            Self::SameFile { .. } => Reason::DuplicateFile,
        }
    }
}

impl<B: SecretBackend, R: Eq + Hash + Send + Sync> Fetcher<B, R> {
    /// The plan with all objects that its entries stand for, each with one address. Lists are read as values are, and kept as
    /// long. Says also which entries find nothing, where they may.
    ///
    /// # Errors
    /// What keeps a list from being read, and what is wrong with what is in it.
    pub async fn unfold<'p, S>(
        &self,
        source: &S,
        plan: &'p SecretPlan<B::Address>,
        namespace: &str,
        demand: Demand,
        limits: &Limits,
    ) -> Result<(Cow<'p, SecretPlan<B::Address>>, Vec<Object<B::Address>>), UnfoldError>
    where
        S: CredentialSource<Place = <B::Address as Address>::Place, Credentials = B::Credentials, Reader = R>,
    {
        let lists: Vec<Object<B::Address>> = plan.objects.iter().filter_map(list_of).collect();
        if lists.is_empty() {
            return Ok((Cow::Borrowed(plan), Vec::new()));
        }
        let of_lists = SecretPlan { objects: lists, templates: Vec::new(), layout: plan.layout, warnings: Vec::new() };
        let found = self.fetch(source, &of_lists, namespace, demand).await?;
        let mut found = found.into_iter();
        let mut allowed = Allowed { searches: Searches { left: SEARCHED }, matches: limits.max_find_matches };
        let (mut objects, mut nothing) = (Vec::new(), Vec::new());
        for object in &plan.objects {
            // What follows is read only where all of it may be written.
            if objects.len() > limits.max_files {
                return Err(UnfoldError::TooManyFiles { position: object.position, limit: limits.max_files });
            }
            let Some(unfolding) = &object.unfolding else {
                objects.push(object.clone());
                continue;
            };
            let list = match found.next().ok_or_else(FetchError::unanswered)? {
                Found::Value(list) => Some(list),
                Found::Absent(_) => None,
            };
            match &unfolding.members {
                Members::Previous(count) => {
                    objects.push(Object { unfolding: None, ..object.clone() });
                    if let Some(list) = list {
                        objects.extend(self.previous(object, &list, *count)?);
                    }
                }
                Members::Found(selection) => {
                    let members = match &list {
                        Some(list) => self.found(object, unfolding, selection, list, &mut allowed, limits)?,
                        None => Vec::new(),
                    };
                    if members.is_empty() {
                        nothing.push(Object { unfolding: None, ..object.clone() });
                    }
                    objects.extend(members);
                }
            }
        }
        let (templates, layout, warnings) = (plan.templates.clone(), plan.layout, plan.warnings.clone());
        Ok((Cow::Owned(SecretPlan { objects, templates, layout, warnings }), nothing))
    }

    fn previous(
        &self,
        object: &Object<B::Address>,
        list: &Fetched<B::Address>,
        count: usize,
    ) -> Result<Vec<Object<B::Address>>, UnfoldError> {
        let members = self.members(&list.address, &list.value)?;
        let earlier = members.into_iter().take(count).zip(1..).map(|((name, address), ago)| {
            object.previous(ago, address, None).map_err(|problem| {
                let file = object.files.first().map_or("", |file| file.path.as_str());
                UnfoldError::FileName { file: cut(file), name: cut(&name), position: object.position, problem }
            })
        });
        earlier.collect()
    }

    fn found(
        &self,
        object: &Object<B::Address>,
        unfolding: &Unfolding<B::Address>,
        selection: &Selection,
        list: &Fetched<B::Address>,
        allowed: &mut Allowed,
        limits: &Limits,
    ) -> Result<Vec<Object<B::Address>>, UnfoldError> {
        let position = object.position;
        let members = self.members(&unfolding.list, &list.value)?;
        let looked_at = members.len();
        let mut standbys = match &unfolding.standby {
            Some(standby) => self.members(standby, &list.value)?.into_iter(),
            None => Vec::new().into_iter(),
        };
        let regexps = Regexps::of(selection);
        let mut found = Vec::new();
        let mut names: HashMap<PlannedFileKey, String> = HashMap::new();
        for (name, address) in members {
            let standby = standbys.next().map(|(_, standby)| standby);
            let Some(file) = regexps.file(&name, selection, &mut allowed.searches, position)? else { continue };
            allowed.matches = allowed.matches.checked_sub(1).ok_or_else(|| {
                let (list, limit) = (unfolding.list.to_string(), limits.max_find_matches);
                UnfoldError::TooMany { position, list, limit }
            })?;
            if let Some(other) = names.insert(file.path.to_string(), name.clone()) {
                let (name, other, file) = (cut(&name), cut(&other), cut(file.path.as_str()));
                return Err(UnfoldError::SameFile { name, other, position, file });
            }
            let member = Object { address, standby, files: vec![file], unfolding: None, ..object.clone() };
            found.push(Object { is_unfolded: true, ..member });
        }
        if found.is_empty() && !object.is_optional {
            let of_regexp = if selection.name.is_some() { ", and `nameRegexp` is in none of them" } else { "" };
            let list = unfolding.list.to_string();
            return Err(UnfoldError::Nothing { position, list, looked_at, of_regexp });
        }
        Ok(found)
    }
}

/// Path of a file, by which files are told apart.
type PlannedFileKey = String;

/// The list that an object needs, as an object of its own.
fn list_of<A: Address>(object: &Object<A>) -> Option<Object<A>> {
    let Unfolding { list, standby, .. } = object.unfolding.as_ref()?;
    Some(Object {
        standby: standby.clone(),
        is_optional: object.is_optional,
        refresh_interval: object.refresh_interval,
        ..Object::at(list.clone(), object.position)
    })
}

/// What is left for the rest of a mount.
struct Allowed {
    searches: Searches,
    /// Names that may be found.
    matches: usize,
}

/// What is left to look through.
struct Searches {
    left: usize,
}

impl Searches {
    fn pay(&mut self, text: &str) -> Result<(), UnfoldError> {
        self.left = self.left.checked_sub(text.len()).ok_or(UnfoldError::TooMuch)?;
        Ok(())
    }
}

/// The expressions of a selection, compiled.
struct Regexps<'a> {
    name: Option<Searcher>,
    rewrites: Vec<(Searcher, &'a str)>,
}

impl<'a> Regexps<'a> {
    fn of(selection: &'a Selection) -> Self {
        let rewrites = selection.rewrites.iter();
        Self {
            name: selection.name.as_ref().map(crate::plan::Regexp::searcher),
            rewrites: rewrites.map(|rewrite| (rewrite.regexp.searcher(), rewrite.replacement.as_str())).collect(),
        }
    }

    /// The file of a name, if it is taken.
    fn file(
        &self,
        name: &str,
        selection: &Selection,
        searches: &mut Searches,
        position: usize,
    ) -> Result<Option<PlannedFile>, UnfoldError> {
        let short = name.strip_prefix(&selection.prefix).unwrap_or(name);
        if let Some(regexp) = &self.name {
            searches.pay(short)?;
            if !regexp.is_in(short) {
                return Ok(None);
            }
        }
        let wrong = |file: &str, problem| UnfoldError::FileName { file: cut(file), name: cut(name), position, problem };
        let mut file = short.to_owned();
        for (regexp, replacement) in &self.rewrites {
            searches.pay(&file)?;
            file = regexp.replace_in(&file, replacement);
            if file.len() > MAX_NAME_BYTES {
                return Err(wrong(&file, InvalidPath::TooLong(file.len())));
            }
        }
        selection.file(&file).map(Some).map_err(|problem| wrong(&file, problem))
    }
}

fn cut(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}
