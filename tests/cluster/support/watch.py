#!/usr/bin/env python3
"""Watches paths as a process in a container does, and prints what it hears: the path, the events, and the name in it.

usage: watch.py PID PATH...     PID is a process of the container; paths are those that it knows
"""

import ctypes
import os
import struct
import sys

EVENTS = {  # of inotify(7), but for those of mere readers
    0x002: "MODIFY", 0x004: "ATTRIB", 0x008: "CLOSE_WRITE", 0x040: "MOVED_FROM", 0x080: "MOVED_TO", 0x100: "CREATE",
    0x200: "DELETE", 0x400: "DELETE_SELF", 0x800: "MOVE_SELF", 0x2000: "UNMOUNT", 0x8000: "IGNORED",
}
LIBC = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments):
    result = function(*arguments)
    if result < 0:
        error = ctypes.get_errno()
        sys.exit(f"error: {function.__name__}: {os.strerror(error)}")
    return result


def main(pid, paths):
    inotify = call(LIBC.inotify_init)
    namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    call(LIBC.setns, namespace, 0)
    watched = {}
    for path in paths:
        wanted = sum(event for event in EVENTS if event < 0x1000)
        watched[call(LIBC.inotify_add_watch, inotify, path.encode(), wanted)] = path
    print("ready", flush=True)
    while True:
        events = os.read(inotify, 65536)
        while events:
            watch, mask, _, length = struct.unpack("iIII", events[:16])
            name = events[16 : 16 + length].rstrip(b"\0").decode()
            said = "|".join(word for event, word in EVENTS.items() if mask & event)
            print(f"{watched[watch]} {said} {name}".rstrip(), flush=True)
            events = events[16 + length :]


if len(sys.argv) < 3:
    sys.exit(__doc__)
main(sys.argv[1], sys.argv[2:])
