# SPDX-License-Identifier: GPL-2.0-or-later
"""What the demo prints: its steps, what was seen in each, and how long each took."""

import contextlib
import re
import threading
import time

from tests.lib.cache import remove

HEARTBEAT = 30  # seconds of silence after which a step says that it still runs


class NotObserved(AssertionError):
    """A step did not show what it must show; the text has what was seen instead."""


def expect(observed, wanted, seen):
    """Go on only if WANTED was OBSERVED; else fail, and show what was SEEN."""
    if not observed:
        raise NotObserved(f"expected: {wanted}\nseen:\n{seen}")


def expect_match(pattern, text, wanted):
    """The match of PATTERN in TEXT, which shows WANTED."""
    match = re.search(pattern, text, re.MULTILINE)
    expect(match, wanted, text)
    return match


def perform(out, make):
    """Tell the story that MAKE(report) returns, with a transcript in the new directory OUT; was all of it seen?"""
    remove(out)
    out.mkdir(parents=True)
    with open(out / "transcript.txt", "w", encoding="utf-8") as transcript:
        report = Report(transcript)
        story = make(report)
        try:
            story.tell()
        except AssertionError as failure:
            report.fail(failure)
            return False
        report.success(story.results)
    return True


class Report:
    """Prints what happens as it happens, also to the file TRANSCRIPT, and keeps the times."""

    def __init__(self, transcript):
        self.steps = []  # (name, seconds)
        self.watch = str  # says in a line what goes on, while a step lasts
        self._transcript = transcript
        self._last_word = time.monotonic()

    @contextlib.contextmanager
    def step(self, name):
        """One step of the demo: it is done when the block ends without an exception."""
        self._print(f"\n[{len(self.steps) + 1}] {name}")
        start = time.monotonic()
        done = threading.Event()
        pulse = threading.Thread(target=self._pulse, args=(done, start), daemon=True)
        pulse.start()
        try:
            yield
        except BaseException:
            self._print(f"      FAILED after {time.monotonic() - start:.0f} s: {name}")
            raise
        finally:
            done.set()
            pulse.join()
        self.steps.append((name, time.monotonic() - start))
        self._print(f"      done in {self.steps[-1][1]:.0f} s")

    def tell(self, steps):
        """Go through STEPS, pairs of a name and what does it."""
        for name, step in steps:
            with self.step(name):
                step()

    def command(self, command, output="", at="guest"):
        """Show a COMMAND of the machine AT and the lines of its OUTPUT that matter."""
        self._print(f"      {at}# {command}")
        self.say(output)

    def say(self, text):
        """Show the lines of TEXT."""
        for line in text.strip().splitlines():
            self._print(f"      {line}")

    def fail(self, failure):
        """The last words of a demo that did not show everything."""
        self._print(f"\n{failure}\n\nDEMO FAILED")

    def success(self, results):
        """The last words of one that did: the table of steps, the files RESULTS, DEMO OK."""
        self._print("\n seconds  step")
        for name, seconds in self.steps:
            self._print(f"{seconds:8.0f}  {name}")
        self._print(f"{sum(seconds for _, seconds in self.steps):8.0f}  in all\n")
        for path in results:
            self._print(str(path))
        self._print("\nDEMO OK")

    def _pulse(self, done, start):
        while not done.wait(1):
            if time.monotonic() - self._last_word >= HEARTBEAT:
                self._print(f"      ... {time.monotonic() - start:.0f} s  {self.watch()}")

    def _print(self, text):
        print(text, flush=True)
        print(text, file=self._transcript, flush=True)
        self._last_word = time.monotonic()
