"""What the tests share: the small networks that come with the engine, and pictures of few steps."""

import os
import pathlib
import shutil

import numpy as np
import pytest

import entoptic as en

TINY = """
name = "tiny"
description = "Few steps, for tests."
normalize = "imagenet"
init = { kind = "normal", size = 32, mean = 0.5, std = 0.05 }

[[stage]]
iterations = 4
rate = [0.05, 0.05]
sigma = [0.8, 0.4]
step = "normalized"
clamp = [0.0, 1.0]
"""


@pytest.fixture(scope="session")
def net():
    return en.load("googlenet", weights="demo")


@pytest.fixture(scope="session")
def other():
    return en.load("resnet50", weights="demo")


@pytest.fixture(scope="session")
def tiny():
    return TINY


@pytest.fixture
def x():
    return np.random.default_rng(7).uniform(0.2, 0.8, (2, 3, 32, 32)).astype(np.float32)


@pytest.fixture(scope="session")
def program():
    """The command line, where it has been built."""
    given = os.environ.get("ENTOPTIC_PROGRAM") or shutil.which("entoptic")
    if not given or not pathlib.Path(given).is_file():
        pytest.skip("the program is not there; ENTOPTIC_PROGRAM names it")
    return given
