#!/usr/bin/env python3
"""Compares recipes for the demo networks by the scores of `entoptic score`, with PyTorch, for speed where there is no GPU.

Each network makes ten classes with each recipe; all networks judge. What wins here is made and scored again by Entoptic
(scripts/cards.sh) before it ships. Other random numbers than Entoptic's, a smaller set of changes for stability.

usage: search_recipes.py --weights NET.safetensors... --recipes RECIPE.toml... [--seeds K] [--sheets FOLDER]
needs: torch 2.8, torchvision 0.23, safetensors, numpy, pillow; Python 3.11
"""

import argparse
import itertools
import math
import time
import tomllib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import safe_open
from torch import nn
from train_demo import MEAN, STD, build

KNOWN = {"iterations", "rate", "step", "sigma", "clamp", "size", "crop", "jitter", "shift", "scale", "rotation", "flip",
         "total_variation", "l2"}  # fmt: skip


class Network(nn.Module):
    def __init__(self, path):
        super().__init__()
        with safe_open(path, "pt") as file:
            words = file.metadata()
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}
        self.name = path.stem.removeprefix("demo-")
        self.net = build(words["network"], float(words["width"]), len(words["classes"].split(",")))
        missing = self.net.load_state_dict(tensors, strict=False).missing_keys
        assert all(name.endswith("num_batches_tracked") for name in missing), missing
        self.eval().requires_grad_(False)

    def forward(self, x):
        return self.net(((x - MEAN) / STD).contiguous(memory_format=torch.channels_last))


def blurred(x, sigma):
    if sigma == 0:
        return x
    taps = torch.exp(-0.5 * (torch.tensor([-1.0, 0.0, 1.0]) / sigma) ** 2)
    taps = (taps / taps.sum()).view(1, 1, 1, 3).repeat(3, 1, 1, 1)
    x = F.conv2d(F.pad(x, (1, 1, 0, 0), mode="reflect"), taps, groups=3)
    return F.conv2d(F.pad(x, (0, 0, 1, 1), mode="reflect"), taps.transpose(2, 3), groups=3)


