"""What a user of the image would notice. Started by ./run, which builds it twice, each time for both architectures."""

import functools
import json
import os
import pathlib
import shutil
import struct
import subprocess
import tarfile
import tempfile
import tomllib
import unittest

import yaml

REPOSITORY = pathlib.Path(__file__).parents[3]
WORK = pathlib.Path(os.environ["WORK"])
CONTEXT = WORK / "context"
ARCHITECTURE = os.environ["ARCHITECTURE"]
OTHER = os.environ["OTHER"]
EMULATOR = os.environ["EMULATOR"]  # what starts it where this machine is of another kind

BINARY = "bin/secretmount"
BUNDLE = "etc/ssl/certs/ca-certificates.crt"
MACHINES = {"amd64": 62, "arm64": 183}  # e_machine of elf(5)

VERSION = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())["workspace"]["package"]["version"]
NO_KUBERNETES = "neither a service account of a pod nor a kubeconfig was found"
NO_BUNDLE = "no CA certificates were found"


class Image:
    """What `skopeo copy` makes of an image: a directory with its manifest, and its blobs by their digests."""

    def __init__(self, name):
        self.directory = WORK / name
        self.manifest = json.loads((self.directory / "manifest.json").read_text())
        self.description = json.loads(self.blob(self.manifest["config"]).read_text())
        self.config = self.description["config"]
        self.entries = [entry for layer in self.manifest["layers"] for entry in self.members(layer)]

    def blob(self, descriptor):
        return self.directory / descriptor["digest"].removeprefix("sha256:")

    def members(self, layer):
        with tarfile.open(self.blob(layer)) as archive:
            return archive.getmembers()

    def unpack(self, directory):
        for layer in self.manifest["layers"]:
            with tarfile.open(self.blob(layer)) as archive:
                archive.extractall(directory)


image = functools.cache(Image)


class Contents(unittest.TestCase):
    def test_it_starts_the_binary_as_root_and_adds_no_arguments_of_its_own(self):
        config = image("image").config
        self.assertEqual(config["Entrypoint"], ["/" + BINARY])
        self.assertFalse(config.get("Cmd"))
        self.assertEqual(config["User"], "0:0")
        self.assertIn(config.get("WorkingDir"), (None, "", "/"))
        for nothing in ("ExposedPorts", "Volumes", "OnBuild", "Healthcheck"):
            self.assertFalse(config.get(nothing), nothing)
        names = [variable.partition("=")[0] for variable in config.get("Env", [])]
        self.assertLessEqual(set(names), {"PATH"}, "builders set PATH, and we set nothing")

    def test_its_labels_say_what_it_is(self):
        prefix = "org.opencontainers.image."
        labels = {k.removeprefix(prefix): v for k, v in image("image").config["Labels"].items() if k.startswith(prefix)}
        self.assertEqual(labels.pop("title"), "secretmount")
        self.assertEqual(labels.pop("version"), VERSION)
        self.assertEqual(labels.pop("licenses"), "Apache-2.0")
        self.assertIn("Secrets Store CSI driver", labels.pop("description"))
        self.assertEqual(labels.pop("source"), os.environ["SOURCE_URL"])
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
        self.assertEqual(labels.pop("revision"), commit.stdout.strip())
        self.assertEqual(labels, {})

    def test_it_holds_the_binary_the_bundle_and_their_directories_and_nothing_else(self):
        entries = image("image").entries
        found = {entry.name: (entry.type, oct(entry.mode & 0o7777)) for entry in entries}
        self.assertEqual(len(found), len(entries), "no name is there twice")
        directory = (tarfile.DIRTYPE, "0o755")
        self.assertEqual(
            found,
            {
                "bin": directory,
                BINARY: (tarfile.REGTYPE, "0o755"),
                "etc": directory,
                "etc/ssl": directory,
                "etc/ssl/certs": directory,
                BUNDLE: (tarfile.REGTYPE, "0o644"),
            },
        )

    def test_all_of_it_is_roots_and_gives_nobody_powers(self):
        for entry in image("image").entries:
            self.assertEqual((entry.uid, entry.gid), (0, 0), entry.name)
            self.assertFalse(entry.mode & 0o7000, entry.name)
            self.assertFalse([name for name in entry.pax_headers if "xattr" in name], entry.name)

    def test_the_files_are_those_of_the_build_context(self):
        with tempfile.TemporaryDirectory(dir=WORK) as root:
            image("image").unpack(root)
            for name, source in (BINARY, f"{ARCHITECTURE}/secretmount"), (BUNDLE, "ca-certificates.crt"):
                self.assertEqual(pathlib.Path(root, name).read_bytes(), (CONTEXT / source).read_bytes(), name)

    def test_the_machine_it_names_is_the_one_its_binary_is_for(self):
        description = image("image").description
        self.assertEqual((description["os"], description["architecture"]), ("linux", ARCHITECTURE))
        header = (CONTEXT / ARCHITECTURE / "secretmount").read_bytes()[:20]
        self.assertEqual(header[:4], b"\x7fELF")
        self.assertEqual(struct.unpack_from("<H", header, 18)[0], MACHINES[ARCHITECTURE])

    def test_for_the_other_architecture_the_other_binary_is_taken(self):
        self.assertEqual(image("other").description["architecture"], OTHER)
        with tempfile.TemporaryDirectory(dir=WORK) as root:
            image("other").unpack(root)
            found = pathlib.Path(root, BINARY).read_bytes()
            self.assertEqual(found, (CONTEXT / OTHER / "secretmount").read_bytes())

    def test_equal_files_give_an_equal_image(self):
        self.assertEqual(image("again").manifest, image("image").manifest)


