//! Where an object is, if not where its class reads: another Region, another account.

use std::sync::Arc;

use super::reader::{Reader, given};
use crate::plan::aws::{Arn, InvalidRegion, Item, Parameter, Region, Secret, Stored};
use crate::spec::SpecError;

/// What an object says of its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    pub region: Option<Region>,
    /// Of a name that is no ARN; twelve digits.
    account: Option<String>,
}

impl Location {
    /// An ARN says both itself.
    pub fn parse(reader: &Reader<'_>, region: Option<String>, account: Option<String>) -> Result<Self, SpecError> {
        let written_region = given(region);
        let region: Option<Region> = match &written_region {
            None => None,
            Some(written) => {
                let parsed = written.parse();
                Some(parsed.map_err(|problem: InvalidRegion| reader.wrong_value("region", written, problem))?)
            }
        };
        let account = given(account);
        if let Some(account) = &account
            && !(account.len() == 12 && account.bytes().all(|digit| digit.is_ascii_digit()))
        {
            return Err(reader.wrong_value("accountId", account, "is no account; write its twelve digits"));
        }
        let Some(arn) = Arn::parse(&reader.name) else { return Ok(Self { region, account }) };
        let contradicted = [
            ("region", region.as_ref().map(Region::as_str), arn.region),
            ("accountId", account.as_deref(), arn.account),
        ];
        for (key, written, of_arn) in contradicted {
            if written.is_some_and(|written| written != of_arn) {
                return Err(reader.wrong(format!("is an ARN, which its {key} contradicts; remove `{key}`")));
            }
        }
        let region = arn.region.parse().map_err(|problem: InvalidRegion| {
            reader.wrong(format!("is an ARN of the Region {:?}, which {problem}", arn.region))
        })?;
        Ok(Self { region: Some(region), account: None })
    }

    /// What is asked for under a name in a Region: of another account, the ARN.
    ///
    /// Secrets Manager finds a secret by its ARN without the six random characters too:
    /// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html>. Parameter Store takes the ARN of
    /// a parameter that is shared: <https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-shared-parameters.html>.
    pub fn stored(&self, item: Item, region: &Region) -> Arc<Stored> {
        let arn = |account: &str, service: &str, resource: &str| {
            format!("arn:{}:{service}:{region}:{account}:{resource}", region.partition())
        };
        let item = match (item, &self.account) {
            (Item::Secret(Secret { id, revision }), Some(account)) if Arn::parse(&id).is_none() => {
                Item::Secret(Secret { id: arn(account, "secretsmanager", &format!("secret:{id}")), revision })
            }
            (Item::Parameter(Parameter { name, selector }), Some(account)) if Arn::parse(&name).is_none() => {
                // The slash that a name with levels begins with is the one of the ARN.
                let resource = format!("parameter/{}", name.strip_prefix('/').unwrap_or(&name));
                Item::Parameter(Parameter { name: arn(account, "ssm", &resource), selector })
            }
            (item, _) => item,
        };
        Arc::new(Stored { region: region.clone(), item })
    }
}
