//! `refreshInterval` of a class and of an object.

use std::time::Duration;

use crate::config::parse_duration;

/// How old what is read of an object may be before a refresh asks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshInterval {
    After(Duration),
    /// For what can never be another value.
    Never,
}

impl RefreshInterval {
    /// What is wrong with it reads on after the name of its owner.
    pub fn parse(written: &str) -> Result<Self, String> {
        match written {
            "never" => Ok(Self::Never),
            _ => parse_duration(written)
                .map(Self::After)
                .map_err(|_| "is no duration; write it like 10m, 1h or 30s, or `never` for a pinned version".into()),
        }
    }

    /// The interval of an object that is pinned to a version, or not.
    pub fn of(self, is_pinned: bool) -> Result<Option<Duration>, String> {
        match self {
            Self::After(interval) => Ok(Some(interval)),
            // What is pinned is not asked for again anyway.
            Self::Never if is_pinned => Ok(None),
            Self::Never => Err("has the refreshInterval `never`, which is for objects with a fixed version; set \
                objectVersion, or an interval like 1h"
                .into()),
        }
    }
}
