#!/usr/bin/env python3
"""Whether a program makes the same pictures as before: four objectives with each of the three demo networks.

usage: scripts/pictures.py PROGRAM [--write]

Prints the SHA-256 of the pixels of each picture and compares it with benches/results/pictures.sha256, whose first lines tell on
which adapter it was made: another adapter rounds otherwise. With --write it replaces that file.
"""
import hashlib, pathlib, re, subprocess, sys, tempfile, zlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
KNOWN = ROOT / "benches" / "results" / "pictures.sha256"
LAYERS = {"resnet50": "layer3.1", "googlenet": "inception4c", "inception_v3": "Mixed_6b"}


def objectives(network):
    other = "resnet50" if network == "googlenet" else "googlenet"
    yield "class", ["generate", "--model", network, "--class", "church", "--seed", "1"]
    yield "difference", ["difference", "--model", network, "--minus", other, "--class", "golf ball", "--seed", "2"]
    yield "joint", ["generate", "--model", network, "--model", other, "--class", "church", "--seed", "3"]
    yield "feature", ["feature", "--model", network, "--layer", LAYERS[network], "--channel", "7", "--seed", "4"]


def pixels(path):
    """The image data of a PNG as its encoder filtered them: the same pixels by the same program give the same."""
    data, at, found = path.read_bytes(), 8, b""
    while at < len(data):
        length, kind = int.from_bytes(data[at:at + 4], "big"), data[at + 4:at + 8]
        if kind == b"IDAT":
            found += data[at + 8:at + 8 + length]
        at += 12 + length
    return hashlib.sha256(zlib.decompress(found)).hexdigest()


def main():
    program, write = sys.argv[1], "--write" in sys.argv[2:]
    recipe = (ROOT / "src" / "synthesis" / "recipes" / "demo-quick.toml").read_text()
    # InceptionV3 needs 75 pixels.
    recipe = re.sub(r"(?m)^size = .*", "size = 96", recipe)
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "recipe.toml").write_text(recipe)
        for network in LAYERS:
            for name, arguments in objectives(network):
                out = folder / "picture.png"
                command = [program, "--quiet", *arguments, "--weights", "demo", "--recipe", str(folder / "recipe.toml")]
                if name == "joint" or name == "difference":
                    command.remove("--weights"), command.remove("demo")
                subprocess.run([*command, "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
                made[f"{network}-{name}"] = pixels(out)
                out.unlink()
    adapter = subprocess.run([program, "adapters"], capture_output=True, text=True).stdout.strip()
    if write:
        lines = [f"# {line}" for line in adapter.splitlines()] + [f"{sha}  {name}" for name, sha in made.items()]
        KNOWN.write_text("\n".join(lines) + "\n")
    known = dict(reversed(line.split("  ")) for line in KNOWN.read_text().splitlines() if not line.startswith("#"))
    for name, sha in made.items():
        print(f"{sha}  {name}  {'same' if known.get(name) == sha else 'DIFFERS'}")
    sys.exit(known != made)


main()
