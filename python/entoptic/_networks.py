"""Networks: loaded, and asked."""

from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _entoptic, _values
from ._goals import Goal
from ._sessions import session


class Network:
    """A network on the GPU. Threads may share it; `net[goal]` is a goal of this network among others."""

    def __init__(self, network: _entoptic.Network) -> None:
        self._network = network
        self._channels = network.channels

    @property
    def name(self) -> str:
        """Name of its structure."""
        return self._network.name

    @property
    def source(self) -> str:
        """Where its weights come from."""
        return self._network.source

    @property
    def checksum(self) -> str:
        """SHA-256 of its weights' file."""
        return self._network.checksum

    @property
    def classes(self) -> list[str]:
        """Names of its classes."""
        return self._network.classes

    @property
    def side(self) -> int | None:
        """Side of the pictures that it was trained with, where that is known."""
        return self._network.side

    @property
    def normalize(self) -> str:
        """What becomes of pixel values before its first layer: "imagenet" normalises them, "source" gives them as they are."""
        return self._network.normalize

    def layers(self, size: int | None = None) -> dict[str, tuple[int, int, int]]:
        """Its layers in order of execution, with their shapes [C, H, W] for pictures of a side."""
        return dict(self._network.layers(size))

    def class_index(self, target: str | int) -> int:
        """A class's index, by its name, its synset or itself."""
        return self._network.class_index(str(target))

    def __getitem__(self, goal: Goal) -> Goal:
        if not isinstance(goal, Goal):
            raise TypeError(f"a network's item is {goal!r}, expected a goal such as logit(\"church\")")
        return goal.of(self)

    def outputs(
        self,
        x: Any,
        places: str | Sequence[str] = "logits",
        *,
        size: int | None = None,
        normalize: str | None = None,
        check_finite: bool = False,
    ) -> Any:
        """Values at layers, or at "logits": a dictionary of arrays, or one array where one place is given by its name alone.

        Logits are [N, classes], layers [N, C, H, W]; without the first axis where `x` has none.
        """
        single_place = isinstance(places, str)
        names = [places] if single_place else list(places)
        if not names or not all(isinstance(name, str) for name in names):
            raise TypeError(f"places are {places!r}, expected names of layers")
        x, single = _values.pictures(x, self._channels, size=size)
        found = self._network.outputs(x, names, normalize, check_finite)
        found = [values[0] for values in found] if single else found
        return found[0] if single_place else dict(zip(names, found))

    def probabilities(self, x: Any, *, size: int | None = None, normalize: str | None = None) -> np.ndarray:
        """Probabilities of its classes, [N, classes]."""
        x, _ = _values.pictures(x, self._channels, size=size)
        return np.asarray(self._network.probabilities(x, normalize), dtype=np.float32)

    def value_and_grad(
        self, x: Any, goal: Goal, *, size: int | None = None, normalize: str | None = None, check_finite: bool = False
    ) -> tuple[Any, np.ndarray]:
        """The goal's value for each picture, and its gradient with respect to the pixels: going along it raises the value."""
        _check_goal(goal)
        x, single = _values.pictures(x, self._channels, size=size)
        networks = goal.networks(self)
        text = goal.text(networks, self)
        natives = [network._network for network in networks]
        value, gradient = _entoptic.gradient(natives, x, text, normalize, check_finite)
        return (value[0], gradient[0]) if single else (value, gradient)

    def vjp(
        self,
        x: Any,
        gradients: dict[str, Any],
        *,
        size: int | None = None,
        normalize: str | None = None,
        check_finite: bool = False,
    ) -> np.ndarray:
        """What gradients of any loss with respect to layers are with respect to the pixels."""
        x, single = _values.pictures(x, self._channels, size=size)
        gradient = self._network.vjp(x, _values.gradients(gradients, single), normalize, check_finite)
        return gradient[0] if single else gradient

    def render(self, goal: Goal, **how: Any) -> list:
        """Pictures that raise a goal; `entoptic.render` has the arguments."""
        from ._making import render

        _check_goal(goal)
        return render(goal.of(self), **how)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes its weights, which `train` has changed, to a .safetensors file."""
        self._network.save(path)

    def __repr__(self) -> str:
        return f"<Network {self.name} from {self.source}, {len(self.classes)} classes>"


def _check_goal(goal: object) -> None:
    if not isinstance(goal, Goal):
        raise TypeError(f"the goal is {goal!r}, expected a goal such as logit(\"church\")")


def _numbers(what: str, given: float | Sequence[float] | None) -> list[float] | None:
    if given is None:
        return None
    found = [given] if isinstance(given, (int, float)) else list(given)
    if len(found) not in (1, 3):
        raise ValueError(f"{what} has {len(found)} numbers, expected one, or one for each of three colours")
    return [float(number) for number in found]


def load(
    name: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    key: str | None = None,
    head: str | None = None,
    class_names: str | os.PathLike[str] | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    transform_input: bool | None = None,
    input: str | None = None,
    output: str | None = None,
) -> Network:
    """Loads a network: by name, or from a .pth, .safetensors, .pt2 or .onnx file.

    A name has the weights that have been fetched for it, else those of the small network that comes with the engine; `weights` names
    others: a file, "demo" or "demo-plain". The other arguments are those of the command line: which part of a file is meant, through
    which head it is looked at, and what its file does not say.
    """
    if not isinstance(name, (str, os.PathLike)):
        raise TypeError(f"name is {name!r}, expected a network's name or a path")
    loaded = session().load(
        os.fspath(name), weights, key, head, class_names, _numbers("mean", mean), _numbers("std", std), transform_input, input,
        output,
    )
    return Network(loaded)


def from_torch(model: Any, shape: Sequence[int], **more: Any) -> Network:
    """A torch module, exported by torch.export for pictures of a shape such as (1, 3, 224, 224); `more` is `load`'s."""
    import torch

    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model is {type(model).__name__}, expected a torch.nn.Module")
    shape = tuple(shape)
    if len(shape) != 4 or not all(isinstance(side, int) and side > 0 for side in shape):
        raise ValueError(f"shape is {shape}, expected four numbers such as (1, 3, 224, 224)")
    modes = [(module, module.training) for module in model.modules()]
    device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    model.eval()
    try:
        with torch.no_grad():
            program = torch.export.export(model, (torch.zeros(shape, device=device),))
    finally:
        for module, training in modes:
            module.training = training
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"{type(model).__name__}.pt2"
        torch.export.save(program, path)
        return load(path, **more)
