# SPDX-License-Identifier: GPL-2.0-or-later
"""The barriers of the ring under the kernel's memory model.

Each pair of the table in src/ring.c, and of the wake-up, is a litmus test whose
outcome must never be; without either barrier it must be possible.
"""

from pathlib import Path

import pytest

from tests.mutants.herd import verdict

LITMUS = Path(__file__).parent / "litmus"
TESTS = sorted(path.stem for path in LITMUS.glob("*.litmus"))

# (test, what is there, what is weaker). G alone has none: what follows it depends on it.
WEAKER = [
    ("overwrite", "cmpxchg(", "cmpxchg_relaxed("),
    ("overwrite", "smp_rmb();", ""),
    ("publish", "cmpxchg(", "cmpxchg_relaxed("),
    ("publish", "smp_load_acquire(entry)", "READ_ONCE(*entry)"),
    ("late", "smp_load_acquire(entry)", "READ_ONCE(*entry)"),
    ("number-of-the-old", "smp_wmb();", ""),
    ("number-of-the-old", "smp_rmb();", ""),
    ("number-of-the-new", "smp_store_release(seq, 7)", "WRITE_ONCE(*seq, 7)"),
    ("number-of-the-new", "smp_rmb();", ""),
    ("reuse", "atomic_add_return_release(", "atomic_add_return_relaxed("),
    ("shares", "smp_mb();", ""),
    ("shares", "cmpxchg(", "cmpxchg_relaxed("),
    ("wake", "smp_mb();\n\tr0 = READ_ONCE", "r0 = READ_ONCE"),
    ("wake", "smp_mb();\n\tr0 = smp_load", "r0 = smp_load"),
]


@pytest.mark.parametrize("name", TESTS)
def test_never(name):
    assert verdict(LITMUS / f"{name}.litmus") == "Never"


@pytest.mark.parametrize("name, strong, weak", WEAKER)
def test_weaker_is_not_enough(tmp_path, name, strong, weak):
    text = (LITMUS / f"{name}.litmus").read_text(encoding="ascii")
    assert text.count(strong) == 1
    weaker = tmp_path / "weaker.litmus"
    weaker.write_text(text.replace(strong, weak), encoding="ascii")
    assert verdict(weaker) == "Sometimes"


def test_each_is_shown_to_be_needed():
    assert {name for name, _, _ in WEAKER} == set(TESTS)
