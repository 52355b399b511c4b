#!/usr/bin/env python3
"""Classifiers with Entoptic, ncnn and tinygrad on one Vulkan adapter: kernel launches and seconds, forward, and with the gradient of
the picture where an engine has one. The engines take turns, so that whatever else the machine does meets all of them alike.

usage: networks.py FOLDER [--networks mobilenet_v2,efficientnet_b0] [--size 224] [--repeats 5] [--program target/release/entoptic]
needs: torch and torchvision, which make the networks with random weights; pnnx and ncnn; tinygrad and dawn-python; rustc

Each engine reads the network from a file: Entoptic the `.pt2`, tinygrad the ONNX file, ncnn what pnnx makes of the module. Launches are
counted by a Vulkan layer (`tests/layer/faults.rs`, told to change nothing) in processes of their own, and not while time is taken.
"""
import argparse
import ctypes
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PASSES = ("forward", "forward + input gradient")


# Workers: a process for each engine, which does a pass for each line that it reads and answers with seconds and launches.

def ncnn_worker(folder, name, size):
    import ncnn
    import numpy as np

    net = ncnn.Net()
    net.opt.use_vulkan_compute = True
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.load_param(str(folder / f"{name}.ncnn.param"))
    net.load_model(str(folder / f"{name}.ncnn.bin"))
    x = ncnn.Mat(np.random.default_rng(0).random((3, size, size), dtype=np.float32))

    def forward():
        extractor = net.create_extractor()
        extractor.input("in0", x)
        code, y = extractor.extract("out0")
        assert code == 0 and y.w == 1000
    return {PASSES[0]: forward}


def tinygrad_worker(folder, name, size):
    from tinygrad_webgpu import Tensor, TinyJit  # chooses the device before tinygrad is imported
    from tinygrad.nn.onnx import OnnxRunner

    net = OnnxRunner(str(folder / f"{name}.onnx"))
    x = Tensor.rand(1, 3, size, size).realize()

    def logits(x):
        return next(iter(net({"input": x}).values()))

    @TinyJit
    def forward(x):
        return logits(x).realize()

    @TinyJit
    def gradient(x):
        return (200.0 - logits(x)[:, 11]).sum().gradient(x)[0].realize()

    def call(what):
        y = what(x).numpy()
        assert y.size > 0 and (y == y).all(), "a result is not a number"
    return {PASSES[0]: lambda: call(forward), PASSES[1]: lambda: call(gradient)}


WORKERS = {"ncnn": ncnn_worker, "tinygrad": tinygrad_worker}


def work(engine, folder, name, size):
    calls = WORKERS[engine](folder, name, size)
    layer = os.environ.get("DISPATCHES_LAYER")
    count = ctypes.CDLL(layer).dispatches if layer else lambda: 0
    print(json.dumps(list(calls)), flush=True)
    for line in sys.stdin:
        before, started = count(), time.perf_counter()
        calls[line.strip()]()
        seconds = time.perf_counter() - started
        print(json.dumps([seconds, count() - before]), flush=True)


class Worker:
    def __init__(self, engine, folder, name, size, layer=None):
        self.engine = engine
        words = [sys.executable, __file__, str(folder), "--work", engine, "--networks", name, "--size", str(size)]
        environment = {**os.environ, **(layered(layer) if layer else {})}
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.passes = self.answer()

    def answer(self):
        for line in self.process.stdout:
            if line.startswith("["):
                return json.loads(line)
        raise SystemExit(f"{self.engine} ended with {self.process.wait()}")

    def run(self, what):
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Entoptic:
    """A process for each turn, which does a pass once and once more: the second is timed, as the others' are that stay."""
    engine, passes = "Entoptic", PASSES

    def __init__(self, program, file, size):
        self.words = [program, "--quiet", "bench", "--weights", str(file), "--size", str(size), "--repeats", "1"]
        self.rows = {}

    def run(self, what):
        # One process does both passes.
        if what not in self.rows:
            printed = subprocess.run(self.words, capture_output=True, text=True)
            if printed.returncode:
                raise SystemExit(printed.stderr)
            for line in printed.stdout.splitlines():
                cells = [cell.strip() for cell in line.strip("|").split("|")]
                if len(cells) == 9 and cells[1] in PASSES:
                    self.rows[cells[1]] = [float(cells[3]) / 1e3, int(cells[7])]
        return self.rows.pop(what)

    def close(self):
        pass


