//! `previous` of an object: values before the current one.

use std::sync::Arc;

use super::SHOWN;
use super::reader::{Reader, given};
use crate::plan::aws::{Item, List, Parameter, Revision, Secret, Stored};
use crate::plan::{Members, Object, Unfolding};
use crate::spec::SpecError;

/// Most values before the current one: AWS keeps about a hundred.
const MAX_PREVIOUS: usize = 20;

/// How many there are to be. An object of a certain version has no current one to count from.
pub fn count(reader: &Reader<'_>, written: Option<String>, item: &Item) -> Result<usize, SpecError> {
    let Some(written) = given(written) else { return Ok(0) };
    let count = written.parse().ok().filter(|count| *count <= MAX_PREVIOUS).ok_or_else(|| {
        reader.wrong_value("previous", &written, format!("is no number of values; write 0 to {MAX_PREVIOUS}"))
    })?;
    let is_current = match item {
        Item::Secret(Secret { revision, .. }) => *revision == Revision::Stage(Revision::CURRENT.into()),
        Item::Parameter(Parameter { selector, .. }) => selector.is_none(),
        Item::List(_) => true,
    };
    match is_current || count == 0 {
        true => Ok(count),
        false => Err(reader.wrong(
            "has previous, which counts back from the current value, and names another one; remove objectVersion and objectVersionLabel"
                .into(),
        )),
    }
}

/// The object with those of so many values before. AWS keeps a label at the first of a secret's; which the others are, a list
/// says, and for a parameter the number of its current version.
pub fn with_previous(
    object: Object<Arc<Stored>>,
    count: usize,
    name: &str,
) -> Result<Vec<Object<Arc<Stored>>>, SpecError> {
    let unfolded = |list: fn(&Arc<Stored>) -> Arc<Stored>, object: Object<Arc<Stored>>| {
        let (standby, members) = (object.standby.as_ref().map(list), Members::Previous(count));
        let unfolding = Unfolding { list: list(&object.address), standby, members };
        Ok(vec![Object { unfolding: Some(unfolding), ..object }])
    };
    match (count, &object.address.item) {
        (0, _) => Ok(vec![object]),
        (1, Item::Secret(_)) => {
            let earlier = object.previous(1, before(&object.address), object.standby.as_ref().map(before));
            let earlier = earlier.map_err(|problem| SpecError::FileName {
                name: object.files.first().map_or("", |file| file.path.as_str()).chars().take(SHOWN).collect(),
                object: name.to_owned(),
                position: object.position,
                problem,
            })?;
            Ok(vec![object, earlier])
        }
        (_, Item::Secret(_)) => unfolded(versions, object),
        _ => unfolded(Arc::clone, object),
    }
}

/// Where the value before the current one is.
fn before(stored: &Arc<Stored>) -> Arc<Stored> {
    in_place_of_secret(stored, |id| Item::Secret(Secret { id, revision: Revision::Stage(Revision::PREVIOUS.into()) }))
}

/// Where the ids of all versions are.
fn versions(stored: &Arc<Stored>) -> Arc<Stored> {
    in_place_of_secret(stored, |secret| Item::List(List::Versions { secret }))
}

fn in_place_of_secret(stored: &Stored, item: impl FnOnce(String) -> Item) -> Arc<Stored> {
    let item = match &stored.item {
        Item::Secret(Secret { id, .. }) => item(id.clone()),
        other => other.clone(),
    };
    Arc::new(Stored { region: stored.region.clone(), item })
}
