"""What real boto3 sees when it talks to devcloud. Started by ./run."""

import base64
import datetime
import http.client as http_client
import json
import os
import socket
import ssl
import unittest
import unittest.mock
import urllib.error
import urllib.request

import boto3
import botocore.config
import botocore.exceptions
from botocore import UNSIGNED

with open(os.environ["DEVCLOUD_PLACES"]) as file:
    PLACES = json.load(file)

REGION = "eu-west-1"
ROLE = "arn:aws:iam::111122223333:role/shop/web"
ABROAD = "arn:aws:iam::444455556666:role/abroad"
ADMIN = {
    "aws_access_key_id": "AKIADEVCLOUDADMIN000",
    "aws_secret_access_key": "devcloud-admin-secret-key",
}


def client(service, keys=ADMIN, region=REGION, **options):
    config = {"retries": {"total_max_attempts": 1}, **options.pop("config", {})}
    options.setdefault("endpoint_url", PLACES["aws_url"])
    return boto3.client(
        service,
        region_name=region,
        config=botocore.config.Config(**config),
        **options,
        **(keys or {}),
    )


def http(method, url, body=None, headers=None):
    """Status and body; refusals are answers too."""
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def control(method, path, body=None):
    status, answer = http(method, f"{PLACES['aws_url']}/_devcloud/{path}", body)
    assert status == 200, answer
    return json.loads(answer)


def token(account="web", audience="sts.amazonaws.com", bound=True):
    spec = {"audiences": [audience], "expirationSeconds": 3600}
    if bound:
        spec["boundObjectRef"] = {"kind": "Pod", "apiVersion": "v1", "name": f"{account}-1"}
    url = f"{PLACES['kubernetes_url']}/api/v1/namespaces/shop/serviceaccounts/{account}/token"
    status, answer = http("POST", url, {"spec": spec})
    assert status == 201, answer
    return json.loads(answer)["status"]["token"]


def assume(identity, role=ROLE, name="session", **more):
    # The limits are the server's to check.
    sts = client("sts", None, config={"signature_version": UNSIGNED, "parameter_validation": False})
    return sts.assume_role_with_web_identity(
        RoleArn=role, RoleSessionName=name, WebIdentityToken=identity, **more
    )


def keys_of(answer):
    keys = answer["Credentials"]
    return {
        "aws_access_key_id": keys["AccessKeyId"],
        "aws_secret_access_key": keys["SecretAccessKey"],
        "aws_session_token": keys["SessionToken"],
    }


def code(refusal):
    return refusal.exception.response["Error"]["Code"]


def message(refusal):
    return refusal.exception.response["Error"]["Message"]


class Case(unittest.TestCase):
    maxDiff = None

    def refused(self, wanted):
        return Refused(self, wanted)


class Refused:
    """Asserts the error code of a refusal, and that the answer has a request id."""

    def __init__(self, case, wanted):
        self.case, self.wanted = case, wanted
        self.context = case.assertRaises(botocore.exceptions.ClientError)

    def __enter__(self):
        self.context.__enter__()
        return self.context

    def __exit__(self, *arguments):
        outcome = self.context.__exit__(*arguments)
        self.case.assertEqual(code(self.context), self.wanted)
        self.case.assertTrue(self.context.exception.response["ResponseMetadata"]["RequestId"])
        return outcome


