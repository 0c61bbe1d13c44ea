"""Writes the bill of materials: every locked library with its version, hash and licence, as CycloneDX JSON.

Usage: python deploy/make_sbom.py build/sbom.cdx.json. The hashes are those of requirements.lock, of the files for every machine; the
licences are those of the installed libraries. It fails when what is installed is not what is locked.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from make_locks import Locked, entries
from packaging.markers import Marker

LOCK = Path(__file__).parent / "requirements.lock"
BUILD_TOOLS = {"setuptools"}
OURS = "subtc-billmanager-bridge"
Document = dict[str, Any]


def main(target: Path) -> None:
    document = bill_of_materials()
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    if fault := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        sys.exit(f"this is no CycloneDX document: {fault}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    print(f"{len(document['components'])} libraries in {target}")


def bill_of_materials() -> Document:
    """What cyclonedx-py says of the installed libraries, cut down to the locked ones and with their hashes."""
    here = [each for each in entries(LOCK.read_text()) if not each.marker or Marker(each.marker).evaluate()]
    locked = {each.name: each for each in here}
    document = _told("environment", sys.executable)
    known = {_name(c): c for c in document["components"]}
    if differing := [n for n, each in locked.items() if n not in known or known[n]["version"] != each.version]:
        sys.exit(f"not installed as locked: {', '.join(differing)}")
    document["components"] = [_component(known[name], each) for name, each in sorted(locked.items())]
    ours = {key: known[OURS][key] for key in ("bom-ref", "name", "version", "licenses", "description")}
    document["metadata"]["component"] = {**ours, "type": "application"}
    kept = {component["bom-ref"] for component in (*document["components"], ours)}
    document["dependencies"] = [
        {"ref": each["ref"], "dependsOn": sorted(kept & set(each.get("dependsOn", ())))}
        for each in document["dependencies"]
        if each["ref"] in kept
    ]
    return document


def _component(installed: Document, locked: Locked) -> Document:
    """A library as it is locked. What only builds the package is not run."""
    scope = {"scope": "excluded"} if locked.name in BUILD_TOOLS else {}
    hashes = [{"alg": "SHA-256", "content": each.removeprefix("sha256:")} for each in sorted(locked.hashes)]
    return installed | scope | {"hashes": hashes}


def _told(*arguments: str) -> Document:
    command = [sys.executable, "-m", "cyclonedx_py", *arguments, "--output-reproducible", "--spec-version", "1.6"]
    # Not validated here: that takes ten times as long, and what is written in the end is validated anyway.
    command += ["--output-format", "JSON", "--no-validate"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return dict(json.loads(done.stdout))


def _name(component: Document) -> str:
    return re.sub(r"[-_.]+", "-", component["name"]).lower()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
