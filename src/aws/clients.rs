//! Clients of one service.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_config::{Region as SdkRegion, SdkConfig};

use crate::plan::aws::Region;

/// A client for each Region, all on the connector of the configuration. Bounded by the number of Regions.
pub struct Clients<C> {
    config: SdkConfig,
    make: fn(&SdkConfig) -> C,
    by_region: Mutex<HashMap<Region, C>>,
}

impl<C: Clone> Clients<C> {
    /// `config` brings the connector, time-outs, retries and endpoints, and no credentials.
    pub fn new(config: SdkConfig, make: fn(&SdkConfig) -> C) -> Self {
        Self { config, make, by_region: Mutex::default() }
    }

    pub fn of(&self, region: &Region) -> C {
        let mut clients = self.by_region.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let region = SdkRegion::new(region.to_string());
            (self.make)(&self.config.to_builder().region(region).build())
        };
        clients.entry(region.clone()).or_insert_with(make).clone()
    }
}
