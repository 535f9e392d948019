"""Quotas and prices of AWS, each with the page it is from. They hold for one account and Region."""

from dataclasses import dataclass

SECRETS_MANAGER_QUOTAS = "https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html"
SYSTEMS_MANAGER_QUOTAS = "https://docs.aws.amazon.com/general/latest/gr/ssm.html"
STS_QUOTAS = "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"
SECRETS_MANAGER_PRICES = "https://aws.amazon.com/secrets-manager/pricing/"


@dataclass(frozen=True)
class Api:
    """A call, and how many of it a second AWS takes."""

    name: str
    quota: float
    source: str


GET_SECRET_VALUE = Api("GetSecretValue", 10_000, SECRETS_MANAGER_QUOTAS)
BATCH_GET_SECRET_VALUE = Api("BatchGetSecretValue", 100, SECRETS_MANAGER_QUOTAS)
GET_PARAMETERS = Api("GetParameters", 40, SYSTEMS_MANAGER_QUOTAS)
# The published number is for calls that are signed with credentials, which this one is not. AWS publishes none for it.
ASSUME_ROLE = Api("AssumeRoleWithWebIdentity", 600, STS_QUOTAS)

HIGHER_THROUGHPUT = 1_000
"""Calls of GetParameters a second where higher throughput is switched on for Parameter Store."""

PARAMETERS_A_CALL = 10
SECRETS_A_BATCH = 20

DOLLARS_A_CALL = 0.05 / 10_000
"""Of Secrets Manager. A BatchGetSecretValue is taken for one call, which AWS's page does not say."""
SECONDS_A_MONTH = 730 * 3_600
