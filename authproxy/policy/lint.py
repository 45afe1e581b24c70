"""What is allowed but probably not meant: warnings about policies, each with its place, code and remedy.

A warning is certain: what it says is so, only whether it is meant is the reader's to say. All of it together costs
little more than reading the routes once.
"""

from authproxy.model.errors import Problem
from authproxy.model.headers import HeaderRules
from authproxy.policy.document import RouteDocument
from authproxy.policy.findings import Findings
from authproxy.policy.lint_entries import holds_for_everyone, lint_entries
from authproxy.policy.lint_expressions import lint_expressions
from authproxy.policy.lint_patterns import lint_patterns
from authproxy.policy.parse import Policies
from authproxy.policy.table import Route


def lint(policies: Policies, rules: HeaderRules) -> list[Problem]:
    """The warnings about routes. `rules` say which header fields policies see."""
    problems: list[Problem] = []
    found = {
        route.name: Findings(*policies.places[route.name], (), problems)
        for route in policies.table.routes
    }
    anyone = {
        route.name
        for route in policies.table.routes
        if _is_open(route, policies.documents[route.name])
    }
    merely = anyone - lint_patterns(policies.table, found, anyone)
    for route in policies.table.routes:
        wanted, findings = policies.documents[route.name], found[route.name]
        if route.name in merely:
            text = f"the route `{route.name}` is open to anyone"
            remedy = "name authenticators and `allow`, or keep it if that is meant"
            findings.warn(("authenticate",), "open-route", text, remedy)
        _lint_shadow(wanted, findings)
        lint_entries(wanted, route.authenticators, findings)
        lint_expressions(wanted, rules, findings)
    return problems


def _is_open(route: Route, wanted: RouteDocument) -> bool:
    if route.authenticators:
        return False
    return not isinstance(wanted.allow, list) or holds_for_everyone(wanted.allow, ())


def _lint_shadow(wanted: RouteDocument, findings: Findings) -> None:
    remedy = "set `mode: enforce` when the log agrees"
    if wanted.mode == "shadow":
        text = f"the route `{wanted.name}` is in shadow mode: nobody is refused as forbidden"
        findings.warn(("mode",), "shadow-mode", text, remedy)
    lists = (("deny", wanted.deny or ()), ("allow", wanted.allow or ()))
    for listed, entries in lists:
        for index, entry in enumerate(() if isinstance(entries, str) else entries):
            if entry.mode == "shadow":
                does = "refuses nobody" if listed == "deny" else "still lets in"
                text = f"the route `{wanted.name}`: {listed}[{index}] is in shadow mode and {does}"
                where = (listed, index, "mode")
                findings.warn(
                    where, "shadow-mode", text, "enforce or remove it when the log agrees"
                )
    for index, limit in enumerate(wanted.rate_limits or ()):
        if limit.mode == "shadow":
            text = f"a limit of the route `{wanted.name}` is in shadow mode: it refuses nobody"
            findings.warn(("rate_limits", index, "mode"), "shadow-mode", text, remedy)