class SecurityTokenService(Case):
    def test_a_pods_token_becomes_a_session_of_the_role(self):
        answer = assume(token(), DurationSeconds=900)
        self.assertEqual(answer["SubjectFromWebIdentityToken"], "system:serviceaccount:shop:web")
        self.assertEqual(answer["Audience"], "sts.amazonaws.com")
        self.assertEqual(
            answer["Provider"],
            "arn:aws:iam::111122223333:oidc-provider/" + PLACES["issuer"].removeprefix("https://"),
        )
        arn = "arn:aws:sts::111122223333:assumed-role/web/session"
        self.assertEqual(answer["AssumedRoleUser"]["Arn"], arn)
        left = answer["Credentials"]["Expiration"] - datetime.datetime.now(datetime.timezone.utc)
        self.assertAlmostEqual(left.total_seconds(), 900, delta=10)
        identity = client("sts", keys_of(answer)).get_caller_identity()
        self.assertEqual((identity["Arn"], identity["Account"]), (arn, "111122223333"))
        self.assertEqual(identity["UserId"], answer["AssumedRoleUser"]["AssumedRoleId"])

    def test_a_token_with_other_claims_is_refused(self):
        header, claims, signature = token("stranger").split(".")
        claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        claims["sub"] = "system:serviceaccount:shop:web"
        claims = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        with self.refused("InvalidIdentityToken") as refusal:
            assume(f"{header}.{claims}.{signature}")
        sts = client("sts")
        self.assertEqual(type(refusal.exception).__name__, sts.exceptions.InvalidIdentityTokenException.__name__)

    def test_what_is_no_token_or_has_the_wrong_audience_or_issuer_is_refused(self):
        with self.refused("InvalidIdentityToken"):
            assume("not.a.token")
        with self.refused("InvalidIdentityToken") as refusal:
            assume(token(audience="pods.eks.amazonaws.com"))
        self.assertIn("audience", message(refusal))

    def test_an_expired_token_is_refused(self):
        # A token of an issuer whose key set is known and whose time is over, written down for good.
        control("PUT", "oidc", {"issuer": EXPIRED_ISSUER, "audiences": ["sts.amazonaws.com"], "jwks": EXPIRED_KEYS})
        with self.refused("ExpiredTokenException"):
            assume(EXPIRED_TOKEN)

    def test_a_role_that_does_not_trust_or_does_not_exist_is_denied(self):
        for identity, role in [(token("stranger"), ROLE), (token(), ROLE + "-unknown")]:
            with self.refused("AccessDenied") as refusal:
                assume(identity, role)
            self.assertEqual(message(refusal), "Not authorized to perform sts:AssumeRoleWithWebIdentity")
            self.assertEqual(refusal.exception.response["ResponseMetadata"]["HTTPStatusCode"], 403)

    def test_names_and_durations_have_limits(self):
        with self.refused("ValidationError"):
            assume(token(), name="a blank")
        for seconds in [899, 7201, 43201]:
            with self.refused("ValidationError"):
                assume(token(), DurationSeconds=seconds)
        assume(token(), DurationSeconds=7200)

    def test_a_chain_needs_the_external_id_and_ends_after_an_hour(self):
        sts = client("sts", keys_of(assume(token())))
        target = {"RoleArn": "arn:aws:iam::111122223333:role/target", "RoleSessionName": "chained"}
        with self.refused("AccessDenied"):
            sts.assume_role(**target)
        with self.refused("ValidationError"):
            sts.assume_role(**target, ExternalId="shop", DurationSeconds=3601)
        tags = {"Tags": [{"Key": "team", "Value": "shop"}], "TransitiveTagKeys": ["team"]}
        answer = sts.assume_role(**target, ExternalId="shop", **tags)
        reader = client("secretsmanager", keys_of(answer))
        self.assertEqual(reader.get_secret_value(SecretId="other/text")["SecretString"], "not for the shop")

    def test_keys_that_do_not_fit_are_refused(self):
        keys = keys_of(assume(token()))
        for broken, wanted in [
            ({**keys, "aws_secret_access_key": "wrong"}, "SignatureDoesNotMatch"),
            ({**keys, "aws_session_token": "wrong"}, "InvalidClientTokenId"),
            ({**keys, "aws_access_key_id": "ASIAUNKNOWN"}, "InvalidClientTokenId"),
        ]:
            with self.refused(wanted):
                client("sts", broken).get_caller_identity()
        for broken, wanted in [
            ({**keys, "aws_secret_access_key": "wrong"}, "InvalidSignatureException"),
            ({**keys, "aws_session_token": "wrong"}, "UnrecognizedClientException"),
        ]:
            with self.refused(wanted):
                client("secretsmanager", broken).get_secret_value(SecretId="shop/text")
            with self.refused(wanted):
                client("ssm", broken).get_parameter(Name="/shop/plain")


