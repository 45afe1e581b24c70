"""Logins all at once, from a process of its own: `python logins.py PORT COUNT COOKIE CSRF`.

Each is for another name that nobody has, and is hashed like any other. Prints how often each status came.
"""

import selectors
import socket
import sys
from collections import Counter
from urllib.parse import urlencode


def attempt(port: int, number: int, cookie: str, csrf: str) -> socket.socket:
    """Send one; its answer is still to come."""
    form = urlencode(
        {"username": f"nobody-{number}", "password": "wrong", "csrf": csrf, "next": "/"}
    )
    link = socket.create_connection(("127.0.0.1", port), timeout=60)
    link.sendall(
        f"POST /.authproxy/login HTTP/1.1\r\nHost: a.test\r\nCookie: {cookie}\r\nOrigin: http://a.test\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n\r\n{form}".encode()
    )
    return link


def main(port: int, count: int, cookie: str, csrf: str) -> None:
    """Send them, then read what they came to."""
    waiting = selectors.DefaultSelector()
    for number in range(count):
        waiting.register(attempt(port, number, cookie, csrf), selectors.EVENT_READ)
    statuses: Counter[str] = Counter()
    while waiting.get_map():
        for key, _ in waiting.select(60):
            link = key.fileobj
            assert isinstance(link, socket.socket)
            statuses[link.recv(65536)[9:12].decode()] += 1
            waiting.unregister(link)
            link.close()
    sys.stdout.write(" ".join(f"{key}:{n}" for key, n in sorted(statuses.items())))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
