"""Pictures made, matched, made again and judged; networks that learn from each other."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from . import _entoptic, _values
from ._goals import Goal
from ._networks import Network, _check_goal
from ._pictures import Picture
from ._sessions import session

#: Called with what is known between two steps: "step", "steps", "loss" and more, or "frame" with the pictures so far.
Progress = Callable[[dict[str, Any]], Any]


class _Watch:
    """Shows how far a run is: by a callback, by tqdm where that is installed, and in a notebook the pictures as they form."""

    def __init__(self, progress: Progress | bool | None, show: bool) -> None:
        if not (progress is None or isinstance(progress, bool) or callable(progress)):
            raise TypeError(f"progress is {progress!r}, expected a function, True, False or None")
        self._call = progress if callable(progress) else None
        watched = "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())
        self._bars = progress is True or (progress is None and watched)
        self._bar: Any = None
        self._shown: Any = None
        self.show = show

    def __call__(self, facts: dict[str, Any]) -> None:
        if self._call is not None:
            self._call(facts)
        if self.show and "frame" in facts:
            self._draw(facts["frame"])
        if self._bars and "step" in facts:
            self._advance(facts)

    def _advance(self, facts: dict[str, Any]) -> None:
        if self._bar is None:
            try:
                from tqdm.auto import tqdm
            except ImportError:
                self._bars = False
                return
            self._bar = tqdm(total=facts["steps"], leave=False)
        self._bar.update(facts["step"] - self._bar.n)

    def _draw(self, frame: np.ndarray) -> None:
        from IPython.display import Image, display

        image = Image(data=_values.png(np.concatenate(list(frame), axis=2)))
        if self._shown is None:
            self._shown = display(image, display_id=True)
        else:
            self._shown.update(image)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _seeds(seeds: int | Iterable[int], seed: int) -> list[int]:
    if isinstance(seeds, bool) or isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise TypeError(f"seeds are {seeds!r} from {seed!r}, expected integers")
    found = range(seed, seed + seeds.__index__()) if hasattr(seeds, "__index__") else list(seeds)
    if len(found) == 0:
        raise ValueError("seeds is empty, expected one or more")
    for one in found:
        if isinstance(one, bool) or not hasattr(one, "__index__") or not 0 <= one.__index__() < 2**64:
            raise ValueError(f"a seed is {one!r}, expected an integer from 0 to 2**64 - 1")
    return [one.__index__() for one in found]


def _count(what: str, value: Any, most: int = 2**32 - 1) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{what} is {value!r}, expected an integer")
    if not 1 <= value.__index__() <= most:
        raise ValueError(f"{what} is {value}, expected 1 to {most}")
    return value.__index__()


def _made(
    networks: list[Network], watch: _Watch, work: Callable[[_Watch], tuple[list[_entoptic.Picture], BaseException | None]]
) -> list[Picture]:
    try:
        natives, ended = work(watch)
    finally:
        watch.close()
    pictures = [Picture(native, networks) for native in natives]
    if ended is not None:
        # What was made so far is not lost: `except KeyboardInterrupt as stop: stop.pictures`.
        ended.pictures = pictures  # type: ignore[attr-defined]
        raise ended
    return pictures


def render(
    goal: Goal,
    *,
    size: int | None = None,
    seeds: int | Iterable[int] = 1,
    seed: int = 0,
    recipe: str | os.PathLike[str] | None = None,
    normalize: str | None = None,
    init: str | os.PathLike[str] | None = None,
    progress: Progress | bool | None = None,
    show: bool = False,
    every: int = 5,
    check_finite: bool = False,
) -> list[Picture]:
    """Pictures that raise a goal, one for each seed.

    `seeds` is how many, counted from `seed`, or the seeds themselves. `recipe` is the name of one that comes with the engine, the path of
    a .toml file, or its text; by default the one that suits the first network. `init` is the path of a photograph to start from.
    `progress` is called every few steps (`every`); Ctrl-C ends the run there and raises KeyboardInterrupt, whose attribute `pictures`
    has what was made so far. `show` shows the pictures in a notebook while they form.

    A single logit is what `entoptic generate` aims at: the same seed gives the same bytes.
    """
    _check_goal(goal)
    networks = goal.networks()
    text = goal.text(networks)
    watch = _Watch(progress, show)
    every = _count("every", every) or 5
    natives = [network._network for network in networks]
    how = (_seeds(seeds, seed), _count("size", size, 8192), _recipe(recipe), normalize, init)
    frames = every if show else None
    return _made(
        networks, watch, lambda watch: _entoptic.render(natives, text, *how, watch, every, frames, check_finite)
    )


def match(
    network: Network,
    photograph: str | os.PathLike[str],
    *,
    layer: str | None = None,
    metric: str = "l1",
    size: int | None = None,
    seeds: int | Iterable[int] = 1,
    seed: int = 0,
    recipe: str | os.PathLike[str] | None = None,
    normalize: str | None = None,
    init: str | os.PathLike[str] | None = None,
    progress: Progress | bool | None = None,
    show: bool = False,
    every: int = 5,
    check_finite: bool = False,
) -> list[Picture]:
    """Pictures to which a network answers as to a photograph, given by its path; the rest is `render`'s."""
    _check_network("network", network)
    if not isinstance(photograph, (str, os.PathLike)):
        raise TypeError(f"photograph is {type(photograph).__name__}, expected a path: pictures name the file that they match")
    watch = _Watch(progress, show)
    every = _count("every", every) or 5
    how = (_seeds(seeds, seed), layer, metric, _count("size", size, 8192), _recipe(recipe), normalize, init)
    frames = every if show else None
    native = network._network
    return _made(
        [network], watch, lambda watch: _entoptic.matched(native, photograph, *how, watch, every, frames, check_finite)
    )


