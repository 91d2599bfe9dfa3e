# SPDX-License-Identifier: GPL-2.0-or-later
"""What can be told from the text of the tree: style, versions, secrets."""

import ast
import fnmatch
import io
import re
import subprocess
from pathlib import Path

import pytest
from pyflakes.api import checkPath
from pyflakes.reporter import Reporter

TOP = Path(__file__).parents[2]


def tracked():
    """The files of the tree: those git knows, and new ones it does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=TOP, capture_output=True, check=True).stdout.decode()
    return sorted(TOP / name for name in listing.split("\0") if name and (TOP / name).is_file())


FILES = tracked()


def text_of(path):
    return path.read_text(encoding="utf-8", errors="replace")


def first_line(path):
    return text_of(path).split("\n", 1)[0]


def name(path):
    return str(path.relative_to(TOP))


SHELL = [
    path
    for path in FILES
    if re.match(r"#! ?/bin/(ba)?sh", first_line(path)) or path.suffix == ".sh"
]
PYTHON = [path for path in FILES if path.suffix == ".py"]
MANUALS = [path for path in FILES if path.parent.name == "man"]
CODE = [path for path in FILES if path.suffix in (".c", ".h", ".py", ".sh") or path in SHELL]


@pytest.mark.parametrize("path", SHELL, ids=name)
def test_shell(path):
    # What debhelper substitutes in maintainer scripts is no shell before that.
    text = re.sub(r"(?<!^)#[A-Z_]+#", "word", text_of(path), flags=re.M)
    shell = "bash" if "bash" in first_line(path) else "sh"
    command = ["shellcheck", "-x", "-s", shell, "-"]
    result = subprocess.run(command, input=text, capture_output=True, text=True, cwd=TOP)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_python(path):
    said = io.StringIO()
    assert checkPath(str(path), Reporter(said, said)) == 0, said.getvalue()


@pytest.mark.parametrize("path", MANUALS, ids=name)
def test_manual(path):
    command = ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", path]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0 and not result.stderr, result.stderr


def licence_of(path):
    """Anybody can use the library and the bindings; the kernel modules are of the kernel's licence."""
    parts = path.relative_to(TOP).parts
    if parts[0] in ("lib", "bindings"):
        return "LGPL-2.1-or-later"
    if parts[:2] == ("src", "uapi"):
        return "GPL-2.0-only WITH Linux-syscall-note"
    # What is loaded into a kernel, and what is compiled from the same files.
    kernel = parts[0] == "src" or parts[:3] == ("tests", "guest", "modules") or path.name == "table.c"
    return "GPL-2.0-only" if kernel else "GPL-2.0-or-later"


@pytest.mark.parametrize("path", CODE, ids=name)
def test_says_its_licence(path):
    head = "\n".join(text_of(path).split("\n")[:3])
    assert re.search(rf"SPDX-License-Identifier: {re.escape(licence_of(path))}( \*/)?$", head, re.M)


# Whose every file says in its first lines what it is for.
EXPLAINED = ("src", "lib", "tools", "guard", "signing", "kmodkeep", "fleet", "bindings", "bench")


def test_says_what_it_is():
    opening = re.compile(r"/\*|// (?!SPDX)|# (?!SPDX)|\"\"\"[^\"]")
    for path in FILES:
        if path.relative_to(TOP).parts[0] in EXPLAINED and (path in CODE or path.suffix == ".yml"):
            lines = [line for line in text_of(path).split("\n") if not re.match(r"#!|.*SPDX|---$|$", line)]
            assert opening.match(lines[0]), name(path)


# What debian/copyright calls the licences.
DEBIAN_NAMES = {
    "LGPL-2.1-or-later": "LGPL-2.1+",
    "GPL-2.0-only WITH Linux-syscall-note": "GPL-2-with-Linux-syscall-note",
    "GPL-2.0-only": "GPL-2",
    "GPL-2.0-or-later": "GPL-2+",
}


def test_debian_copyright_agrees():
    stanzas = re.findall(r"^Files: (.*(?:\n .*)*)\n(?:.+\n)*?License: (\S+)$",
                         text_of(TOP / "debian/copyright"), re.M)  # fmt: skip
    for path in CODE:
        found = [licence for patterns, licence in stanzas for pattern in patterns.split()
                 if fnmatch.fnmatchcase(name(path), pattern)]  # fmt: skip
        assert found[-1] == DEBIAN_NAMES[licence_of(path)], name(path)  # the last one holds


def test_kernel_versions_only_in_compat():
    outside = [p for p in FILES if p.is_relative_to(TOP / "src") and "compat" not in p.parts]
    assert outside
    for path in outside:
        assert not re.search(r"LINUX_VERSION_CODE|KERNEL_VERSION\(", text_of(path)), name(path)


def test_core_does_not_know_its_event_module():
    for path in FILES:
        if path.parent == TOP / "src" and not path.name.startswith("event"):
            assert '"event.h"' not in text_of(path), name(path)


