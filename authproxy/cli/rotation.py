"""One step of replacing the key of the assertion: which one is due by the times in the key file, and what comes next.

A key is published before it signs, and until what it signed has expired, so that no backend ever meets a key that it
cannot know. Nothing is read or written here.
"""

from dataclasses import dataclass, replace

from authproxy.authn.keyring import AssertionKey, Keyring, timestamp

# A next key signs once everybody who fetches the set has it: three times its `max-age`, as some keep it longer.
PUBLISHED_LEAST = 900.0
# Beyond its ttl an assertion is good for a backend's leeway; and workers take a new key over within seconds.
EXPIRED_AFTER = 120.0


class NotYet(Exception):  # noqa: N818  # it says what to wait for, for a line on stderr
    """Nothing can be done safely at this moment."""


class Unclear(Exception):  # noqa: N818  # it says what is unclear, for a line on stderr
    """The file does not say what its keys are for."""


@dataclass(frozen=True, slots=True)
class Step:
    """What the file holds after the step, and what to tell whoever asked for it."""

    keys: tuple[AssertionKey, ...]
    done: str
    then: str


def next_step(keyring: Keyring, fresh: AssertionKey, ttl: float, now: float) -> Step:
    """The step that is due: publish `fresh` as the next key, sign with the next key, or take the previous one out.

    Raises:
        NotYet: the last step is too recent.
        Unclear: a key beside the first is neither next nor previous.
    """
    current, *others = keyring.keys
    waiting = {key.role: key for key in others if key.since is not None}
    if len(others) > 1 or len(waiting) < len(others) or "current" in waiting:
        text = "it holds keys that this command did not put there"
        raise Unclear(f"{text}: leave only the first, which signs, then run it again")
    if not others:
        return _publish(current, fresh, now)
    if "next" in waiting:
        return _sign_with(waiting["next"], current, ttl, now)
    return _take_out(waiting["previous"], current, ttl, now)


def _publish(current: AssertionKey, fresh: AssertionKey, now: float) -> Step:
    return Step(
        (current, replace(fresh, role="next", since=now)),
        f"{fresh.kid} is published as the next key; {current.kid} goes on signing",
        f"from {timestamp(now + PUBLISHED_LEAST)} on run this again, to sign with it",
    )


def _sign_with(coming: AssertionKey, current: AssertionKey, ttl: float, now: float) -> Step:
    due = _when(coming) + PUBLISHED_LEAST
    if now < due:
        text = f"the next key is published since {timestamp(_when(coming))}"
        raise NotYet(f"{text}: run this again from {timestamp(due)} on, to sign with it")
    return Step(
        (replace(coming, role="current", since=now), replace(current, role="previous", since=now)),
        f"{coming.kid} signs; {current.kid} stays published for what it signed",
        f"from {timestamp(now + ttl + EXPIRED_AFTER)} on run this again, to take the old key out",
    )


def _take_out(gone: AssertionKey, current: AssertionKey, ttl: float, now: float) -> Step:
    due = _when(gone) + ttl + EXPIRED_AFTER
    if now < due:
        text = (
            f"what the previous key signed until {timestamp(_when(gone))} may still be on its way"
        )
        raise NotYet(f"{text}: run this again from {timestamp(due)} on, to take it out")
    return Step((current,), f"{gone.kid} is taken out; {current.kid} signs", "the rotation is done")


def _when(key: AssertionKey) -> float:
    assert key.since is not None, "only keys with a time wait"
    return key.since
