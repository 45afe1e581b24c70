"""Loading what is broken in one place: the blame stands there, and nowhere else."""

import copy
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.config.reading import CONFIG, POLICY, read

Where = tuple[str | int, ...]
FOLDER = Path(tempfile.mkdtemp())
GONE = object()
BREAKAGES = st.sampled_from([None, 7, True, "§ x", ["[]"], [], GONE])
thorough = settings(max_examples=250)


def paths(data: Any, path: Where = ()) -> Iterator[Where]:
    """The path of everything in the data, the data itself aside."""
    inside: Any = data.items() if isinstance(data, dict) else ()
    for key, value in enumerate(data) if isinstance(data, list) else inside:
        yield (*path, key)
        yield from paths(value, (*path, key))


CONFIG_PATHS = [p for p in paths(yaml.safe_load(CONFIG)) if p[0] != "policies"]
POLICY_PATHS = list(paths(yaml.safe_load(POLICY)))
ROUTE_PATHS = [p for p in POLICY_PATHS if p[0] == "routes" and len(p) > 2]


def broken(text: str, path: Where, value: Any) -> str:
    """The document with another value at this path, each value on a line of its own."""
    data = holder = copy.deepcopy(yaml.safe_load(text))
    for key in path[:-1]:
        holder = holder[key]
    if value is GONE:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return json.dumps(data, indent=1, ensure_ascii=False)


def around(text: str, path: Where) -> set[int]:
    """The lines of what stands at this path, and the one where what holds it begins."""
    node: Any = yaml.compose(text)
    holder = node
    for key in path:
        mapping = isinstance(node, yaml.MappingNode)
        inside = {k.value: v for k, v in node.value} if mapping else dict(enumerate(node.value))
        holder = node
        if key not in inside:
            break
        node = inside[key]
    lines = range(node.start_mark.line + 1, node.end_mark.line + 2)
    return {*lines, holder.start_mark.line + 1}


@thorough
@given(st.sampled_from(POLICY_PATHS), BREAKAGES)
def test_one_broken_key_of_a_policy_is_blamed_in_its_route(path: Where, value: Any) -> None:
    """Whatever becomes of a key, no other route and no other file is blamed, and no placeholder shows."""
    text = broken(POLICY, path, value)
    problems = read(FOLDER, p=text).problems
    # Without its methods or hosts a route really is in the way of others.
    problems = [p for p in problems if (p.code, value) != ("route-tie", GONE)]
    lines = around(text, path[:2])
    assert {(Path(p.file).name, p.line in lines) for p in problems} <= {("p.yaml", True)}
    assert not any("placeholder" in str(p) or "2001:db8" in str(p) for p in problems)


@thorough
@given(st.sampled_from(ROUTE_PATHS), st.sampled_from([None, 7, []]))
def test_one_value_of_another_kind_is_one_problem(path: Where, value: Any) -> None:
    """A null, a number or an empty list in the place of anything: one problem, at its very place, or none."""
    text = broken(POLICY, path, value)
    problems = read(FOLDER, p=text).problems
    assert len(problems) <= 1
    assert all(p.line in around(text, path) for p in problems)


@thorough
@given(st.sampled_from(CONFIG_PATHS), BREAKAGES)
def test_one_broken_key_of_the_configuration_is_blamed_where_it_is(path: Where, value: Any) -> None:
    """Policies are blamed only for names that are really gone."""
    text = broken(CONFIG, path, value)
    for problem in read(FOLDER, text).problems:
        if Path(problem.file).name == "authproxy.yaml":
            assert problem.line in around(text, path[:2] if len(path) > 2 else path)
        else:
            assert problem.code.startswith("unknown-")
            assert path[0] in {"upstreams", "authenticators"}
