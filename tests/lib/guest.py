# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU guest with a console that can be followed and a channel for verdicts.

* The first serial port is the console: logged to a file, matched by
  :meth:`Guest.wait_for`, written to by :meth:`Guest.send`.
* Memory that the guest shares with the test (a PCI device "ivshmem") carries the
  verdict and what the guest tells (:meth:`Guest.wait_told`), so that no kernel message
  can look like a result or tear one apart.  What the guest has stored there has arrived: see tests/qemu/verdict.c.

The guest writes one line per test to it, lines of what it wants to tell, and one line
at the end, with the number and the digest of all before it::

    ok NAME
    not ok NAME - reason
    skip NAME - reason
    note TEXT
    GUEST-DONE lines=N sha256=HEX

No last line means failure: silence is never success.  A line that is missing, torn,
there twice or changed means failure, too: the digest differs.
"""

import hashlib
import io
import os
import re
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.lib import console, emulator
from tests.lib.accel import accel as best_accel
from tests.lib.qmp import Qmp

POLL = 0.1  # seconds between two looks at a log file
HEAD = 8  # bytes: the length of the text in the memory of a verdict channel


class GuestError(AssertionError):
    """The guest did not do what was waited for; the text has its last lines."""


@dataclass
class Verdict:
    """What a guest reported on its verdict channel."""

    passed: list = field(default_factory=list)
    failed: list = field(default_factory=list)  # (name, reason)
    skipped: list = field(default_factory=list)  # (name, reason)
    notes: list = field(default_factory=list)
    done: bool = False
    problems: list = field(default_factory=list)  # what makes the run itself bad
    console: str = ""
    seconds: float = 0.0

    @property
    def ok(self):
        """True only if the guest said that it is done and nothing was wrong."""
        return self.done and bool(self.passed) and not (self.failed or self.problems)

    def explain(self):
        """A report for people: counts, and everything that was wrong."""
        lines = [
            f"passed {len(self.passed)}, failed {len(self.failed)}, "
            f"skipped {len(self.skipped)}, {self.seconds:.0f} s"
        ]
        lines += [f"not ok {name} - {reason}" for name, reason in self.failed]
        lines += self.problems
        if not self.ok:
            lines += self._shown_console()
        return "\n".join(lines)

    def _shown_console(self, length=40):
        """Lines of the console: from the first complaint on, and the last ones."""
        console = self.console.splitlines()
        complaints = {p.removeprefix("console: ") for p in self.problems}
        first = next((n for n, c in enumerate(console) if c.strip() in complaints), len(console))
        last = max(len(console) - length, 0)
        shown = []
        if first < last:
            shown = ["--- the console from its first complaint on:", *console[first:last][:length]]
        return [*shown, "--- last lines of the console:", *console[last:]]


def parse_verdict(text):
    """Read the lines of a verdict channel; what does not add up is a problem."""
    verdict = Verdict()
    lists = {"ok": verdict.passed, "not ok": verdict.failed, "skip": verdict.skipped}
    before = []
    for line in io.StringIO(text):
        result = re.fullmatch(r"(ok|not ok|skip) (\S+)(?: - (.*))?\n", line)
        note = re.fullmatch(r"note (.*)\n", line)
        done = re.fullmatch(r"GUEST-DONE lines=(\d+) sha256=([0-9a-f]{64})\n", line)
        if verdict.done:
            verdict.problems.append(f"verdict channel: a line after the last one: {line!r}")
        elif result:
            word, name, reason = result.groups()
            lists[word].append(name if word == "ok" else (name, reason or "no reason given"))
        elif note:
            verdict.notes.append(note[1])
        elif done:
            verdict.done = True
            _check_whole(verdict, before, int(done[1]), done[2])
        else:
            verdict.problems.append(f"verdict channel: not a result: {line!r}")
        before.append(line)
    if not verdict.done:
        verdict.problems.append("verdict channel: no GUEST-DONE line: the guest never finished")
    elif not verdict.passed and not verdict.failed:
        verdict.problems.append("verdict channel: not one test ran")
    return verdict


def _check_whole(verdict, lines, count, digest):
    """The guest's last line says that COUNT lines with that DIGEST came before it."""
    if len(lines) != count:
        verdict.problems.append(
            f"verdict channel: {len(lines)} lines arrived, the guest wrote {count}"
        )
    elif hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest() != digest:
        verdict.problems.append("verdict channel: what arrived is not what the guest wrote")