class SecretsManager(Case):
    @classmethod
    def setUpClass(cls):
        cls.admin = client("secretsmanager")
        cls.web = client("secretsmanager", keys_of(assume(token())))

    def fresh(self, value="one"):
        name = f"shop/{self.id().rsplit('.', 1)[1]}"
        answer = self.admin.create_secret(Name=name, SecretString=value)
        self.addCleanup(self.forget, name)
        return answer

    def forget(self, name):
        self.admin.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)

    def test_text_and_binary_are_read_by_name_and_arn(self):
        answer = self.web.get_secret_value(SecretId="shop/text")
        self.assertEqual(answer["SecretString"], "the text")
        self.assertNotIn("SecretBinary", answer)
        self.assertEqual(answer["VersionStages"], ["AWSCURRENT"])
        self.assertIsInstance(answer["CreatedDate"], datetime.datetime)
        self.assertTrue(answer["ResponseMetadata"]["RequestId"])
        for name in [answer["ARN"], answer["ARN"][:-7]]:
            self.assertEqual(self.web.get_secret_value(SecretId=name)["VersionId"], answer["VersionId"])
        self.assertEqual(self.web.get_secret_value(SecretId="shop/binary")["SecretBinary"], b"\x00\x01\xff")

    def test_stages_follow_the_values(self):
        name = self.fresh()["Name"]
        first = self.web.get_secret_value(SecretId=name)["VersionId"]
        second = self.admin.put_secret_value(SecretId=name, SecretString="two")["VersionId"]
        read = lambda **which: self.web.get_secret_value(SecretId=name, **which)["SecretString"]
        self.assertEqual(read(), "two")
        self.assertEqual(read(VersionStage="AWSPREVIOUS"), "one")
        self.assertEqual(read(VersionId=first), "one")
        self.assertEqual(read(VersionId=second, VersionStage="AWSCURRENT"), "two")
        with self.refused("InvalidRequestException"):
            read(VersionId=first, VersionStage="AWSCURRENT")
        with self.assertRaises(self.web.exceptions.ResourceNotFoundException) as refusal:
            read(VersionStage="green")
        self.assertEqual(
            message(refusal),
            "Secrets Manager can't find the specified secret value for staging label: green",
        )
        self.admin.update_secret_version_stage(
            SecretId=name, VersionStage="AWSCURRENT", MoveToVersionId=first, RemoveFromVersionId=second
        )
        self.assertEqual((read(), read(VersionStage="AWSPREVIOUS")), ("one", "two"))
        stages = self.admin.describe_secret(SecretId=name)["VersionIdsToStages"]
        self.assertEqual(stages, {first: ["AWSCURRENT"], second: ["AWSPREVIOUS"]})
        self.assertEqual(len(self.admin.list_secret_version_ids(SecretId=name)["Versions"]), 2)

    def test_a_missing_secret_is_the_modelled_exception(self):
        with self.assertRaises(self.web.exceptions.ResourceNotFoundException) as refusal:
            self.web.get_secret_value(SecretId="shop/missing")
        self.assertEqual(message(refusal), "Secrets Manager can't find the specified secret.")

    def test_what_is_not_allowed_is_denied_whether_it_exists_or_not(self):
        for name in ["other/text", "other/missing"]:
            with self.refused("AccessDeniedException") as refusal:
                self.web.get_secret_value(SecretId=name)
            self.assertEqual(
                message(refusal),
                "User: arn:aws:sts::111122223333:assumed-role/web/session is not authorized to perform: "
                f"secretsmanager:GetSecretValue on resource: {name} because no identity-based policy allows "
                "the secretsmanager:GetSecretValue action",
            )

    def test_another_account_reads_by_arn_what_is_shared(self):
        abroad = client("secretsmanager", keys_of(assume(token(), ABROAD)))
        arn = lambda name: self.admin.describe_secret(SecretId=name)["ARN"]
        self.assertEqual(abroad.get_secret_value(SecretId=arn("shop/open"))["SecretString"], "for all accounts")
        with self.refused("ResourceNotFoundException"):
            abroad.get_secret_value(SecretId="shop/open")
        with self.refused("AccessDeniedException"):
            abroad.get_secret_value(SecretId=arn("shop/text"))

    def test_another_region_has_other_secrets(self):
        with self.refused("ResourceNotFoundException"):
            client("secretsmanager", region="eu-central-1").get_secret_value(SecretId="shop/text")

    def test_a_deleted_secret_comes_back(self):
        name = self.fresh()["Name"]
        date = self.admin.delete_secret(SecretId=name, RecoveryWindowInDays=7)["DeletionDate"]
        self.assertIsInstance(date, datetime.datetime)
        with self.assertRaises(self.web.exceptions.InvalidRequestException) as refusal:
            self.web.get_secret_value(SecretId=name)
        self.assertEqual(
            message(refusal),
            "You can't perform this operation on the secret because it was marked for deletion.",
        )
        self.admin.restore_secret(SecretId=name)
        self.assertEqual(self.web.get_secret_value(SecretId=name)["SecretString"], "one")

    def test_a_batch_names_what_it_could_not_read(self):
        empty = "shop/empty"
        self.admin.create_secret(Name=empty)
        self.addCleanup(self.forget, empty)
        answer = self.web.batch_get_secret_value(
            SecretIdList=["shop/text", "shop/binary", "shop/missing", "other/text", empty]
        )
        values = {one["Name"]: one.get("SecretString", one.get("SecretBinary")) for one in answer["SecretValues"]}
        self.assertEqual(values, {"shop/text": "the text", "shop/binary": b"\x00\x01\xff"})
        errors = {one["SecretId"]: one["ErrorCode"] for one in answer["Errors"]}
        self.assertEqual(
            errors,
            {
                "shop/missing": "ResourceNotFoundException",
                "other/text": "AccessDeniedException",
                empty: "ResourceNotFoundException",
            },
        )

    def test_a_batch_has_limits_filters_and_pages(self):
        with self.refused("ValidationException"):
            self.web.batch_get_secret_value(SecretIdList=[f"shop/{number}" for number in range(21)])
        with self.assertRaises(self.web.exceptions.InvalidParameterException):
            self.web.batch_get_secret_value()
        filters = [{"Key": "name", "Values": ["shop/"]}]
        with self.assertRaises(self.web.exceptions.InvalidParameterException):
            self.web.batch_get_secret_value(SecretIdList=["shop/text"], Filters=filters)
        names, more = [], {}
        while True:
            page = self.admin.batch_get_secret_value(Filters=filters, MaxResults=1, **more)
            names += [one["Name"] for one in page["SecretValues"]]
            if "NextToken" not in page:
                break
            more = {"NextToken": page["NextToken"]}
        self.assertEqual(names, ["shop/binary", "shop/open", "shop/text"])

    def test_lists_are_filtered_by_tag(self):
        name = self.fresh()["Name"]
        self.admin.tag_resource(SecretId=name, Tags=[{"Key": "team", "Value": "shop"}])
        listed = self.admin.list_secrets(Filters=[{"Key": "tag-key", "Values": ["team"]}])["SecretList"]
        self.assertEqual([one["Name"] for one in listed], [name])

    def test_a_secret_is_created_once(self):
        name = self.fresh()["Name"]
        with self.assertRaises(self.admin.exceptions.ResourceExistsException):
            self.admin.create_secret(Name=name, SecretString="again")

    def test_an_operation_that_is_not_there_says_so(self):
        with self.refused("UnknownOperationException"):
            self.admin.rotate_secret(SecretId="shop/text")


