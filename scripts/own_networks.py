#!/usr/bin/env python3
"""Every classifier of torchvision by `.pt2` and by ONNX of both exporters of PyTorch, through Entoptic: logits and gradients with
respect to the picture against PyTorch in binary64, kernel launches and memory, as a table.

    python scripts/own_networks.py [--program target/release/entoptic] [--networks resnet18,convnext_tiny] [--out docs/networks.md]
    python scripts/own_networks.py --time --out docs/networks.md       # on a machine that does nothing else

Needs PyTorch, torchvision, safetensors, onnx and onnxscript. Weights are random, by a seed, and batch norms have the statistics of a
few random pictures, as those of a trained network have its data's. Among millions of relus and pooling windows a few may be so near a tie that rounding decides, and then the
gradient jumps: up to `--tries` pictures are tried until one has a gradient within the bound, and what the others had stands in
brackets. Where each has a tie the best is shown, with its cosine distance.

With `--out` the table stands in that file between two marks. Rows that it has already are kept, so that a run can be interrupted and
continued; `--again` measures those of `--networks` anew. `--time` fills the columns of seconds, of one form for each network, with
what `entoptic bench` says.
"""
import argparse
import copy
import logging
import os
import re
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import torch
import torchvision
from safetensors.numpy import load_file, save_file

import marked

# Weights as the fixtures have them.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "fixtures"))
from make_imported import fill  # noqa: E402

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

BOUND = 2e-4
FORMS = ("pt2", "ts.onnx", "onnx")
COLUMNS = ("network", "form", "logits", "gradient", "f32 of PyTorch", "launches", "MiB", "forward, s", "with gradient, s")
TRANSFORMERS = ("vit_", "swin_", "maxvit_")


def networks():
    """All classifiers, those with the fewest operations first and transformers last."""
    def work(name):
        about = torchvision.models.get_model_weights(name).DEFAULT.meta
        return name.startswith(TRANSFORMERS), about["_ops"], about["num_params"]
    return sorted(torchvision.models.list_models(module=torchvision.models), key=work)


