#!/usr/bin/env python3
"""Makes pictures by a grid of recipes with Entoptic itself, has them judged by the networks that did not make them, and prints a table.

Starts from a recipe and puts every combination of the values given in its place:
    recipe_grid.py --recipe demo-waves --vary parametrisation.decay=1.0,1.5 --vary 'stage.rate=[0.05, 0.02];[0.1, 0.04]'
A key of `stage` goes into every stage, `stage1.rate` into the first alone. Values are TOML, separated by commas, or by semicolons
where one is given. What is there already is not made again: the command goes on where it was stopped.

needs: Python 3.11; a build of entoptic (cargo build --release)
"""

import argparse
import itertools
import json
import subprocess
import time
import tomllib
from pathlib import Path

CLASSES = ["tench", "church", "parachute", "golf ball", "chain saw"]
MAKERS = ["resnet50", "googlenet", "inception_v3", "resnet50=demo-plain"]
COLUMNS = ["p", "top 1", "stability", "fine ratio", "variation", "contrast", "symmetry", "chroma", "saturated", "alike"]


def parsed(text):
    return tomllib.loads(f"value = {text}")["value"]


def written(value):
    """A value as TOML; tables inline."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {written(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value)


def recipe_text(recipe):
    lines = [f"{key} = {written(value)}" for key, value in recipe.items() if key != "stage"]
    for stage in recipe["stage"]:
        lines += ["[[stage]]"] + [f"{key} = {written(value)}" for key, value in stage.items()]
    return "\n".join(lines) + "\n"


def put(recipe, key, value):
    table, _, name = key.rpartition(".")
    if table.startswith("stage"):
        number = table.removeprefix("stage")
        for stage in recipe["stage"] if not number else [recipe["stage"][int(number) - 1]]:
            stage[name] = value
    elif table:
        recipe.setdefault(table, {})[name] = value
    else:
        recipe[name] = value


def varied(argument):
    key, _, values = argument.partition("=")
    return [(key, text.strip()) for text in values.split(";" if ";" in values else ",")]


def named(role, network):
    architecture, _, weights = network.partition("=")
    return [f"--{role}", architecture] + (["--weights", weights] if weights else [])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="demo", help="a shipped recipe or a file [demo]")
    parser.add_argument("--vary", action="append", default=[], metavar="KEY=VALUES")
    parser.add_argument("--makers", nargs="+", default=MAKERS, metavar="NETWORK[=WEIGHTS]")
    parser.add_argument("--classes", nargs="+", default=CLASSES)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--size", type=int, default=128, help="side at which pictures are judged [128]")
    parser.add_argument("--out", type=Path, default=Path("target/recipe-grid"))
    parser.add_argument("--entoptic", default="target/release/entoptic")
    arguments = parser.parse_args()

    def entoptic(*words):
        return subprocess.run([arguments.entoptic, *map(str, words)], check=True, capture_output=True, text=True).stdout

    path = Path(arguments.recipe)
    text = path.read_text() if path.suffix == ".toml" else entoptic("recipes", "show", arguments.recipe)
    print("| recipe | maker | " + " | ".join(COLUMNS) + " | seconds |")
    print("|---|---|" + "---|" * (len(COLUMNS) + 1))
    judges = [word for network in MAKERS for word in named("judge", network)]
    for choice in itertools.product(*map(varied, arguments.vary)):
        recipe = tomllib.loads(text)
        for key, value in choice:
            put(recipe, key, parsed(value))
        label = ", ".join(f"{key} {value}" for key, value in choice) or arguments.recipe
        folder = arguments.out / "".join(letter if letter.isalnum() else "-" for letter in label)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.toml").write_text(recipe_text(recipe))
        for maker in arguments.makers:
            made = folder / maker.replace("=", "-")
            began = time.monotonic()
            # A folder is complete when its scores are there.
            scores = made / "scores.json"
            if not scores.exists():
                options = [*named("model", maker), "--class", ",".join(arguments.classes), "--seeds", arguments.seeds]
                entoptic("generate", *options, "--recipe", folder / "recipe.toml", "--out", f"{made}/", "--quiet")
                said = entoptic("score", made, *judges, "--size", arguments.size, "--json", "--quiet")
                plain = json.loads(entoptic("score", made, *judges[:2], "--json", "--quiet"))["mean"]["pixels"]
                scores.write_text(json.dumps({"judged": json.loads(said), "pixels": plain}))
            found = json.loads(scores.read_text())
            [of_maker], pixels = found["judged"]["makers"], found["pixels"]
            numbers = {
                "p": of_maker["held_out"]["probability"],
                "top 1": of_maker["held_out"]["top_1"],
                "stability": of_maker["stability"],
                "alike": of_maker["alike"],
                **{name.replace("_", " "): value for name, value in pixels.items()},
            }
            cells = " | ".join("-" if numbers[name] is None else f"{numbers[name]:.3f}" for name in COLUMNS)
            print(f"| {label} | {maker} | {cells} | {time.monotonic() - began:.0f} |", flush=True)


if __name__ == "__main__":
    main()
