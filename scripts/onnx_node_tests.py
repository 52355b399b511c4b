#!/usr/bin/env python3
"""ONNX's own tests through Entoptic: those of single operators, of PyTorch's operators and layers, and the graphs of its light models.

    python scripts/onnx_node_tests.py [--program target/release/entoptic] [--only 'conv|pool'] [--verbose] [--out docs/networks.md]

Needs onnx, numpy and safetensors. A test of one operator is no network of a picture, so each is put into one that computes the same:
a convolution with ones and zeros takes the operator's input out of a picture, and a pooling window of one pixel behind the operator asks
for its output as a picture. Inputs of other numbers of sides get or lose sides of size 1, in one of a few ways; further inputs
become tensors of the file or, where these are refused, other channels of the picture. What the program says to the network is its
answer to the test: passed, refused in words, or wrong, which must not happen.
"""
import argparse
import collections
import glob
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

import marked

warnings.filterwarnings("ignore")

# What networks that are read here are made of. Tests of other operators alone are only counted.
OPERATORS = set("""Add AveragePool BatchNormalization Cast CastLike Clip Concat Constant ConstantOfShape Conv Div Dropout Elu Expand
    Flatten Gather Gelu Gemm GlobalAveragePool GlobalMaxPool HardSigmoid HardSwish Identity LayerNormalization LeakyRelu LRN MatMul
    MaxPool Mul Neg PRelu Pad ReduceMean Relu Reshape Shape Sigmoid Slice Softmax Softplus Split Squeeze Sub Sum Swish Tanh Transpose
    Unsqueeze Mish Pow Sqrt Erf Reciprocal Floor Ceil Mod""".split())
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
# Relative L2; the tests' own bound is 1e-3 for each number.
BOUND = 1e-5
COARSE = 1e-3


def cases(only):
    """Name, model, inputs and outputs of each test that is of these operators, and how many others there are."""
    from onnx.backend.test.case.node import collect_testcases

    found, others = [], collections.Counter()
    for case in collect_testcases(None):
        data = case.data_sets[0]
        arrays = [[np.asarray(value) if np.isscalar(value) else value for value in values] for values in data]
        found.append((case.name, case.model, *arrays))
    folder = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data")
    for path in sorted(glob.glob(os.path.join(folder, "pytorch-*", "*")) + glob.glob(os.path.join(folder, "simple", "*"))):
        sets = glob.glob(os.path.join(path, "test_data_set_0", "*.pb"))
        if not sets:
            continue

        def of(kind):
            files = sorted((p for p in sets if f"{kind}_" in os.path.basename(p)), key=lambda p: int(re.findall(r"\d+", p)[-1]))
            return [tensor_of(file) for file in files]
        found.append((os.path.basename(path), onnx.load(os.path.join(path, "model.onnx")), of("input"), of("output")))
    kept, of = [], {name: {node.op_type for node in model.graph.node} for name, model, *_ in found}
    for name, model, given, made in found:
        # An operator as ONNX composes it of others.
        base = of.get(name.split("_expanded")[0], set())
        used = base | {node.op_type for node in model.graph.node}
        if not used <= OPERATORS or any(node.domain not in ("", "ai.onnx") for node in model.graph.node):
            others.update(["others"])
        elif re.search(only, name):
            kept.append((name, model, given, made))
    return kept, others["others"]


def tensor_of(file):
    tensor = onnx.TensorProto()
    with open(file, "rb") as stream:
        tensor.ParseFromString(stream.read())
    try:
        return numpy_helper.to_array(tensor)
    except Exception:
        return None


def places(sizes):
    """Ways in which some sizes can be those of a picture, each with the order in which its sides are the operator's: missing ones are
    1 and stand in one of a few places, and the last one may be that of the channels."""
    rank = len(sizes)
    if rank > 4:
        return
    ones = (1,) * (4 - rank)
    ways = [sizes + ones, ones + sizes]
    if rank in (2, 3):
        ways += [(1,) + sizes + ones[1:]] if rank == 2 else []
        ways += [sizes[:1] + ones + sizes[1:]]
    for way in dict.fromkeys(ways):
        yield way, None
    if rank > 1:
        a, b, c, d = ones + sizes
        yield (a, d, b, c), (0, 2, 3, 1)


