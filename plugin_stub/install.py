"""Where every action begins: finds the Python that the module shall run with, and goes on with it in installer.py.

Owns the options and the choice of the Python; must stay readable for the oldest Pythons, down to 2.7, so that they can
say what is missing.
"""

import argparse
import os
import re
import subprocess
import sys

OLDEST = (3, 8)
USUAL = "/usr/bin/python3"
# Newest first. A distribution of 2019 has an old one under the usual name and newer ones beside it.
OTHERS = ["/usr/bin/python3.%d" % minor for minor in range(19, 7, -1)] + ["/usr/local/bin/python3"]
SCRIPT = "paymethods/pmsubtc"
ADVICE = "install a newer one (such as the package python3.11), or name one: make PYTHON=/usr/local/bin/python3.11"
ASK = "import sys; sys.stdout.write('%d.%d %s' % (sys.version_info[:2] + (sys.executable,)))"


def ask(python):
    """Its version in numbers, and where it really is (a named one may be a program that looks for a Python).

    None and nothing when there is no such program or it is no Python.
    """
    try:
        asked = subprocess.Popen([python, "-c", ASK], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        said = asked.communicate()[0].decode("ascii", "replace")
    except OSError:
        return None, ""
    found = re.match("^([0-9]+)[.]([0-9]+) (.+)$", said)
    return ((int(found.group(1)), int(found.group(2))), found.group(3)) if found else (None, "")


def find(named, base):
    """The Python for the module, and why it is not the one that was named or the usual one.

    A named one, else the one that an installed module runs with, else the usual one, else the newest of the others.
    """
    tried = [named] if named else [python for python in (_installed(base), USUAL) if python] + OTHERS
    complaints = []
    for python in tried:
        version, place = ask(python)
        if version is None:
            if python in (named, USUAL):
                complaints.append("there is no %s" % python)
        elif version < OLDEST:
            complaints.append("%s is Python %d.%d" % ((python,) + version))
        elif not re.match("^/[!-~]{1,120}$", place):
            complaints.append("%s is no full path without spaces" % place)
        elif _is_open(place):
            complaints.append("%s can be changed by others than root, and the module runs as root" % place)
        else:
            return place, "; ".join(complaints)
    return "", "; ".join(complaints)


def _installed(base):
    try:
        with open(os.path.join(base, SCRIPT)) as script:
            line = script.readline().strip()
    except (IOError, OSError, ValueError):  # two names in Python 2
        return ""
    return line[2:].split(" ")[0] if line.startswith("#!/") else ""


def _is_open(python):
    found = os.stat(python)
    return found.st_uid not in (0, os.geteuid()) or bool(found.st_mode & 0o022)


def _options():
    parser = argparse.ArgumentParser(description="The Bitcoin payment module for BILLmanager")
    parser.add_argument("action", choices=("install", "upgrade", "uninstall", "check", "tarball"))
    parser.add_argument("--destdir", default="")
    parser.add_argument("--base", default="/usr/local/mgr5")
    parser.add_argument("--bridge", default="")
    parser.add_argument("--no-reload", action="store_true")
    parser.add_argument("--output", default="")
    parser.add_argument("--python", default="", help="the Python that the module shall run with")
    parser.add_argument("--chosen", default="", help=argparse.SUPPRESS)
    return parser


def main():
    """The exit code; 1 with a sentence on stderr when nothing was done."""
    chosen = _options().parse_args()
    elsewhere = bool(chosen.destdir) or chosen.action == "tarball"  # another host may have other Pythons
    is_good = sys.version_info >= OLDEST
    python, why = (chosen.chosen, "") if chosen.chosen else find(chosen.python, chosen.base)
    if not python and not (elsewhere and is_good):
        sys.stderr.write("refused: the module needs Python 3.8 or newer, and %s; %s\n" % (why, ADVICE))
        return 1
    if why and chosen.action in ("install", "upgrade") and not elsewhere:
        sys.stdout.write("the module runs with %s: %s\n" % (python, why))
        sys.stdout.flush()
    is_this_one = os.path.realpath(python) == os.path.realpath(sys.executable or "")
    if not chosen.chosen and not (is_good and (elsewhere or is_this_one)):
        os.execv(python, [python, "-B"] + sys.argv + ["--chosen", python])
    import installer

    return installer.run(chosen, (chosen.python or USUAL) if elsewhere else python)


if __name__ == "__main__":
    sys.exit(main())
