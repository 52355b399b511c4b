"""The compiled part: arrays are float32 with four axes here."""

import os
from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Path = str | os.PathLike[str]
Progress = Callable[[dict[str, Any]], Any]
Made = tuple[list[Picture], BaseException | None]

@final
class Session:
    def __new__(
        cls,
        tell: Callable[[str, str], Any],
        adapter: str | None = None,
        memory: int | None = None,
        autotune: bool = True,
    ) -> Session: ...
    @property
    def adapter(self) -> str: ...
    def load(
        self,
        name: str,
        weights: Path | None = None,
        key: str | None = None,
        head: str | None = None,
        class_names: Path | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        transform_input: bool | None = None,
        input: str | None = None,
        output: str | None = None,
    ) -> Network: ...

@final
class Network:
    @property
    def name(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def checksum(self) -> str: ...
    @property
    def classes(self) -> list[str]: ...
    @property
    def channels(self) -> int: ...
    @property
    def side(self) -> int | None: ...
    @property
    def normalize(self) -> str: ...
    def class_index(self, text: str) -> int: ...
    def layers(self, side: int | None = None) -> list[tuple[str, tuple[int, int, int]]]: ...
    def outputs(
        self, x: Array, places: Sequence[str], normalize_: str | None = None, check_finite: bool = False
    ) -> list[Array]: ...
    def probabilities(self, x: Array, normalize_: str | None = None) -> list[list[float]]: ...
    def vjp(
        self,
        x: Array,
        gradients: Sequence[tuple[str, Array]],
        normalize_: str | None = None,
        check_finite: bool = False,
    ) -> Array: ...
    def save(self, path: Path) -> None: ...

@final
class Picture:
    @staticmethod
    def read(path: Path) -> Picture: ...
    def values(self) -> Array: ...
    def raw(self) -> Array: ...
    def png(self) -> bytes: ...
    def save(self, path: Path) -> None: ...
    @property
    def recipe(self) -> str: ...
    @property
    def normalize(self) -> str: ...
    @property
    def origin(self) -> str: ...

def adapters() -> list[str]: ...
def recipes() -> list[tuple[str, str]]: ...
def read(path: Path, size: int | None = None) -> Array: ...
def gradient(
    networks: Sequence[Network], x: Array, text: str, normalize_: str | None = None, check_finite: bool = False
) -> tuple[Array, Array]: ...
def score(
    x: Array, judges: Sequence[Network], class_name: str | None = None, size: int | None = None
) -> tuple[dict[str, float], list[dict[str, Any]]]: ...
def render(
    networks: Sequence[Network],
    text: str,
    seeds: Sequence[int],
    size: int | None = None,
    recipe: str | None = None,
    normalize_: str | None = None,
    init: Path | None = None,
    progress: Progress | None = None,
    every: int = 5,
    frame_every: int | None = None,
    check_finite: bool = False,
) -> Made: ...
def matched(
    network: Network,
    photograph: Path,
    seeds: Sequence[int],
    layer: str | None = None,
    metric: str = "l1",
    size: int | None = None,
    recipe: str | None = None,
    normalize_: str | None = None,
    init: Path | None = None,
    progress: Progress | None = None,
    every: int = 5,
    frame_every: int | None = None,
    check_finite: bool = False,
) -> Made: ...
def replay(
    session: Session, path: Path, weights: Sequence[Path], images: Sequence[Path], progress: Progress | None = None
) -> Picture: ...
def verify(
    session: Session, path: Path, weights: Sequence[Path], images: Sequence[Path], progress: Progress | None = None
) -> tuple[bool, str]: ...
def train(
    student: Network,
    teacher: Network,
    pictures: Array,
    steps: int,
    rate: float | None = None,
    batch: int = 1,
    adam: bool = False,
    metric: str = "sse",
    normalize_: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[list[float], BaseException | None]: ...
