//! What can be said of a class without AWS, a cluster or a pod.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::keys::PARAMETERS;
use super::{Class, noted};
use crate::config::Limits;
use crate::plan::aws::{Authentication, Filter, Hop, Item, List, Region, Stored};
use crate::plan::{FilePermission, SecretPlan};
use crate::spec::{Examination, Grammar, Need, Outcome, Parameters};

pub const GRAMMAR: Grammar = Grammar { provider: "aws", parameters: PARAMETERS, examine };

/// As a provider without settings of its own does it, for a driver that asks for no other permission than 0644.
fn examine(parameters: &Parameters) -> Examination {
    let (permission, _) = FilePermission::from_mode(0o644);
    let mut examination = Examination::default();
    let class = Class::read(parameters, permission, &Limits::DEFAULT, &mut examination);
    let Some(class) = class.filter(|_| examination.errors.is_empty()) else { return examination };
    let region = class.region.clone().or_else(|| stand_in(class.failover_region.as_ref()));
    let plan = region.and_then(|region| noted(class.plan(&region), &mut examination.errors));
    examination.outcome = plan.map(|plan| outcome(&plan, &class.authentication));
    examination
}

/// In place of the Region of the pod's node: one that contradicts nothing in the class.
fn stand_in(failover: Option<&Region>) -> Option<Region> {
    let regions = ["us-east-1", "us-east-2"].into_iter().filter_map(|name| name.parse().ok());
    regions.into_iter().find(|region| Some(region) != failover)
}

fn outcome(plan: &SecretPlan<Arc<Stored>>, authentication: &Authentication) -> Outcome {
    let written = plan.objects.iter().filter(|object| !object.is_for_templates);
    let of_objects = written.clone().flat_map(|object| &object.files).map(|file| &file.path);
    let of_templates = plan.templates.iter().map(|template| &template.path);
    Outcome {
        objects: plan.objects.iter().filter(|object| !object.is_unfolded).count(),
        files: of_objects.chain(of_templates).map(ToString::to_string).collect(),
        has_more_files: written.into_iter().any(|object| object.expansion.is_some() || object.unfolding.is_some()),
        needs: needs(plan, authentication),
    }
}

/// The actions of the calls that a mount makes:
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecretsmanager.html> and its like. What
/// a KMS key of their own needs besides, only AWS knows.
fn needs(plan: &SecretPlan<Arc<Stored>>, authentication: &Authentication) -> Vec<Need> {
    let mut by_action = BTreeMap::new();
    for object in &plan.objects {
        let unfolding = object.unfolding.iter();
        let lists = unfolding.flat_map(|unfolding| std::iter::once(&unfolding.list).chain(&unfolding.standby));
        for (action, on) in object.addresses().chain(lists).flat_map(|address| of_item(&address.item)) {
            by_action.entry(action).or_insert_with(BTreeSet::new).insert(on);
        }
    }
    let roles = |is_needed: fn(&Hop) -> bool| {
        let hops = authentication.hops.iter().filter(|hop| is_needed(hop));
        hops.map(|hop| hop.role.to_string()).collect()
    };
    let hops = [("sts:AssumeRole", roles(|_| true)), ("sts:TagSession", roles(|hop| !hop.session_tags.is_empty()))];
    let noun = |action: &str| match action.split(':').next() {
        Some("secretsmanager") => "secret",
        Some("ssm") => "parameter",
        _ => "role",
    };
    let needs = by_action.into_iter().chain(hops).filter(|(_, on)| !on.is_empty());
    needs.map(|(action, on)| Need { action, noun: noun(action), on }).collect()
}

/// What a call needs, on what. For lists AWS knows no smaller resource than all.
fn of_item(item: &Item) -> Vec<(&'static str, String)> {
    const SECRET: &str = "secretsmanager:GetSecretValue";
    const PARAMETER: &str = "ssm:GetParameters";
    let found = |Filter { path, name_prefix, .. }: &Filter| match (name_prefix, path) {
        (Some(prefix), _) => format!("{prefix}*"),
        (None, Some(path)) => format!("{}/*", path.level),
        (None, None) => "*".to_owned(),
    };
    match item {
        Item::Secret(secret) => vec![(SECRET, secret.id.clone())],
        Item::Parameter(parameter) => vec![(PARAMETER, parameter.name.clone())],
        Item::List(List::Versions { secret }) => vec![("secretsmanager:ListSecretVersionIds", secret.clone())],
        Item::List(List::Secrets(filter)) => {
            vec![("secretsmanager:ListSecrets", "*".to_owned()), (SECRET, found(filter))]
        }
        Item::List(List::Parameters(filter)) => {
            let list = match &filter.path {
                Some(path) if filter.tags.is_empty() => ("ssm:GetParametersByPath", format!("{}/", path.level)),
                _ => ("ssm:DescribeParameters", "*".to_owned()),
            };
            vec![list, (PARAMETER, found(filter))]
        }
    }
}
