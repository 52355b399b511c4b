#!/usr/bin/env python3
"""Trains the small networks in weights/ from nothing, with PyTorch on one core of a CPU.

`entoptic train` does the same on a GPU; on a CPU alone its steps are slow, so the files that ship were made by this.
A seed, a number of epochs and one thread decide everything: the same versions on the same kind of processor repeat a run.

usage: train_demo.py NAME DATA OUT.safetensors     (NAME: one of RUNS; DATA: a folder with train/SYNSET and val/SYNSET)
needs: torch 2.8, torchvision 0.23, pillow, safetensors, numpy
"""

import argparse
import hashlib
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import nn

# Widths keep four networks under 12 MB in half precision. Sides are about those of the pictures that the networks will
# make; InceptionV3 leaves a single pixel of 96. eps is the L2 radius of the attack: 0 trains a plain network.
RUNS = {
    #                    network         width  side   eps  epochs  rate  seed
    "resnet50":         ("resnet50",     0.25,    96, 1.25,     32, 0.05,    1),
    "googlenet":        ("googlenet",    0.50,    96, 1.00,     20, 0.05,    2),
    "inception_v3":     ("inception_v3", 0.25,   112, 1.50,     36, 0.05,    3),
    "resnet50-plain":   ("resnet50",     0.25,    96, 0.00,     12, 0.10,    4),
}  # fmt: skip

BATCH = 64
WARM_UP = 0.1  # share of the steps in which the rate rises and pictures are not attacked yet
RAMP = 0.2  # share of the steps until eps is at its full size
SMOOTHING = 0.05
MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
AVERAGE = 0.998  # of the weights, from step to step
STORED = 128  # side of the photographs in memory
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def narrow(module, width, classes):
    """Every channel count times width, as entoptic::training::initial_weights does."""

    def scaled(channels):
        return max(4, int(round(channels * width)))

    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            inputs = child.in_channels if child.in_channels == 3 else scaled(child.in_channels)
            conv = nn.Conv2d(
                inputs, scaled(child.out_channels), child.kernel_size, child.stride, child.padding, bias=child.bias is not None
            )
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            setattr(module, name, conv)
        elif isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.BatchNorm2d(scaled(child.num_features), eps=child.eps))
        elif isinstance(child, nn.Linear):
            setattr(module, name, nn.Linear(scaled(child.in_features), classes))
        elif isinstance(child, nn.Dropout):
            child.p = 0.0
        else:
            narrow(child, width, classes)


def build(network, width, classes):
    options = {} if network == "resnet50" else {"aux_logits": False, "init_weights": False}
    net = getattr(torchvision.models, network)(weights=None, **options)
    narrow(net, width, classes)
    return net.to(memory_format=torch.channels_last)


