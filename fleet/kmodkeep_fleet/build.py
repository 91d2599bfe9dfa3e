# SPDX-License-Identifier: GPL-2.0-or-later
"""Unsigned modules of a driver with a dkms.conf, for kernels that no machine here runs.

dkms itself builds, in a clean root of the kernel's suite; dkms.conf is a shell script, and is never
sourced elsewhere.  Two builds of the same source for the same kernel agree byte by byte: the root,
the path in it, user, host name, locale and time zone are always the same.
"""

import gzip
import hashlib
import io
import json
import lzma
import os
import re
import select
import signal
import stat
import subprocess
import sys
import tarfile
import time
import zlib
from pathlib import Path

from . import cache, module, roots
from .states import Usage, plain

FILE_MAX = 256 * 1024 * 1024
FILES_MAX = 1024
LOG_MAX = 16 * 1024 * 1024
NAME = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9._+-]*\.ko(\.xz|\.gz|\.zst)?")
DRIVER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")

# What the script below ends with; dkms's own numbers differ from version to version.
NOT_FOR_THIS_KERNEL = 20
DOES_NOT_BUILD = 21
NO_DKMS_SOURCE = 22

# dkms gives the path of the build to the compiler, and the compiler to the module.  Where dkms
# would sign with a key that it makes up, it is sent to a program that is not there.
SCRIPT = r"""
set -eu
exec 3>&1 >&2
mkdir /usr/src/source /result
tar -xf - -C /usr/src/source
mkdir -p /etc/dkms/framework.conf.d
echo 'sign_file="/nonexistent"' >/etc/dkms/framework.conf.d/kmodkeep.conf
dkms add /usr/src/source || exit 22
cd /var/lib/dkms
set -- */*/source
[ $# = 1 ] && [ -e "$1" ] || exit 22
name=${1%%/*}
version=${1#*/}
version=${version%/source}
tree=/var/lib/dkms/$name/$version
export KCFLAGS="-ffile-prefix-map=$tree/build=." KAFLAGS="-ffile-prefix-map=$tree/build=."
code=0
dkms build -m "$name" -v "$version" -k "$RELEASE" ${MACHINE:+-a "$MACHINE"} || code=$?
if [ "$code" != 0 ]; then
	# A build that was refused before it began has none.
	[ ! -e "$tree/build/make.log" ] || cat "$tree/build/make.log"
	case $code in 9|77) exit 20 ;; *) exit 21 ;; esac
fi
cat "$tree/$RELEASE"/*/log/make.log
cp "$tree/$RELEASE"/*/module/*.ko* /result
printf '%s\n%s\n' "$name" "$version" >/result/driver
tar --sort=name -cf - -C /result . >&3
"""


class Failed(Exception):
    """The driver was not built; the text says why, `verdict` in a word."""

    def __init__(self, verdict, text):
        super().__init__(text)
        self.verdict = verdict