def _recipe(recipe: Any) -> str | None:
    if recipe is None or isinstance(recipe, str):
        return recipe
    if isinstance(recipe, os.PathLike):
        return os.fspath(recipe)
    raise TypeError(f"recipe is {recipe!r}, expected a name, a path or a recipe's text")


def _check_network(what: str, network: object) -> None:
    if not isinstance(network, Network):
        raise TypeError(f"{what} is {network!r}, expected a network")


Paths = Sequence["str | os.PathLike[str]"]


def replay(
    path: str | os.PathLike[str], *, weights: Paths = (), images: Paths = (), progress: Progress | bool | None = None
) -> Picture:
    """A picture made again from what is inside of its file; `weights` and `images` are files that it may have been made from."""
    watch = _Watch(progress, False)
    try:
        return Picture(_entoptic.replay(session(), path, list(weights), list(images), watch), [])
    finally:
        watch.close()


def verify(
    path: str | os.PathLike[str], *, weights: Paths = (), images: Paths = (), progress: Progress | bool | None = None
) -> tuple[bool, str]:
    """Whether a picture comes out as it is when it is made again, and in words how near."""
    watch = _Watch(progress, False)
    try:
        return _entoptic.verify(session(), path, list(weights), list(images), watch)
    finally:
        watch.close()


def score(
    pictures: Any, *, judges: Sequence[Network] = (), target: str | int | None = None, size: int | None = None
) -> list[dict[str, Any]]:
    """Numbers that judge pictures: of their pixels, and of what each judge makes of them as pictures of a class.

    `target` is the class; by default what each picture was made to show. Judges see pictures at the side of their training.
    """
    for judge in judges:
        _check_network("a judge", judge)
    found = []
    for picture in pictures if isinstance(pictures, (list, tuple)) else [pictures]:
        shown = target
        if isinstance(picture, Picture) and shown is None:
            objective = picture.origin["objective"]
            shown = objective.get("name") or objective.get("of", {}).get("name")
        values, _ = _values.pictures(picture, 3, "a picture")
        natives = [judge._network for judge in judges]
        for one in values:
            of_pixels, of_judges = _entoptic.score(one[None], natives, None if shown is None else str(shown), size)
            found.append({"pixels": of_pixels, "judges": of_judges})
    return found


def train(
    student: Network,
    teacher: Network,
    pictures: Any,
    *,
    steps: int = 100,
    rate: float | None = None,
    batch: int = 1,
    adam: bool = False,
    loss: str = "sse",
    normalize: str | None = None,
    seed: int = 0,
    progress: Progress | bool | None = None,
) -> list[float]:
    """Changes the student's weights so that its logits become the teacher's for some pictures; returns the loss of every step.

    `pictures` is an array [N, 3, S, S] or a list of pictures of one size. `student.save` writes the weights.
    """
    _check_network("student", student)
    _check_network("teacher", teacher)
    if isinstance(pictures, (list, tuple)):
        parts = [_values.pictures(picture, student._channels, "a picture", student.side)[0] for picture in pictures]
        if len({part.shape[1:] for part in parts}) != 1:
            raise ValueError(f"pictures have shapes {[part.shape[1:] for part in parts]}, expected one for all")
        pictures = np.concatenate(parts)
    values, _ = _values.pictures(pictures, student._channels, "pictures")
    if values.shape[2] != values.shape[3]:
        raise ValueError(f"pictures have shape {values.shape}, expected squares [N, {values.shape[1]}, S, S]")
    watch = _Watch(progress, False)
    counts = (_count("steps", steps), rate, _count("batch", batch))
    try:
        natives = (student._network, teacher._network)
        losses, ended = _entoptic.train(*natives, values, *counts, adam, loss, normalize, seed, watch)
    finally:
        watch.close()
    if ended is not None:
        ended.losses = losses  # type: ignore[attr-defined]
        raise ended
    return losses