def photographs(folder, synsets):
    """[N, 3, STORED, STORED] u8 and labels."""
    pictures, labels = [], []
    for label, synset in enumerate(synsets):
        for path in sorted(p for p in (folder / synset).iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png")):
            picture = Image.open(path).convert("RGB")
            if picture.size != (STORED, STORED):
                scale = STORED / min(picture.size)
                picture = picture.resize([max(STORED, round(side * scale)) for side in picture.size], Image.BILINEAR)
                left, top = [(side - STORED) // 2 for side in picture.size]
                picture = picture.crop((left, top, left + STORED, top + STORED))
            pictures.append(np.asarray(picture).transpose(2, 0, 1))
            labels.append(label)
    return torch.from_numpy(np.stack(pictures)), torch.tensor(labels)


def augmented(pictures, side, random):
    """Random windows (area 0.35 to 1, aspect 3/4 to 4/3), mirrored, brighter or darker by up to a tenth."""
    n = len(pictures)
    area = 0.35 + 0.65 * torch.rand(n, generator=random)
    aspect = torch.exp((torch.rand(n, generator=random) * 2 - 1) * math.log(4 / 3))
    height, width = (area / aspect).sqrt().clamp(max=1), (area * aspect).sqrt().clamp(max=1)
    place = torch.rand(n, 2, generator=random) * 2 - 1
    mirror = torch.where(torch.rand(n, generator=random) < 0.5, -1.0, 1.0)
    zero = torch.zeros(n)
    affine = torch.stack(
        [width * mirror, zero, (1 - width) * place[:, 0], zero, height, (1 - height) * place[:, 1]], dim=1
    ).view(n, 2, 3)
    grid = F.affine_grid(affine, [n, 3, side, side], align_corners=False)
    x = F.grid_sample(pictures.float() / 255, grid, padding_mode="border", align_corners=False)
    brightness = 1 + 0.1 * (torch.rand(n, 1, 1, 1, generator=random) * 2 - 1)
    return (x * brightness).clamp(0, 1)


def central(pictures, side):
    """The middle seven eighths, at the side of training."""
    cut = STORED // 16
    return F.interpolate(
        pictures[:, :, cut:-cut, cut:-cut].float() / 255, size=(side, side), mode="bilinear", antialias=True
    )


def logits(net, x, half=True):
    x = ((x - MEAN) / STD).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        return net(x).float()


def length(x):
    return x.flatten(1).norm(dim=1).view(-1, 1, 1, 1) + 1e-12


def attacked(net, x, y, eps, steps, random):
    """L2 projected gradient (Madry et al. 2018), from a random start in the ball, with frozen statistics."""
    training = net.training
    net.eval()
    d = torch.randn(x.shape, generator=random)
    d = d * (eps * torch.rand(len(x), 1, 1, 1, generator=random) / length(d))
    for _ in range(steps):
        d.requires_grad_(True)
        (g,) = torch.autograd.grad(F.cross_entropy(logits(net, x + d), y), d)
        d = d.detach() + (1.5 * eps / steps) * g / length(g)
        d = d * (eps / length(d)).clamp(max=1)
        d = (x + d).clamp(0, 1) - x
    net.train(training)
    return (x + d).detach()


def accuracy(net, pictures, labels, side, eps=0.0, random=None):
    net.eval()
    right = 0
    for start in range(0, len(pictures), 100):
        x, y = central(pictures[start : start + 100], side), labels[start : start + 100]
        if eps:
            x = attacked(net, x, y, eps, 10, random)
        with torch.no_grad():
            right += int((logits(net, x, half=False).argmax(1) == y).sum())
    return right / len(pictures)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=RUNS)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, help="fewer than the run has, to try it")
    arguments = parser.parse_args()
    network, width, side, eps, epochs, rate, seed = RUNS[arguments.name]
    epochs = arguments.epochs or epochs

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    synsets = sorted(folder.name for folder in (arguments.data / "train").iterdir())
    net = build(network, width, len(synsets))
    average = build(network, width, len(synsets))
    average.load_state_dict(net.state_dict())
    x_train, y_train = photographs(arguments.data / "train", synsets)
    x_val, y_val = photographs(arguments.data / "val", synsets)
    parameters = sum(p.numel() for p in net.parameters())
    print(f"{arguments.name}: {parameters} parameters, {len(x_train)} photographs, {len(x_val)} to judge by", flush=True)

    optimiser = torch.optim.SGD(net.parameters(), lr=rate, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY)
    per_epoch = len(x_train) // BATCH
    steps, step, began = epochs * per_epoch, 0, time.time()
    for epoch in range(epochs):
        net.train()
        total = 0.0
        order = torch.randperm(len(x_train), generator=random)
        for members in order[: per_epoch * BATCH].split(BATCH):
            done = step / steps
            for group in optimiser.param_groups:
                rise = done / WARM_UP
                fall = 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))
                group["lr"] = rate * (rise if rise < 1 else fall)
            x, y = augmented(x_train[members], side, random), y_train[members]
            radius = eps * min(1.0, (done - WARM_UP) / (RAMP - WARM_UP))
            if radius > 0:
                x = attacked(net, x, y, radius, 1, random)
            loss = F.cross_entropy(logits(net, x), y, label_smoothing=SMOOTHING)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            total += float(loss.detach())
            step += 1
            keep = min(AVERAGE, step / (step + 10))
            with torch.no_grad():
                for mean, value in zip(average.state_dict().values(), net.state_dict().values()):
                    mean.lerp_(value, 1 - keep) if mean.is_floating_point() else mean.copy_(value)
        right = accuracy(average, x_val, y_val, side) if epoch % 4 == 3 or epoch + 1 == epochs else float("nan")
        rate_of = (epoch + 1) * per_epoch * BATCH / (time.time() - began)
        print(f"epoch {epoch + 1}: loss {total / per_epoch:.3f}, accuracy {right:.4f}, {rate_of:.0f} pictures/s", flush=True)

    # What ships is judged as it ships.
    tensors = {k: v.half().contiguous() for k, v in average.state_dict().items() if not k.endswith("num_batches_tracked")}
    average.load_state_dict({k: v.float() for k, v in tensors.items()}, strict=False)
    right = accuracy(average, x_val, y_val, side)
    few = torch.randperm(len(x_val), generator=random)[:500]
    robust = accuracy(average, x_val[few], y_val[few], side, eps or 1.0, random)
    print(f"validation accuracy {right:.4f}; of 500 after ten steps of attack within {eps or 1.0}: {robust:.4f}")
    words = {
        "network": network,
        "width": str(width),
        "classes": ",".join(synsets),
        "normalisation": "imagenet",
        "transform_input": "false",
        "side": str(side),
        "val_accuracy": f"{right:.4f}",
        "adversarial_eps": str(eps),
    }
    save_file(tensors, arguments.out, metadata=words)
    print(f"{arguments.out}: sha256 {hashlib.sha256(arguments.out.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
