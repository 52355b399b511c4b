"""Networks asked once: values and gradients against numpy, torch where it is installed, and every wrong argument."""

import threading
import time

import numpy as np
import pytest

import entoptic as en


def test_a_network_tells_of_itself(net):
    assert net.name == "googlenet" and "demo" in net.source and len(net.checksum) == 64
    assert len(net.classes) == 10 and net.class_index("church") == net.classes.index("church")
    layers = net.layers(64)
    assert list(layers).index("inception3a") < list(layers).index("inception4c")
    assert len(layers["inception4c"]) == 3
    assert "googlenet" in repr(net)


def test_outputs_have_the_shapes_of_what_is_given(net, x):
    found = net.outputs(x, ["inception4c", "logits"])
    channels, height, width = net.layers(32)["inception4c"]
    assert found["inception4c"].shape == (2, channels, height, width)
    assert found["logits"].shape == (2, 10) and found["logits"].dtype == np.float32
    assert net.outputs(x[0], "logits").shape == (10,)
    np.testing.assert_allclose(net.outputs(x[1], "logits"), found["logits"][1], rtol=1e-4, atol=1e-4)


def test_probabilities_are_the_softmax_of_logits(net, x):
    logits = net.outputs(x, "logits").astype(np.float64)
    expected = np.exp(logits - logits.max(1, keepdims=True))
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(net.probabilities(x), expected, atol=1e-5)


def test_values_are_what_numpy_computes(net, x):
    variation = np.abs(np.diff(x, axis=2)).sum((1, 2, 3)) + np.abs(np.diff(x, axis=3)).sum((1, 2, 3))
    value, gradient = net.value_and_grad(x, en.tv() - 0.5 * en.l1())
    np.testing.assert_allclose(value, variation - 0.5 * np.abs(x).sum((1, 2, 3)), rtol=1e-4)
    signs = np.zeros_like(x)
    for axis in (2, 3):
        step = np.sign(np.diff(x, axis=axis))
        before, after = [(0, 0)] * 4, [(0, 0)] * 4
        before[axis], after[axis] = (1, 0), (0, 1)
        signs += np.pad(step, before) - np.pad(step, after)
    np.testing.assert_allclose(gradient, signs - 0.5 * np.sign(x), atol=1e-5)
    outputs = net.outputs(x, ["logits", "inception4c"])
    church = net.class_index("church")
    value, _ = net.value_and_grad(x, en.logit("church") + en.channel("inception4c", 7))
    np.testing.assert_allclose(
        value, outputs["logits"][:, church] + outputs["inception4c"][:, 7].mean((1, 2)), rtol=1e-4, atol=1e-4
    )


def test_a_gradient_is_that_of_small_differences(net, x):
    goal = en.layer("inception3a")
    _, gradient = net.value_and_grad(x, goal)
    direction = np.random.default_rng(3).standard_normal(x.shape).astype(np.float32)
    step = np.float32(2e-3)
    up, _ = net.value_and_grad(x + step * direction, goal)
    down, _ = net.value_and_grad(x - step * direction, goal)
    measured = float((up.astype(np.float64) - down).sum()) / (2 * float(step))
    expected = float((gradient.astype(np.float64) * direction).sum())
    assert measured == pytest.approx(expected, rel=0.05, abs=2e-3)


def test_vjp_of_a_losss_gradient_is_the_gradient_of_the_loss(net, x):
    channels, height, width = net.layers(32)["inception4c"]
    of_mean = np.zeros((2, channels, height, width), np.float32)
    of_mean[:, 7] = 1.0 / (height * width)
    of_logit = np.zeros((2, 10), np.float32)
    of_logit[:, net.class_index("church")] = 0.5
    _, expected = net.value_and_grad(x, en.channel("inception4c", 7) + 0.5 * en.logit("church"))
    found = net.vjp(x, {"inception4c": of_mean, "logits": of_logit})
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())
    assert net.vjp(x[0], {"logits": of_logit[0]}).shape == x[0].shape


def test_two_networks_are_one_goal(net, other, x):
    goal = net[en.logit("church")] - 2 * other[en.logit("church")]
    value, _ = net.value_and_grad(x, goal, normalize="imagenet")
    church = net.class_index("church")
    logits = [one.outputs(x, "logits", normalize="imagenet")[:, church] for one in (net, other)]
    np.testing.assert_allclose(value, logits[0] - 2 * logits[1], rtol=1e-3, atol=1e-3)


def test_pictures_and_paths_are_taken_as_arrays_are(net, x, tmp_path):
    image = pytest.importorskip("PIL.Image")
    levels = np.rint(x[0] * 255).astype(np.uint8).transpose(1, 2, 0)
    picture = image.fromarray(levels)
    picture.save(tmp_path / "a.png")
    expected = net.outputs((levels.transpose(2, 0, 1) / 255).astype(np.float32)[None], "logits")
    np.testing.assert_allclose(net.outputs(picture, "logits"), expected, atol=1e-4)
    np.testing.assert_allclose(net.outputs(tmp_path / "a.png", "logits"), expected, atol=1e-4)
    assert net.outputs(str(tmp_path / "a.png"), "logits", size=64).shape == (1, 10)
    strided = np.asfortranarray(x)
    np.testing.assert_array_equal(net.outputs(strided, "logits"), net.outputs(x, "logits"))


