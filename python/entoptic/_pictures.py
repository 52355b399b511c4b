"""Pictures that were made, with all that made them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _entoptic

if TYPE_CHECKING:
    from ._networks import Network


class Picture:
    """A picture with its recipe and its origin. A notebook shows it; `numpy.asarray` has it as float32 [3, H, W]."""

    __slots__ = ("_made", "_networks")

    def __init__(self, made: _entoptic.Picture, networks: list[Network]) -> None:
        self._made = made
        self._networks = networks

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("a picture's values are always a copy")
        values = self._made.values()[0]
        return values if dtype is None else values.astype(dtype)

    def raw(self) -> np.ndarray:
        """Pixel values [3, H, W] as they were computed: not rounded to 256 levels, nor cut at 0 and 1."""
        return self._made.raw()[0]

    def pil(self) -> Any:
        """A PIL picture."""
        from PIL import Image

        levels = np.rint(np.asarray(self) * 255).astype(np.uint8)
        return Image.fromarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0))

    def png(self) -> bytes:
        """The bytes of its file: those that `save` writes."""
        return self._made.png()

    _repr_png_ = png

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a PNG with all that made it inside, which `entoptic replay` makes again."""
        self._made.save(path)

    @property
    def recipe(self) -> str:
        """The recipe by which it was made, as TOML."""
        return self._made.recipe

    @property
    def origin(self) -> dict[str, Any]:
        """What else made it: objective, seed, networks with checksums, adapter, version."""
        return json.loads(self._made.origin)

    @property
    def seed(self) -> int:
        """Of its random numbers."""
        return self.origin["seed"]

    @property
    def loss(self) -> float | None:
        """The loss before its last step."""
        return self.origin["loss"][1]

    @property
    def steps(self) -> int:
        """Steps done; fewer than the recipe has where the run was stopped."""
        return self.origin["steps"]

    def scores(self, count: int = 5) -> list[dict[str, Any]]:
        """What each network that made it takes it for: the likeliest classes, each with its probability."""
        found = []
        for network in self._networks:
            probabilities = network.probabilities(self, normalize=self._made.normalize)[0]
            order = np.argsort(-probabilities, kind="stable")[:count]
            names = network.classes
            classes = [(names[index], float(probabilities[index])) for index in order]
            found.append({"network": network.name, "classes": classes})
        return found

    def __repr__(self) -> str:
        _, height, width = np.asarray(self).shape
        return f"<Picture of {width} x {height} pixels, seed {self.seed}, {self.steps} steps>"
