# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures that README.md and docs/design.md show: those of docs/bench/results.json."""

import json
import re

from bench.guest import TOP
from bench.plot import PEERS

KEPT = TOP / "docs/bench/results.json"
README, DESIGN = TOP / "README.md", TOP / "docs/design.md"

# The README's section, from its heading to the next one; there is none without results.
NEXT = "## Where things are\n"
SECTION = re.compile(rf"(?:## What it costs\n.*?)?(?={NEXT})", re.S)
WORDS = """\
## What it costs

Instructions in an emulated machine that counts them, system calls included; of what
has to be fetched from the other end, both ends. `make bench` measures it again,
`docs/bench.md` says how.

{table}

![Instructions to record 64 bytes, beside the peers](docs/bench/peers.svg)

![The same by size, in times of /dev/null](docs/bench/ratios.svg)

"""

# What docs/design.md says of a write's price.
SENTENCE = re.compile(r"\(6\.1 / 7\.3, instructions, /dev/null .*? at 256\.", re.S)

SHOWN = {**PEERS, "flightrec_read_batched": "flightrec, a record read in batches"}
SIZES = (64, 256)


def kept_rows():
    """The rows of the results that are committed; [] if none are."""
    return json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else []


def _instructions(rows):
    return {(row["kernel"], row["bytes"]): row["instructions"] for row in rows}


def readme_table(rows):
    """The figures of ROWS as a table in Markdown, and where they are from."""
    kernels = list(dict.fromkeys(row["kernel"] for row in rows))
    instructions = _instructions(rows)
    columns = [(kernel, size) for size in SIZES for kernel in kernels]
    lines = ["| | " + " | ".join(f"{size} bytes, Linux {kernel}" for kernel, size in columns) + " |",
             "| --- |" + " ---: |" * len(columns)]  # fmt: skip
    for name, words in SHOWN.items():
        values = " | ".join(f"{instructions[column][name]:,.0f}" for column in columns)
        lines.append(f"| {words} | {values} |")
    releases = " and ".join(dict.fromkeys(row["release"] for row in rows))
    return "\n".join([*lines, "", f"{rows[-1]['date']}, {releases}."])


def design_sentence(rows):
    """What docs/design.md says of a write's price."""
    instructions = _instructions(rows)

    def pair(name, size):
        return " / ".join(f"{instructions[kernel, size][name]:.0f}" for kernel in ("6.1", "7.3"))

    return (f"(6.1 / 7.3, instructions, /dev/null {pair('null', 64)}):\n"
            f"{pair('flightrec_write', 64)} at 64 bytes, "
            f"{pair('flightrec_write', 256)} at 256.")  # fmt: skip


def replaced(text, pattern, by):
    """TEXT with what PATTERN finds, once, replaced BY something else."""
    text, n = pattern.subn(lambda _: by, text, count=1)
    if not n:
        raise ValueError(f"no place for figures: {pattern.pattern}")
    return text


def texts(rows):
    """{path: what the file says with the figures of ROWS}."""
    readme, design = (path.read_text(encoding="utf-8") for path in (README, DESIGN))
    if not rows:
        return {README: replaced(readme, SECTION, ""), DESIGN: design}
    return {
        README: replaced(readme, SECTION, WORDS.format(table=readme_table(rows))),
        DESIGN: replaced(design, SENTENCE, design_sentence(rows)),
    }


def update_texts(rows):
    """Put the figures of ROWS into the files."""
    for path, text in texts(rows).items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    update_texts(kept_rows())