def pack(source):
    """SOURCE as a tar archive that has nothing of this machine: no owner, no time, no order."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in sorted(Path(source).rglob("*")):
            info = archive.gettarinfo(path, arcname=str(path.relative_to(source)))
            if info is None or not (info.isreg() or info.isdir() or info.issym() or info.islnk()):
                raise Usage(f"{path}: neither a file nor a folder. Next: take it out of the driver's source")
            info.uid = info.gid = info.mtime = 0
            info.uname = info.gname = ""
            if info.isreg() or info.islnk():
                # A second name of a file is a file again.
                info.type, info.linkname, info.size = tarfile.REGTYPE, "", path.stat().st_size
                info.mode = 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644
                with open(path, "rb") as file:
                    archive.addfile(info, file)
            else:
                info.mode = 0o777 if info.issym() else 0o755
                archive.addfile(info)
    return out.getvalue()


def unpack(data):
    """name -> content, of the archive that came out of a build; nothing of it is believed."""
    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for info in archive:
                name = info.name.removeprefix("./")
                if info.isdir() and name in (".", ""):
                    continue
                # One with holes is small in the archive, and as large as it likes behind it.
                whole = info.isreg() and not info.issparse() and 0 <= info.size <= FILE_MAX
                if not whole or len(found) > FILES_MAX or "/" in name or name in found:
                    raise Failed("cannot-tell", f"'{plain(name)}' came out of the build, which is no module")
                found[name] = archive.extractfile(info).read()
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise Failed("cannot-tell", f"what came out of the build is damaged: {error}") from None
    return found


def inflate(name, data):
    """(name, content) of a module file, not compressed."""
    stem, _, kind = name.partition(".ko")
    try:
        if kind == ".xz":
            one = lzma.LZMADecompressor(memlimit=512 * 1024 * 1024)
            data = one.decompress(data, FILE_MAX)
            # modprobe would go on where this ends.
            if not one.eof or one.unused_data:
                raise OSError(0, "it is cut, larger than a module, or something is behind it")
        elif kind == ".gz":
            data = gzip.GzipFile(fileobj=io.BytesIO(data)).read(FILE_MAX + 1)
            if len(data) > FILE_MAX:
                raise OSError(0, "it is larger than a module")
        elif kind == ".zst":
            process = subprocess.Popen(["zstd", "-dcq", f"-M{FILE_MAX}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
            data = communicate(process, data, 300)
            if process.returncode:
                raise OSError(0, f"zstd ended with {process.returncode}")
    except (lzma.LZMAError, OSError, EOFError, zlib.error) as error:
        raise Failed("cannot-tell", f"{name} cannot be decompressed: {error}") from None
    return f"{stem}.ko", data


def communicate(process, data, seconds):
    """What PROCESS prints, bounded in time and size; it and all it started are gone then."""
    deadline = time.monotonic() + seconds
    limit = 2 * FILE_MAX
    out = bytearray()
    view = memoryview(data)
    os.set_blocking(process.stdin.fileno(), False)
    poll = select.poll()
    poll.register(process.stdin, select.POLLOUT)
    poll.register(process.stdout, select.POLLIN)
    try:
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Failed("cannot-tell", f"the build took more than {seconds} s. Next: --timeout SECONDS")
            for fd, event in poll.poll(left * 1000):
                if fd == process.stdout.fileno():
                    part = os.read(fd, 1 << 20)
                    if not part:
                        process.wait(max(1, deadline - time.monotonic()))
                        return bytes(out)
                    out += part
                    if len(out) > limit:
                        raise Failed("cannot-tell", "more came out of the build than modules can be")
                    continue
                try:
                    view = view[os.write(fd, view) :] if not event & (select.POLLERR | select.POLLHUP) else view[:0]
                except BlockingIOError:
                    continue
                except BrokenPipeError:
                    view = view[:0]
                if not view:
                    poll.unregister(process.stdin)
                    process.stdin.close()
    except subprocess.TimeoutExpired:
        raise Failed("cannot-tell", f"the build took more than {seconds} s. Next: --timeout SECONDS") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stdout.close()
        if not process.stdin.closed:
            process.stdin.close()


# How a compiler, make and modpost say that something is wrong.
ERRORS = re.compile(r"(?:^|: )(?:fatal )?error: |^ERROR: |: Error \d+$|\*\*\* .*Stop\.")


def first_error(log):
    """The first line of LOG that says what went wrong, without the folder of the build."""
    for pattern in (ERRORS, re.compile(r"[Ee]rror")):
        for line in log.splitlines():
            if pattern.search(line):
                return plain(re.sub(r"/var/lib/dkms/[^/]+/[^/]+/build/", "", line).strip())[:300]
    return None


class Builder:
    """Builds drivers in roots; `name` is what manifests call it."""

    def __init__(self, made, name, base, timeout=1800, jobs=None):
        self.roots = made
        self.name = name
        self.base = Path(base)
        self.timeout = timeout
        self.jobs = jobs

    def build(self, source, kernel, target):
        """The modules of SOURCE for KERNEL, and their manifest, become the folder TARGET."""
        if not (Path(source) / "dkms.conf").is_file():
            raise Usage(f"{source}: has no dkms.conf. Next: the folder of a driver's source that has one")
        archive = pack(source)
        root = self.roots.get(kernel)
        files, log = self._run(root, kernel, archive)
        driver = files.pop("driver", b"").decode("utf-8", "replace").split("\n")
        if len(driver) < 2 or not all(DRIVER.fullmatch(word) for word in driver[:2]):
            raise Failed("cannot-tell", "the build did not say which driver it is")
        manifest = self._manifest(root, kernel, files)
        manifest["driver"], manifest["driver_version"] = driver[:2]
        manifest["source_sha256"] = hashlib.sha256(archive).hexdigest()
        partial = target.with_name(f".partial-{target.name}")
        cache.remove(partial)
        partial.mkdir(parents=True)
        for name, data in (inflate(*item) for item in files.items()):
            (partial / name).write_bytes(data)
        (partial / "build.log").write_text(log, encoding="utf-8")
        text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
        (partial / "manifest.json").write_text(text, encoding="utf-8")
        cache.publish(partial, target)
        return manifest

    def _run(self, root, kernel, archive):
        log = self.base / "logs" / f"build-{kernel.release}-{os.getpid()}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        variables = {"RELEASE": kernel.release, **roots.CROSS.get(kernel.foreign, {})}
        with roots.Inside(root, self.base / "scratch") as inside, open(log, "w+b") as out:
            command = [] if self.jobs is None else ["-j", str(self.jobs)]
            script = SCRIPT.replace("dkms build ", " ".join(["dkms build", *command, ""]))
            process = inside.start(script, log=out, variables=variables)
            data = communicate(process, archive, self.timeout)
            out.seek(0)
            text = out.read(LOG_MAX).decode("utf-8", "replace")
        log.unlink()
        code = process.returncode
        if code == NOT_FOR_THIS_KERNEL:
            raise Failed("not-for-this-kernel", "its dkms.conf excludes this kernel")
        if code == NO_DKMS_SOURCE:
            last = [line for line in text.splitlines() if line.strip()][-1:]
            raise Failed("cannot-tell", f"dkms does not take its source: {plain(' '.join(last))}")
        if code == DOES_NOT_BUILD:
            raise Failed("does-not-build", first_error(text) or "the build ended without an error that is known")
        if code:
            last = [line for line in text.splitlines() if line.strip()][-1:]
            raise Failed("cannot-tell", f"the build ended with {code}: {plain(' '.join(last))}")
        return unpack(data), text

    def _manifest(self, root, kernel, files):
        """As docs/manifest.md has it, and what went in besides."""
        installed = roots.packages(root)
        version = installed[kernel.headers]
        config = (root / f"usr/src/{kernel.headers}/.config").read_text(encoding="utf-8")
        found = re.search(r'^CONFIG_MODULE_SIG_HASH="([a-z0-9-]+)"$', config, re.M)
        if not found:
            raise Failed("cannot-tell", f"{kernel.headers} does not say how its kernel wants modules to be signed")
        listed, compilers, btf = [], set(), False
        for name, data in sorted(files.items()):
            if not NAME.fullmatch(name):
                raise Failed("cannot-tell", f"'{plain(name)}' came out of the build, which is no module")
            name, data = inflate(name, data)
            try:
                said = module.describe(data)
            except module.Damaged as error:
                raise Failed("cannot-tell", f"{name}: {error}") from None
            if said["vermagic"].split(" ")[0] != kernel.release:
                raise Failed("cannot-tell", f"{name} is for kernel {plain(said['vermagic'])}, not for {kernel.release}")
            compilers.add(said.pop("compiler"))
            btf |= said.pop("btf")
            listed.append({"file": name, **said, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()})
        if not listed:
            raise Failed("cannot-tell", "no module came out of the build")
        return {
            "schema": 1,
            "kernel": kernel.release,
            "kernel_package": f"linux-image-{kernel.release}",
            "kernel_package_version": version,
            "signature_hash": found[1],
            "compiler": sorted(compilers)[0] or "unknown",
            "pahole": installed.get("pahole") if btf else None,
            "builder": self.name,
            "modules": listed,
            "suite": kernel.suite,
            "architecture": roots.architecture(root, kernel.headers),
            "inputs": installed,
        }


# ---- the verb


def add_root_options(parser):
    parser.add_argument("--cache", metavar="DIR", default=str(cache.directory()),
                        help="where roots are kept (default: $XDG_CACHE_HOME/kmodkeep-fleet)")  # fmt: skip
    parser.add_argument("--sources", metavar="[SUITE=]FILE", action="append", default=[],
                        help="a sources.list, of one suite or of all, where a suite's own archive is not enough")  # fmt: skip
    parser.add_argument("--apt-option", metavar="LINE", action="append", default=[], help="for apt in the root")
    parser.add_argument("--include", metavar="PACKAGE", action="append", default=[],
                        help="needed by the build besides the kernel's headers")  # fmt: skip
    parser.add_argument("--timeout", metavar="SECONDS", type=int, default=1800, help="of one build (default: 1800)")
    parser.add_argument("--jobs", metavar="N", type=int, help="processors that a build uses (default: all)")
    parser.add_argument("--builder", metavar="NAME", default=os.uname().nodename,
                        help="what manifests call this builder (default: the host's name)")  # fmt: skip


def builder(options):
    roots.need_root()
    sources = {}
    for word in options.sources:
        suite, _, file = word.rpartition("=")
        try:
            sources[suite] = Path(file).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise Usage(f"{file}: is no sources.list") from None
    base = Path(options.cache)
    made = roots.Roots(base, sources, options.apt_option, options.include)
    return Builder(made, options.builder, base, options.timeout, options.jobs)


def add_options(parser):
    parser.add_argument("--out", metavar="DIR", required=True, help="gets a folder for each kernel")
    add_root_options(parser)
    parser.add_argument("source", metavar="SOURCE", help="the folder of a driver's source, with its dkms.conf")
    parser.add_argument("kernels", metavar="SUITE:RELEASE[=VERSION]", nargs="+", help="a kernel's package in a suite")


def run(options):
    """0: all were built; 1: one was not, and the reason was said; 3: of one it cannot be told."""
    kernels = [roots.Kernel(word) for word in options.kernels]
    made = builder(options)
    code = 0
    for kernel in kernels:
        started = time.monotonic()
        try:
            manifest = made.build(options.source, kernel, Path(options.out, kernel.release))
            names = ", ".join(one["file"] for one in manifest["modules"])
            print(f"{kernel.word}: built {names} in {time.monotonic() - started:.0f} s", flush=True)
        except Failed as failed:
            print(f"{kernel.word}: {failed.verdict}: {failed}", flush=True)
            code = max(code, 3 if failed.verdict == "cannot-tell" else 1)
        except roots.NoSuchKernel as gone:
            print(f"kmodkeep fleet build: {gone}", file=sys.stderr)
            code = 3
    return code