def test_keeper_does_not_know_the_recorder():
    for path in FILES:
        if path.relative_to(TOP).parts[0] in ("guard", "signing"):
            assert not re.search(r"flightrec(?!\(4\))", text_of(path)), name(path)


def test_one_version():
    dkms = re.search(r'^PACKAGE_VERSION="(.*)"$', text_of(TOP / "dkms.conf"), re.M)[1]
    changelog = re.match(r"flightrec \((.*)\) ", text_of(TOP / "debian/changelog"))[1]
    spec = re.search(r"^Version: (.*)$", text_of(TOP / "rpm/flightrec.spec"), re.M)[1]
    manuals = {re.search(r'^\.TH .* "\w+ (.*)" "', text_of(path), re.M)[1] for path in MANUALS}
    assert {changelog, spec} | manuals == {dkms}


def test_packages_are_built_with_all_that_they_list():
    """debian/build-packages copies only INPUTS: what a list names beyond them is not found."""
    script, control = text_of(TOP / "debian/build-packages"), text_of(TOP / "debian/control")
    inputs = ast.literal_eval(re.search(r"^INPUTS = (\{.*?^\})$", script, re.M | re.S)[1])
    kinds = dict(re.findall(r"^Package: (\S+)\n(?:.+\n)*?Architecture: (\S+)$", control, re.M))
    lists = [p for kind in ("docs", "examples", "manpages") for p in TOP.glob(f"debian/*.{kind}")]
    assert lists
    for path in lists:
        copied = inputs["all" if kinds[path.stem] == "all" else "any"]
        for line in text_of(path).split():
            assert any(f"{line}/".startswith(f"{folder}/") for folder in copied), (name(path), line)


def test_every_setting_is_in_the_readme():
    readme = text_of(TOP / "README.md").split("## Settings")[1].split("\n## ")[0]
    files = ["guard/host/guard_conf.c", "guard/trust/signing_conf.c", "src/main.c", "src/kevent.h"]
    source = "".join(text_of(TOP / file) for file in files)
    named = re.findall(r'strcmp\(key, "(\w+)"\)|MODULE_PARM_DESC\((\w+),|X\([A-Z]+, "(\w+)"\)', source)
    words = {word for words in named for word in words if word}
    assert {"mail", "signer", "quota", "cgroup"} <= words
    assert {word for word in words if not re.search(rf"[`,]{word}[`,]", readme)} == set()


def test_no_private_key():
    for path in FILES:
        assert not re.search(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/]", text_of(path)), (
            name(path)
        )


def test_no_package_mirror():
    """The mirror is the machine's affair: no file names its host."""
    sources = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    hosts = set()
    for source in sources:
        if source.is_file():
            hosts.update(re.findall(r"https?://([^/\s]+)", text_of(source)))
    for path in FILES:
        for host in hosts:
            assert host not in text_of(path), f"{name(path)} names a package mirror"


def test_nothing_large():
    for path in FILES:
        assert path.stat().st_size <= 200_000, name(path)


# How all C of the tree is laid out: {what: as it must not be}.
LAID_OUT = {
    "indented by tabs": r"^ +[^ *]",
    "no blank at the end": r"[ \t]$",
    "no blank before a tab": r" \t",
    "a blank behind a keyword": r"\b(if|for|while|switch)\(",
    "a blank before a brace": r"\b(else|do)\{|^\s*(if|for|while|switch)\b.*\)\{$",
    "else beside its brace": r"^\s*\}\s*$\n\s*else\b",
    "a function's brace on a line of its own": r"^[a-z][^=;{}\n]*\) ?\{$",
}
TEXT = re.compile(r"\"(\\.|[^\"\\\n])*\"|'(\\.|[^'\\])'")


def test_c_is_laid_out_in_one_way():
    long = []
    for path in FILES:
        if path.suffix not in (".c", ".h"):
            continue
        # A message is not broken, so that it is found; comments have their own marks.
        code = re.sub(r"^[ \t]*(/\*|\*).*$", "", TEXT.sub('""', text_of(path)), flags=re.M)
        for what, wrong in LAID_OUT.items():
            found = re.search(wrong, code, re.M)
            assert not found, f"{name(path)}: {what}: {found[0]!r}"
        long += [f"{name(path)}: {line}" for line in text_of(path).split("\n")
                 if len(line.expandtabs(8)) > 100 and '"' not in line]  # fmt: skip
    assert not long, "over 100 columns"


# kmodkeep's folders: each uses only those that stand to its right, and itself.
ORDER = ["kmodkeep", "kmodkeep/package", "signing", "guard/verbs", "guard/repair", "guard/pin", "guard/verdict", "guard/module",
         "guard/boot", "guard/trust", "guard/host", "guard/base"]  # fmt: skip


def test_folders_of_the_keeper_use_only_what_stands_to_their_right():
    seen = set()
    for path in FILES:
        room = str(path.parent.relative_to(TOP))
        if path.suffix not in (".c", ".h") or path.relative_to(TOP).parts[0] not in (
            "guard", "signing", "kmodkeep"):  # fmt: skip
            continue
        seen.add(room)
        for used in re.findall(r'^#include "(.*)/[^/]+"', text_of(path), re.M):
            assert ORDER.index(room) <= ORDER.index(used), f"{name(path)} uses {used}"
    assert seen == set(ORDER)


