#!/usr/bin/env python3
"""Every classifier of torchvision by `.pt2` and by ONNX of both exporters of PyTorch, through Entoptic: logits and gradients with
respect to the picture against PyTorch in binary64, launches, memory and time, as a table.

    python scripts/own_networks.py --program target/release/entoptic [--networks resnet18,convnext_tiny] [--side 224] [--out table.md]

Needs PyTorch, torchvision, safetensors, onnx and onnxscript. Weights are random, by a seed, with statistics of batch norms
that keep values near 1. A network with a relu or a pooling window near a tie has a gradient that may fall either way: of up to
`--tries` pictures the first is taken whose gradients in binary64 and binary32 agree.
"""
import argparse
import copy
import logging
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
import torch
import torchvision
from safetensors.numpy import load_file, save_file

# Weights as the fixtures have them.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "fixtures"))
from make_imported import fill  # noqa: E402

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

CLASS = 3
CLEAR = 5e-5
FORMS = ("pt2", "ts.onnx", "onnx")


def network(name):
    options = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    m = torchvision.models.get_model(name, weights=None, **options)
    return fill(m, name)


def answer(m, x, dtype):
    m, x = copy.deepcopy(m).to(dtype), x.detach().clone().to(dtype).requires_grad_()
    logits = m(x)
    logits[0, CLASS].backward()
    return logits.detach().double().numpy()[0], x.grad.double().numpy()


def picture(m, side, tries):
    best = None
    for seed in range(tries):
        x = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed))
        exact, single = (answer(m, x, dtype) for dtype in (torch.float64, torch.float32))
        distance = apart(single[1], exact[1])
        if best is None or distance < best[0]:
            best = (distance, x, exact)
        if distance < CLEAR:
            break
    return best


def apart(a, b):
    return float(np.linalg.norm(a.ravel() - b.ravel()) / np.linalg.norm(b.ravel()))


def export(m, x, path, form):
    if form == "pt2":
        torch.export.save(torch.export.export(m, (x,)), path)
    elif form == "onnx":
        torch.onnx.export(m, (x,), path, dynamo=True, verbose=False)
    else:
        torch.onnx.export(m, (x,), path, dynamo=False, opset_version=17)


def run(program, *words):
    begun = time.perf_counter()
    done = subprocess.run([program, *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1][:160])
    return done.stdout + done.stderr, time.perf_counter() - begun


def row(program, folder, m, x, exact, form):
    path, image = os.path.join(folder, f"net.{form}"), os.path.join(folder, "x.safetensors")
    export(m, x, path, form)
    save_file({"image": x.numpy()}, image)
    out = os.path.join(folder, "out.safetensors")
    given = ["--weights", path, "--image", image, "--normalize", "source", "--out", out]
    run(program, "outputs", *given)
    logits = load_file(out)["logits"][0].astype(np.float64)
    text, seconds = run(program, "gradient", *given, "--objective", f"class:{CLASS}", "--verbose")
    tensors = load_file(out)
    # The loss falls as the logit grows.
    gradient = -tensors["gradient"].astype(np.float64)
    launches = re.search(r"(\d+) kernel launches", text)
    memory = re.search(r"([\d.]+) MiB of weights and pictures, ([\d.]+) MiB", text)
    return [
        f"{apart(logits, exact[0]):.1e}", f"{apart(gradient, exact[1]):.1e}",
        launches.group(1) if launches else "", f"{float(memory.group(1)) + float(memory.group(2)):.0f}" if memory else "", f"{seconds:.1f}",
    ]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default="target/release/entoptic")
    parser.add_argument("--networks")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--tries", type=int, default=4)
    parser.add_argument("--forms", default=",".join(FORMS))
    parser.add_argument("--out")
    args = parser.parse_args()
    names = args.networks.split(",") if args.networks else torchvision.models.list_models(module=torchvision.models)
    head = ["network", "form", "logits", "gradient", "f32 of PyTorch", "launches", "MiB", "seconds"]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    out = open(args.out, "w") if args.out else sys.stdout
    print("\n".join(lines), file=out, flush=True)
    for name in names:
        m = network(name)
        distance, x, exact = picture(m, args.side, args.tries)
        for form in args.forms.split(","):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    cells = row(args.program, folder, m, x, exact, form)
                except Exception as error:
                    cells = [str(error).replace("|", "/").splitlines()[0][:160], "", "", "", ""]
            print("| " + " | ".join([name, form, *cells[:2], f"{distance:.1e}", *cells[2:]]) + " |", file=out, flush=True)


if __name__ == "__main__":
    main()