def network(model, given, made, at_output, pictures, place, place_out):
    """The test as a network of one picture: which inputs are in the picture, and how input and output are one. An output without a
    place goes through a matrix of ones and zeros instead."""
    four, order = place
    graph = onnx.GraphProto()
    graph.CopyFrom(model.graph)
    names = [value.name for value in graph.input]
    names = [name for name in names if name not in {tensor.name for tensor in graph.initializer}]
    kinds = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    nodes, added = [], []

    def constant(name, array):
        added.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    n, c, h, w = four
    for channel, at in enumerate(pictures):
        name = names[at]
        # y[n, c, h, w] = x[n, channel, h C + c, w]
        weight = np.zeros((c, 3, c, 1), np.float32)
        weight[np.arange(c), channel, np.arange(c), 0] = 1
        conv = helper.make_node("Conv", ["the picture", constant(f"taken {channel}", weight)], [f"four {channel}"],
                                name=f"take {channel}", kernel_shape=[c, 1], strides=[c, 1])
        sizes = constant(f"sizes {channel}", np.array(given[at].shape, np.int64))
        nodes.append(conv)
        four_name = f"four {channel}"
        if order:
            nodes.append(helper.make_node("Transpose", [four_name], [f"turned {channel}"], name=f"turn {channel}", perm=order))
            four_name = f"turned {channel}"
        nodes.append(helper.make_node("Reshape", [four_name, sizes], [name], name=f"as given {channel}"))
    for at, name in enumerate(names):
        if at not in pictures and at < len(given):
            array = given[at]
            added.append(numpy_helper.from_array(array, name) if isinstance(array, np.ndarray) else array)
    output = graph.output[at_output].name
    ends = []
    if place_out is None:
        rows, columns = made[at_output].shape[0], made[at_output].size // made[at_output].shape[0]
        four_out = (rows, columns, 1, 1)
        matrix = constant("the same", np.eye(columns, dtype=np.float32))
        ends = [helper.make_node("Flatten", [output], ["flat out"], name="as a matrix", axis=1),
                helper.make_node("Gemm", ["flat out", matrix], ["the output"], name="the end")]
    else:
        four_out, order = place_out
        turned = [four_out[axis] for axis in order] if order else four_out
        sizes, last = constant("sizes out", np.array(turned, np.int64)), "shaped out"
        ends.append(helper.make_node("Reshape", [output, sizes], [last], name="as a picture"))
        if order:
            ends.append(helper.make_node("Transpose", [last], ["turned out"], name="as a picture again", perm=np.argsort(order)))
            last = "turned out"
        ends.append(helper.make_node("MaxPool", [last], ["the output"], name="the end", kernel_shape=[1, 1]))
    every = nodes + list(graph.node) + ends
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
    graph.node.extend(every)
    graph.initializer.extend(added)
    graph.input.extend([helper.make_tensor_value_info("the picture", TensorProto.FLOAT, [n, 3, c * h, w])])
    graph.output.extend([helper.make_tensor_value_info("the output", TensorProto.FLOAT, list(four_out))])
    whole = helper.make_model(graph, opset_imports=model.opset_import)
    whole.ir_version = max(4, min(model.ir_version, 11))
    return whole


def asked(program, folder, whole, picture):
    path, image, out = (os.path.join(folder, name) for name in ("test.onnx", "x.safetensors", "out.safetensors"))
    onnx.save(whole, path)
    save_file({"image": picture}, image)
    words = ["outputs", "--weights", path, "--image", image, "--normalize", "source", "--layer", "the end", "--out", out]
    done = subprocess.run([program, "--quiet", *words], capture_output=True, text=True)
    if done.returncode == 1:
        lines = [line.strip() for line in done.stderr.strip().splitlines() if not re.match("warning|adapter", line)]
        return None, " ".join(lines).replace(path + ": ", "").removeprefix("error: ")
    if done.returncode:
        return None, f"CRASHED with exit code {done.returncode}: {done.stderr[-300:]}"
    return load_file(out)["the end"], ""