class ParameterStore(Case):
    @classmethod
    def setUpClass(cls):
        cls.admin = client("ssm")
        cls.web = client("ssm", keys_of(assume(token())))

    def test_values_are_decrypted_on_request_only(self):
        read = lambda decrypt: self.web.get_parameter(Name="/shop/secure", WithDecryption=decrypt)["Parameter"]
        self.assertEqual(read(True)["Value"], "secure")
        self.assertNotEqual(read(False)["Value"], "secure")
        self.assertEqual(read(True)["Type"], "SecureString")
        with self.assertRaises(self.web.exceptions.ParameterNotFound):
            self.web.get_parameter(Name="/shop/missing")

    def test_versions_labels_and_arns_select(self):
        name = "/shop/versions"
        for value in ["one", "two", "three"]:
            self.admin.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)
        self.addCleanup(self.admin.delete_parameter, Name=name)
        with self.assertRaises(self.admin.exceptions.ParameterAlreadyExists):
            self.admin.put_parameter(Name=name, Value="four", Type="String")
        bad = self.admin.label_parameter_version(Name=name, ParameterVersion=2, Labels=["blue", "2nd"])
        self.assertEqual(bad["InvalidLabels"], ["2nd"])
        arn = self.admin.get_parameter(Name=name)["Parameter"]["ARN"]
        self.assertEqual(arn, "arn:aws:ssm:eu-west-1:111122223333:parameter/shop/versions")
        asked = [name, f"{name}:1", f"{name}:blue", f"{name}:9", "/shop/missing", arn + ":1"]
        answer = self.web.get_parameters(Names=asked)
        got = {(one["Value"], one.get("Selector")) for one in answer["Parameters"]}
        self.assertEqual(got, {("three", None), ("one", ":1"), ("two", ":blue")})
        self.assertEqual(sorted(answer["InvalidParameters"]), ["/shop/missing", f"{name}:9"])
        with self.assertRaises(self.web.exceptions.ParameterVersionNotFound):
            self.web.get_parameter(Name=f"{name}:9")
        history = self.admin.get_parameter_history(Name=name)["Parameters"]
        self.assertEqual([one["Labels"] for one in history], [[], ["blue"], []])

    def test_answers_are_not_in_the_order_of_the_question(self):
        asked = ["/shop/deep/er", "/shop/plain", "/shop/secure"]
        answer = self.web.get_parameters(Names=asked)["Parameters"]
        self.assertEqual([one["Name"] for one in answer], asked[::-1])

    def test_more_than_ten_names_are_refused(self):
        with self.refused("ValidationException"):
            self.web.get_parameters(Names=[f"/shop/{number}" for number in range(11)])

    def test_a_path_is_read_in_pages(self):
        names = lambda **how: [
            one["Name"]
            for page in self.web.get_paginator("get_parameters_by_path").paginate(
                Path="/shop", PaginationConfig={"PageSize": 1}, **how
            )
            for one in page["Parameters"]
        ]
        with self.refused("AccessDeniedException"):
            names()  # the path is a resource of its own
        self.web, old = self.admin, self.web
        self.addCleanup(setattr, self, "web", old)
        self.assertEqual(names(), ["/shop/plain", "/shop/secure"])
        self.assertEqual(names(Recursive=True), ["/shop/deep/er", "/shop/plain", "/shop/secure"])
        with self.refused("ValidationException"):
            self.admin.get_parameters_by_path(Path="shop")

    def test_what_is_not_allowed_is_denied_as_a_whole(self):
        with self.refused("AccessDeniedException") as refusal:
            self.web.get_parameters(Names=["/shop/plain", "/other"])
        self.assertIn("arn:aws:ssm:eu-west-1:111122223333:parameter/other", message(refusal))

    def test_a_secret_is_read_as_a_parameter(self):
        name = "/aws/reference/secretsmanager/shop/text"
        answer = self.admin.get_parameter(Name=name, WithDecryption=True)["Parameter"]
        self.assertEqual((answer["Name"], answer["Value"]), (name, "the text"))