def test_headers_of_the_keeper_make_no_circle():
    headers = [p for p in FILES if p.suffix == ".h" and name(p).split("/")[0] in
               ("guard", "signing", "kmodkeep")]  # fmt: skip
    left = {name(p): set(re.findall(r'^#include "(.*)"', text_of(p), re.M)) for p in headers}
    while free := [header for header, used in left.items() if not used & set(left)]:
        for header in free:
            del left[header]
    assert not left


# Two files that are one interpreter: a command runs a body, a body has commands.
ONE = {"guard/boot/grub_commands.c": "guard/boot/grub_run.c"}

COMMENT_OR_TEXT = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"", re.S)
DEFINED = re.compile(r"^(?!static|extern|typedef)(?:[A-Za-z_][\w *]*?\b(\w+)\([^;{}]*\)\s*\{"
                     r"|const struct \w+ (\w+) = \{)", re.M)  # fmt: skip
OWN = re.compile(r"^static [\w *]*?\b(\w+)\(|\(\*(?:const )?(\w+)\)\(", re.M)


def circle(uses):
    """Those of USES, {who: whom}, that are in a circle, or between two."""
    left = dict(uses)
    while free := {who for who, used in left.items() if not used & set(left)}:
        left = {who: used for who, used in left.items() if who not in free}
    while alone := set(left) - set().union(*left.values(), ()):
        left = {who: used for who, used in left.items() if who not in alone}
    return left


@pytest.mark.parametrize("rooms", [("src",), ("lib",), ("tools",), ("guard", "signing", "kmodkeep")], ids="+".join)
def test_no_file_uses_one_that_uses_it(rooms):
    code = {}
    for path in FILES:
        if path.suffix == ".c" and path.relative_to(TOP).parts[0] in rooms:
            text = COMMENT_OR_TEXT.sub(" ", text_of(path))
            code.setdefault(ONE.get(name(path), name(path)), []).append(text)
    code = {who: "\n".join(parts) for who, parts in code.items()}
    # A function by its call or in the row of a table, a table by its address, but for what the
    # file itself calls so.
    where = {a + "(" if a else "&" + b: who
             for who, text in code.items() for a, b in DEFINED.findall(text)}  # fmt: skip
    assert len(where) > len(code)
    own = {who: {word + "(" for pair in OWN.findall(text) for word in pair} for who, text in code.items()}
    named = {who: {*re.findall(r"&\w+|\b\w+\(", text),
                   *[word + "(" for row in re.findall(r"^\t\{ .*\},$", text, re.M)
                     for word in re.findall(r"\w+", row)]} for who, text in code.items()}
    uses = {who: {where[word] for word in named[who] - own[who] if word in where} - {who} for who in code}
    assert not circle(uses)


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == {"b": {"c"}, "c": {"b", "d"}}
    assert not circle({"a": {"b", "c"}, "b": {"c"}, "c": set()})


def test_what_is_not_static_is_used_by_another_file():
    words = {path: set(re.findall(r"\w+", COMMENT_OR_TEXT.sub(" ", text_of(path))))
             for path in FILES if path.suffix == ".c"}  # fmt: skip
    for path in words:
        if path.relative_to(TOP).parts[0] in ("tools", "guard", "signing", "kmodkeep"):
            for defined in DEFINED.findall(COMMENT_OR_TEXT.sub(" ", text_of(path))):
                used = any(set(defined) & others for other, others in words.items() if other != path)
                assert used or defined[0] == "main", f"{name(path)}: {defined}"


FUNCTION = re.compile(r"^([A-Za-z_][\w *]*?)\b(\w+)\(([^;{}]*)\)\s*\n\{\n(.*?)^\}", re.M | re.S)


def called_too_late(texts):
    """Functions that are gone after init, and who calls them from code that is not."""
    functions = [(path, *found.groups()) for path, text in texts.items()
                 for found in FUNCTION.finditer(COMMENT_OR_TEXT.sub(" ", text))]  # fmt: skip
    gone = {(name, path if "static" in kind else None)
            for path, kind, name, _, _ in functions if "__init" in kind.split()}  # fmt: skip
    return [f"{caller} calls {called}" for path, kind, caller, _, body in functions
            if "__init" not in kind.split()
            for called in re.findall(r"\b(\w+)\(", body)
            if (called, path) in gone or (called, None) in gone]  # fmt: skip


def test_what_is_gone_after_init_is_called_in_init_alone():
    texts = {path: text_of(path) for path in FILES if path.relative_to(TOP).parts[0] == "src" and path.suffix == ".c"}
    assert not called_too_late(texts)


def test_a_call_of_what_is_gone_is_found():
    late = "static int __init f(int a)\n{\n	return a;\n}\n\nint %sg(void)\n{\n	return f(1);\n}\n"
    assert called_too_late({"a": late % ""}) == ["g calls f"]
    assert not called_too_late({"a": late % "__init "})