def verdict(program, folder, model, given, made, at_output):
    """Passed, refused or wrong, and the words; of one that passed the picture, what was expected, and the bound."""
    expected = made[at_output]
    if not isinstance(expected, np.ndarray) or expected.dtype.kind != "f":
        return "left out", "its output holds no numbers with a fractional part"
    floats = [at for at, value in enumerate(given) if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size]
    if not floats:
        return "left out", "none of its inputs could be a picture"
    if not expected.size or expected.ndim > 4 or given[floats[0]].ndim > 4:
        return "left out", "it has five sides or more, or nothing in it"
    first = floats[0]
    alike = [at for at in floats if given[at].shape == given[first].shape][:3]
    words, is_own = None, False
    tried = [[first], alike] if len(alike) > 1 else [[first]]
    ends = [*places(expected.shape), *([None] if expected.ndim > 1 and expected.size < 4096 else [])]
    hopeless = set()
    for pictures, place, place_out in itertools.product(tried, places(given[first].shape), ends):
        # How the output is looked at does not matter where the operator itself is refused. The convolution that takes channels out
        # of a picture has as many weights as their square.
        if (len(pictures), place) in hopeless or place[0][1] > 512:
            continue
        (n, c, h, w), order = place
        picture = np.zeros((n, 3, c * h, w), np.float32)
        for channel, at in enumerate(pictures):
            value = given[at].astype(np.float32)
            value = value.reshape([(n, c, h, w)[axis] for axis in order]).transpose(np.argsort(order)) if order else value
            picture[:, channel] = value.reshape(n, c, h, w).transpose(0, 2, 1, 3).reshape(n, h * c, w)
        found, refusal = asked(program, folder, network(model, given, made, at_output, pictures, place, place_out), picture)
        if found is None:
            if refusal.startswith("CRASHED"):
                return "wrong", refusal
            # What concerns the operator's own part is told rather than what concerns the sides around it.
            behind, before = re.search(" in (the end|as a)", refusal), re.search(" in (take|turn|as given)", refusal)
            own = not (behind or before)
            if words is None or own and not is_own:
                words, is_own = refusal, own
            if "is not supported" in refusal or "training mode" in refusal:
                break
            if not behind:
                hopeless.add((len(pictures), place))
            continue
        if place_out is None and found.shape != (expected.shape[0], expected.size // expected.shape[0], 1, 1):
            # A matrix whose rows are pixels is a picture with its sides in the engine's order.
            words = words or "makes a matrix whose rows are not pictures"
            continue
        answer = expected if place_out is None or not place_out[1] else expected.reshape(
            [place_out[0][axis] for axis in place_out[1]]).transpose(np.argsort(place_out[1]))
        shape, expected32, found = found.shape, answer.astype(np.float64).ravel(), found.astype(np.float64).ravel()
        if found.size != expected32.size:
            return "wrong", f"{found.size} numbers instead of {expected32.size}"
        finite = np.isfinite(expected32)
        same = np.array_equal(found[~finite], expected32[~finite], equal_nan=True)
        apart = np.linalg.norm(found[finite] - expected32[finite]) / max(np.linalg.norm(expected32[finite]), 1e-30)
        # Some tests write down four decimals; numbers of 16 bits have three.
        coarse = expected.dtype.itemsize < 4 or np.array_equal(expected, np.round(expected, 4))
        bound = COARSE if coarse else BOUND
        if not same or apart > bound:
            return "wrong", f"relative L2 {apart:.1e}"
        return "passed", f"relative L2 {apart:.1e}", picture, np.ascontiguousarray(answer, np.float32).reshape(shape), bound
    return "refused", words or ""


def light(program):
    """The light models: read, and the sizes of their outputs."""
    folder = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data", "light")
    lines = ["| light model | layers that are listed | output of the file | last layer |", "| --- | --- | --- | --- |"]
    for path in sorted(glob.glob(os.path.join(folder, "*.onnx"))):
        sizes = [dim.dim_value for dim in onnx.load(path).graph.output[0].type.tensor_type.shape.dim]
        done = subprocess.run([program, "--quiet", "layers", "--weights", path], capture_output=True, text=True)
        name = os.path.basename(path)[len("light_"):-len(".onnx")]
        layers = [line for line in done.stdout.splitlines()[1:-1]]
        if done.returncode or not layers:
            lines.append(f"| {name} | {done.stderr.strip().splitlines()[-1]} | {sizes} | |")
            continue
        last = re.search(r"(\d+ x \d+ x \d+)", layers[-1]).group(1)
        lines.append(f"| {name} | {len(layers)} | {' x '.join(map(str, sizes))} | {last} |")
    return lines


def plain(words):
    """A refusal without what differs from test to test."""
    words = words.replace("cannot be read as a network: ", "").strip()
    words = re.sub(r"(--image: )\S*/", r"\1", words)
    words = re.sub(r"\s*\(once in [^)]*\)|\s*\(\d+ times, first in [^)]*\)", "", words)
    return re.sub(r"\d+(\.\d+)?", "N", words).replace("|", "/")[:160]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/entoptic")
    parser.add_argument("--only", default="", help="tests whose names match")
    parser.add_argument("--verbose", action="store_true", help="each test")
    parser.add_argument("--save", help="a folder for the networks of tests that pass, and their answers, as tests/onnx_nodes.rs reads them")
    parser.add_argument("--out")
    args = parser.parse_args()
    tests, others = cases(args.only)
    answers, about = {}, {}
    by_operator, reasons, counts = collections.defaultdict(collections.Counter), collections.Counter(), collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        for name, model, given, made in tests:
            for at_output in range(len(made)):
                result, words, *rest = verdict(args.program, folder, model, given, made, at_output)
                counts[result] += 1
                operators = [node.op_type for node in model.graph.node]
                by_operator[operators[0] if len(operators) == 1 else "several together"][result] += 1
                if result in ("refused", "left out"):
                    reasons[result, plain(words)] += 1
                if args.verbose or result == "wrong":
                    print(f"{result:>8}  {name}  {words}", file=sys.stderr, flush=True)
                if args.save and result == "passed":
                    name = name if len(made) == 1 else f"{name}_{at_output}"
                    os.replace(os.path.join(folder, "test.onnx"), os.path.join(args.save, f"{name}.onnx"))
                    answers[f"{name}/x"], answers[f"{name}/y"], about[name] = rest[0], rest[1], {"bound": rest[2]}
    if args.save:
        save_file(answers, os.path.join(args.save, "answers.safetensors"))
        with open(os.path.join(args.save, "answers.json"), "w") as file:
            json.dump(about, file, indent=1, sort_keys=True)
    lines = [f"ONNX {onnx.__version__}: {counts['passed']} outputs of tests right, {counts['refused']} refused in words, "
             f"{counts['wrong']} wrong, {counts['left out']} left out; {others} further tests are of other operators.", "",
             "| operator | right | refused | wrong | left out |", "| --- | --- | --- | --- | --- |"]
    for operator, found in sorted(by_operator.items()):
        lines.append("| " + " | ".join([operator, *(str(found[key]) for key in ("passed", "refused", "wrong", "left out"))]) + " |")
    lines += ["", "| tests | refused or left out, because |", "| --- | --- |"]
    lines += [f"| {count} | {words} |" for (_, words), count in reasons.most_common()]
    lines += ["", *light(args.program)]
    marked.write(args.out, os.path.basename(__file__), "\n".join(lines))
    sys.exit(counts["wrong"] > 0)


if __name__ == "__main__":
    main()
