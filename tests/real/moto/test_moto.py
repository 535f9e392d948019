"""What the provider mounts from a moto server. Started by ./run."""

import base64
import collections
import functools
import itertools
import json
import os
import pathlib
import subprocess
import unittest
import urllib.request

import boto3
import botocore.config
import botocore.exceptions
import grpc
from botocore import UNSIGNED

import v1alpha1_pb2 as v1alpha1
import v1alpha1_pb2_grpc

MOTO = os.environ["MOTO_URL"]
WORK = pathlib.Path(os.environ["WORK"])
KUBERNETES = json.loads((WORK / "places.json").read_text())["kubernetes_url"]

REGION, STANDBY = "eu-west-1", "eu-central-1"
# No such Region, for which moto answers 500.
BROKEN = "eu-west-9"
AUDIENCE = "sts.amazonaws.com"
# The account that moto takes unknown keys for, and another one.
ACCOUNT, ABROAD = "123456789012", "444455556666"
# kubelet's limit for one call of a CSI driver, which the driver passes on.
CALL_TIMEOUT = 120

# A file as a container sees it, and the version that is answered for it.
File = collections.namedtuple("File", "content mode version")
Pod = collections.namedtuple("Pod", "name uid account tokens")
Call = collections.namedtuple("Call", "api region asked")


@functools.cache
def client(service, region=REGION, keys=("any", "any", None), **config):
    config = botocore.config.Config(retries={"total_max_attempts": 1}, **config)
    key, secret, token = keys
    return boto3.client(
        service,
        region_name=region,
        endpoint_url=MOTO,
        config=config,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
    )


def http(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def pod_of(account):
    """A pod of the seed, with a token such as kubelet asks for."""
    name, place = f"{account}-1", f"{KUBERNETES}/api/v1/namespaces/shop"
    uid = http(f"{place}/pods/{name}")["metadata"]["uid"]
    spec = {
        "audiences": [AUDIENCE],
        "expirationSeconds": 3600,
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid},
    }
    token = http(f"{place}/serviceaccounts/{account}/token", {"spec": spec})["status"]
    return Pod(name, uid, account, {AUDIENCE: token})


class Provider:
    """One of the two provider processes, called as the driver calls it."""

    def __init__(self, name):
        channel = grpc.insecure_channel(
            f"unix:{WORK}/{name}/aws.sock", options=[("grpc.default_authority", "localhost")]
        )
        self.stub = v1alpha1_pb2_grpc.CSIDriverProviderStub(channel)

    def version(self):
        return self.stub.Version(v1alpha1.VersionRequest(version="v1alpha1"), timeout=CALL_TIMEOUT)

    def mount(self, target, objects, pod, **parameters):
        attributes = {
            "objects": json.dumps(objects),  # JSON is YAML too
            "region": REGION,
            **parameters,
            "secretProviderClass": "shop",
            "csi.storage.k8s.io/ephemeral": "true",
            "csi.storage.k8s.io/pod.name": pod.name,
            "csi.storage.k8s.io/pod.namespace": "shop",
            "csi.storage.k8s.io/pod.uid": pod.uid,
            "csi.storage.k8s.io/serviceAccount.name": pod.account,
            "csi.storage.k8s.io/serviceAccount.tokens": json.dumps(pod.tokens),
        }
        request = v1alpha1.MountRequest(
            attributes=json.dumps(attributes), secrets="null", target_path=str(target), permission="420"
        )
        return self.stub.Mount(request, timeout=CALL_TIMEOUT)


PROVIDER_WRITES, DRIVER_WRITES = Provider("provider-writes"), Provider("driver-writes")
WEB = pod_of("web")
VOLUMES = itertools.count()


def secret(name, **more):
    return {"objectName": name, "objectType": "secretsmanager", **more}


def parameter(name, **more):
    return {"objectName": name, "objectType": "ssmparameter", **more}


def files_in(volume):
    """Content and mode by visible name: names that start with two dots are left out, links and directories followed."""
    found = {}
    for directory, names, files in os.walk(volume, followlinks=True):
        names[:] = [name for name in names if not name.startswith("..")]
        for name in files:
            path = pathlib.Path(directory, name)
            if not name.startswith(".."):
                found[str(path.relative_to(volume))] = (path.read_bytes(), path.stat().st_mode & 0o7777)
    return found


def versions_of(answer):
    return {version.id: version.version for version in answer.object_version}


def recorded():
    """What moto has been asked so far, one text for each call."""
    return (WORK / "calls").read_text().splitlines()


def calls(since):
    """The calls that were signed, which those of STS are not, from one of the recorded on."""
    found = []
    for call in map(json.loads, recorded()[since:]):
        headers = {name.lower(): value for name, value in call["headers"].items()}
        if "x-amz-target" in headers:
            api = headers["x-amz-target"].rpartition(".")[2]
            region = headers["authorization"].split("/")[2]
            found.append(Call(api, region, json.loads(base64.b64decode(call["body"]))))
    return found