def network(name, side):
    options = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    m = fill(torchvision.models.get_model(name, weights=None, **options), name).requires_grad_(False)
    norms = [module for module in m.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    if norms:
        for module in norms:
            module.momentum, module.training = 1.0, True
        with torch.no_grad():
            m(torch.rand(4, 3, side, side, generator=torch.Generator().manual_seed(1000)))
    return m.eval()


def answer(m, x, dtype, number=None):
    """Logits, the gradient of one of them with respect to the picture, and which: the largest unless told."""
    m, x = (m if dtype == torch.float32 else copy.deepcopy(m).to(dtype)), x.detach().clone().to(dtype).requires_grad_()
    logits = m(x)
    number = int(logits.argmax()) if number is None else number
    logits[0, number].backward()
    return logits.detach().double().numpy()[0], x.grad.double().numpy(), number


class Pictures:
    """Pictures by number, each with logits and gradient in binary64 and how far the gradient in binary32 is from it."""

    def __init__(self, m, side):
        self.m, self.side, self.known = m, side, {}

    def __getitem__(self, number):
        if number not in self.known:
            x = torch.rand(1, 3, self.side, self.side, generator=torch.Generator().manual_seed(number))
            exact = answer(self.m, x, torch.float64)
            single = answer(self.m, x, torch.float32, exact[2])
            self.known[number] = x, exact, apart(single[1], exact[1])
        return self.known[number]


def apart(a, b):
    return float(np.linalg.norm(a.ravel() - b.ravel()) / np.linalg.norm(b.ravel()))


def cosine_distance(a, b):
    return float(1 - np.dot(a.ravel(), b.ravel()) / np.linalg.norm(a) / np.linalg.norm(b))


def export(m, x, path, form):
    if form == "pt2":
        torch.export.save(torch.export.export(m, (x,)), path)
    elif form == "onnx":
        torch.onnx.export(m, (x,), path, dynamo=True, verbose=False)
    else:
        torch.onnx.export(m, (x,), path, dynamo=False, opset_version=17)


class Refused(Exception):
    """What the program said instead of an answer."""


def run(program, *words):
    done = subprocess.run([program, *words], capture_output=True, text=True)
    if done.returncode:
        # All that cannot be read stands on lines of its own behind the first.
        lines = [line.strip() for line in done.stderr.strip().splitlines() if not line.startswith(("warning", "adapter", "network"))]
        raise Refused(re.sub(r"error: [^ ]*: ", "", " ".join(lines))[:400])
    return done.stdout + done.stderr


def compared(program, folder, path, picture):
    """Distances of logits and of the gradient, its cosine distance, launches and MiB."""
    x, exact, _ = picture
    image, out = os.path.join(folder, "x.safetensors"), os.path.join(folder, "out.safetensors")
    save_file({"image": x.numpy()}, image)
    given = ["--weights", path, "--image", image, "--normalize", "source", "--out", out]
    run(program, "outputs", *given)
    logits = load_file(out)["logits"][0].astype(np.float64)
    text = run(program, "gradient", *given, "--objective", f"class:{exact[2]}", "--verbose")
    # The loss falls as the logit grows.
    gradient = -load_file(out)["gradient"].astype(np.float64)
    launches = re.search(r"(\d+) kernel launches", text)
    memory = re.search(r"([\d.]+) MiB of weights and pictures, ([\d.]+) MiB", text)
    mib = f"{float(memory.group(1)) + float(memory.group(2)):.0f}" if memory else ""
    distances = apart(logits, exact[0]), apart(gradient, exact[1]), cosine_distance(gradient, exact[1])
    return distances, [launches.group(1) if launches else "", mib]


def row(args, folder, m, pictures, form, last):
    """Cells of a table from the third on, and the number of the picture, tried first for the next form."""
    path = os.path.join(folder, f"net.{form}")
    export(m, torch.rand(1, 3, args.side, args.side), path, form)
    best, others = None, []
    for number in [last, *(number for number in range(args.tries) if number != last)]:
        distances, rest = compared(args.program, folder, path, pictures[number])
        if best is None or distances[1] < best[0][1]:
            others += [best[0][1]] if best else []
            best = distances, rest, number
        else:
            others.append(distances[1])
        if distances[1] < BOUND:
            break
    (logits, gradient, cosine), rest, number = best
    cell = f"{gradient:.1e}" + (f", cosine distance {cosine:.0e}" if gradient >= BOUND else "")
    cell += f" ({', '.join(f'{other:.0e}' for other in others)})" if others else ""
    return [f"{logits:.1e}", cell, f"{pictures[number][2]:.1e}", *rest], number


def measure(args, rows, name):
    """Adds a network's rows."""
    forms = [form for form in args.forms.split(",") if args.again or (name, form) not in rows]
    if not forms:
        return
    m, last = network(name, args.side), 0
    pictures = Pictures(m, args.side)
    if name.startswith(TRANSFORMERS):
        # They are refused before a picture is looked at.
        pictures.known[0] = torch.rand(1, 3, args.side, args.side), None, None
    for form in forms:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            try:
                cells, last = row(args, folder, m, pictures, form, last)
            except Refused as refused:
                cells = [str(refused).replace(folder + os.sep, "").replace("|", "/"), "", "", "", ""]
            except Exception as error:  # PyTorch's exporters have many.
                cells = [f"not exported: {str(error).strip().splitlines()[0][:160]}".replace("|", "/"), "", "", "", ""]
        rows[name, form] = [name, form, *cells, "", ""]
        write(args.out, rows)


def time_taken(args, rows, name):
    """Fills the columns of seconds of a network's first form that has numbers."""
    forms = [form for form in FORMS if (name, form) in rows and rows[name, form][5]]
    if not forms or (rows[name, forms[0]][7] and not args.again):
        return
    m, x = network(name, args.side), torch.rand(1, 3, args.side, args.side)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = os.path.join(folder, f"net.{forms[0]}")
        export(m, x, path, forms[0])
        del m
        text = run(args.program, "bench", "--weights", path, "--size", str(args.side), "--repeats", str(args.repeats))
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    for column, what in ((7, "forward"), (8, "forward + input gradient")):
        warm = next(cells[3] for cells in table if cells[1] == what)
        rows[name, forms[0]][column] = f"{float(warm) / 1e3:.3g}"
    write(args.out, rows)


def read(path):
    """Rows of the table that a file has, by network and form."""
    rows = {}
    for line in marked.read(path, os.path.basename(__file__)).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == len(COLUMNS) and cells[0] not in ("network", "---"):
            rows[cells[0], cells[1]] = cells
    return rows


def write(path, rows):
    lines = ["| " + " | ".join(COLUMNS) + " |", "| " + " | ".join("---" for _ in COLUMNS) + " |"]
    place = {name: at for at, name in enumerate(networks())}
    for key in sorted(rows, key=lambda key: (place[key[0]], FORMS.index(key[1]))):
        lines.append("| " + " | ".join(rows[key]) + " |")
    marked.write(path, os.path.basename(__file__), "\n".join(lines) if path else lines[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/entoptic")
    parser.add_argument("--networks", help="by default all that torchvision has")
    parser.add_argument("--forms", default=",".join(FORMS))
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch")
    parser.add_argument("--folder", help="for the exported networks, which are large; by default that of temporary files")
    parser.add_argument("--time", action="store_true", help="fill the columns of seconds")
    parser.add_argument("--repeats", type=int, default=5, help="of which --time takes the median")
    parser.add_argument("--again", action="store_true", help="measure anew what the table has already")
    parser.add_argument("--out")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    rows = read(args.out)
    for name in args.networks.split(",") if args.networks else networks():
        (time_taken if args.time else measure)(args, rows, name)


if __name__ == "__main__":
    main()
