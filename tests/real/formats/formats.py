"""Makes up secrets, and reads what `templates` has written of them.

usage: formats.py make SEED DIRECTORY      writes secrets.json: a list of maps
       formats.py check SEED DIRECTORY     compares NUMBER.FORMAT with it, as each reader of the format reads them
"""

import json
import pathlib
import random
import subprocess
import sys
import tomllib

import dotenv
import javaproperties
import yaml

COUNT = 200
WORDS = [
    "hunter2", "it's", '"', "'", "\\", "$", "${HOME}", "$HOME", "`id`", "$(id)", "#", " # no comment", "=", ":", " ", "\t",
    "\n", "\n\n", "\\n", "\\\\", "!", "~", "*", "&a", "%", "{", "}", "[", "]", "é", "ß", "€", "😀", "\u2028", "\u0085", "\u00a0",
    "yes", "null", "1.10", "0x1F", "- a", "a: b", "---", "...", "<<", "@", "|", ">", "\r", "\x01", "\x7f", "\ufeff", "export A=b",
]
# Nobody disagrees about these.
PORTABLE = ["", "hunter2", "two words", "p$ss", 'say "hi"', "it's", "-----BEGIN KEY-----\nabc=\n-----END KEY-----\n", "a#b", " a ", "é😀"]


def secrets(seed):
    chance = random.Random(seed)

    def text():
        return "".join(chance.choice(WORDS) for _ in range(chance.randint(0, 5)))

    made = [{f"PORTABLE_{number}": text} for number, text in enumerate(PORTABLE)]
    made += [{f"K{number}": text() for number in range(chance.randint(1, 4))} for _ in range(COUNT)]
    return made


def read_properties(path):
    return javaproperties.loads(path.read_text("latin-1"))


def read_by_shell(path):
    # Names are listed in a file of their own, so that the shell's variables are not among them.
    script = '. "$1"; shift; for name; do eval "printf \'%s\\0\' \\"\\$$name\\""; done'
    names = [line.split("=", 1)[0] for line in first_lines(path)]
    read = subprocess.run(["sh", "-c", script, "sh", path, *names], env={}, check=True, capture_output=True, text=True)
    return dict(zip(names, read.stdout.split("\0")))


def first_lines(path):
    """The lines of a .env file at which a variable begins."""
    for name in json.loads(path.with_suffix(".names").read_text()):
        yield name + "="


def main(mode, seed, directory):
    directory = pathlib.Path(directory)
    made = secrets(int(seed))
    if mode == "make":
        (directory / "secrets.json").write_text(json.dumps(made))
        for number, secret in enumerate(made):
            (directory / f"{number}.names").write_text(json.dumps(list(secret)))
        return
    readers = {
        "json": {"json": lambda path: json.loads(path.read_text())},
        "yaml": {"PyYAML": lambda path: yaml.safe_load(path.read_bytes())},
        "toml": {"tomllib": lambda path: tomllib.loads(path.read_bytes().decode())},
        "properties": {"javaproperties": read_properties},
        "dotenv": {
            "python-dotenv": lambda path: dict(dotenv.dotenv_values(path)),
            "sh": read_by_shell,
        },
    }
    counts, refused, envs = {}, 0, []
    for number, secret in enumerate(made):
        for format, by in readers.items():
            path = directory / f"{number}.{format}"
            if not path.exists():
                assert format == "dotenv" and number >= len(PORTABLE), f"{path} was refused: {secret!r}"
                refused += 1
                continue
            if format == "dotenv":
                envs.append((path, secret))
            for name, reader in by.items():
                read = reader(path)
                assert read == secret, f"{name} reads {path} as {read!r}, and not as {secret!r}"
                counts[name] = counts.get(name, 0) + 1
    by_node = subprocess.run(["node", "read.js", *[path for path, _ in envs]], cwd=directory, check=True, capture_output=True)
    for (path, secret), read in zip(envs, json.loads(by_node.stdout), strict=True):
        assert read == secret, f"node reads {path} as {read!r}, and not as {secret!r}"
    counts["dotenv of node"] = len(envs)
    print("read alike:", ", ".join(f"{name} {count}" for name, count in counts.items()) + f"; {refused} refused for dotenv")
    assert 0 < refused < len(made) * 3 / 4, "nearly all or none was refused"


main(*sys.argv[1:])