def read_channel(path):
    """The complete lines in the file PATH, the memory of a verdict channel."""
    with open(path, "rb") as memory:
        used = int.from_bytes(memory.read(HEAD), "little")
        text = memory.read(used)
    if len(text) != used:
        raise GuestError(f"{path}: {used} bytes of verdicts do not fit into it")
    return text[: text.rfind(b"\n") + 1].decode(errors="surrogateescape")


class Guest:
    """A running QEMU; use it as a context manager, so that it always ends.

    ARGS are QEMU arguments of the caller: kernel, disks, network, firmware.
    See :func:`uefi_args` for a guest with Secure Boot.  NAME appears in
    messages.  WORKDIR receives the logs (default: a temporary directory that
    is removed at the end).  DISPLAY adds a VGA screen, for screen pictures;
    without one, firmware and boot loader talk on the console.  REBOOT=False
    ends QEMU where the guest would reboot.  ACCEL and CPU are for those that
    measure; the defaults are what works best here.  PROGRAM is the emulator, for other
    machines.  CHANNEL_MIB is how much the verdict channel holds.
    """

    def __init__(
        self,
        args=(),
        *,
        name="guest",
        workdir=None,
        machine="q35",
        accel=None,
        cpu=None,
        memory="512M",
        cpus=2,
        display=False,
        reboot=True,
        program="qemu-system-x86_64",
        channel_mib=1,
    ):
        self.name = name
        self._temporary = None if workdir else tempfile.TemporaryDirectory(prefix="guest-")
        self.workdir = Path(workdir or self._temporary.name)
        self.workdir.mkdir(parents=True, exist_ok=True)
        self.channel = self.workdir / "verdict.memory"
        self.channel_mib = channel_mib
        self.display = display
        accel = accel or best_accel()
        self._command = [
            *emulator.command(program), "-nodefaults", "-name", name,
            "-machine", machine, "-accel", accel, "-cpu", cpu or emulator.best_cpu(accel),
            "-m", memory, "-smp", str(cpus), "-display", "none",
            "-vga", "std" if display else "none",
            "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
            # At a slot of its own, so that the other devices are where they would be without it.
            "-device", "ivshmem-plain,memdev=verdict,addr=0x10",
            "-object", f"memory-backend-file,id=verdict,share=on,size={channel_mib}M,"
                       f"mem-path={self.channel}",
            *([] if reboot else ["-no-reboot"]),
            *args,
        ]  # fmt: skip
        self.process = None
        self.console = None
        self.qmp = None
        self.started = None
        self._told = 0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()
        if self._temporary:
            self._temporary.cleanup()

    def start(self):
        """Start QEMU: console on its standard output, control on a socket pair."""
        ours, theirs = socket.socketpair()
        control = ["-chardev", f"socket,id=qmp,fd={theirs.fileno()}", "-mon", "qmp,mode=control"]
        self.channel.write_bytes(b"")
        self._told = 0  # characters of what was told that matched already
        os.truncate(self.channel, self.channel_mib << 20)
        log = self.workdir / "console.log"
        with open(log, "wb") as out, open(self.workdir / "qemu.log", "wb") as err:
            # setpriv: the kernel ends QEMU should this process be killed.
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._command, *control],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                pass_fds=[theirs.fileno()],
            )
        theirs.close()
        self.started = time.monotonic()
        self.console = console.Console(log)
        try:
            self.qmp = Qmp(ours)
        except OSError as error:
            self.kill()
            raise GuestError(f"{self.name}: QEMU did not start: {self._qemu_log()}") from error

    def kill(self):
        """End QEMU at once; harmless when it has ended."""
        if self.qmp:
            self.qmp.close()
            self.qmp = None
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()

    def running(self):
        """True while QEMU runs."""
        return self.process.poll() is None

    def send(self, text):
        """Type TEXT on the serial console."""
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def wait_for(self, pattern, timeout, what=None):
        """Wait until the console shows PATTERN after what was matched before.

        Returns the match.  PATTERN may list alternatives: the match says which
        it was.  When TIMEOUT seconds pass or QEMU ends, GuestError says what
        was waited for, and shows the last lines.
        """
        what = what or f"console output {pattern!r}"

        def found():
            self.console.update()
            return self.console.match(pattern)

        return self._wait(found, timeout, what)

    def wait_told(self, pattern, timeout, what=None):
        """Wait until the guest has told PATTERN, by `tell` or `note`, after what was matched before.

        Returns the match, in all that was told, each piece a line of its own.  Unlike what
        is on the console, no message of the kernel can tear it apart, and no panic takes
        away what was told before it.  Not for a guest that resets later: a mapped channel
        has ended QEMU 10.0 in its reset with several CPUs (iotlb_to_section).
        """

        def found():
            lines = read_channel(self.channel).splitlines()
            told = "".join(f"{line[5:]}\n" for line in lines if line.startswith("note "))
            return re.compile(pattern, re.MULTILINE).search(told, self._told)

        match = self._wait(found, timeout, what or f"{pattern!r} to be told")
        self._told = match.end()
        return match

    def wait_verdict(self, timeout, what="the verdict", exits=False, allow=()):
        """Wait for the guest's GUEST-DONE line, and return the Verdict.

        With EXITS, wait until the guest has powered off after it, so that what
        goes wrong at the end is seen too.  A guest that never gets there is no
        exception but a failed Verdict, which also has the kernel's complaints
        from the console; ALLOW lists patterns of those that are expected.
        """
        problems = []
        try:
            if exits:
                self.wait_exit(timeout, what)
            else:
                self._wait(lambda: "GUEST-DONE" in read_channel(self.channel), timeout, what)
        except GuestError as error:
            problems.append(str(error).splitlines()[0])
        verdict = parse_verdict(read_channel(self.channel))
        verdict.problems += problems + [f"console: {p}" for p in self.scan_console(allow)]
        verdict.console = self.console.text
        verdict.seconds = time.monotonic() - self.started
        return verdict

    def wait_exit(self, timeout, what="power-off"):
        """Wait until QEMU ends by itself; returns its exit code."""
        self._wait(lambda: not self.running(), timeout, what)
        return self.process.returncode

    def scan_console(self, allow=()):
        """The kernel's complaints so far (see :func:`tests.lib.console.scan`)."""
        self.console.update()
        return console.scan(self.console.text, allow)

    def screendump(self, png):
        """Store what the screen shows as the file PNG."""
        return self.qmp.screendump(png)

    def _wait(self, condition, timeout, what):
        """Call CONDITION until it returns something true; or fail and say WHAT is missing."""
        deadline = time.monotonic() + timeout
        while True:
            ended = not self.running()
            result = condition()
            if result:
                return result
            if ended:
                raise self._failure(f"QEMU ended (exit code {self.process.returncode})", what)
            if time.monotonic() > deadline:
                raise self._failure(f"{timeout} s passed", what)
            time.sleep(POLL)

    def _failure(self, event, what):
        self.console.update()
        lines = [
            f"{self.name}: {event} while waiting for {what}",
            "--- last lines of the console:",
            self.console.tail(40),
        ]
        if self._qemu_log():
            lines += ["--- QEMU says:", self._qemu_log()]
        if self.display and self.running() and not self._temporary:
            lines.append(f"--- last screen: {self.screendump(self.workdir / 'last-screen.png')}")
        return GuestError("\n".join(lines))

    def _qemu_log(self):
        return (self.workdir / "qemu.log").read_text(errors="replace").strip()


def uefi_args(code, variables):
    """QEMU arguments for UEFI firmware: CODE is shared, VARIABLES written to.

    Give the guest machine="q35,smm=on": the firmware with Secure Boot keeps
    its variables behind system management mode.
    """
    return [
        "-global", "driver=cfi.pflash01,property=secure,value=on",
        "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}",
        "-drive", f"if=pflash,unit=1,format=raw,file={variables}",
    ]  # fmt: skip