WRONG = [
    (lambda net, x: net.outputs(x.astype(np.float64)), TypeError, "x is of float64, expected float32"),
    (lambda net, x: net.outputs((x * 255).astype(np.uint8)), TypeError, "x is of uint8, expected float32; divide by 255"),
    (lambda net, x: net.outputs(x * 255), ValueError, r"x goes from .* expected pixel values from 0 to 1"),
    (lambda net, x: net.outputs(x * np.nan), ValueError, "not finite"),
    (lambda net, x: net.outputs(x[0, 0]), ValueError, r"shape \(32, 32\), expected \[N, 3, H, W\]"),
    (lambda net, x: net.outputs(x.transpose(0, 2, 3, 1)), ValueError, "looks like NHWC"),
    (lambda net, x: net.outputs(x[0].transpose(1, 2, 0)), ValueError, "looks like HWC"),
    (lambda net, x: net.outputs(x[:, :2]), ValueError, r"shape \(2, 2, 32, 32\), expected \[N, 3, H, W\]"),
    (lambda net, x: net.outputs(x[:0]), ValueError, "one picture or more"),
    (lambda net, x: net.outputs(object()), TypeError, "x is object, expected an array"),
    (lambda net, x: net.outputs("nowhere.png"), FileNotFoundError, "nowhere.png"),
    (lambda net, x: net.outputs(x, []), TypeError, "expected names of layers"),
    (lambda net, x: net.outputs(x, [3]), TypeError, "expected names of layers"),
    (lambda net, x: net.outputs(x, "inception4z"), ValueError, "did you mean inception4"),
    (lambda net, x: net.outputs(x, normalize="zero"), ValueError, 'normalize is "zero", expected "source", "imagenet"'),
    (lambda net, x: net.outputs(x[..., :1, :1]), ValueError, "larger picture|expected"),
    (lambda net, x: net.value_and_grad(x, "church"), TypeError, "the goal is 'church'"),
    (lambda net, x: net.value_and_grad(x, en.logit("zebra crossing")), ValueError, "no class"),
    (lambda net, x: net.value_and_grad(x, en.logit(10)), ValueError, "0 to 9"),
    (lambda net, x: net.value_and_grad(x, en.channel("inception4c", 99999)), ValueError, "channel"),
    (lambda net, x: net.vjp(x, {}), TypeError, "expected a dictionary"),
    (lambda net, x: net.vjp(x, {"logits": np.zeros((2, 10))}), TypeError, "gradient at logits is of float64"),
    (lambda net, x: net.vjp(x, {"logits": np.zeros((2, 9), np.float32)}), ValueError, "expected"),
    (lambda net, x: net["church"], TypeError, "a network's item"),
    (lambda net, x: net.save("copy.safetensors"), ValueError, "copy that"),
    (lambda net, x: en.load(3), TypeError, "name is 3"),
    (lambda net, x: en.load("no-such-net"), ValueError, "no-such-net"),
    (lambda net, x: en.load("nowhere.pth"), FileNotFoundError, "nowhere.pth"),
    (lambda net, x: en.load("googlenet", weights="demo", mean=[0.1, 0.2]), ValueError, "mean has 2 numbers"),
    (lambda net, x: en.load("googlenet", weights="demo", key="a"), ValueError, "key belongs to a file"),
    (lambda net, x: en.use(1.5), TypeError, "adapter is 1.5"),
    (lambda net, x: en.from_torch("model", (1, 3, 8, 8)), (TypeError, ImportError), "torch"),
]


@pytest.mark.parametrize(("wrong", "kind", "said"), WRONG)
def test_wrong_arguments_are_named_with_both_sides(net, x, wrong, kind, said):
    with pytest.raises(kind, match=said):
        wrong(net, x)


def test_threads_share_a_network_and_leave_each_other_time(net, x):
    expected = net.outputs(x, "logits")
    found, ticks = [], []
    threads = [threading.Thread(target=lambda: found.append(net.outputs(x, "logits"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    # With the lock of the interpreter held, this thread would not run before they have ended.
    while any(thread.is_alive() for thread in threads):
        ticks.append(time.perf_counter())
        time.sleep(0.001)
    assert len(found) == 4 and len(ticks) > 2
    for values in found:
        np.testing.assert_array_equal(values, expected)


def memory():
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * 4096


def test_a_thousand_calls_leave_memory_flat(net):
    pytest.importorskip("resource")
    x = np.full((1, 3, 16, 16), 0.5, np.float32)
    goal = en.l1()
    for _ in range(200):
        net.value_and_grad(x, goal)
    try:
        before = memory()
    except FileNotFoundError:
        pytest.skip("the system does not tell how much memory is taken")
    for _ in range(1000):
        net.value_and_grad(x, goal)
    # A leak of one array a call would be 3 MB; of one program a call, much more.
    assert memory() - before < 24 << 20


def test_a_torch_module_gives_torchs_values(x):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 5)
    )
    model.train()
    mine = en.from_torch(model, (1, 3, 32, 32), mean=0.0, std=1.0)
    assert model.training
    pixels = torch.from_numpy(x).requires_grad_()
    logits = model.eval()(pixels)
    logits[:, 2].sum().backward()
    np.testing.assert_allclose(mine.outputs(x, "logits"), logits.detach().numpy(), rtol=1e-4, atol=1e-5)
    value, gradient = mine.value_and_grad(x, en.logit(2))
    np.testing.assert_allclose(value, logits.detach().numpy()[:, 2], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradient, pixels.grad.numpy(), rtol=1e-3, atol=1e-6)
