"""Asks an advisory service whether any locked library has a known fault.

Usage: python deploy/audit.py [--osv-url URL] [LOCK...]. Exit code 0: none has. 1: some have, they are named. 3: the service could
not be asked, which says nothing about the libraries.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCKS = sorted(Path(__file__).parent.glob("*.lock"))
OSV = "https://api.osv.dev/v1/query"
CLEAN, KNOWN_FAULTS, COULD_NOT_ASK = 0, 1, 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("locks", nargs="*", type=Path, default=LOCKS, metavar="LOCK")
    parser.add_argument("--osv-url", default=OSV)
    options = parser.parse_args()
    answer = asked(options.locks, options.osv_url)
    if isinstance(answer, str):
        print(f"COULD NOT ASK {options.osv_url}: {answer}\nThis says nothing about the libraries.", file=sys.stderr)
        return COULD_NOT_ASK
    faults = [(each, fault) for each in answer for fault in each["vulns"]]
    for each, fault in faults:
        mended = ", ".join(fault["fix_versions"]) or "no version"
        print(f"{each['name']} {each['version']}: {fault['id']}, mended in {mended}")
    print(f"{len(answer)} libraries asked about, {len(faults)} known faults")
    return KNOWN_FAULTS if faults else CLEAN


def asked(locks: list[Path], osv_url: str) -> list[dict[str, Any]] | str:
    """What the service knows of each locked library, or why it could not be asked."""
    requirements = [part for lock in locks for part in ("--requirement", str(lock))]
    command = [sys.executable, "-m", "pip_audit", *requirements, "--no-deps", "--disable-pip"]
    service = ["--vulnerability-service", "osv", "--osv-url", osv_url, "--timeout", "10"]
    shape = ["--format", "json", "--progress-spinner", "off"]
    done = subprocess.run([*command, *service, *shape], capture_output=True, text=True, check=False)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        # pip-audit's exit code is 1 for a fault that it found and for a service that it did not reach.
        return (done.stderr.strip().splitlines() or ["no answer"])[-1][:300]
    if skipped := [each["name"] for each in found if "skip_reason" in each]:
        return f"no answer about {', '.join(skipped)}"
    return found


if __name__ == "__main__":
    sys.exit(main())
