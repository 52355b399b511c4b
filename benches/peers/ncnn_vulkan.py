#!/usr/bin/env python3
"""Times a forward pass of ResNet50 with ncnn on a Vulkan adapter, beside Entoptic on the same one. ncnn has no gradients.

The network is converted by pnnx from torchvision's with random weights, once, into the folder given.

usage: ncnn_vulkan.py FOLDER [--size 299] [--repeats 5] [--fp32]    (half precision is what ncnn does unless told)
needs: ncnn; for the conversion torch, torchvision and pnnx
"""

import argparse
import time
from pathlib import Path

import ncnn
import numpy as np


def convert(folder, size):
    import pnnx
    import torch
    import torchvision

    net = torchvision.models.resnet50(weights=None).eval()
    pnnx.export(net, str(folder / "resnet50.pt"), torch.rand(1, 3, size, size), fp16=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=299)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--fp32", action="store_true")
    options = parser.parse_args()
    param = options.folder / "resnet50.ncnn.param"
    if not param.exists():
        options.folder.mkdir(parents=True, exist_ok=True)
        convert(options.folder, options.size)
    started = time.perf_counter()
    net = ncnn.Net()
    net.opt.use_vulkan_compute = True
    if options.fp32:
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.load_param(str(param))
    net.load_model(str(param.with_suffix(".bin")))
    x = ncnn.Mat(np.random.default_rng(0).random((3, options.size, options.size), dtype=np.float32))
    times = []
    for _ in range(options.repeats + 1):
        extractor = net.create_extractor()
        extractor.input("in0", x)
        code, y = extractor.extract("out0")
        assert code == 0 and y.w == 1000
        times.append(time.perf_counter() - started)
        started = time.perf_counter()
    warm = sorted(times[1:])
    precision = "fp32" if options.fp32 else "fp16"
    print(f"ncnn {ncnn.__version__}, Vulkan, {precision}; resnet50, {options.size} px, batch 1, median of {options.repeats}\n")
    print("| pass | first, s | warm, s | spread, s |\n|---|---|---|---|")
    print(f"| forward | {times[0]:.2f} | {warm[len(warm) // 2]:.3f} | {warm[-1] - warm[0]:.3f} |")


if __name__ == "__main__":
    main()
