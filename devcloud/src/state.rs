//! All that the services remember, shared by every listener.
//!
//! Two locks: the AWS side and the cluster. Whoever needs both takes `aws` first.

use std::sync::{Arc, Mutex};

use crate::calls::CallLog;
use crate::faults::Faults;
use crate::iam::Iam;
use crate::kubernetes::Cluster;
use crate::lock::lock;
use crate::oidc::{Provider, Providers};
use crate::options::{DEFAULT_ISSUER, Options};
use crate::secretsmanager::{Secrets, Value, Version};
use crate::ssm::Parameters;

#[derive(Debug)]
pub(crate) struct Shared {
    pub account: String,
    pub issuer: String,
    pub aws: Mutex<Aws>,
    pub cluster: Mutex<Cluster>,
    pub calls: Arc<CallLog>,
    pub faults: Faults,
}

#[derive(Debug, Default)]
pub(crate) struct Aws {
    pub iam: Iam,
    pub providers: Providers,
    pub secrets: Secrets,
    pub parameters: Parameters,
}

impl Shared {
    /// Knows the admin and the cloud's own issuer, and is empty otherwise.
    pub fn new(options: &Options) -> Self {
        let issuer = options.issuer.as_deref().unwrap_or(DEFAULT_ISSUER);
        let mut aws = Aws { iam: Iam::new(&options.account), ..Aws::default() };
        let own = Provider { audiences: vec!["sts.amazonaws.com".into()], keys: None };
        aws.providers.put(issuer, own);
        Self {
            account: options.account.clone(),
            issuer: issuer.into(),
            aws: Mutex::new(aws),
            cluster: Mutex::new(Cluster::new()),
            calls: Arc::new(CallLog::new()),
            faults: Faults::default(),
        }
    }

    pub fn put_secret(&self, region: &str, name: &str, value: Value) -> Version {
        let mut aws = lock(&self.aws);
        aws.secrets.put(&self.account, region, name, value, None)
    }

    pub fn put_parameter(&self, region: &str, name: &str, value: &str, kind: &str) -> u64 {
        let mut aws = lock(&self.aws);
        aws.parameters.put(&self.account, region, name, value, kind)
    }

    pub fn register_oidc(&self, issuer: &str, audiences: Vec<String>, jwks: serde_json::Value) {
        let provider = Provider { audiences, keys: Some(jwks) };
        lock(&self.aws).providers.put(issuer, provider);
    }
}
