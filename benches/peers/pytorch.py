#!/usr/bin/env python3
"""Times the three networks with PyTorch, as benches/nets.rs does with Entoptic: forward, and forward with the gradient of a
class with respect to the picture. Prints a table. On a CPU two threads unless told; where there is a GPU also channels-last,
TF32 and torch.compile.

usage: pytorch.py [--size 299] [--batch 1] [--repeats 5] [--threads 2] [NETWORK...]
needs: torch 2.8, torchvision 0.23
"""

import argparse
import resource
import time

import torch
import torchvision

NETWORKS = ["resnet50", "googlenet", "inception_v3"]


def build(name):
    options = {} if name == "resnet50" else {"init_weights": True, "aux_logits": True}
    net = getattr(torchvision.models, name)(weights=None, **options).eval()
    return net.requires_grad_(False)


def run(net, x, gradient, device):
    if gradient:
        x = x.detach().requires_grad_(True)
        (200.0 - net(x)[:, 11]).sum().backward()
    else:
        with torch.no_grad():
            net(x)
    if device == "cuda":
        torch.cuda.synchronize()


def timed(label, name, net, x, repeats, device):
    for gradient in (False, True):
        times = []
        for _ in range(repeats + 1):
            started = time.perf_counter()
            run(net, x, gradient, device)
            times.append(time.perf_counter() - started)
        first, warm = times[0], sorted(times[1:])
        what = "forward + input gradient" if gradient else "forward"
        print(f"| {label} | {name} | {what} | {first:.3f} | {warm[len(warm) // 2]:.4f} | {warm[-1] - warm[0]:.4f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--size", type=int, default=299)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    where = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {options.threads} threads"
    print(f"PyTorch {torch.__version__}, {where}; {options.size} px, batch {options.batch}, median of {options.repeats}\n")
    print("| variant | network | pass | first, s | warm, s | spread, s |\n|---|---|---|---|---|---|")
    x = torch.rand(options.batch, 3, options.size, options.size, device=device)
    for name in options.networks:
        net = build(name).to(device)
        variants = [("eager", False, False, False), ("channels last", True, False, False)]
        if device == "cuda":
            variants += [("channels last, TF32", True, True, False), ("channels last, TF32, compiled", True, True, True)]
        for label, last, tf32, compiled in variants:
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
            form = torch.channels_last if last else torch.contiguous_format
            seen = net.to(memory_format=form)
            timed(label, name, torch.compile(seen) if compiled else seen, x.contiguous(memory_format=form), options.repeats, device)
    print(f"\nPeak resident set of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB.")


if __name__ == "__main__":
    main()
