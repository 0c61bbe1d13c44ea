"""Writes the bill of materials: every locked library with its version, hash and licence, as CycloneDX JSON.

Usage: python deploy/make_sbom.py build/sbom.cdx.json. The hashes are those of requirements.lock, the licences those of the
installed libraries; it fails when what is installed is not what is locked.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

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
    locked = {_name(c): c for c in _told("requirements", str(LOCK))["components"]}
    document = _told("environment", sys.executable)
    known = {_name(c): c for c in document["components"]}
    if differing := [n for n, c in locked.items() if known[n]["version"] != c["version"] and n not in BUILD_TOOLS]:
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


def _component(installed: Document, locked: Document) -> Document:
    """A library as it is locked. Of what only builds the package, another version may be installed here; it is not run."""
    if _name(locked) in BUILD_TOOLS:
        is_locked = {"version": locked["version"], "purl": locked["purl"], "scope": "excluded"}
        installed = {key: installed[key] for key in ("bom-ref", "name", "type", "licenses")} | is_locked
    return installed | {"hashes": _hashes(locked)}


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


def _hashes(component: Document) -> list[Document]:
    return [each for reference in component["externalReferences"] for each in reference.get("hashes", ())]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