def compiled_layer(folder):
    """The layer's library and its manifest."""
    library = folder / "libdispatches.so"
    subprocess.run(["rustc", "--edition", "2024", "--crate-type", "cdylib", "-O", "-Clink-arg=-Wl,-z,nodelete",
                    str(ROOT / "tests/layer/faults.rs"), "-o", str(library)], check=True)
    about = {"name": "VK_LAYER_ENTOPTIC_dispatches", "type": "GLOBAL", "library_path": str(library), "api_version": "1.3.0",
             "implementation_version": "1", "description": "counts launches"}
    (folder / "dispatches.json").write_text(json.dumps({"file_format_version": "1.1.2", "layer": about}))
    return library


def layered(library):
    return {"VK_LAYER_PATH": str(library.parent), "VK_INSTANCE_LAYERS": "VK_LAYER_ENTOPTIC_dispatches",
            "DISPATCHES_LAYER": str(library)}


def export(folder, name, size):
    """The network with random weights in the three forms, once."""
    files = [folder / f"{name}.{end}" for end in ("pt2", "onnx", "ncnn.param")]
    if all(file.exists() for file in files):
        return
    import pnnx
    import torch
    import torchvision

    torch.manual_seed(0)
    net, x = torchvision.models.get_model(name, weights=None).eval(), torch.rand(1, 3, size, size)
    torch.export.save(torch.export.export(net, (x,)), str(files[0]))
    torch.onnx.export(net, (x,), str(files[1]), dynamo=False, opset_version=17, input_names=["input"])
    pnnx.export(net, str(folder / f"{name}.pt"), x, fp16=False)


def median(values):
    return sorted(values)[len(values) // 2]


def measured(folder, name, options, layer):
    export(folder, name, options.size)
    # Counted first: the second call of tinygrad compiles, and from the third on it repeats.
    launches = {}
    for engine in WORKERS:
        worker = Worker(engine, folder, name, options.size, layer)
        for what in worker.passes:
            launches[engine, what] = [worker.run(what)[1] for _ in range(3)][-1]
        worker.close()
    engines = [Entoptic(options.program, folder / f"{name}.pt2", options.size)]
    engines += [Worker(engine, folder, name, options.size) for engine in WORKERS]
    times = {}
    for turn in range(options.repeats + 2):
        for engine in engines:
            for what in engine.passes:
                seconds, count = engine.run(what)
                if engine.engine == "Entoptic":
                    launches[engine.engine, what] = count
                # The first two turns are the others' warm-up.
                if turn >= 2:
                    times.setdefault((engine.engine, what), []).append(seconds)
    for engine in engines:
        engine.close()
    for (engine, what), values in sorted(times.items(), key=lambda item: (PASSES.index(item[0][1]), item[0][0])):
        spread = max(values) - min(values)
        print(f"| {name} | {engine} | {what} | {launches[engine, what]} | {median(values):.3f} | {spread:.3f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--networks", default="mobilenet_v2,efficientnet_b0")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--program", default=str(ROOT / "target/release/entoptic"))
    parser.add_argument("--work", choices=WORKERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work(options.work, options.folder, options.networks, options.size)
    options.folder = options.folder.resolve()
    options.folder.mkdir(parents=True, exist_ok=True)
    layer = compiled_layer(options.folder)
    versions = subprocess.run([sys.executable, "-m", "pip", "list", "--format", "json"], capture_output=True, text=True).stdout
    wanted = {entry["name"].lower(): entry["version"] for entry in json.loads(versions)}
    about = ", ".join(f"{name} {wanted.get(name, '')}".strip() for name in WORKERS)
    program = subprocess.run([options.program, "--version"], capture_output=True, text=True).stdout.strip()
    print(f"{program}, {about}; f32, {options.size} px, batch 1, {platform.machine()}; median of {options.repeats} turns\n")
    print("| network | engine | pass | launches | seconds | spread |\n| --- | --- | --- | --- | --- | --- |", flush=True)
    for name in options.networks.split(","):
        measured(options.folder, name, options, layer)


if __name__ == "__main__":
    main()
