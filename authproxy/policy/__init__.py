"""The law: policy files as documents, routes as a table, conditions, and the one decision function.

Pure: no I/O, no clock; what is decided depends on the arguments alone, so `explain`, `policy test` and the server agree.
`load` and `decide` are for other programs and stay as they are (docs/testing-policies.md); `load` alone leads to a floor above.
"""

import os
from collections.abc import Mapping
from typing import Any

from authproxy.policy.decide import Step
from authproxy.policy.document import CaseIdentity
from authproxy.policy.offline import (
    Decision,
    PolicySet,
    RequestError,
    decide_request,
    exchange_for,
)

__all__ = ["Decision", "PolicySet", "RequestError", "Step", "decide", "load"]


def load(config: str | os.PathLike[str] | None = None) -> PolicySet:
    """The policies of this configuration file; None: of the one that the commands would find.

    No key is read, no secret is needed, nobody is asked.

    Raises:
        authproxy.model.errors.ConfigError: there is none, or it has errors; `problems` are all of them.
    """
    from authproxy.policies import load_policies

    return load_policies(config)


# The name is also that of the module beside this one; whoever wants that imports from it by its full name.
def decide(
    policies: PolicySet,
    method: str,
    url: str,
    *,
    identity: str | Mapping[str, Any] | None = None,
    client: str = "127.0.0.1",
    headers: Mapping[str, str] | None = None,
    now: float | None = None,
) -> Decision:
    """What the proxy would do with this request; limits are told, not charged.

    `identity` is a name of `identities`, or what stands there (`{"subject": "alice", "groups": ["eng"]}`); None is nobody.
    It counts as verified. `now` (seconds since the epoch) is what `now` is in conditions; None is the
    moment of asking.

    Raises:
        RequestError: the URL or the client's address cannot be read.
        KeyError: no identity has this name.
        ValueError: the mapping is no identity.
    """
    if isinstance(identity, str):
        known: CaseIdentity | None = policies.identities[identity]
    else:
        known = None if identity is None else CaseIdentity.model_validate(dict(identity))
    moment = policies.clock() if now is None else now
    exchange = exchange_for(method, url, client=client, now=moment)
    return decide_request(policies, exchange, known, headers)
