"""Writes demo_networks.json: what the small networks in weights/ answer to a picture, by PyTorch in f64.

    python demo_networks.py

Reads the same weights as the program does. Of each network: the logits, and 200 minus a class's logit differentiated with
respect to the picture, of which the length and some elements are kept. Among some pictures the one is taken that lies
farthest from kinks: where PyTorch in f32, in two orders of sums, and a picture that is off by 1e-6 give the nearest gradients.
Their largest distance is kept too; bounds are made of it. Needs torch, torchvision, safetensors.
"""
import json
import os
import sys

import torch
import torchvision
from safetensors import safe_open

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
sys.path.insert(0, os.path.join(ROOT, "scripts"))
from train_demo import narrow  # noqa: E402

PICTURES = 24
CLASS = 3
KEPT = 96
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
NETWORKS = {"resnet50": 64, "googlenet": 64, "inception_v3": 80, "resnet50-plain": 64}


def network(name):
    """The network in f64, of the weights in the program."""
    with safe_open(os.path.join(ROOT, "weights", f"demo-{name}.safetensors"), "pt") as file:
        state = {key: file.get_tensor(key).double() for key in file.keys()}
        about = file.metadata()
    assert about["transform_input"] == "false"
    architecture = name.split("-")[0]
    options = {} if architecture == "resnet50" else {"aux_logits": False, "init_weights": False}
    net = getattr(torchvision.models, architecture)(weights=None, **options)
    narrow(net, float(about["width"]), state["fc.weight"].shape[0])
    missing, unexpected = net.load_state_dict(state, strict=False)
    assert all(key.endswith("num_batches_tracked") for key in missing) and not unexpected, (missing, unexpected)
    return net.double().eval()


def hashed(seed, count):
    """Numbers from 0 to below 1: the upper 24 bits of a hash, exactly as the program makes them."""
    numbers = []
    for k in range(count):
        z = (seed * 0x9E3779B97F4A7C15 + k * 0xD1B54A32D192ED03) % 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        numbers.append(((z ^ (z >> 31)) >> 40) / 2**24)
    return numbers


def answers(net, picture):
    """Logits and gradient."""
    x = picture.clone().requires_grad_()
    mean, std = (torch.tensor(v, dtype=x.dtype).view(1, 3, 1, 1) for v in (MEAN, STD))
    logits = net((x - mean) / std)
    (200 - logits[0, CLASS]).backward()
    return logits.detach().double()[0], x.grad.double().flatten()


def main():
    torch.set_num_threads(1)
    about = {"torch": torch.__version__, "torchvision": torchvision.__version__, "class": CLASS, "networks": []}
    for name, side in NETWORKS.items():
        double = network(name)
        single = network(name).float()
        best = None
        for seed in range(PICTURES):
            x = torch.tensor(hashed(seed, 3 * side * side), dtype=torch.float64).view(1, 3, side, side)
            wobble = x * (1 + 1e-6 * torch.tensor(hashed(1000 + seed, x.numel()), dtype=torch.float64).view_as(x))
            logits, grad = answers(double, x)
            others = [answers(single, x.float()), answers(single, x.float().to(memory_format=torch.channels_last)),
                      answers(double, wobble)]
            gap = max(float((grad - other).norm() / grad.norm()) for _, other in others)
            logit_gap = max(float((logits - other).norm() / logits.norm()) for other, _ in others)
            if best is None or gap < best["gradient_gap"]:
                places = [int(v * grad.numel()) for v in hashed(2000, KEPT)]
                best = {"name": name, "side": side, "picture": seed, "logits": logits.tolist(), "logits_gap": logit_gap,
                        "places": places, "gradient": grad[places].tolist(), "length": float(grad.norm()),
                        "gradient_gap": gap}
        print(f"{name}: picture {best['picture']}, gaps {best['logits_gap']:.1e}, {best['gradient_gap']:.1e}", flush=True)
        about["networks"].append(best)
    with open(os.path.join(HERE, "demo_networks.json"), "w") as file:
        json.dump(about, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
