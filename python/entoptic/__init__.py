"""See what image classifiers see, on any Vulkan, Metal or DX12 GPU.

>>> import entoptic as en
>>> net = en.load("googlenet")
>>> goal = en.channel("inception4c", 7) + 0.5 * en.logit("church") - 1e-3 * en.tv()
>>> pictures = net.render(goal, size=64, seeds=2)

Pictures go in as numpy arrays of float32, [N, 3, H, W] or [3, H, W] with pixel values from 0 to 1, as anything that numpy can make
one of, as PIL pictures, or as paths; they come out as float32 too. The first use opens the best adapter; `use` chooses another.
"""

from ._entoptic import adapters
from ._goals import Goal, channel, l1, l2, layer, logit, statistics, tv, unit
from ._making import match, render, replay, score, train, verify
from ._networks import Network, from_torch, load
from ._pictures import Picture
from ._sessions import adapter, recipes, use

__all__ = [
    "Goal",
    "Network",
    "Picture",
    "adapter",
    "adapters",
    "channel",
    "from_torch",
    "l1",
    "l2",
    "layer",
    "load",
    "logit",
    "match",
    "recipes",
    "render",
    "replay",
    "score",
    "statistics",
    "train",
    "tv",
    "unit",
    "use",
    "verify",
]