def seen(x, stage, random):
    """Each picture shifted, magnified, turned and mirrored at random; beyond the edge lies the edge pixel."""
    if not any(key in stage for key in ("shift", "scale", "rotation", "flip")):
        return x
    n, side = len(x), x.shape[-1]
    spread = lambda: torch.rand(n, generator=random) * 2 - 1  # noqa: E731
    low, high = stage.get("scale", [1.0, 1.0])
    factor = 1 / (low + (high - low) * torch.rand(n, generator=random))
    angle = spread() * math.radians(stage.get("rotation", 0.0))
    mirror = torch.where(torch.rand(n, generator=random) < 0.5, -1.0, 1.0) if stage.get("flip") else torch.ones(n)
    shift = torch.randint(-stage.get("shift", 0), stage.get("shift", 0) + 1, (n, 2), generator=random) * 2 / side
    cos, sin = angle.cos() * factor, angle.sin() * factor
    affine = torch.stack([cos * mirror, -sin, shift[:, 0], sin * mirror, cos, shift[:, 1]], dim=1).view(n, 2, 3)
    grid = F.affine_grid(affine, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def made(net, recipe, classes, random):
    start = recipe["init"]
    assert start["kind"] == "normal", start
    x = start["mean"] + start["std"] * torch.randn(len(classes), 3, start["size"], start["size"], generator=random)
    for stage in recipe["stage"]:
        assert set(stage) <= KNOWN and stage["step"] == "normalized", stage
        if stage.get("size", x.shape[-1]) != x.shape[-1]:
            x = F.interpolate(x, size=(stage["size"],) * 2, mode="bilinear", antialias=True)
        n = stage["iterations"]
        for i in range(n):
            between = lambda ends: (ends[0] * (n - i) + ends[1] * i) / n  # noqa: E731
            side = stage.get("crop", x.shape[-1])
            slack = x.shape[-1] - side
            top, left = torch.randint(0, slack + 1, (2,), generator=random).tolist()
            if "jitter" in stage:
                reach = min(stage["jitter"], slack // 2)
                top, left = (slack // 2 + torch.randint(-reach, reach + 1, (2,), generator=random)).tolist()
            window = x[:, :, top : top + side, left : left + side].detach().requires_grad_(True)
            logits = net(seen(window, stage, random))
            loss = -logits[torch.arange(len(x)), classes].sum()
            if stage.get("total_variation"):
                for axis in (2, 3):
                    loss = loss + stage["total_variation"] * window.diff(dim=axis).abs().sum()
            if stage.get("l2"):
                loss = loss + stage["l2"] * (window * window).sum()
            (g,) = torch.autograd.grad(loss, window)
            g = g / g.abs().mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-30)
            x[:, :, top : top + side, left : left + side] -= between(stage["rate"]) * g
            if "clamp" in stage:
                x.clamp_(*stage["clamp"])
            x = blurred(x, between(stage.get("sigma", [0, 0])))
    return (x.clamp(0, 1) * 255).round() / 255


def altered(x):
    """Some of the changes under which `entoptic score` measures stability."""
    n, side = len(x), x.shape[-1]

    def warp(factor=1.0, degrees=0.0, right=0.0, down=0.0, mirror=1.0):
        cos, sin = [f(math.radians(degrees)) / factor for f in (math.cos, math.sin)]
        map = [[cos * mirror, -sin, -2 * right / side], [sin * mirror, cos, -2 * down / side]]
        grid = F.affine_grid(torch.tensor(map).expand(n, 2, 3), list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, padding_mode="border", align_corners=False)

    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    return [
        warp(right=-8, down=-8), warp(right=8), warp(down=8), warp(right=8, down=8), warp(0.85), warp(1.15), warp(mirror=-1.0),
        warp(degrees=-10), warp(degrees=10), blurred(blurred(x, 0.8), 0.8), (x + 0.02 * noise).clamp(0, 1),
    ]  # fmt: skip


def slope(picture):
    """As src/analysis/spectrum.rs has it."""
    y = (torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1) * picture).sum(0).numpy().astype(np.float64)
    side = y.shape[0]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(side) + 0.5) / side)
    window = np.outer(hann, hann)
    power = np.abs(np.fft.fft2(window * (y - (window * y).sum() / window.sum()))) ** 2
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij"))
    ring = np.round(f * side).astype(int)
    count = np.bincount(ring.ravel())
    means = [np.bincount(ring.ravel(), weights=w.ravel()) / np.maximum(count, 1) for w in (f, power)]
    use = (means[0] >= 0.02) & (means[0] <= 0.4)
    return np.polyfit(np.log(means[0][use]), np.log(means[1][use]), 1)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, nargs="+", required=True)
    parser.add_argument("--makers", nargs="+", help="names of the networks that make pictures; all by default")
    parser.add_argument("--recipes", type=Path, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--sheets", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    networks = [Network(path) for path in arguments.weights]
    classes = torch.arange(10).repeat(arguments.seeds)
    print("| recipe | maker | own p | held-out top 1 | held-out p | stability | slope | variation | saturated | seconds |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for path, maker in itertools.product(arguments.recipes, networks):
        if arguments.makers and maker.name not in arguments.makers:
            continue
        recipe = tomllib.loads(path.read_text())
        began = time.time()
        x = made(maker, recipe, classes, torch.Generator().manual_seed(1))
        seconds = time.time() - began
        own, top, held, stable = 0.0, [], [], []
        rows = torch.arange(len(x))
        for judge in networks:
            with torch.no_grad():
                logits = judge(x)
                share = logits.softmax(1)[rows, classes].mean().item()
                stable.append(np.mean([judge(y).softmax(1)[rows, classes].mean().item() for y in altered(x)]))
            if judge is maker:
                own = share
            else:
                held.append(share)
                top.append((logits.argmax(1) == classes).float().mean().item())
        variation = torch.cat([x.diff(dim=axis).abs().flatten() for axis in (2, 3)]).mean().item()
        saturated = ((x == 0) | (x == 1)).float().mean().item()
        several = lambda values: " ".join(f"{value:.2f}" for value in values)  # noqa: E731
        print(
            f"| {path.stem} | {maker.name} | {own:.2f} | {several(top)} | {several(held)} | {np.mean(stable):.2f} | "
            f"{np.mean([slope(p) for p in x]):.2f} | {variation:.3f} | {saturated:.3f} | {seconds:.0f} |",
            flush=True,
        )
        if arguments.sheets:
            arguments.sheets.mkdir(parents=True, exist_ok=True)
            sheet = (torch.cat(list(x[:10]), dim=2) * 255).byte().permute(1, 2, 0).numpy()
            Image.fromarray(sheet).save(arguments.sheets / f"{path.stem}-{maker.name}.png")


if __name__ == "__main__":
    main()
