"""From the configuration's `identity.assertion` to what signs: its key file read, or a problem with its place."""

from authproxy.authn.assertion import Assertions
from authproxy.authn.jwk import KeyProblem
from authproxy.authn.keyring import Keyring, read_keyring
from authproxy.config.load import Loaded
from authproxy.config.named_files import read_named
from authproxy.model.errors import ConfigError
from authproxy.model.source import Path as SourcePath


def assertion_keyring(loaded: Loaded) -> Keyring | None:
    """The keys that assertions are signed with; None where the configuration names none.

    Raises:
        ConfigError: the file cannot be used.
    """
    key = loaded.usable().identity.assertion.key
    if key is None:
        return None
    try:
        return read_keyring(read_named(loaded.folder / key.file))
    except KeyProblem as error:
        code, text, remedy = "bad-keys", error.text, error.remedy
    except (OSError, ValueError) as error:  # a NUL in the path
        words = (getattr(error, "strerror", None) or "no path").lower()
        code, text = "unreadable", f"the assertion's key cannot be read: {words}"
        remedy = "check its path and mode, or make one with `authproxy keys generate --out FILE`"
    path: SourcePath = ("identity", "assertion", "key", "file")
    raise ConfigError([loaded.source.problem(path, code, text, remedy)])


def assertions(loaded: Loaded) -> Assertions | None:
    """What signs identities for the backends; None where that is off, and no key is read then.

    Raises:
        ConfigError: the key file cannot be used.
    """
    settings = loaded.usable().identity.assertion
    keyring = assertion_keyring(loaded) if settings.enabled else None
    if keyring is None or settings.issuer is None:
        return None
    return Assertions(settings.issuer, keyring, settings.ttl)
