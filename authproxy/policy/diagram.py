"""Boolean functions as reduced, ordered decision diagrams: equal functions are the same number.

Nothing here knows what a variable means. Work is bounded by the number of nodes, not by time or depth of calls:
what is too large says so, and is never cut short in silence (Bryant 1986, "Graph-Based Algorithms").
"""

from collections.abc import Iterable, Mapping

FALSE, TRUE = 0, 1
NODES_MOST = 200_000
_LEAF = 1 << 62  # stands below every variable


class TooLarge(Exception):  # noqa: N818  # a bound that was reached, to be told
    """A function needs more nodes than are allowed."""


class Diagram:
    """Functions over numbered variables; the lower number is asked first. A function is an int, valid in its diagram only.

    Every operation raises `TooLarge` where the nodes would be more than `most`.
    """

    __slots__ = ("_memo", "_most", "_nodes", "_numbers")

    def __init__(self, most: int = NODES_MOST) -> None:
        self._most = most
        self._nodes: list[tuple[int, int, int]] = [(_LEAF, FALSE, FALSE), (_LEAF, TRUE, TRUE)]
        self._numbers: dict[tuple[int, int, int], int] = {}
        self._memo: dict[tuple[int, int, int], int] = {}

    def __len__(self) -> int:
        """How many nodes there are so far."""
        return len(self._nodes)

    def node(self, variable: int, low: int, high: int) -> int:
        """`high` where the variable is true, else `low`; both ask only variables after it."""
        if low == high:
            return low
        key = (variable, low, high)
        found = self._numbers.get(key)
        if found is None:
            if len(self._nodes) >= self._most:
                raise TooLarge
            found = self._numbers[key] = len(self._nodes)
            self._nodes.append(key)
        return found

    def variable(self, variable: int) -> int:
        """The function that is this variable."""
        return self.node(variable, FALSE, TRUE)

    def choose(self, f: int, g: int, h: int) -> int:
        """`g` where `f` holds, else `h`. By a list of what is left to do: diagrams may be deeper than calls may be."""
        found = self._known(f, g, h)
        if found is not None:
            return found
        nodes, pending = self._nodes, [(f, g, h)]
        while pending:
            asked = one, two, three = pending[-1]
            top, low_1, high_1 = nodes[one]
            top_2, low_2, high_2 = nodes[two]
            top_3, low_3, high_3 = nodes[three]
            top = min(top, top_2, top_3)
            if nodes[one][0] != top:
                low_1 = high_1 = one
            if top_2 != top:
                low_2 = high_2 = two
            if top_3 != top:
                low_3 = high_3 = three
            low = self._known(low_1, low_2, low_3)
            high = self._known(high_1, high_2, high_3)
            if low is None:
                pending.append((low_1, low_2, low_3))
            elif high is None:
                pending.append((high_1, high_2, high_3))
            else:
                pending.pop()
                self._memo[asked] = self.node(top, low, high)
        return self._memo[f, g, h]

    def _known(self, f: int, g: int, h: int) -> int | None:
        if f == TRUE or g == h:
            return g
        if f == FALSE:
            return h
        if g == TRUE and h == FALSE:
            return f
        return self._memo.get((f, g, h))

    def opposite(self, f: int) -> int:
        """Where `f` does not hold."""
        return self.choose(f, FALSE, TRUE)

    def every(self, functions: Iterable[int]) -> int:
        """Where all of them hold."""
        found = TRUE
        for function in functions:
            found = self.choose(found, function, FALSE)
        return found

    def some(self, functions: Iterable[int]) -> int:
        """Where one of them holds; halved, so that many small ones stay small as long as they can."""
        pending = list(functions) or [FALSE]
        while len(pending) > 1:
            pairs = zip(pending[::2], [*pending[1::2], FALSE], strict=False)
            pending = [self.choose(one, TRUE, other) for one, other in pairs]
        return pending[0]

    def minus(self, f: int, g: int) -> int:
        """Where `f` holds and `g` does not."""
        return self.choose(g, FALSE, f)

    def given(self, f: int, values: Mapping[int, bool]) -> int:
        """`f` where these variables have these values."""
        found = {FALSE: FALSE, TRUE: TRUE}
        for number in self._deepest_first(f):
            variable, low, high = self._nodes[number]
            if variable in values:
                found[number] = found[high if values[variable] else low]
            else:
                found[number] = self.node(variable, found[low], found[high])
        return found[f]

    def whatever(self, f: int, first: int) -> int:
        """Where `f` holds whatever the values of the variables from `first` on."""
        found = {FALSE: FALSE, TRUE: TRUE}
        for number in self._deepest_first(f):
            variable, low, high = self._nodes[number]
            later = variable >= first  # a node is no constant, so some values make it false
            found[number] = FALSE if later else self.node(variable, found[low], found[high])
        return found[f]

    def variables(self, f: int) -> list[int]:
        """The variables that `f` depends on, in their order."""
        return sorted({self._nodes[number][0] for number in self._deepest_first(f)})

    def example(self, f: int) -> dict[int, bool]:
        """Values that make `f` true, whatever the variables not in it; few of them, and false where that will do.

        `f` must not be FALSE.
        """
        values: dict[int, bool] = {}
        at = f
        while at != TRUE:
            variable, low, high = self._nodes[at]
            values[variable] = low == FALSE
            at = high if low == FALSE else low
        for variable in list(values):
            rest = {v: value for v, value in values.items() if v != variable}
            if self._decided(f, rest):
                values = rest
        return values

    def _decided(self, f: int, values: Mapping[int, bool]) -> bool:
        """Do these values alone make `f` true?"""
        seen, pending = {TRUE}, [f]
        while pending:
            number = pending.pop()
            if number == FALSE:
                return False
            if number in seen:
                continue
            seen.add(number)
            variable, low, high = self._nodes[number]
            if variable in values:
                pending.append(high if values[variable] else low)
            else:
                pending += (low, high)
        return True

    def _deepest_first(self, f: int) -> list[int]:
        seen, pending = {FALSE, TRUE}, [f]
        while pending:
            number = pending.pop()
            if number not in seen:
                seen.add(number)
                pending += self._nodes[number][1:]
        return sorted(seen - {FALSE, TRUE}, key=lambda n: -self._nodes[n][0])