class PodIdentity(Case):
    def test_a_pods_token_becomes_keys_that_work(self):
        url = f"{PLACES['agent_url']}/v1/credentials"
        status, answer = http("GET", url, headers={"Authorization": token(audience="pods.eks.amazonaws.com")})
        self.assertEqual(status, 200, answer)
        keys = json.loads(answer)
        self.assertEqual(keys["AccountId"], "111122223333")
        reader = client(
            "secretsmanager",
            {
                "aws_access_key_id": keys["AccessKeyId"],
                "aws_secret_access_key": keys["SecretAccessKey"],
                "aws_session_token": keys["Token"],
            },
        )
        self.assertEqual(reader.get_secret_value(SecretId="shop/text")["SecretString"], "the text")

    def test_other_tokens_are_refused(self):
        url = f"{PLACES['agent_url']}/v1/credentials"
        for header, wanted in [
            (token(), 400),
            ("nonsense", 400),
            (token("stranger", "pods.eks.amazonaws.com"), 404),
        ]:
            self.assertEqual(http("GET", url, headers={"Authorization": header})[0], wanted)
        self.assertEqual(http("GET", url)[0], 400)


class Tls(Case):
    def resolved(self):
        """Sends every AWS host name to devcloud, as a cluster's DNS could."""
        host, port = PLACES["tls_address"].rsplit(":", 1)
        real = socket.getaddrinfo

        def resolve(name, asked_port, *more, **options):
            if str(name).endswith(".amazonaws.com"):
                name, asked_port = host, int(port)
            return real(name, asked_port, *more, **options)

        return unittest.mock.patch.object(socket, "getaddrinfo", resolve)

    def test_the_real_host_names_work_with_the_authority(self):
        reader = client("secretsmanager", endpoint_url=None, verify=PLACES["ca_file"])
        self.assertEqual(reader.meta.endpoint_url, "https://secretsmanager.eu-west-1.amazonaws.com")
        with self.resolved():
            self.assertEqual(reader.get_secret_value(SecretId="shop/text")["SecretString"], "the text")

    def test_without_the_authority_or_for_another_host_there_is_no_connection(self):
        reader = client("secretsmanager", endpoint_url=None)
        with self.resolved(), self.assertRaises(botocore.exceptions.SSLError):
            reader.get_secret_value(SecretId="shop/text")
        host, port = PLACES["tls_address"].rsplit(":", 1)
        context = ssl.create_default_context(cafile=PLACES["ca_file"])
        with socket.create_connection((host, int(port)), timeout=10) as stream:
            with self.assertRaises(ssl.SSLError):
                context.wrap_socket(stream, server_hostname="secrets.example.org")


