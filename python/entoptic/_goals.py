"""Goals: sums of what is to be raised."""

from __future__ import annotations

import math
import numbers
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ._networks import Network


class Term(NamedTuple):
    """A number that is measured somewhere, and its factor."""

    weight: float
    #: Whose; none: that of the network that is asked.
    network: Network | None
    kind: str
    arguments: tuple[str | int, ...]


class Goal:
    """A sum of what is to be raised. Goals are added, subtracted and scaled; `net[goal]` is the same of a certain network."""

    __slots__ = ("terms",)
    # numpy's numbers leave `number * goal` to the goal.
    __array_ufunc__ = None

    def __init__(self, terms: tuple[Term, ...]) -> None:
        self.terms = terms

    def __add__(self, other: object) -> Goal:
        if isinstance(other, Goal):
            return Goal(self.terms + other.terms)
        # So that sum() works, which begins with 0.
        if isinstance(other, int) and other == 0:
            return self
        return NotImplemented

    __radd__ = __add__

    def __sub__(self, other: object) -> Goal:
        return self + -other if isinstance(other, Goal) else NotImplemented

    def __neg__(self) -> Goal:
        return self * -1.0

    def __mul__(self, factor: object) -> Goal:
        if not isinstance(factor, numbers.Real) or isinstance(factor, bool):
            return NotImplemented
        if not math.isfinite(factor):
            raise ValueError(f"the factor of a goal is {factor}, expected a finite number")
        return Goal(tuple(term._replace(weight=term.weight * float(factor)) for term in self.terms))

    __rmul__ = __mul__

    def __truediv__(self, divisor: object) -> Goal:
        if not isinstance(divisor, numbers.Real) or isinstance(divisor, bool):
            return NotImplemented
        return self * (1.0 / float(divisor))

    def of(self, network: Network) -> Goal:
        """The same of a network, where a term is nobody's yet."""
        return Goal(tuple(term._replace(network=term.network or network) for term in self.terms))

    def networks(self, usual: Network | None = None) -> list[Network]:
        """The networks that it looks at, in the order of their first terms."""
        found: list[Network] = []
        for term in self.terms:
            network = term.network or usual
            if network is None:
                raise ValueError(f"{term.kind} is of no network; write net[{term.kind}(...)], or call a network's method")
            if not any(network is other for other in found):
                found.append(network)
        return found

    def text(self, networks: list[Network], usual: Network | None = None) -> str:
        """In the words of `entoptic gradient --objective`."""
        words = []
        for term in self.terms:
            network = term.network or usual
            place = next(index for index, other in enumerate(networks) if other is network)
            arguments = ", ".join(_word(term.kind, argument, networks[place]) for argument in term.arguments)
            whose = f"{place}." if len(networks) > 1 else ""
            factor = "" if abs(term.weight) == 1.0 else f"{abs(term.weight)!r}*"
            sign = " - " if term.weight < 0 else " + "
            words.append(f"{sign}{factor}{whose}{term.kind}" + (f"({arguments})" if arguments else ""))
        text = "".join(words)
        return text[3:] if text.startswith(" + ") else text.strip()

    def __repr__(self) -> str:
        words = []
        for term in self.terms:
            arguments = ", ".join(repr(argument) for argument in term.arguments)
            whose = "" if term.network is None else f"{term.network.name}: "
            words.append(f"{term.weight:g} * {whose}{term.kind}({arguments})")
        return f"Goal({' + '.join(words)})"


def _word(kind: str, argument: str | int, network: Network) -> str:
    # A name with signs of the language in it is its index.
    if kind == "logit" and isinstance(argument, str) and set(argument) & set("(),"):
        return str(network.class_index(argument))
    return str(argument)


def _goal(kind: str, *arguments: str | int) -> Goal:
    return Goal((Term(1.0, None, kind, arguments),))


def _index(what: str, value: object) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{what} is {value!r}, expected an integer")
    value = value.__index__()
    if value < 0:
        raise ValueError(f"{what} is {value}, expected 0 or more")
    return value


def _name(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} is {value!r}, expected a name")
    if not value or set(value) & set("(),*/+ "):
        raise ValueError(f"{what} is {value!r}, expected a layer's name")
    return value


def logit(target: str | int) -> Goal:
    """A class's logit: the class by its name, its synset or its index."""
    if isinstance(target, str):
        if not target.strip():
            raise ValueError("the class is empty, expected a name or an index")
        return _goal("logit", target)
    return _goal("logit", _index("the class", target))


def channel(layer: str, channel: int) -> Goal:
    """The mean of a layer's channel over all its pixels."""
    return _goal("channel", _name("layer", layer), _index("channel", channel))


def unit(layer: str, channel: int, at: tuple[int, int] | None = None) -> Goal:
    """A layer's channel at one pixel, row and column; by default in the middle."""
    where = () if at is None else tuple(_index("a row or column", place) for place in at)
    if len(where) not in (0, 2):
        raise ValueError(f"at is {at!r}, expected a row and a column")
    return _goal("unit", _name("layer", layer), _index("channel", channel), *where)


def layer(layer: str) -> Goal:
    """The mean of a layer over all its channels and pixels."""
    return _goal("layer", _name("layer", layer))


def tv() -> Goal:
    """Total variation of the picture: the sum of absolute differences between neighbouring pixels."""
    return _goal("tv")


def l1() -> Goal:
    """The sum of the picture's absolute values."""
    return _goal("l1")


def l2() -> Goal:
    """The root of the sum of the picture's squares."""
    return _goal("l2")


def statistics() -> Goal:
    """How far a network's batch norms are given values unlike those of training."""
    return _goal("statistics")
