"""Classes of targets: whatever is asked for is in one of them, and they come to what the table finds."""

import pytest

from authproxy.model.errors import Refusal
from authproxy.model.target import parse_target
from authproxy.policy.table import Leaf, Table
from authproxy.policy.targets import TargetClass, Walk
from tests.policy.generated import Maker, compiled


def table_of(*matches: str) -> Table:
    """Routes with these hosts and paths: `a.test/x/**`, or `/x` for any host."""
    made = []
    for number, match in enumerate(matches):
        host, slash, path = match.partition("/")
        hosts = {"hosts": [host]} if host else {}
        made.append({
            "name": f"r{number}", "match": {**hosts, "paths": [slash + path]}, "upstream": "app", "authenticate": "none",
        })  # fmt: skip
    return compiled(made).table


def found(table: Table, target: TargetClass) -> Leaf | None:
    """What the table itself makes of the class's example."""
    segments = parse_target(target.url.removeprefix(f"https://{target.host}")).segments
    assert segments == target.segments
    return table._pattern(target.host, segments)


@pytest.mark.parametrize("seed", range(40))
def test_the_example_comes_to_what_the_class_says(seed: int) -> None:
    """Each class's example is found by the table where the walk says it is, in both tables."""
    maker = Maker(seed)
    tables = [compiled(maker.policies(6)).table for _ in range(2)]
    for target in Walk(tables).classes():
        if "//" in target.pattern:
            continue
        assert tuple(found(table, target) for table in tables) == target.leaves


@pytest.mark.parametrize("seed", range(20))
def test_no_pair_of_patterns_is_forgotten(seed: int) -> None:
    """Whatever pair of patterns a request comes to in two tables, some class comes to it as well."""
    maker = Maker(seed)
    tables = [compiled(maker.policies(6)).table for _ in range(2)]
    known = {tuple(map(id, target.leaves)) for target in Walk(tables).classes()}
    for _ in range(300):
        request = maker.request()
        try:
            target = parse_target(request.path)
        except Refusal:
            continue
        if target.doubts or target.segments[0] == ".authproxy":
            continue
        leaves = tuple(table._pattern(request.host, target.segments) for table in tables)
        assert leaves == (None, None) or tuple(map(id, leaves)) in known, request


def patterns(*matches: str) -> list[str]:
    """What the classes of a table are called."""
    return [target.pattern for target in Walk([table_of(*matches)]).classes()]


def test_classes_are_told_as_patterns() -> None:
    """Where everything below is alike it is one class; what a longer pattern takes out is one of its own."""
    assert patterns("/**") == ["*/**"]
    assert patterns("a.test/x/**", "/x/y") == ["a.test/x/**", "a.test/**", "*/x", "*/x/y", "*/x/y/**", "*/x/**", "*/**"]  # fmt: skip


def test_equal_tables_have_nothing_to_walk() -> None:
    """Where two tables do the same below, nothing is walked: 2,000 routes and one change are a few classes."""
    names = [f"/s{n}/**" for n in range(2000)]
    one, other = table_of(*names), table_of(*names, "/s7/new")
    walk = Walk([one, other], lambda route: (route.name, route.upstream))
    assert [t.pattern for t in walk.classes()] == ["*/s7", "*/s7/new"]


def test_too_many_classes_are_said() -> None:
    """More classes than allowed end the walk, and the walk says so."""
    walk = Walk([table_of("/a", "/b", "/c")], most=2)
    assert len(list(walk.classes())) == 2
    assert walk.bound
