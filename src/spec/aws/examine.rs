//! What can be said of a class without AWS, a cluster or a pod.

use std::collections::BTreeSet;

use super::keys::PARAMETERS;
use super::{Class, noted};
use crate::config::Limits;
use crate::plan::aws::{Authentication, Item, Region, Stored};
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

fn outcome(plan: &SecretPlan<Stored>, authentication: &Authentication) -> Outcome {
    let written = plan.objects.iter().filter(|object| !object.is_for_templates);
    let of_objects = written.clone().flat_map(|object| &object.files).map(|file| &file.path);
    let of_templates = plan.templates.iter().map(|template| &template.path);
    Outcome {
        objects: plan.objects.len(),
        files: of_objects.chain(of_templates).map(ToString::to_string).collect(),
        has_more_files: written.into_iter().any(|object| object.expansion.is_some()),
        needs: needs(plan, authentication),
    }
}

/// The actions of the calls that a mount makes:
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecretsmanager.html> and its like. What
/// a KMS key of their own needs besides, only AWS knows.
fn needs(plan: &SecretPlan<Stored>, authentication: &Authentication) -> Vec<Need> {
    let (mut secrets, mut parameters) = (BTreeSet::new(), BTreeSet::new());
    for address in plan.objects.iter().flat_map(|object| object.addresses()) {
        match &address.item {
            Item::Secret(secret) => secrets.insert(secret.id.clone()),
            Item::Parameter(parameter) => parameters.insert(parameter.name.clone()),
        };
    }
    let roles = |is_needed: fn(&crate::plan::aws::Hop) -> bool| {
        let hops = authentication.hops.iter().filter(|hop| is_needed(hop));
        hops.map(|hop| hop.role.to_string()).collect()
    };
    let needs = [
        Need { action: "secretsmanager:GetSecretValue", noun: "secret", on: secrets },
        Need { action: "ssm:GetParameters", noun: "parameter", on: parameters },
        Need { action: "sts:AssumeRole", noun: "role", on: roles(|_| true) },
        Need { action: "sts:TagSession", noun: "role", on: roles(|hop| !hop.session_tags.is_empty()) },
    ];
    needs.into_iter().filter(|need| !need.on.is_empty()).collect()
}
