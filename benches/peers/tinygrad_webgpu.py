#!/usr/bin/env python3
"""Times ResNet50 with tinygrad on a Vulkan adapter through WebGPU, beside Entoptic on the same one: forward, and forward with the
gradient of a class with respect to the picture. tinygrad compiles a pass at its second call and repeats it from the third on.

usage: tinygrad_webgpu.py [--size 299] [--repeats 3] [--pass forward,input]
needs: tinygrad, dawn-python (for Dawn, which tinygrad does not bring), and a C compiler named clang
"""

import argparse
import importlib.util
import os
import platform
import time
from pathlib import Path


def find_dawn():
    """Dawn's library comes in the package `pydawn`, one for each system; it is found without being imported."""
    folder = Path(importlib.util.find_spec("pydawn").origin).parent / "lib"
    machine = platform.machine().replace("AMD64", "x86_64")
    name = {"Linux": f"libwebgpu_dawn_{machine}.so", "Darwin": f"libwebgpu_dawn_{machine}.dylib"}
    return str(folder / name.get(platform.system(), "libwebgpu_dawn.dll"))


os.environ.setdefault("DEV", "WEBGPU")
os.environ.setdefault("WEBGPU_BACKEND", "WGPUBackendType_Vulkan")
os.environ.setdefault("WEBGPU_PATH", find_dawn())

from tinygrad import Tensor, TinyJit, nn  # noqa: E402, after the choice of device
from tinygrad.helpers import getenv  # noqa: E402


class Bottleneck:
    def __init__(self, c_in, c, stride):
        self.conv1, self.bn1 = nn.Conv2d(c_in, c, 1, bias=False), nn.BatchNorm2d(c)
        self.conv2, self.bn2 = nn.Conv2d(c, c, 3, stride, 1, bias=False), nn.BatchNorm2d(c)
        self.conv3, self.bn3 = nn.Conv2d(c, 4 * c, 1, bias=False), nn.BatchNorm2d(4 * c)
        self.down = None
        if stride != 1 or c_in != 4 * c:
            self.down = nn.Conv2d(c_in, 4 * c, 1, stride, bias=False), nn.BatchNorm2d(4 * c)

    def __call__(self, x):
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        y = self.bn3(self.conv3(y))
        if self.down:
            x = self.down[1](self.down[0](x))
        return (x + y).relu()


class ResNet50:
    def __init__(self):
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.blocks, c_in = [], 64
        for c, count, stride in [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]:
            for index in range(count):
                self.blocks.append(Bottleneck(c_in, c, stride if index == 0 else 1))
                c_in = 4 * c
        self.fc = nn.Linear(2048, 1000)

    def __call__(self, x):
        x = self.bn1(self.conv1(x)).relu().pad((1, 1, 1, 1), value=float("-inf")).max_pool2d(3, 2)
        return self.fc(x.sequential(self.blocks).mean((2, 3)))


def timed(what, call, x, repeats):
    times = []
    for _ in range(repeats + 2):
        started = time.perf_counter()
        y = call(x).numpy()
        times.append(time.perf_counter() - started)
        assert y.size > 0 and (y == y).all(), "a result is not a number"
    warm = sorted(times[2:])
    print(f"| {what} | {times[0]:.2f} | {times[1]:.2f} | {warm[len(warm) // 2]:.3f} | {warm[-1] - warm[0]:.3f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=299)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pass", dest="passes", default="forward,input")
    options = parser.parse_args()
    net = ResNet50()
    x = Tensor.rand(1, 3, options.size, options.size).realize()

    @TinyJit
    def forward(x):
        return net(x).realize()

    @TinyJit
    def gradient(x):
        return (200.0 - net(x)[:, 11]).sum().gradient(x)[0].realize()

    calls = {"forward": ("forward", forward), "input": ("forward + input gradient", gradient)}
    print(f"tinygrad, {getenv('DEV', '')}; resnet50, {options.size} px, batch 1, median of {options.repeats}\n")
    print("| pass | first, s | second, s | warm, s | spread, s |\n|---|---|---|---|---|")
    for name in options.passes.split(","):
        timed(*calls[name], x, options.repeats)


if __name__ == "__main__":
    main()
