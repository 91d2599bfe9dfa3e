# SPDX-License-Identifier: GPL-2.0-or-later
"""The verbs of "kmodkeep fleet".  Exit codes are kmodkeep's: 0 yes, 1 no, 2 usage, 3 could not tell."""

import argparse
import importlib
import os
import sys

from .states import Usage

# Each is a file of this folder, and read only when it is asked for: all of them take long to read.
VERBS = {
    "report": "one page: which hosts would lose which driver, why, and what to do",
    "gate": "after a batch: does the roll-out go on, stop, or go back?",
    "build": "modules of a driver with a dkms.conf, for kernels that are not here",
    "package": "packages of such modules, for Debian or RPM, and one that holds the kernel until it has them",
    "publish": "a signed repository of apt or dnf, whose rings get the same files one after the other",
    "verify": "a module file on a host, back to its package, builders, log entry and source",
    "radar": "which driver builds for which kernel, before anybody installs either",
    "redfish": "a certificate into the firmware's list db, through the machine's management controller",
    "rollout": "update hosts, a few at first; stop and go back where it goes wrong",
    "pull": "publish the gate file, by which hosts update themselves; the next share where it goes well",
}


# For the playbook: not in the usage text.
MARK = "mark"


def module_of(verb):
    return importlib.import_module(f".{verb}", __package__)


def parser(wanted):
    """The options of the verb WANTED, beside the names of all."""
    top = argparse.ArgumentParser(prog="kmodkeep fleet", description="Many hosts that kmodkeep looks after.")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, text in VERBS.items():
        one = verbs.add_parser(name, help=text, description=text)
        if name == wanted:
            module_of(name).add_options(one)
            one.set_defaults(run=module_of(name).run)
    one = verbs.add_parser(MARK)
    if wanted == MARK:
        module_of("rollout").add_mark_options(one)
        one.set_defaults(run=module_of("rollout").mark)
    return top


def main(arguments, program="kmodkeep"):
    """PROGRAM: the kmodkeep that runs this."""
    # Names and messages of hosts are not ASCII alone, and kmodkeep sets the locale C.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")
    wanted = next((word for word in arguments if not word.startswith("-")), None)
    options = parser(wanted).parse_args(arguments)
    options.program = program
    try:
        code = options.run(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Who read it has seen enough; nothing more can be written, at the exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 3
    except Usage as error:
        print(f"kmodkeep fleet {options.verb}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        print(f"kmodkeep fleet {options.verb}: {what}{error.strerror or error}", file=sys.stderr)
        return 3
