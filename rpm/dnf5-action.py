#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dnf5's action for prebuilt drivers; kmodkeep.actions calls it.

    dnf5-action waits    when dnf5 knows what it will do: which kernel waits for which driver
    dnf5-action judge    before anything changes: would the kernel load the modules that come?

It asks dnf5 on its standard output, one line of JSON each, and reads the answers from its standard
input (libdnf5-actions(8)). An action cannot leave packages out; the solver leaves the kernel out,
because of the conflict. What goes wrong here is said and never keeps dnf5 from what it does.
"""

import contextlib
import functools
import json
import re
import sys
from pathlib import Path

import kmodkeep_dnf

VERSION = re.compile(r"[A-Za-z0-9._+~^:-]+")
QUERY = "[%{=NAME}\t%{=EVR}\t%{=PACKAGER}\t%{PROVIDENAME} = %{PROVIDEVERSION}\n]"


class Unknown(Exception):
    """dnf5 or rpm did not say what was asked."""


def ask(op, domain=None, **args):
    """dnf5's answer."""
    print(json.dumps({"op": op, **({"domain": domain} if domain else {}), "args": args}), flush=True)
    line = sys.stdin.readline()
    try:
        answer = json.loads(line)
    except ValueError:
        answer = {}
    if answer.get("status") != "OK":
        raise Unknown(f"dnf5 did not answer '{op} {domain}': {answer.get('message', line)}")
    return answer.get("return")


def setting(name):
    """What dnf5's main setting NAME is."""
    return ask("get", "conf", key=name)["keys_val"][0]["value"]


def packages(domain, *filters):
    """The packages that dnf5 finds there."""
    return ask("get", domain, output=["name", "evr", "repo_id", "location"], filters=list(filters))[domain]


def say(text):
    """TEXT for who looks at dnf5, and into its log."""
    print(text, file=sys.stderr, flush=True)
    # A log that takes nothing must not keep a refusal from being told.
    with contextlib.suppress(Unknown, OSError):
        ask("log", level="WARNING", message=text)


@functools.cache
def compare(one, other):
    """As rpm compares versions."""
    done = kmodkeep_dnf.run(["rpm", "--eval", f'%{{lua: print(rpm.vercmp("{one}", "{other}"))}}'])
    if not done or done.stdout.strip() not in ("-1", "0", "1"):
        raise Unknown(f"rpm did not compare {one} and {other}")
    return int(done.stdout)


def latest(versions):
    """The latest of them."""
    return max(versions, key=functools.cmp_to_key(compare))


def available(name):
    """The versions of package NAME that can be had."""
    found = packages("packages", {"key": "name", "value": name}, {"key": "available"})
    return [one["evr"] for one in found if VERSION.fullmatch(one["evr"])]


def drivers(root):
    """(name, packager) -> (version, kernel -> version) of the drivers below ROOT that hold a kernel."""
    done = kmodkeep_dnf.run(["rpm", "--root", root, "-qa", "--qf", QUERY, "kmod-*"])
    if not done or done.returncode:
        raise Unknown(f"rpm did not say what is installed: {done and done.stderr.strip()}")
    found = {}
    for line in done.stdout.splitlines():
        name, version, packager, provide = line.split("\t")
        hold = kmodkeep_dnf.HOLD.fullmatch(provide)
        if hold:
            packager = None if packager == "(none)" else packager
            found.setdefault((name, packager), (version, {}))[1][hold[1]] = hold[2]
    return found


def kernel_of(version, kernels):
    """Of KERNELS, the one that is named by VERSION of a driver's package: its release is NUMBER.KERNEL, with dots alone."""
    end = version.rpartition("-")[2].partition(".")[2]
    return next((one for one in kernels if re.sub(r"[^A-Za-z0-9.+~^]", ".", one) == end), None)


def waits():
    """What kmodkeep_dnf.tell() says."""
    root = setting("installroot")
    found = drivers(root)
    kernels = {kernel: available(kernel) for _, mine in found.values() for kernel in mine}
    reach = {}
    for (name, packager), (version, mine) in found.items():
        mine = reach[(name, packager)] = dict(mine)
        # dnf5 tells of no provides. A driver whose kernel it does not know serves no later one.
        for one in available(name) if kernels else ():
            for kernel, versions in kernels.items():
                its = kernel in mine and compare(one, version) >= 0 and kernel_of(one, versions)
                if its:
                    mine[kernel] = latest([its, mine[kernel]])
    lines = []
    for kernel, limit in kmodkeep_dnf.up_to(reach, compare).items():
        lines += kmodkeep_dnf.waiting(reach, kernel, limit, latest([limit, *kernels[kernel]]))
    kmodkeep_dnf.tell(root, lines, "dnf remove --no-autoremove", say)


def files(package, cache):
    """Where PACKAGE lies, now that it is there."""
    if package["repo_id"] == "@commandline":
        return [Path(package["location"])]
    folder = re.compile(re.escape(package["repo_id"]) + "-[0-9a-f]{16}")
    found = [one / "packages" / Path(package["location"]).name for one in Path(cache).iterdir() if folder.fullmatch(one.name)]
    return [one for one in found if one.exists()]


def judge():
    """Stops dnf5 where a package refuses itself: half-way that would let the kernel move without its driver."""
    for one in packages("trans_packages", {"key": "direction", "value": "IN"}):
        if not one["name"].startswith("kmod-"):
            continue
        there = files(one, setting("cachedir"))
        if not there:
            say(f"kmodkeep: whether this host trusts the signer of {one['name']} was not told: its file was not found")
        for file in there:
            error = kmodkeep_dnf.refusal(one["name"], file, say)
            if error:
                return error
    return None


def main():
    """Stops dnf5 for a refusal alone."""
    error = None
    try:
        error = {"waits": waits, "judge": judge}[sys.argv[1]]()
    except (Unknown, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as problem:
        print(f"kmodkeep: what prebuilt drivers need was not looked at: {problem}", file=sys.stderr)
    if error:
        print(json.dumps({"op": "stop", "args": {"message": error}}), flush=True)


if __name__ == "__main__":
    main()
