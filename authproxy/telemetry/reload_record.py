"""What became of the last reload, in memory that all workers see: each process writes its own, any of them may be asked."""

import json
import mmap
import struct
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from authproxy.model.errors import Problem

SIZE = 1 << 17
PROBLEMS_MOST = 50
TEXT_MOST = 500  # characters of a problem's text that are kept; the log has all of it
_HEADER = struct.Struct(
    "=QQ"
)  # writes begun and ended (odd: one is under way), bytes of the record


@dataclass(frozen=True, slots=True)
class Reload:
    """A reload: was it taken over, when (seconds since 1970), why not; `more` problems are only in the log."""

    success: bool
    at: float
    problems: tuple[Problem, ...] = ()
    more: int = 0


class ReloadRecord:
    """The last reload of one process; made before any worker is forked."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, SIZE)

    def note(self, at: float, problems: Sequence[Problem] = (), *, success: bool) -> None:
        """Keep what became of a reload instead of the one before. Only its own process may do this."""
        kept = tuple(map(_bounded, problems[:PROBLEMS_MOST]))
        data = _encoded(Reload(success, at, kept, len(problems) - len(kept)))
        if _HEADER.size + len(data) > SIZE:
            data = _encoded(Reload(success, at, (), len(problems)))
        self._write(data)

    def clear(self) -> None:
        """A process has begun: what the one before it in this place could not load is no matter any more."""
        self._write(b"")

    def _write(self, data: bytes) -> None:
        writes, _ = _HEADER.unpack_from(self._memory)
        _HEADER.pack_into(self._memory, 0, writes + 1, 0)
        self._memory[_HEADER.size : _HEADER.size + len(data)] = data
        _HEADER.pack_into(self._memory, 0, writes + 2, len(data))

    def last(self) -> Reload | None:
        """The last reload; None where there was none, or while one is being written."""
        before = _HEADER.unpack_from(self._memory)
        data = self._memory[_HEADER.size : _HEADER.size + before[1]]
        if not data or before[0] % 2 or _HEADER.unpack_from(self._memory) != before:
            return None
        found = json.loads(data)
        problems = tuple(Problem(**problem) for problem in found.pop("problems"))
        return Reload(**found, problems=problems)


def last_reload(records: Iterable[ReloadRecord]) -> Reload | None:
    """The last reload of all processes; one that failed in any of them goes before those that did not."""
    found = [reload for record in records if (reload := record.last()) is not None]
    return max(found, key=lambda one: (not one.success, one.at), default=None)


def _encoded(reload: Reload) -> bytes:
    return json.dumps(asdict(reload)).encode()


def _bounded(problem: Problem) -> Problem:
    return replace(problem, text=problem.text[:TEXT_MOST], remedy=problem.remedy[:TEXT_MOST])
