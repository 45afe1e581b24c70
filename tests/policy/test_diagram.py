"""Boolean functions as diagrams: held against truth tables, and bounded."""

import random
from collections.abc import Callable
from itertools import product

import pytest

from authproxy.policy.diagram import FALSE, TRUE, Diagram, TooLarge

Values = dict[int, bool]
Naive = Callable[[Values], bool]
VARIABLES = range(4)


def made(diagram: Diagram, source: random.Random, depth: int = 4) -> tuple[int, Naive]:
    """A function of the four variables, as a diagram and as a Python function."""
    if depth == 0:
        number = source.choice(VARIABLES)
        return diagram.variable(number), lambda v: v[number]
    (f, naive_f), (g, naive_g) = made(diagram, source, depth - 1), made(diagram, source, depth - 1)
    match source.choice(("every", "some", "minus", "opposite")):
        case "every":
            return diagram.every((f, g)), lambda v: naive_f(v) and naive_g(v)
        case "some":
            return diagram.some((f, g)), lambda v: naive_f(v) or naive_g(v)
        case "minus":
            return diagram.minus(f, g), lambda v: naive_f(v) and not naive_g(v)
    return diagram.opposite(f), lambda v: not naive_f(v)


ALL = [dict(zip(VARIABLES, values, strict=True)) for values in product((False, True), repeat=4)]


@pytest.mark.parametrize("seed", range(60))
def test_functions_are_what_their_tables_say(seed: int) -> None:
    """Every value, every example, every dependence of a random function is what trying all values gives."""
    diagram = Diagram()
    f, naive = made(diagram, random.Random(seed))
    g, other = made(diagram, random.Random(seed + 1000))
    assert [diagram.given(f, v) == TRUE for v in ALL] == [naive(v) for v in ALL]
    assert (f == g) == all(naive(v) == other(v) for v in ALL)
    assert (diagram.minus(f, g) == FALSE) == all(other(v) for v in ALL if naive(v))
    depends = [x for x in VARIABLES if any(naive(v) != naive({**v, x: not v[x]}) for v in ALL)]
    assert diagram.variables(f) == depends
    whatever = diagram.whatever(f, 2)
    last = list(product((False, True), repeat=2))
    for v in ALL:
        assert (diagram.given(whatever, v) == TRUE) == all(
            naive({**v, 2: a, 3: b}) for a, b in last
        )
    if f != FALSE:
        example = diagram.example(f)
        assert all(naive({**v, **example}) for v in ALL)


def test_nothing_and_everything() -> None:
    """None of no functions holds, and all of them do."""
    assert (Diagram().some(()), Diagram().every(())) == (FALSE, TRUE)


def test_a_diagram_may_be_deeper_than_calls() -> None:
    """Thousands of variables are no matter of Python's stack."""
    diagram = Diagram()
    every = diagram.every(diagram.variable(n) for n in reversed(range(5000)))
    some = diagram.some(diagram.variable(n) for n in range(5000))
    assert diagram.minus(every, some) == FALSE
    assert len(diagram.example(every)) == 5000


def test_too_many_nodes_are_said() -> None:
    """What would take more nodes than allowed is refused, not cut short."""
    diagram = Diagram(most=500)
    with pytest.raises(TooLarge):
        diagram.some(
            diagram.every((diagram.variable(n), diagram.variable(n + 50))) for n in range(50)
        )
