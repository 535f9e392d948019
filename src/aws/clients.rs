//! Clients of one service.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_config::{Region as SdkRegion, SdkConfig};
use aws_sdk_sts::config::retry::RetryPartition;

use super::configuration::retries;
use crate::plan::aws::Region;

/// Into how many parts the tries of a Region are divided. The SDK stops retrying when too many requests of a part have
/// failed, so what one tenant's requests meet must not take those of all others. Parts are never freed: it is a fixed number.
pub const TENANTS: u8 = 16;

/// How often a request may still be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tries {
    All,
    /// One has gone wrong.
    AfterOne,
}

/// A client for each Region, part and number of tries, all on the connector of the configuration. Bounded by their number.
pub struct Clients<C> {
    config: SdkConfig,
    service: &'static str,
    make: fn(&SdkConfig, RetryPartition) -> C,
    made: Mutex<HashMap<(Region, u8, Tries), C>>,
}

impl<C: Clone> Clients<C> {
    /// `config` brings the connector, time-outs, retries and endpoints, and no credentials.
    pub fn new(config: SdkConfig, service: &'static str, make: fn(&SdkConfig, RetryPartition) -> C) -> Self {
        Self { config, service, make, made: Mutex::default() }
    }

    /// The client that a tenant's requests in a Region go through.
    pub fn of(&self, region: &Region, tenant: u8, tries: Tries) -> C {
        let tenant = tenant % TENANTS;
        let mut clients = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let partition = RetryPartition::new(format!("{} {region} {tenant}", self.service));
            let config = self.config.to_builder().region(SdkRegion::new(region.to_string()));
            (self.make)(&config.retry_config(retries(tries)).build(), partition)
        };
        clients.entry((region.clone(), tenant, tries)).or_insert_with(make).clone()
    }
}
