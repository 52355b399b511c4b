"""What a user gives as pictures, as arrays of float32 [N, C, H, W]."""

from __future__ import annotations

import os
import struct
import zlib
from typing import Any

import numpy as np

from . import _entoptic

#: Farther from 0..1 than values that were normalised, or pictures on their way in somebody's own loop.
_FAR = 16.0


def pictures(x: Any, channels: int, what: str = "x", size: int | None = None) -> tuple[np.ndarray, bool]:
    """Pictures as [N, C, H, W], and whether they are a single one without its first axis."""
    if isinstance(x, (str, os.PathLike)):
        return _entoptic.read(x, size), False
    if hasattr(x, "getbands") and hasattr(x, "convert"):
        return _of_pil(x, channels), False
    if hasattr(x, "detach"):
        x = x.detach().cpu()
    array = np.asarray(x)
    if array.dtype == np.object_:
        raise TypeError(f"{what} is {type(x).__name__}, expected an array of float32, a PIL picture or a path")
    expected = f"[N, {channels}, H, W] or [{channels}, H, W]"
    if array.dtype != np.float32:
        advice = "divide by 255 and " if array.dtype.kind in "iu" else ""
        raise TypeError(f"{what} is of {array.dtype}, expected float32; {advice}use .astype(\"float32\")")
    if array.ndim not in (3, 4):
        raise ValueError(f"{what} has shape {array.shape}, expected {expected}")
    single = array.ndim == 3
    array = array[None] if single else array
    allowed = {channels, 3} if channels == 1 else {channels}
    if array.shape[1] not in allowed:
        shape = array.shape[1:] if single else array.shape
        nhwc = array.shape[3] in allowed
        axes = "(2, 0, 1)" if single else "(0, 3, 1, 2)"
        advice = f"; it looks like {'HWC' if single else 'NHWC'}: use .transpose{axes}" if nhwc else ""
        raise ValueError(f"{what} has shape {shape}, expected {expected}{advice}")
    if array.size == 0:
        raise ValueError(f"{what} has shape {array.shape}, expected one picture or more of one pixel or more")
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"{what} has values that are not finite, expected pixel values from 0 to 1")
    if channels in (1, 3) and max(-low, high) > _FAR:
        raise ValueError(f"{what} goes from {low:g} to {high:g}, expected pixel values from 0 to 1; divide bytes by 255")
    return np.ascontiguousarray(array), single


def _of_pil(picture: Any, channels: int) -> np.ndarray:
    array = np.asarray(picture.convert("L" if channels == 1 else "RGB"), dtype=np.float32) / np.float32(255)
    array = array[..., None] if array.ndim == 2 else array
    return np.ascontiguousarray(array.transpose(2, 0, 1)[None])


def gradients(given: Any, single: bool) -> list[tuple[str, np.ndarray]]:
    """Gradients by places, each with four axes."""
    if not isinstance(given, dict) or not given:
        raise TypeError(f"the gradients are {given!r}, expected a dictionary of layers and arrays")
    found = []
    for place, gradient in given.items():
        if not isinstance(place, str):
            raise TypeError(f"{place!r} is no name of a layer")
        if hasattr(gradient, "detach"):
            gradient = gradient.detach().cpu()
        array = np.asarray(gradient)
        if array.dtype != np.float32:
            raise TypeError(f"the gradient at {place} is of {array.dtype}, expected float32; use .astype(\"float32\")")
        if single and array.ndim in (1, 3):
            array = array[None]
        if array.ndim == 2:
            array = array[:, :, None, None]
        if array.ndim != 4:
            raise ValueError(f"the gradient at {place} has shape {array.shape}, expected that of the layer's values")
        found.append((place, np.ascontiguousarray(array)))
    return found


def png(picture: np.ndarray) -> bytes:
    """A picture [C, H, W] from 0 to 1 as a plain PNG: for what is shown and not kept."""
    channels, height, width = picture.shape
    levels = np.rint(np.clip(picture, 0.0, 1.0) * 255).astype(np.uint8).transpose(1, 2, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in levels)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    colour = 2 if channels == 3 else 0
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
