# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest is asked over its life: what kmodkeep predicts, and what the kernel does."""

import json

from tests.proof.guest import PATIENCE, ask, by_kernel_and_module, differences, load

SUMS = r"cd /lib/modules && find . \( -path '*/updates/*' -o -path '*/extra/*' \) -name '*.ko*' | sort | xargs sha256sum"


def at_work(guest, command, status=None):
    """Run COMMAND, which may fail or must end with STATUS; its Result. All is in the logs."""
    result = guest.run(command, PATIENCE)
    with open(guest.workdir / "commands.log", "a", encoding="utf-8") as log:
        log.write(f"\n# {command}\n{result.output}# exit status {result.status}\n")
    assert status is None or result.status == status, f"{result.status}: {result.output}"
    return result


def next_boot(guest):
    """What `kmodkeep next` says."""
    at_work(guest, "kmodkeep next")
    return json.loads(at_work(guest, "kmodkeep next --json").output)


def running(guest):
    return guest.check("uname -r", PATIENCE).strip()


def predict(guest):
    return by_kernel_and_module(ask(guest))


def compare(guest, modules, before=None):
    """Load all MODULES, predicted BEFORE a boot or now; which served. All must be as predicted."""
    kernel = running(guest)
    now = predict(guest)
    loads = load(guest, modules)
    assert set(loads) == {(kernel, module) for module in modules}
    for predicted in (now, before or now):
        assert {(kernel, module) for module in modules} <= set(predicted)
        assert "unknown" not in {finding["verdict"] for finding in predicted.values()}
        wrong = list(differences(predicted, loads))
        assert not wrong, "\n".join(wrong)
    return {module for (_, module), seen in loads.items() if seen.served}


def repair(guest, kernel, step, driver=None):
    """The command STEP is what repair does for KERNEL, and it helps: DRIVER serves then."""
    found = next_boot(guest)
    assert step in [step["command"] for step in found["repair"]], found
    before = guest.check("dkms status", PATIENCE)
    at_work(guest, "kmodkeep repair --dry-run", {"yes": 0, "no": 1}[found["safe"]])
    assert guest.check("dkms status", PATIENCE) == before
    said = at_work(guest, "kmodkeep repair --yes", 0).output
    assert f": {step}\n" in said, said
    assert not driver or f"now: {driver} on {kernel}: ok" in said, said
    assert f"kmodkeep: next boot safe (kernel {kernel})" in said, said


def forgotten(guest, modules):
    """The firmware forgot the keys: the kernel that runs, and boots next, loads none of MODULES."""
    kernel, predicted = running(guest), predict(guest)
    assert {predicted[kernel, module]["verdict"] for module in modules} == {"untrusted-key"}
    said = next_boot(guest)
    assert said["safe"] == "no"
    # Of a shim that shows its own key beside the enrolled ones the list is not empty.
    assert {"keys-cleared", "keys-removed"} & {change["change"] for change in said["changes"]}, said
    assert "shim trusts these keys no more" in guest.check("cat /run/motd.d/kmodkeep", PATIENCE)
    assert at_work(guest, "kmodkeep repair --yes").status == 1
