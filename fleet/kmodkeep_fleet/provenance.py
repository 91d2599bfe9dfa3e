# SPDX-License-Identifier: GPL-2.0-or-later
"""Where modules come from: what each package of them carries beside them, below FOLDER.

    manifest.json               of the build whose modules these are
    NAME.manifest.json          of other builders, who made the same
    log.jsonl                   the lines of the signers' logs about these modules
    sbom.spdx.json              source, modules and build inputs, as SPDX 2.3
"""

import hashlib
import json
import uuid
from pathlib import Path

from .module import TRAILER
from .states import Usage

FOLDER = "usr/share/kmodkeep/provenance"
MANIFEST_MAX = 1024 * 1024
LOG_MAX = 64 * 1024 * 1024
OTHERS_MAX = 16
# What two builders must agree on; compilers may differ as long as the bytes do not (docs/manifest.md).
AGREED = ("schema", "kernel", "kernel_package", "kernel_package_version", "signature_hash")


def read_json(path):
    """(bytes, object) of a file of MANIFEST_MAX at most; ValueError where it is not one."""
    with open(path, "rb") as file:
        data = file.read(MANIFEST_MAX + 1)
    if len(data) > MANIFEST_MAX:
        raise ValueError("larger than 1 MiB")
    doc = json.loads(data)
    if not isinstance(doc, dict):
        raise ValueError("no JSON object")
    return data, doc


def difference(data, entry):
    """None where DATA is what ENTRY of a manifest says, with one signature behind it or none, else what differs; ValueError of no entry."""
    file, size, digest = entry["file"], entry["size"], entry["sha256"]
    if type(size) is not int or size <= 0:
        raise ValueError(f"{file}: 'size' is no size")
    if len(data) < size or hashlib.sha256(data[:size]).hexdigest() != digest:
        return f"{file} is not the file of the manifest"
    rest = data[size:]
    # The bytes of the signature, 8 about it, their number, and the mark.
    length = int.from_bytes(rest[: -len(TRAILER)][-4:], "big")
    if rest and not (rest.endswith(TRAILER) and len(rest) == length + 12 + len(TRAILER)):
        return f"{file} has something behind it that is no signature"
    return None


def disagreement(one, other):
    """None where two builders made the same, else what differs; KeyError or TypeError of what is no manifest."""
    if not isinstance(other["builder"], str):
        raise ValueError("'builder' is no text")
    if one["builder"] == other["builder"]:
        return f"both are by '{one['builder']}', and one builder is not two"
    for key in AGREED:
        if one[key] != other[key]:
            return f"{key} is {one[key]} by '{one['builder']}' and {other[key]} by '{other['builder']}'"
    ours, theirs = ({item["file"]: {key: item[key] for key in ("name", "vermagic", "srcversion", "size", "sha256")}
                     for item in doc["modules"]} for doc in (one, other))  # fmt: skip
    for file in sorted(ours.keys() | theirs.keys()):
        if ours.get(file) != theirs.get(file):
            return f"'{one['builder']}' and '{other['builder']}' disagree on {file}"
    return None


def others(folder, manifest):
    """name -> bytes, of the statements of other builders in FOLDER; they agree, or nothing is taken."""
    found = {}
    for path in sorted(Path(folder).glob("*.manifest.json")):
        try:
            data, doc = read_json(path)
            differs = disagreement(manifest, doc)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Usage(f"{path}: is no manifest: {error}. Next: take it away, or get it again") from None
        if differs:
            raise Usage(f"{path}: {differs}. Next: build it anew on both; nothing is packaged until they agree")
        found[path.name] = data
    if len(found) > OTHERS_MAX:
        raise Usage(f"{folder}: has more than {OTHERS_MAX} manifests of other builders")
    return found


def log_lines(path, digests):
    """The lines of a signer's log, as they are, about modules with these SHA-256."""
    with open(path, "rb") as file:
        data = file.read(LOG_MAX + 1)
    if len(data) > LOG_MAX:
        raise Usage(f"{path}: is larger than a log can be")
    found = []
    for number, line in enumerate(data.splitlines(keepends=True), 1):
        try:
            if json.loads(line)["sha256"] in digests:
                found.append(line)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Usage(f"{path}: line {number} is no entry of a signer's log. Next: kmodkeep log verify {path}") from None
    return found


def spdx(name, version, manifest, files):
    """An SPDX document, as bytes, of the package NAME; FILES: name -> content. The same input gives the same bytes."""
    text = json.dumps([name, version, manifest, {key: hashlib.sha256(data).hexdigest() for key, data in files.items()}], sort_keys=True)
    sha1 = {file: hashlib.sha1(data).hexdigest() for file, data in files.items()}
    code = hashlib.sha1("".join(sorted(sha1.values())).encode()).hexdigest()
    nothing = {"downloadLocation": "NOASSERTION", "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION",
               "copyrightText": "NOASSERTION"}  # fmt: skip
    source = {"SPDXID": "SPDXRef-source", "name": manifest["driver"], "versionInfo": manifest["driver_version"],
              "filesAnalyzed": False, **nothing}  # fmt: skip
    if manifest.get("source_sha256"):
        source["checksums"] = [{"algorithm": "SHA256", "checksumValue": manifest["source_sha256"]}]
    packages = [{"SPDXID": "SPDXRef-modules", "name": name, "versionInfo": version, "filesAnalyzed": True,
                 "packageVerificationCode": {"packageVerificationCodeValue": code},
                 "licenseInfoFromFiles": ["NOASSERTION"], **nothing}, source]  # fmt: skip
    links = [("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-modules"), ("SPDXRef-modules", "GENERATED_FROM", "SPDXRef-source")]
    listed = []
    for number, (file, data) in enumerate(sorted(files.items())):
        listed.append({
            "SPDXID": f"SPDXRef-file-{number}", "fileName": f"./{file}", "fileTypes": ["BINARY"],
            "checksums": [{"algorithm": "SHA1", "checksumValue": sha1[file]},
                          {"algorithm": "SHA256", "checksumValue": hashlib.sha256(data).hexdigest()}],
            "licenseConcluded": "NOASSERTION", "licenseInfoInFiles": ["NOASSERTION"], "copyrightText": "NOASSERTION",
        })  # fmt: skip
        links.append(("SPDXRef-modules", "CONTAINS", f"SPDXRef-file-{number}"))
    for number, (package, its) in enumerate(sorted(manifest.get("inputs", {}).items())):
        packages.append({"SPDXID": f"SPDXRef-input-{number}", "name": package, "versionInfo": its, "filesAnalyzed": False, **nothing})
        links.append((f"SPDXRef-input-{number}", "BUILD_DEPENDENCY_OF", "SPDXRef-modules"))
    doc = {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": f"{name}-{version}",
        "documentNamespace": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, text)}",
        "creationInfo": {"created": "1970-01-01T00:00:00Z", "creators": ["Tool: kmodkeep-fleet"]},
        "packages": packages, "files": listed,
        "relationships": [{"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
                          for one, kind, other in links],
    }  # fmt: skip
    return (json.dumps(doc, indent=1) + "\n").encode()
