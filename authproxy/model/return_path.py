"""Where somebody is sent after a login: a path of this very site, or its front page.

Whatever a browser could read as another site is not repaired, it is dropped: what is left is a target that
`model/target.py` takes without a doubt, in printable ASCII.
"""

from authproxy.model.errors import Refusal
from authproxy.model.target import parse_target

LONGEST = 2048
FRONT = "/"
OWN = ".authproxy"  # never back into the pages of a login


def return_path(wanted: str) -> str:
    """The wanted path and query where they surely are of this site, else `/` (CWE-601)."""
    if not 0 < len(wanted) <= LONGEST or not wanted.isascii() or not wanted.isprintable():
        return FRONT
    if " " in wanted or "\\" in wanted or wanted.startswith("//"):
        return FRONT
    try:
        target = parse_target(wanted)
    except Refusal:
        return FRONT
    return FRONT if target.doubts or target.segments[0] == OWN else wanted