class Start(unittest.TestCase):
    """Its entrypoint, in a root directory with the image's files and nothing else: no /proc, no /dev, no variables."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory(dir=WORK)
        self.addCleanup(directory.cleanup)
        self.root = pathlib.Path(directory.name)
        image("image").unpack(self.root)
        self.emulator = ["/" + pathlib.Path(shutil.copy(EMULATOR, self.root)).name] if EMULATOR else []

    def start(self, *arguments):
        # chroot(1) itself ends with 126 or 127 where the program, or the loader of its libraries, is not there.
        return subprocess.run(
            [shutil.which("chroot"), self.root, *self.emulator, *image("image").config["Entrypoint"], *arguments],
            env={},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )

    def assert_ends_well(self, ended):
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))

    def assert_lacks_only_kubernetes(self, ended):
        self.assertIn(NO_KUBERNETES, ended.stderr)
        self.assertNotIn(NO_BUNDLE, ended.stderr)
        self.assertEqual(ended.returncode, 1)

    def test_it_says_its_version(self):
        ended = self.start("--version")
        self.assert_ends_well(ended)
        self.assertEqual(ended.stdout, f"secretmount {VERSION}\n")

    def test_it_says_what_can_be_set(self):
        ended = self.start("serve", "--help")
        self.assert_ends_well(ended)
        self.assertIn("--provider-volume", ended.stdout)

    def test_the_official_daemonsets_arguments_start_it_and_it_lacks_only_kubernetes(self):
        self.assert_lacks_only_kubernetes(self.start("--provider-volume=/x"))

    def test_the_arguments_of_our_manifest_start_it_and_it_lacks_only_kubernetes(self):
        manifest = (REPOSITORY / "deploy/manifests/secretmount.yaml").read_text()
        daemonset = next(item for item in yaml.safe_load_all(manifest) if item["kind"] == "DaemonSet")
        self.assert_lacks_only_kubernetes(self.start(*daemonset["spec"]["template"]["spec"]["containers"][0]["args"]))

    def test_the_ca_certificates_that_it_finds_are_the_images(self):
        (self.root / BUNDLE).unlink()
        ended = self.start("--provider-volume=/x")
        self.assertIn(NO_BUNDLE, ended.stderr)
        self.assertEqual(ended.returncode, 1)


if __name__ == "__main__":
    unittest.main()