class Control(Case):
    def test_calls_are_logged_without_values(self):
        control("DELETE", "calls")
        client("secretsmanager").put_secret_value(SecretId="shop/text", SecretString="the text")
        calls = control("GET", "calls")
        self.assertEqual([call["api"] for call in calls], ["PutSecretValue"])
        self.assertEqual((calls[0]["subject"], calls[0]["region"]), ("shop/text", REGION))
        self.assertNotIn("the text", json.dumps(calls))

    def test_faults_strike_as_often_as_told(self):
        error = {"status": 400, "code": "ThrottlingException", "message": "Rate exceeded"}
        control("POST", "faults", {"api": "GetSecretValue", "times": 1, "kind": {"error": error}})
        self.addCleanup(control, "DELETE", "faults")
        reader = client("secretsmanager")
        with self.refused("ThrottlingException"):
            reader.get_secret_value(SecretId="shop/text")
        reader.get_secret_value(SecretId="shop/text")

    def test_connections_hang_and_break(self):
        self.addCleanup(control, "DELETE", "faults")
        for kind in ["hang", "reset"]:
            control("POST", "faults", {"api": "GetSecretValue", "times": 1, "kind": kind})
            reader = client("secretsmanager", config={"read_timeout": 0.3})
            with self.assertRaises(botocore.exceptions.HTTPClientError, msg=kind):
                reader.get_secret_value(SecretId="shop/text")

    def test_an_answer_is_cut_short(self):
        self.addCleanup(control, "DELETE", "faults")
        control("POST", "faults", {"service": "kubernetes", "times": 1, "kind": {"truncate_after": 5}})
        # Not with boto3, which takes a cut answer for an empty one.
        with self.assertRaises(http_client.IncompleteRead) as cut:
            http("GET", PLACES["kubernetes_url"] + "/version")
        self.assertEqual(len(cut.exception.partial), 5)

    def test_a_secret_is_put_without_keys(self):
        control("PUT", "secrets/eu-west-1?name=shop/put", b"by curl")
        reader = client("secretsmanager")
        self.assertEqual(reader.get_secret_value(SecretId="shop/put")["SecretString"], "by curl")
        reader.delete_secret(SecretId="shop/put", ForceDeleteWithoutRecovery=True)


