"""A part of a document that a script writes: it stands between two marks, which are added at the end where they are missing."""
import os


def _marks(script):
    return f"<!-- written by scripts/{script} -->", f"<!-- end of what scripts/{script} writes -->"


def read(path, script):
    """What stands between the marks; nothing where they are missing."""
    text = open(path).read() if path and os.path.exists(path) else ""
    first, last = _marks(script)
    begin, end = text.find(first), text.find(last)
    return text[begin + len(first):end].strip() if 0 <= begin < end else ""


def write(path, script, part):
    """Puts `part` between the marks, or prints it where there is no document."""
    if not path:
        print(part, flush=True)
        return
    text = open(path).read() if os.path.exists(path) else ""
    first, last = _marks(script)
    begin, end = text.find(first), text.find(last)
    if not 0 <= begin < end:
        text, begin, end = f"{text}\n{first}{last}\n", len(text) + 1, len(text) + 1 + len(first)
    with open(path, "w") as file:
        file.write(f"{text[:begin]}{first}\n\n{part.strip()}\n\n{text[end:]}")