class Case(unittest.TestCase):
    maxDiff = None

    @property
    def name(self):
        """A name that no other test has."""
        return "shop/" + self.id().rsplit(".", 1)[1]

    def volume(self, pod=WEB):
        """A new volume of a pod, mounted as the driver does it before it calls the provider."""
        target = WORK / f"kubelet/pods/{pod.uid}/volumes/kubernetes.io~csi/secrets-{next(VOLUMES)}/mount"
        target.mkdir(parents=True, mode=0o750)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", target], check=True)
        # As the driver does: not lazily, so it fails while the provider has anything open.
        self.addCleanup(subprocess.run, ["umount", target], check=True)
        return target

    def there(self, answer, absent):
        """The versions of an answer, but for those of what it says is not there, which must be these."""
        versions = versions_of(answer)
        self.assertEqual({name for name, version in versions.items() if version == "absent"}, set(absent))
        return {name: version for name, version in versions.items() if name not in absent}

    def mount(self, volume, objects, pod=WEB, absent=(), **parameters):
        """Lets the provider write, and gives what is in the volume then."""
        answer = PROVIDER_WRITES.mount(volume, objects, pod, **parameters)
        self.assertFalse(answer.HasField("error"))
        self.assertEqual(len(answer.files), 0)
        versions, files = self.there(answer, absent), files_in(volume)
        self.assertEqual(versions.keys(), files.keys())
        return {name: File(*file, versions[name]) for name, file in files.items()}

    def mounted(self, *objects, pod=WEB, absent=(), **parameters):
        """Mounts in both ways of writing, which must come to the same, and gives the files."""
        files = self.mount(self.volume(pod), objects, pod, absent, **parameters)
        untouched = self.volume(pod)
        answer = DRIVER_WRITES.mount(untouched, objects, pod, **parameters)
        self.assertFalse(answer.HasField("error"))
        self.assertEqual(os.listdir(untouched), [])
        versions = self.there(answer, absent)
        self.assertEqual(versions.keys(), {file.path for file in answer.files})
        answered = {file.path: File(file.contents, file.mode, versions[file.path]) for file in answer.files}
        self.assertEqual(answered, files)
        return files

    def refused(self, code, reason, *objects, **parameters):
        """Asserts that both ways refuse in the same words and leave the volume empty, and gives the words."""
        words = []
        for provider in [PROVIDER_WRITES, DRIVER_WRITES]:
            volume = self.volume()
            with self.assertRaises(grpc.RpcError) as refusal:
                provider.mount(volume, objects, WEB, **parameters)
            words.append(refusal.exception.details())
            self.assertEqual((refusal.exception.code(), words[-1].split(":")[0]), (code, reason), words[-1])
            self.assertEqual(os.listdir(volume), [])
        self.assertEqual(words[0], words[1])
        return words[0]

    def put_secret(self, value="one", name=None, region=REGION):
        """A new secret, as boto3 reads it."""
        name = name or self.name
        kind = "SecretBinary" if isinstance(value, bytes) else "SecretString"
        client("secretsmanager", region).create_secret(Name=name, **{kind: value})
        return client("secretsmanager", region).get_secret_value(SecretId=name)

    def rotate(self, name, value):
        return client("secretsmanager").put_secret_value(SecretId=name, SecretString=value)["VersionId"]

    def put_parameter(self, value="one", name=None, kind="String", region=REGION):
        """A new parameter or a new version of one. Gives its number."""
        ssm = client("ssm", region)
        return ssm.put_parameter(Name=name or self.name, Value=value, Type=kind, Overwrite=True)["Version"]


class Version(Case):
    def test_both_ways_of_writing_say_who_they_are(self):
        for provider in [PROVIDER_WRITES, DRIVER_WRITES]:
            answer = provider.version()
            self.assertEqual((answer.version, answer.runtime_name), ("v1alpha1", "secretmount"))
            self.assertRegex(answer.runtime_version, r"^\d+\.\d+\.\d+")


