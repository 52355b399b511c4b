"""The device that networks are loaded onto, and what is told meanwhile."""

from __future__ import annotations

import logging
import os
import threading
import warnings

from . import _entoptic

_log = logging.getLogger("entoptic")
_lock = threading.Lock()
_session: _entoptic.Session | None = None
_wishes: dict[str, object] = {}


def _tell(kind: str, line: str) -> None:
    if kind == "warning":
        warnings.warn(line, UserWarning, stacklevel=3)
    else:
        _log.log(logging.INFO if kind == "info" else logging.DEBUG, line)


def session() -> _entoptic.Session:
    """The device in use, opened at the first call."""
    global _session
    with _lock:
        if _session is None:
            # The Vulkan loader of a Linux machine without a desktop complains where this is missing.
            if "XDG_RUNTIME_DIR" not in os.environ and os.name == "posix":
                os.environ["XDG_RUNTIME_DIR"] = "/tmp"
            wishes = {"adapter": os.environ.get("ENTOPTIC_ADAPTER"), **_wishes}
            _session = _entoptic.Session(_tell, **wishes)
        return _session


def use(adapter: str | int | None = None, *, memory: int | None = None, autotune: bool = True) -> None:
    """Chooses the adapter for networks that are loaded from now on: its number, or a part of its name.

    `memory` is what may be taken on it, in MiB. Without `autotune`, kernels are chosen by a fixed table rather than measured.
    """
    global _session, _wishes
    if adapter is not None and (isinstance(adapter, bool) or not isinstance(adapter, (str, int))):
        raise TypeError(f"adapter is {adapter!r}, expected a name or a number")
    with _lock:
        _wishes = {"memory": memory, "autotune": autotune}
        if adapter is not None:
            _wishes["adapter"] = str(adapter)
        _session = None


def adapter() -> str:
    """Name of the adapter in use, its backend and its driver."""
    return session().adapter


def recipes() -> dict[str, str]:
    """The recipes that come with the engine: their names, and their texts to be copied and changed."""
    return dict(_entoptic.recipes())
