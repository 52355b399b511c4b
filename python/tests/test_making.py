"""Pictures made, kept, made again, matched and judged; networks that learn."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import entoptic as en


def test_a_goal_makes_pictures_one_for_each_seed(net, tiny):
    goal = en.channel("inception4c", 7) + 0.5 * en.logit("church") - 1e-3 * en.tv()
    pictures = net.render(goal, seeds=2, recipe=tiny)
    assert [picture.seed for picture in pictures] == [0, 1]
    first = np.asarray(pictures[0])
    assert first.shape == (3, 32, 32) and first.dtype == np.float32
    assert 0.0 <= first.min() and first.max() <= 1.0
    assert not np.array_equal(first, np.asarray(pictures[1]))
    again = net.render(goal, seeds=[1], recipe=tiny)[0]
    np.testing.assert_allclose(again.raw(), pictures[1].raw(), atol=1e-3)
    assert pictures[0]._repr_png_().startswith(b"\x89PNG")
    assert 'name = "tiny"' in pictures[0].recipe and pictures[0].steps == 4
    objective = pictures[0].origin["objective"]
    assert objective == {"kind": "sum", "text": "channel(inception4c, 7) + 0.5*logit(church) - 0.001*tv"}
    scores = pictures[0].scores()
    assert scores[0]["network"] == "googlenet" and len(scores[0]["classes"]) == 5
    assert "32 x 32 pixels, seed 0" in repr(pictures[0])


def test_a_goal_is_raised(net, tiny):
    goal = en.logit("church")
    low = net.render(goal, recipe=tiny.replace("iterations = 4", "iterations = 1"))[0]
    high = net.render(goal, recipe=tiny.replace("iterations = 4", "iterations = 12"))[0]
    values = [net.value_and_grad(picture, goal, normalize="imagenet")[0] for picture in (low, high)]
    assert values[1] > values[0]


def test_the_same_seed_gives_the_bytes_of_the_program(net, tiny, program, tmp_path):
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(tiny)
    arguments = ["generate", "-m", "googlenet", "-w", "demo", "--class", "church", "--seed", "3", "--recipe", recipe]
    subprocess.run([program, "-q", *arguments, "--out", "cli.png"], cwd=tmp_path, check=True)
    picture = net.render(en.logit("church"), seeds=[3], recipe=recipe)[0]
    picture.save(tmp_path / "python.png")
    assert (tmp_path / "python.png").read_bytes() == (tmp_path / "cli.png").read_bytes()


def test_the_program_makes_a_sum_of_pythons_again(net, other, tiny, program, tmp_path):
    goal = net[en.logit("church")] - 0.5 * other[en.logit("church")] - 1e-3 * net[en.tv()]
    en.render(goal, recipe=tiny)[0].save(tmp_path / "both.png")
    told = subprocess.run([program, "verify", "both.png"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "comes out the same, bit by bit" in told.stdout


def test_a_picture_is_made_again_to_the_bit(net, tiny, tmp_path):
    path = tmp_path / "a.png"
    picture = net.render(en.layer("inception3a"), recipe=tiny)[0]
    picture.save(path)
    again = en.replay(path)
    np.testing.assert_array_equal(np.asarray(again), np.asarray(picture))
    same, said = en.verify(path)
    assert same and "bit by bit" in said
    with pytest.raises(ValueError, match="written as .png"):
        picture.save(tmp_path / "a.jpg")
    image = pytest.importorskip("PIL.Image")
    image.open(path).save(tmp_path / "bare.png")
    with pytest.raises(ValueError, match="does not say how it was made"):
        en.replay(tmp_path / "bare.png")
    assert picture.pil().size == (32, 32)


def test_a_callback_is_told_of_steps_and_may_end_it(net, tiny):
    told = []
    net.render(en.logit("church"), recipe=tiny, progress=told.append, every=1)
    assert [facts["step"] for facts in told] == [1, 2, 3, 4]
    assert all(facts["steps"] == 4 and len(facts["loss"]) == 1 for facts in told)

    def enough(facts):
        if facts["step"] == 2:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough") as stopped:
        net.render(en.logit("church"), recipe=tiny, progress=enough, every=1)
    assert [picture.steps for picture in stopped.value.pictures] == [2]


@pytest.mark.skipif(os.name != "posix", reason="Windows sends no interrupts to a child alone")
def test_an_interrupt_ends_the_run_after_a_step_and_keeps_the_picture(tmp_path):
    script = textwrap.dedent(
        """
        import os, signal, sys
        import entoptic as en
        net = en.load("googlenet", weights="demo")
        recipe = open(sys.argv[1]).read()
        def press(facts):
            if facts["step"] == 2:
                os.kill(os.getpid(), signal.SIGINT)
        try:
            net.render(en.logit("church"), recipe=recipe, progress=press, every=1)
        except KeyboardInterrupt as stop:
            stop.pictures[0].save("so-far.png")
            print("kept", stop.pictures[0].steps)
        """
    )
    from conftest import TINY

    (tmp_path / "long.toml").write_text(TINY.replace("iterations = 4", "iterations = 400"))
    told = subprocess.run(
        [sys.executable, "-c", script, "long.toml"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout.split() in (["kept", "2"], ["kept", "3"])
    assert (tmp_path / "so-far.png").is_file()


def test_a_photograph_is_matched(net, x, tiny, tmp_path):
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "photo.png"
    image.fromarray(np.rint(x[0] * 255).astype(np.uint8).transpose(1, 2, 0)).save(path)
    picture = en.match(net, path, layer="inception3a", recipe=tiny, progress=False)[0]
    assert picture.origin["objective"]["of"]["image"] == "photo.png"
    picture.save(tmp_path / "matched.png")
    np.testing.assert_array_equal(np.asarray(en.replay(tmp_path / "matched.png")), np.asarray(picture))
    started = net.render(en.logit("church"), recipe=tiny, init=path)[0]
    assert started.origin["init"]["image"]["file"] == "photo.png"


def test_pictures_are_scored(net, other, tiny):
    picture = net.render(en.logit("church"), recipe=tiny)[0]
    found = en.score([picture], judges=[net, other], size=32)[0]
    assert set(found["pixels"]) >= {"slope", "saturated", "contrast"}
    assert [judge["network"] for judge in found["judges"]] == ["googlenet", "resnet50"]
    assert all(0 <= judge["probability"] <= 1 and judge["class"] == "church" for judge in found["judges"])
    noise = np.random.default_rng(0).uniform(size=(3, 32, 32)).astype(np.float32)
    assert en.score(noise)[0]["judges"] == []
    with pytest.raises(ValueError, match="which class the picture shows"):
        en.score(noise, judges=[net])


def test_a_student_learns_its_teachers_answers(tmp_path, x, tiny):
    teacher, student = en.load("resnet50", weights="demo"), en.load("resnet50", weights="demo-plain")
    losses = en.train(student, teacher, x, steps=6, batch=2, adam=True, progress=False)
    assert len(losses) == 6 and losses[-1] < losses[0]
    with pytest.raises(ValueError, match="has been trained since it was loaded"):
        student.render(en.logit("church"), recipe=tiny)
    student.save(tmp_path / "student.safetensors")
    learnt = en.load(tmp_path / "student.safetensors")
    np.testing.assert_allclose(learnt.outputs(x), student.outputs(x), atol=1e-4)
    assert learnt.checksum != student.checksum


@pytest.mark.parametrize(
    ("wrong", "kind", "said"),
    [
        (dict(seeds=0), ValueError, "seeds is empty"),
        (dict(seeds=[-1]), ValueError, "a seed is -1"),
        (dict(seeds="1"), ValueError, "a seed is '1'"),
        (dict(size=0), ValueError, "size is 0, expected 1"),
        (dict(size=1.5), TypeError, "size is 1.5, expected an integer"),
        (dict(recipe="no-such-recipe"), ValueError, "there is none of that name"),
        (dict(recipe="nowhere.toml"), FileNotFoundError, "nowhere.toml"),
        (dict(recipe="a = 1\nb = 2\n"), ValueError, "line 1"),
        (dict(recipe=3), TypeError, "recipe is 3"),
        (dict(normalize="zero"), ValueError, "normalize is"),
        (dict(init="nowhere.png"), FileNotFoundError, "nowhere.png"),
        (dict(progress=3), TypeError, "progress is 3"),
        (dict(every=0), ValueError, "every is 0"),
    ],
)
def test_wrong_arguments_of_render_are_named(net, wrong, kind, said):
    with pytest.raises(kind, match=said):
        net.render(en.logit("church"), **wrong)


def test_other_wrong_arguments_are_named(net, x):
    with pytest.raises(ValueError, match="is of no network"):
        en.render(en.logit("church"))
    with pytest.raises(TypeError, match="expected a path"):
        en.match(net, x)
    with pytest.raises(ValueError, match='metric is "l3"'):
        en.match(net, "nowhere.png", metric="l3")
    with pytest.raises(TypeError, match="a judge is 3"):
        en.score(x, judges=[3])
    with pytest.raises(ValueError, match="expected squares"):
        en.train(net, net, x[..., :16])
    with pytest.raises(ValueError, match='loss is "l3"'):
        en.train(net, net, x, loss="l3")
    with pytest.raises(FileNotFoundError):
        en.replay("nowhere.png")


def test_recipes_and_adapters_are_listed():
    assert "demo" in en.recipes() and "[[stage]]" in en.recipes()["demo"]
    assert en.adapters() and en.adapter()


def test_no_adapter_is_an_error_at_first_use_that_names_packages(tmp_path):
    script = "import entoptic as en\nprint('imported')\ntry:\n    en.load('googlenet')\nexcept RuntimeError as e:\n    print(e)"
    nowhere = str(tmp_path / "nowhere.json")
    hidden = {"VK_DRIVER_FILES": nowhere, "VK_ICD_FILENAMES": nowhere}
    told = subprocess.run([sys.executable, "-c", script], env={**os.environ, **hidden}, capture_output=True, text=True)
    assert told.stdout.startswith("imported"), told.stderr
    if sys.platform == "linux":
        assert "mesa-vulkan-drivers" in told.stdout and "Colab" in told.stdout
