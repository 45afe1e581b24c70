"""Telling systemd how we are (sd_notify(3)), where it asked to be told: what `Type=notify-reload` wants, and its watchdog."""

import logging
import os
import socket
import time
from collections.abc import Mapping
from typing import Protocol

log = logging.getLogger(__name__)


class Lifecycle(Protocol):
    """Who is told of the turns in a process's life."""

    def reloading(self) -> None:
        """A reload begins."""

    def reloaded(self) -> None:
        """It has ended, well or not; what serves now is complete."""

    def stopping(self) -> None:
        """The drain begins."""

    def alive(self) -> None:
        """Called several times a second, for as long as work gets done."""


class Systemd:
    """What the main process tells systemd, as `$NOTIFY_SOCKET` and `$WATCHDOG_USEC` ask; without them, nothing."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.interval = _watchdog_interval(environ)  # seconds between two signs of life; 0: none
        self._due = 0.0

    def ready(self) -> None:
        """Requests are taken."""
        notify("READY=1")

    def reloading(self) -> None:
        """A reload begins: systemd wants to know when, to tell it from an earlier one."""
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def reloaded(self) -> None:
        """It has ended."""
        notify("READY=1")

    def stopping(self) -> None:
        """The drain begins."""
        notify("STOPPING=1")

    def alive(self) -> None:
        """A sign of life, as often as systemd wants one."""
        now = time.monotonic()
        if self.interval and now >= self._due:
            self._due = now + self.interval
            notify("WATCHDOG=1")


def _watchdog_interval(environ: Mapping[str, str]) -> float:
    """Half of what systemd waits for (sd_watchdog_enabled(3)); 0 where it does not, or waits for another process."""
    microseconds, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or (pid and pid != str(os.getpid())):
        return 0.0
    return int(microseconds) / 2_000_000


def notify(state: str) -> None:
    """Send `READY=1` and the like to `$NOTIFY_SOCKET`; without one, nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect("\0" + address[1:] if address.startswith("@") else address)
            sock.sendall(state.encode())
        except OSError as error:
            log.warning("systemd cannot be told %s: %s", state.partition("\n")[0], error)