class Kubernetes(Case):
    def get(self, path):
        status, answer = http("GET", PLACES["kubernetes_url"] + path)
        return status, json.loads(answer)

    def test_objects_are_there_and_missing_ones_are_a_status(self):
        status, account = self.get("/api/v1/namespaces/shop/serviceaccounts/web")
        self.assertEqual(status, 200)
        self.assertEqual(account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"], ROLE)
        status, missing = self.get("/api/v1/namespaces/shop/pods/missing")
        self.assertEqual((status, missing["kind"], missing["reason"]), (404, "Status", "NotFound"))

    def test_a_token_is_reviewed(self):
        url = PLACES["kubernetes_url"] + "/apis/authentication.k8s.io/v1/tokenreviews"
        review = lambda spec: json.loads(http("POST", url, {"spec": spec})[1])["status"]
        good = review({"token": token(), "audiences": ["sts.amazonaws.com"]})
        self.assertTrue(good["authenticated"])
        self.assertEqual(good["user"]["username"], "system:serviceaccount:shop:web")
        self.assertEqual(good["user"]["extra"]["authentication.kubernetes.io/pod-name"], ["web-1"])
        self.assertNotIn("authenticated", review({"token": token(), "audiences": ["other"]}))
        self.assertNotIn("authenticated", review({"token": "nonsense"}))


EXPIRED_ISSUER = "https://issuer.example/expired"
EXPIRED_MODULUS = (
    "uLTVh5HWJWKDKWnaw7Imca98H6_-yLYAb8bYFv7_vBXklBjfyGhWW2WYi-CZEl7hsSSZmXBc-8DF-1cCg_Rd1W6X0IyRddZ-ctqV"
    "b5ea8DfqJDT8DDzdz0-E1_PVAv97zgNykaTgsUsggo9krNBg-7gh29z72Jypn2ctbO2cvcMJTMwaEgJA4MDUqlO-Bx5T34c7nESg"
    "rc4qe82v-blVyEKxXWMpYrTuHawcJc7GhnAzLvKSm9Z-k3TC-rSSwL_pKeYxr-WNL1lAItJp-JMrM-h8xGEarFmFqtMYDQ7OdTyp"
    "6liPAQQkHNeNh_kPQeKDhcMRIBMxrsWwF0HjQYChWw"
)
EXPIRED_KEYS = {
    "keys": [
        {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "expired", "e": "AQAB", "n": EXPIRED_MODULUS}
    ]
}
EXPIRED_TOKEN = (
    "eyJhbGciOiJSUzI1NiIsImtpZCI6ImV4cGlyZWQifQ.eyJhdWQiOlsic3RzLmFtYXpvbmF3cy5jb20iXSwiZXhwIjoxNzAwMDAzN"
    "jAwLCJpYXQiOjE3MDAwMDAwMDAsImlzcyI6Imh0dHBzOi8vaXNzdWVyLmV4YW1wbGUvZXhwaXJlZCIsInN1YiI6InN5c3RlbTpzZ"
    "XJ2aWNlYWNjb3VudDpzaG9wOndlYiJ9.m_pynQPKOVGfxON0vaUD3VB3tCBJHpCorQXCYc_FdGxKss8DNDiytkR9UP4Cglzksa2k"
    "Tw-l1gdlsinILPUIZwqQAMWolQXADDGILqsvyyflgdxWIrAoNeop3Q8PA9eMHDOubgRXCbPcqL_Dg5TBbNY3bshv1pWy5yne-v2H"
    "qkhH5AjTcAOao7kfPk8mQS8cg7tc-ThH3cgY4VZdsNu7_db8nBs5hzv6AYOroLFwxwDMIcBQrQ7cCP2muG5046wHkTs0MPlKY71t"
    "1YLQfn-1fXyxkF9W7ClwOtTktsfb8Q3FOtb6BXqunDkSzVmt9cSZDL0cXvlyAy_JPZprlxYjJA"
)


if __name__ == "__main__":
    unittest.main()
