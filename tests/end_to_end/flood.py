"""Requests with forged tokens at a steady rate, from a process of its own: `python flood.py PORT RATE SECONDS TOKEN`.

Each request's signature is another one, so nothing that was refused before helps. Prints how often each status came.
"""

import socket
import sys
import time
from collections import Counter

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def forged(token: str, number: int) -> str:
    """The token with another signature."""
    at = len(token) - 200
    letters = "".join(ALPHABET[number >> 6 * i & 63] for i in range(4))
    return token[:at] + letters + token[at + 4 :]


def ask(link: socket.socket, token: str) -> bytes:
    """One request; the status."""
    link.sendall(
        f"GET /guarded HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    answer = link.recv(65536)
    return answer[9:12]


def main(port: int, rate: float, seconds: float, token: str) -> None:
    """Send until the time is up."""
    link = socket.create_connection(("127.0.0.1", port))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    began, statuses, sent = time.monotonic(), Counter[bytes](), 0
    while (now := time.monotonic() - began) < seconds:
        due = int(now * rate)
        while sent < due:
            statuses[ask(link, forged(token, sent))] += 1
            sent += 1
        time.sleep(0.001)
    sys.stdout.write(" ".join(f"{key.decode()}:{n}" for key, n in sorted(statuses.items())))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), sys.argv[4])