class SecretsManager(Case):
    def test_a_secret_is_mounted_by_name_by_arn_and_by_arn_without_its_suffix(self):
        known = self.put_secret("the text")
        arn = known["ARN"]
        for name in [known["Name"], arn, arn[:-7]]:
            files = self.mounted(secret(name, objectAlias="text"))
            self.assertEqual(files, {"text": File(b"the text", 0o644, known["VersionId"])}, name)
        self.assertEqual(list(self.mounted({"objectName": arn})), [arn.replace("/", "_")])

    def test_the_file_is_called_like_the_secret_as_path_translation_says(self):
        version = self.put_secret()["VersionId"]
        for translation, name in [
            ({}, self.name.replace("/", "_")),
            ({"pathTranslation": "+"}, self.name.replace("/", "+")),
            ({"pathTranslation": "False"}, self.name),
        ]:
            files = self.mounted(secret(self.name), **translation)
            self.assertEqual(files, {name: File(b"one", 0o644, version)})

    def test_the_previous_value_and_a_pinned_version_are_mounted_beside_the_current_one(self):
        first = self.put_secret("one")["VersionId"]
        second, third = self.rotate(self.name, "two"), self.rotate(self.name, "three")
        files = self.mounted(
            secret(self.name, objectAlias="current"),
            secret(self.name, objectAlias="previous", objectVersionLabel="AWSPREVIOUS"),
            secret(self.name, objectAlias="pinned", objectVersion=first),
            secret(self.name, objectAlias="both", objectVersion=second, objectVersionLabel="AWSPREVIOUS"),
        )
        self.assertEqual(
            files,
            {
                "current": File(b"three", 0o644, third),
                "previous": File(b"two", 0o644, second),
                "pinned": File(b"one", 0o644, first),
                "both": File(b"two", 0o644, second),
            },
        )

    def test_a_label_of_ones_own_is_read(self):
        first = self.put_secret("blue")["VersionId"]
        manager = client("secretsmanager")
        green = manager.put_secret_value(SecretId=self.name, SecretString="green", VersionStages=["green"])
        files = self.mounted(
            secret(self.name, objectAlias="current"),
            secret(self.name, objectAlias="green", objectVersionLabel="green"),
        )
        self.assertEqual(files["current"], File(b"blue", 0o644, first))
        self.assertEqual(files["green"], File(b"green", 0o644, green["VersionId"]))

    def test_a_binary_secret_is_mounted_byte_for_byte(self):
        value = bytes(range(256)) + b"\r\n"
        version = self.put_secret(value)["VersionId"]
        files = self.mounted(secret(self.name, objectAlias="key.pem", filePermission="0440"))
        self.assertEqual(files, {"key.pem": File(value, 0o440, version)})

    def test_parts_of_a_json_secret_are_files_beside_the_whole(self):
        text = '{"username": "alice", "pass-word": "p\\u00e4ss", "port": 5432, "tags": ["a", 1.0]}'
        version = self.put_secret(text)["VersionId"]
        parts = [
            {"path": "username", "objectAlias": "user"},
            {"path": '"pass-word"', "objectAlias": "password", "filePermission": "0400"},
            {"path": "port", "objectAlias": "port"},
            {"path": "tags", "objectAlias": "tags"},
        ]
        files = self.mounted(secret(self.name, objectAlias="db", filePermission="0440", jmesPath=parts))
        self.assertEqual(
            files,
            {
                "db": File(text.encode(), 0o440, version),
                "user": File(b"alice", 0o440, version),
                "password": File("päss".encode(), 0o400, version),
                "port": File(b"5432", 0o440, version),
                "tags": File(b'["a",1.0]', 0o440, version),
            },
        )

    def test_several_secrets_of_a_class_are_read_once_each_and_by_the_smallest_permission(self):
        known = {f"{self.name}/{number}": str(number) for number in range(12)}
        versions = {name: self.put_secret(value, name)["VersionId"] for name, value in known.items()}
        objects = [secret(name) for name in known] + [secret(f"{self.name}/0", objectAlias="again")]
        before = len(recorded())
        files = self.mount(self.volume(), objects)
        asked = calls(before)
        wanted = {
            name.replace("/", "_"): File(value.encode(), 0o644, versions[name]) for name, value in known.items()
        }
        self.assertEqual(files, {**wanted, "again": File(b"0", 0o644, versions[f"{self.name}/0"])})
        current = [{"SecretId": name, "VersionStage": "AWSCURRENT"} for name in known]
        self.assertCountEqual(asked, [Call("GetSecretValue", REGION, each) for each in current])

    def test_the_secrets_are_those_of_the_roles_account(self):
        self.put_secret("of the shop")
        keys = client("sts").assume_role(RoleArn=f"arn:aws:iam::{ABROAD}:role/admin", RoleSessionName="admin")
        keys = keys["Credentials"]
        abroad = client(
            "secretsmanager", keys=(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
        )
        version = abroad.create_secret(Name=self.name, SecretString="from abroad")["VersionId"]
        here = self.mounted(secret(self.name, objectAlias="text"))
        there = self.mounted(secret(self.name, objectAlias="text"), pod=pod_of("abroad"))
        self.assertEqual(here["text"].content, b"of the shop")
        self.assertEqual(there, {"text": File(b"from abroad", 0o644, version)})

    def test_a_chain_of_roles_reaches_another_account(self):
        keys = client("sts").assume_role(RoleArn=f"arn:aws:iam::{ABROAD}:role/admin", RoleSessionName="admin")
        keys = keys["Credentials"]
        abroad = client(
            "secretsmanager", keys=(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
        )
        version = abroad.create_secret(Name=self.name, SecretString="by a chain")["VersionId"]
        chain = [
            {"roleArn": f"arn:aws:iam::{ACCOUNT}:role/hub", "sessionTags": {"team": "shop"}, "durationSeconds": "900"},
            {"roleArn": f"arn:aws:iam::{ABROAD}:role/spoke", "externalId": "shop-1"},
        ]
        files = self.mounted(secret(self.name, objectAlias="text"), assumeRoles=json.dumps(chain))
        self.assertEqual(files, {"text": File(b"by a chain", 0o644, version)})

    def test_another_region_has_other_secrets(self):
        self.put_secret("at home")
        version = self.put_secret("away", region=STANDBY)["VersionId"]
        files = self.mounted(secret(self.name, objectAlias="text"), region=STANDBY)
        self.assertEqual(files, {"text": File(b"away", 0o644, version)})


class BeyondTheOfficialProvider(Case):
    def test_keys_of_a_secret_are_files_decoded_where_the_class_says_so(self):
        store = base64.b64encode(bytes(range(256))).decode()
        version = self.put_secret(json.dumps({"user": "alice", "port": 5432, "store": store}))["VersionId"]
        files = self.mounted(
            secret(
                self.name,
                extractOnly="true",
                expandJson={"exclude": ["store"], "prefix": "db-"},
                jmesPath=[{"key": "store", "objectAlias": "store.p12", "decode": "base64", "filePermission": "0400"}],
            )
        )
        self.assertEqual(
            files,
            {
                "db-user": File(b"alice", 0o644, version),
                "db-port": File(b"5432", 0o644, version),
                "store.p12": File(bytes(range(256)), 0o400, version),
            },
        )

    def test_what_may_be_missing_is_left_out_whatever_the_service_says_of_it(self):
        manager = client("secretsmanager")
        version = self.put_secret("there")["VersionId"]
        self.put_secret("doomed", f"{self.name}/deleted")
        manager.delete_secret(SecretId=f"{self.name}/deleted", RecoveryWindowInDays=7)
        manager.create_secret(Name=f"{self.name}/empty")
        self.put_parameter(name=f"/{self.name}")
        missing = {
            "never": secret(f"{self.name}/never"),
            "deleted": secret(f"{self.name}/deleted"),
            "no-value-yet": secret(f"{self.name}/empty"),
            "no-previous": secret(self.name, objectVersionLabel="AWSPREVIOUS"),
            "no-parameter": parameter(f"/{self.name}/never"),
            "no-version": parameter(f"/{self.name}", objectVersion="7"),
            "no-label": parameter(f"/{self.name}", objectVersionLabel="blue"),
        }
        for alias, each in missing.items():
            optional = {**each, "objectAlias": alias, "optional": "true"}
            files = self.mounted(secret(self.name, objectAlias="there"), optional, absent=[alias])
            self.assertEqual(files, {"there": File(b"there", 0o644, version)}, alias)

    def test_one_class_reads_in_several_regions_and_by_account(self):
        here = self.put_secret("here")["VersionId"]
        there = self.put_secret("there", region=STANDBY)["VersionId"]
        files = self.mounted(
            secret(self.name, objectAlias="here"),
            secret(self.name, objectAlias="there", region=STANDBY),
            secret(self.name, objectAlias="by-account", region=STANDBY, accountId=ACCOUNT),
            {"objectName": f"arn:aws:secretsmanager:{STANDBY}:{ACCOUNT}:secret:{self.name}", "objectAlias": "by-arn"},
        )
        away = File(b"there", 0o644, there)
        self.assertEqual(
            files, {"here": File(b"here", 0o644, here), "there": away, "by-account": away, "by-arn": away}
        )

    def test_files_are_made_of_secrets_of_both_services(self):
        self.put_secret('{"user": "alice", "password": "p$ss"}')
        self.put_parameter("db.internal", f"/{self.name}")
        files = self.mounted(
            secret(self.name, extractOnly="true", templateOnly="true", expandJson={"prefix": "DB_", "case": "upper"}),
            parameter(f"/{self.name}", objectAlias="DB_HOST", templateOnly="true"),
            templates=json.dumps([{"path": "app.env", "format": "dotenv"}]),
        )
        self.assertEqual(list(files), ["app.env"])
        self.assertEqual(files["app.env"].content, b"DB_HOST=db.internal\nDB_PASSWORD='p$ss'\nDB_USER=alice\n")
        self.assertRegex(files["app.env"].version, "^[0-9a-f]{64}$")

    def test_secrets_are_found_by_the_beginning_of_their_names_and_by_whole_tags(self):
        manager = client("secretsmanager")
        for name, tags in [("a", {"team": self.name, "env": "prod"}), ("b", {"team": self.name, "env": "production"})]:
            self.put_secret(name, f"{self.name}/{name}")
            tags = [{"Key": key, "Value": value} for key, value in tags.items()]
            manager.tag_resource(SecretId=f"{self.name}/{name}", Tags=tags)
        self.put_secret("gone", f"{self.name}/gone")
        manager.delete_secret(SecretId=f"{self.name}/gone", RecoveryWindowInDays=7)
        short = [{"regexp": "^.*/", "replacement": ""}]
        found = {"objectType": "secretsmanager", "find": {"namePrefix": f"{self.name}/"}, "rewrite": short}
        tagged = {"objectType": "secretsmanager", "find": {"tags": {"team": self.name, "env": "prod"}}}
        contents = {path: file.content for path, file in self.mounted(found).items()}
        self.assertEqual(contents, {"a": b"a", "b": b"b"})
        contents = {path: file.content for path, file in self.mounted(tagged).items()}
        self.assertEqual(contents, {f"{self.name}_a".replace("/", "_"): b"a"})

    def test_more_parameters_than_a_page_are_found_by_path_and_some_by_tags(self):
        manager, path = client("ssm"), f"/{self.name}"
        for number in range(13):
            self.put_parameter(str(number), f"{path}/{number}")
        self.put_parameter("deep", f"{path}/below/deep")
        manager.add_tags_to_resource(
            ResourceType="Parameter", ResourceId=f"{path}/7", Tags=[{"Key": "team", "Value": "shop"}]
        )
        short = [{"regexp": f"^{path}/"}]
        of = lambda find: {"objectType": "ssmparameter", "find": find, "rewrite": short}
        contents = lambda *objects: {path: file.content for path, file in self.mounted(*objects).items()}
        thirteen = {str(number): str(number).encode() for number in range(13)}
        self.assertEqual(contents(of({"path": path})), thirteen)
        everything = contents(of({"path": path, "recursive": "true"}))
        self.assertEqual(everything, {**thirteen, "below_deep": b"deep"})
        self.assertEqual(contents(of({"namePrefix": f"{path}/1"})), {n: n.encode() for n in ["1", "10", "11", "12"]})
        self.assertEqual(contents(of({"namePrefix": f"{path}/", "tags": {"team": "shop"}})), {"7": b"7"})

    def test_values_before_the_current_one_are_there_as_far_as_they_go(self):
        self.put_secret("1")
        self.put_parameter("a", f"/{self.name}")
        objects = [
            secret(self.name, objectAlias="pair", previous="1"),
            secret(self.name, objectAlias="key", previous="2"),
            parameter(f"/{self.name}", objectAlias="host", previous="2"),
        ]
        contents = lambda: {path: file.content for path, file in self.mounted(*objects).items()}
        self.assertEqual(contents(), {"pair": b"1", "key": b"1", "host": b"a"})
        for value in "234":
            self.rotate(self.name, value)
        for value in "bcd":
            client("ssm").put_parameter(Name=f"/{self.name}", Value=value, Overwrite=True)
        found = contents()
        # moto's dates have whole seconds, so that it cannot be told which of these two is older.
        self.assertIn(found.pop("key.previous-2"), [b"1", b"2"])
        self.assertEqual(
            found,
            {
                "pair": b"4",
                "pair.previous-1": b"3",
                "key": b"4",
                "key.previous-1": b"3",
                "host": b"d",
                "host.previous-1": b"c",
                "host.previous-2": b"b",
            },
        )

    def test_a_value_that_breaks_a_rule_keeps_the_volume_as_it_is(self):
        self.put_secret('{"password": "one"}')
        volume, objects = self.volume(), [secret(self.name, objectAlias="db", verify={"keys": ["password"]})]
        before = self.mount(volume, objects)
        self.rotate(self.name, "{}")
        with self.assertRaises(grpc.RpcError) as refusal:
            PROVIDER_WRITES.mount(volume, objects, WEB)
        self.assertRegex(refusal.exception.details(), "^ValueRejected: .*it has no key")
        self.assertEqual(files_in(volume), {"db": before["db"][:2]})


class ParameterStore(Case):
    @property
    def path(self):
        return "/" + self.name

    def test_texts_lists_and_encrypted_ones_are_mounted_in_the_clear(self):
        for kind, value in [("String", "text"), ("StringList", "a,b"), ("SecureString", "encrypted")]:
            name = f"{self.path}/{kind}"
            self.put_parameter(value, name, kind)
            files = self.mounted(parameter(name, objectAlias="value", filePermission="0400"))
            self.assertEqual(files, {"value": File(value.encode(), 0o400, "1")}, kind)

    def test_a_name_in_a_hierarchy_becomes_a_file_as_path_translation_says(self):
        self.put_parameter(name=self.path)
        for translation, name in [
            ({}, self.path.replace("/", "_")),
            ({"pathTranslation": "+"}, self.path.replace("/", "+")),
            ({"pathTranslation": "False"}, self.path[1:]),
        ]:
            files = self.mounted(parameter(self.path), **translation)
            self.assertEqual(files, {name: File(b"one", 0o644, "1")})

    def test_a_name_without_a_hierarchy_is_mounted_too(self):
        name = self.name.replace("/", ".")
        self.put_parameter(name=name)
        self.assertEqual(self.mounted(parameter(name)), {name: File(b"one", 0o644, "1")})

    def test_versions_and_labels_are_mounted_beside_the_newest(self):
        for value in ["one", "two", "three"]:
            self.put_parameter(value, self.path, "SecureString")
        client("ssm").label_parameter_version(Name=self.path, ParameterVersion=2, Labels=["green", "blue"])
        files = self.mounted(
            parameter(self.path, objectAlias="newest"),
            parameter(self.path, objectAlias="first", objectVersion="1"),
            parameter(self.path, objectAlias="third", objectVersion="3"),
            parameter(self.path, objectAlias="green", objectVersionLabel="green"),
            parameter(self.path, objectAlias="blue", objectVersionLabel="blue"),
            parameter(self.path + ":2", objectAlias="second"),
        )
        self.assertEqual(
            files,
            {
                "newest": File(b"three", 0o644, "3"),
                "first": File(b"one", 0o644, "1"),
                "third": File(b"three", 0o644, "3"),
                "green": File(b"two", 0o644, "2"),
                "blue": File(b"two", 0o644, "2"),
                "second": File(b"two", 0o644, "2"),
            },
        )

    def test_two_versions_of_one_parameter_have_two_aliases(self):
        for value in ["one", "two"]:
            self.put_parameter(value, self.path)
        files = self.mounted(
            parameter(self.path, objectAlias="old", objectVersion="1"),
            parameter(self.path, objectAlias="new", objectVersion="2"),
        )
        self.assertEqual(files, {"old": File(b"one", 0o644, "1"), "new": File(b"two", 0o644, "2")})

    def test_many_parameters_are_read_in_tens_each_once_and_by_the_smallest_permission(self):
        known = {f"{self.path}/{number:02}": str(number) for number in range(25)}
        for name, value in known.items():
            self.put_parameter(value, name)
        objects = [parameter(name) for name in known]
        objects.append(parameter(f"{self.path}/07", objectAlias="again"))
        wanted = {name.replace("/", "_"): File(value.encode(), 0o644, "1") for name, value in known.items()}
        before = len(recorded())
        files = self.mount(self.volume(), objects)
        asked = calls(before)
        self.assertEqual(files, {**wanted, "again": File(b"7", 0o644, "1")})
        self.assertEqual([call.api for call in asked], ["GetParameters"] * 3)
        self.assertCountEqual(known, [name for call in asked for name in call.asked["Names"]])
        self.assertEqual([call.asked["WithDecryption"] for call in asked], [True] * 3)
        self.assertEqual(self.mounted(*objects), files)

    def test_parts_of_a_json_parameter_are_files_beside_the_whole(self):
        text = '{"host": "db.internal", "port": 5432}'
        self.put_parameter(text, self.path, "SecureString")
        parts = [
            {"path": "host", "objectAlias": "host"},
            {"path": "port", "objectAlias": "port", "filePermission": "0400"},
        ]
        files = self.mounted(parameter(self.path, objectAlias="db", jmesPath=parts))
        self.assertEqual(
            files,
            {
                "db": File(text.encode(), 0o644, "1"),
                "host": File(b"db.internal", 0o644, "1"),
                "port": File(b"5432", 0o400, "1"),
            },
        )

    def test_parameters_and_secrets_stand_in_one_class(self):
        self.put_parameter("of the store", self.path)
        version = self.put_secret("of the manager")["VersionId"]
        files = self.mounted(parameter(self.path, objectAlias="a"), secret(self.name, objectAlias="b"))
        self.assertEqual(files["a"], File(b"of the store", 0o644, "1"))
        self.assertEqual(files["b"], File(b"of the manager", 0o644, version))

    def test_a_missing_parameter_among_others_is_not_found(self):
        self.put_parameter(name=self.path)
        missing = f"{self.path}/missing"
        for objects in [[parameter(missing)], [parameter(self.path), parameter(missing)]]:
            words = self.refused(grpc.StatusCode.NOT_FOUND, "ParameterNotFound", *objects)
            self.assertIn(missing, words)

    def test_a_version_and_a_label_that_are_not_there_are_not_found(self):
        self.put_parameter(name=self.path)
        for which in [{"objectVersion": "7"}, {"objectVersionLabel": "green"}]:
            words = self.refused(grpc.StatusCode.NOT_FOUND, "ParameterNotFound", parameter(self.path, **which))
            self.assertIn(self.path, words)

    def test_a_new_version_is_there_at_the_next_mount(self):
        self.put_parameter("one", self.path)
        volume, objects = self.volume(), [parameter(self.path, objectAlias="value")]
        self.assertEqual(self.mount(volume, objects), {"value": File(b"one", 0o644, "1")})
        inode = os.stat(volume / "value").st_ino
        self.assertEqual(self.mount(volume, objects), {"value": File(b"one", 0o644, "1")})
        self.assertEqual(os.stat(volume / "value").st_ino, inode)
        self.put_parameter("two", self.path)
        self.assertEqual(self.mount(volume, objects), {"value": File(b"two", 0o644, "2")})

    def test_the_same_value_put_again_is_a_new_version(self):
        self.put_parameter("one", self.path)
        volume, objects = self.volume(), [parameter(self.path, objectAlias="value")]
        self.mount(volume, objects)
        self.put_parameter("one", self.path)
        self.assertEqual(self.mount(volume, objects), {"value": File(b"one", 0o644, "2")})


class Failover(Case):
    def test_while_both_regions_answer_the_values_are_those_of_the_first(self):
        version = self.put_secret("first")["VersionId"]
        self.put_secret("standby", region=STANDBY)
        self.put_parameter("first", "/" + self.name)
        self.put_parameter("standby", "/" + self.name, region=STANDBY)
        files = self.mounted(
            secret(self.name, objectAlias="secret"),
            parameter("/" + self.name, objectAlias="parameter"),
            failoverRegion=STANDBY,
        )
        self.assertEqual(files["secret"], File(b"first", 0o644, version))
        self.assertEqual(files["parameter"], File(b"first", 0o644, "1"))

    def test_an_object_may_have_another_name_in_the_standby(self):
        known = self.put_secret("first")
        standby = self.put_secret("standby", self.name + "/standby", STANDBY)
        pair = secret(known["ARN"], objectAlias="secret", failoverObject={"objectName": standby["ARN"]})
        self.assertEqual(
            self.mounted(pair, failoverRegion=STANDBY), {"secret": File(b"first", 0o644, known["VersionId"])}
        )
        self.assertEqual(
            self.mounted({**pair, "objectName": self.name}, region=BROKEN, failoverRegion=STANDBY),
            {"secret": File(b"standby", 0o644, standby["VersionId"])},
        )

    def test_while_the_first_region_fails_the_values_are_those_of_the_standby(self):
        with self.assertRaises(botocore.exceptions.ClientError) as failure:
            client("secretsmanager", BROKEN).get_secret_value(SecretId=self.name)
        self.assertEqual(failure.exception.response["ResponseMetadata"]["HTTPStatusCode"], 500)
        known = self.put_secret("standby", region=STANDBY)
        self.put_parameter("standby", "/" + self.name, region=STANDBY)
        files = self.mounted(
            secret(self.name, objectAlias="secret"),
            parameter("/" + self.name, objectAlias="parameter"),
            region=BROKEN,
            failoverRegion=STANDBY,
        )
        self.assertEqual(files["secret"], File(b"standby", 0o644, known["VersionId"]))
        self.assertEqual(files["parameter"], File(b"standby", 0o644, "1"))

    def test_a_replica_is_found_by_the_arn_of_the_first_region(self):
        known = client("secretsmanager").create_secret(
            Name=self.name, SecretString="both", AddReplicaRegions=[{"Region": STANDBY}]
        )
        wanted = {"secret": File(b"both", 0o644, known["VersionId"])}
        files = self.mounted(secret(known["ARN"], objectAlias="secret"), failoverRegion=STANDBY)
        self.assertEqual(files, wanted)
        broken = secret(known["ARN"].replace(REGION, BROKEN), objectAlias="secret")
        self.assertEqual(self.mounted(broken, region=BROKEN, failoverRegion=STANDBY), wanted)

    def test_what_is_missing_in_the_first_region_is_not_found_though_the_standby_has_it(self):
        self.put_secret("standby", region=STANDBY)
        words = self.refused(
            grpc.StatusCode.NOT_FOUND, "SecretNotFound", secret(self.name), failoverRegion=STANDBY
        )
        self.assertIn(REGION, words)

    def test_what_is_missing_in_the_standby_is_mounted_from_the_first_region(self):
        version = self.put_secret("first")["VersionId"]
        files = self.mounted(secret(self.name, objectAlias="secret"), failoverRegion=STANDBY)
        self.assertEqual(files, {"secret": File(b"first", 0o644, version)})


class Refusals(Case):
    def test_a_missing_secret_is_not_found(self):
        words = self.refused(grpc.StatusCode.NOT_FOUND, "SecretNotFound", secret(self.name))
        self.assertIn(self.name, words)
        self.assertIn("role/web", words)

    def test_a_secret_that_waits_for_its_deletion_is_not_found(self):
        self.put_secret()
        client("secretsmanager").delete_secret(SecretId=self.name, RecoveryWindowInDays=7)
        self.refused(grpc.StatusCode.NOT_FOUND, "SecretPendingDeletion", secret(self.name))
        client("secretsmanager").restore_secret(SecretId=self.name)
        self.assertEqual(self.mounted(secret(self.name, objectAlias="back"))["back"].content, b"one")

    def test_a_version_that_is_not_there_is_not_found(self):
        self.put_secret()
        for version in ["00000000-0000-0000-0000-000000000000", "f" * 32]:
            pinned = secret(self.name, objectVersion=version)
            words = self.refused(grpc.StatusCode.NOT_FOUND, "SecretVersionNotFound", pinned)
            self.assertIn(version, words)

    def test_a_label_that_is_not_on_the_pinned_version_is_refused(self):
        first = self.put_secret()["VersionId"]
        self.rotate(self.name, "two")
        both = secret(self.name, objectVersion=first, objectVersionLabel="AWSCURRENT")
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, "InvalidParameter", both)

    def test_one_missing_secret_of_several_fails_the_mount_and_leaves_the_volume(self):
        self.put_secret()
        volume = self.volume()
        before = self.mount(volume, [secret(self.name)])
        with self.assertRaises(grpc.RpcError) as refusal:
            self.mount(volume, [secret(self.name, objectAlias="other"), secret(self.name + "/missing")])
        self.assertEqual(refusal.exception.code(), grpc.StatusCode.NOT_FOUND)
        self.assertIn(self.name + "/missing", refusal.exception.details())
        self.assertEqual(files_in(volume), {name: file[:2] for name, file in before.items()})


class Rotation(Case):
    def test_a_new_value_is_there_at_the_next_mount(self):
        first = self.put_secret('{"password": "one"}')["VersionId"]
        objects = [secret(self.name, objectAlias="db", jmesPath=[{"path": "password", "objectAlias": "password"}])]
        volume = self.volume()
        before = self.mount(volume, objects)
        self.assertEqual(before["password"], File(b"one", 0o644, first))
        second = self.rotate(self.name, '{"password": "two"}')
        after = self.mount(volume, objects)
        self.assertEqual(
            after,
            {"db": File(b'{"password": "two"}', 0o644, second), "password": File(b"two", 0o644, second)},
        )
        self.assertNotEqual(first, second)

    def test_without_a_change_the_files_are_left_alone(self):
        self.put_secret()
        self.put_secret("another", self.name + "/other")
        objects = [secret(self.name), secret(self.name + "/other")]
        volume = self.volume()
        seen = lambda: {name: os.stat(volume / name).st_ino for name in files_in(volume)}
        before, inodes, generation = self.mount(volume, objects), seen(), os.readlink(volume / "..data")
        self.assertEqual(self.mount(volume, objects), before)
        self.assertEqual((seen(), os.readlink(volume / "..data")), (inodes, generation))

    def test_a_removed_object_is_gone_at_the_next_mount(self):
        self.put_secret()
        self.put_secret("another", self.name + "/other")
        volume = self.volume()
        self.mount(volume, [secret(self.name, objectAlias="kept"), secret(self.name + "/other")])
        self.assertEqual(list(self.mount(volume, [secret(self.name, objectAlias="kept")])), ["kept"])


class Checks(Case):
    """moto looks at signatures, session tokens and permissions only where it is told to, and not at those of STS."""

    def role(self, name, *actions):
        iam = client("iam")
        iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")
        statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        if actions:
            iam.put_role_policy(RoleName=name, PolicyName="reads", PolicyDocument=policy)

    def checked(self, *objects, pod):
        """Mounts for a pod that no other test has, so that the first call is that of STS; the others are checked."""
        self.addCleanup(http, f"{MOTO}/moto-api/reset-auth", float("inf"))
        http(f"{MOTO}/moto-api/reset-auth", 1)
        return self.mount(self.volume(pod), objects, pod)

    def test_signed_requests_of_a_role_with_a_policy_are_accepted(self):
        self.role("reader", "secretsmanager:GetSecretValue", "ssm:GetParameters")
        self.put_secret("of the manager")
        self.put_parameter("of the store", "/" + self.name)
        files = self.checked(
            secret(self.name, objectAlias="a"), parameter("/" + self.name, objectAlias="b"), pod=pod_of("reader")
        )
        self.assertEqual([files[name].content for name in "ab"], [b"of the manager", b"of the store"])
        with self.assertRaises(botocore.exceptions.ClientError):
            client("secretsmanager").get_secret_value(SecretId=self.name)  # with keys that nobody gave out

    def test_a_role_without_a_policy_may_not_read(self):
        self.role("stranger")
        self.put_secret()
        with self.assertRaises(grpc.RpcError) as refusal:
            self.checked(secret(self.name), pod=pod_of("stranger"))
        # moto words this refusal in XML, which AWS never does here: the code in it is lost, and the status 403 is left.
        self.assertEqual(refusal.exception.code(), grpc.StatusCode.PERMISSION_DENIED)
        self.assertRegex(refusal.exception.details(), "^SecretAccessDenied: .*role/stranger")


class Gaps(Case):
    """What moto does otherwise than AWS. Where one of these fails, moto has mended it: then the comment in it says what
    to assert instead, and the test moves up."""

    def test_a_secret_without_a_value_is_missing_where_a_label_is_asked_for(self):
        # AWS finds the secret, and says that there is no value with that label: SecretVersionNotFound.
        client("secretsmanager").create_secret(Name=self.name)
        self.refused(grpc.StatusCode.NOT_FOUND, "SecretNotFound", secret(self.name))
        with self.assertRaises(botocore.exceptions.ClientError) as refusal:
            client("secretsmanager").get_secret_value(SecretId=self.name)
        self.assertIn("secret value for staging label: AWSCURRENT", str(refusal.exception))

    def test_a_secret_is_missing_where_a_label_is_missing(self):
        # AWS says here too that there is no value with that label: SecretVersionNotFound.
        self.put_secret()
        self.refused(grpc.StatusCode.NOT_FOUND, "SecretNotFound", secret(self.name, objectVersionLabel="green"))

    def test_the_token_is_not_looked_at(self):
        # AWS refuses it with InvalidIdentityToken.
        sts = client("sts", signature_version=UNSIGNED)
        answer = sts.assume_role_with_web_identity(
            RoleArn=f"arn:aws:iam::{ACCOUNT}:role/web", RoleSessionName="forged", WebIdentityToken="not.a.token"
        )
        self.assertTrue(answer["Credentials"]["SessionToken"])
        # So nothing is proved by moto, and it is the provider alone that refuses a forged one here, before it asks.
        token = WEB.tokens[AUDIENCE]
        head, _, signature = token["token"].rpartition(".")
        forged = {AUDIENCE: {**token, "token": f"{head}.{signature[::-1]}"}}
        before = len(recorded())
        with self.assertRaises(grpc.RpcError) as refusal:
            self.mount(self.volume(), [secret(self.name)], WEB._replace(tokens=forged))
        self.assertEqual(refusal.exception.code(), grpc.StatusCode.UNAUTHENTICATED)
        self.assertRegex(refusal.exception.details(), "^TokenInvalid: ")
        self.assertEqual(len(recorded()), before)

    def test_no_permission_is_checked(self):
        # AWS denies a role that does not exist, and a role without a policy: AssumeRoleDenied, SecretAccessDenied.
        with self.assertRaises(botocore.exceptions.ClientError) as refusal:
            client("iam").get_role(RoleName="web")
        self.assertEqual(refusal.exception.response["Error"]["Code"], "NoSuchEntity")
        self.put_secret()
        self.mounted(secret(self.name))

    def test_parameters_come_without_their_selector(self):
        # AWS gives `:1` and `:green` of what was asked for back in Selector.
        path = "/" + self.name
        for value in ["one", "two"]:
            self.put_parameter(value, path)
        client("ssm").label_parameter_version(Name=path, ParameterVersion=1, Labels=["green"])
        names = [path + ":1", path + ":2", path + ":green"]
        answer = client("ssm").get_parameters(Names=names)
        self.assertCountEqual([each["Version"] for each in answer["Parameters"]], [1, 1, 2])
        self.assertEqual([each for each in answer["Parameters"] if "Selector" in each], [])
        # That the provider tells them apart all the same is because no call of it names one parameter twice.
        before = len(recorded())
        objects = [parameter(name, objectAlias=str(number)) for number, name in enumerate(names)]
        files = self.mount(self.volume(), objects)
        self.assertEqual([files[name].content for name in "012"], [b"one", b"two", b"one"])
        self.assertCountEqual([call.asked["Names"] for call in calls(before)], [[name] for name in names])

    def test_an_arn_is_no_name_of_a_parameter(self):
        # AWS takes it, as it takes the name.
        path = "/" + self.name
        self.put_parameter("one", path)
        arn = client("ssm").get_parameter(Name=path)["Parameter"]["ARN"]
        answer = client("ssm").get_parameters(Names=[arn])
        self.assertEqual((answer["Parameters"], answer["InvalidParameters"]), ([], [arn]))
        words = self.refused(grpc.StatusCode.NOT_FOUND, "ParameterNotFound", {"objectName": arn})
        self.assertIn(arn, words)

    def test_a_parameter_that_is_asked_for_twice_is_answered_once(self):
        path = "/" + self.name
        self.put_parameter("one", path)
        self.assertEqual(len(client("ssm").get_parameters(Names=[path, path])["Parameters"]), 1)
        # The provider never asks so, as the test of many parameters shows, and one value can become several files.
        files = self.mounted(parameter(path, objectAlias="a"), parameter(path, objectAlias="b"))
        self.assertEqual(files, {name: File(b"one", 0o644, "1") for name in ["a", "b"]})


if __name__ == "__main__":
    unittest.main()
