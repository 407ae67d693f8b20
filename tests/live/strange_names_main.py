"""Has sessions with itself until it is killed, each under another name that few programs expect."""

from __future__ import annotations

import ctypes
import socket
import sys
import time

_PR_SET_NAME = 15

NAMES = (
    b"\xff\xfe\x80",  # no UTF-8
    b"two\nlines",
    b"\n\n\n",
    b"99 x\n1 y",  # what looks like the begin of another row
    b"",
    b" a  b ",
    b"\x1b[2J\r\t\x07",
    b'",\'\\"',
    "é😀e".encode(),
    "éééé€éé".encode()[:15],  # cut within a character
    bytes(range(1, 16)),
    bytes(range(0x80, 0x8F)),
)


def main() -> None:
    """Say so on standard output when each name has been had once."""
    prctl = ctypes.CDLL(None).prctl
    told = False
    with socket.create_server(("127.0.0.1", 0)) as listener:
        while True:
            for name in NAMES:
                prctl(_PR_SET_NAME, name, 0, 0, 0)
                client = socket.create_connection(listener.getsockname())
                listener.accept()[0].close()
                client.close()
                time.sleep(0.001)
            if not told:
                told = True
                print(listener.getsockname()[1], flush=True)
                sys.stdout.close()


if __name__ == "__main__":
    main()
