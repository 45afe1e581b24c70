"""Claims as JSON gave them: finding one by its name or dotted path, and comparing in JSON's own terms."""

from collections.abc import Mapping
from typing import Any, Final

MISSING: Final = object()


def find_claim(claims: Mapping[str, Any], name: str) -> Any:
    """The claim of exactly this name, else the one at this dotted path (`realm_access.roles`); else MISSING."""
    value: Any = claims.get(name, MISSING)
    if value is not MISSING or "." not in name:
        return value
    value = claims
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return MISSING
        value = value[part]
    return value


def same(one: Any, other: Any) -> bool:
    """Equal in JSON type and value: `1`, `true` and `"1"` are three things, `2` and `2.0` are one."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    return (numbers or type(one) is type(other)) and bool(one == other)
