"""Loaded by every Python process of the service under test: writes down each attempt to reach another host."""

import os
import sys


def _watch(event, arguments):
    if event == "socket.connect":
        address = arguments[1]
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            _write(f"connect {address[0]}")
    elif event == "socket.getaddrinfo" and arguments[0] not in (None, "", "127.0.0.1", "::1", "localhost"):
        _write(f"look up {arguments[0]}")


def _write(line):
    with open(os.environ["NETWORK_LOG"], "a") as file:
        file.write(f"{' '.join(sys.argv)}: {line}\n")


if "NETWORK_LOG" in os.environ:
    sys.addaudithook(_watch)
