"""Writes every lock anew from the pins of setup.cfg and prints what changed: `make lock`.

Owns which locks there are and what each is for; must not resolve anything itself, uv does.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUN_TIME, BUILD, PEER = "install_requires", "build-system", "peer"
LINUX = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")
EVERYWHERE = (*LINUX, "aarch64-apple-darwin")


def text_of(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


PYTHONS = tuple(re.findall(r"^ *Programming Language :: Python :: (3\.\d+)$", text_of("setup.cfg"), re.MULTILINE))


@dataclass(frozen=True, kw_only=True)
class Lock:
    """`groups` name the pins it starts from, `beside` the locks whose versions it keeps to, as they share an environment. It is
    not written unless there are wheels for all of `pythons` and `platforms`; only what is `from_source` is built."""

    path: str
    groups: tuple[str, ...]
    beside: tuple[str, ...] = ()
    pythons: tuple[str, ...] = PYTHONS
    platforms: tuple[str, ...] = EVERYWHERE
    from_source: tuple[str, ...] = ()

    @property
    def options(self) -> list[str]:
        """What uv and pip are told alike; of two that contradict each other pip takes the last."""
        return ["--only-binary :all:", *(f"--no-binary {name}" for name in self.from_source)]


REQUIREMENTS, OTEL, DEV = "deploy/requirements.lock", "deploy/otel.lock", "locks/dev.lock"
LOCKS = (
    Lock(path=REQUIREMENTS, groups=(RUN_TIME, BUILD)),
    Lock(path=OTEL, groups=("otel",), beside=(REQUIREMENTS,)),
    Lock(path=DEV, groups=("test", "dev"), beside=(REQUIREMENTS, OTEL)),
    Lock(path="locks/fuzz.lock", groups=("fuzz",), beside=(REQUIREMENTS, OTEL, DEV), platforms=LINUX[:1]),
    Lock(path="locks/resolver.lock", groups=("resolver",), beside=(REQUIREMENTS, OTEL, DEV)),
    Lock(
        path="bench/peer.lock",
        groups=(PEER, BUILD),
        pythons=PYTHONS[:2],
        platforms=LINUX[:1],
        from_source=("embit", "http-ece", "pyqrcode", "tlv8"),
    ),
    Lock(
        path="locks/electrum.lock",
        groups=("electrum", BUILD),
        pythons=PYTHONS[:2],
        platforms=LINUX[:1],
        from_source=("e-x", "electrum-aionostr", "electrum-ecc"),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Locked:
    """One entry of a lock. The marker is empty for what is installed everywhere."""

    name: str
    version: str
    marker: str
    hashes: frozenset[str]


def main() -> None:
    before = {lock.path: text_of(lock.path) if (ROOT / lock.path).exists() else "" for lock in LOCKS}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for lock in LOCKS:
            print(f"{lock.path} ...", file=sys.stderr, flush=True)
            write(lock, place)
            look_for_wheels(lock, place)
        # All or none: locks that share an environment go together. One that stays is not touched, set-up looks at its time.
        for lock in LOCKS:
            if (text := (place / lock.path).read_text()) != before[lock.path]:
                (ROOT / lock.path).write_text(text)
    changed: dict[str, list[str]] = {}
    for lock in LOCKS:
        direct = {name_of(pin) for each in LOCKS if each.path in (lock.path, *lock.beside) for pin in pins(each)}
        for line in changes(before[lock.path], text_of(lock.path), direct):
            changed.setdefault(line, []).append(Path(lock.path).stem)
    print("\n".join(f"{line}  [{', '.join(stems)}]" for line, stems in changed.items()) or "nothing changed")


def pins(lock: Lock) -> list[str]:
    """The direct pins that a lock starts from."""
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    build = tomllib.loads(text_of("pyproject.toml"))[BUILD]["requires"]
    groups = {
        **settings["options.extras_require"],
        **settings["locked-apart"],
        RUN_TIME: settings["options"][RUN_TIME],
        BUILD: "\n".join(build),
    }
    lines = [line.strip() for group in lock.groups for line in groups[group].splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def name_of(pin: str) -> str:
    """The name as indexes and locks spell it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[=]", pin)[0]).lower()


def write(lock: Lock, place: Path) -> None:
    """Resolves for every supported Python at once. From the folder `place`, so that no path of this machine gets in."""
    (place / lock.path).parent.mkdir(exist_ok=True)
    beside = [part for path in lock.beside for part in ("--constraints", path)]
    shape = ["--universal", "--python-version", PYTHONS[0], "--generate-hashes", "--annotation-style", "line"]
    text = uv(lock, place, ["--upgrade", "--no-header", *shape, *beside], "\n".join(pins(lock)))
    head = f"# Written by `make lock` from the pins of {', '.join(lock.groups)}."
    (place / lock.path).write_text("\n".join([head, *lock.options, "", text.strip(), ""]))


def look_for_wheels(lock: Lock, place: Path) -> None:
    """A Python or a machine for which something locked has no wheel is found here, not at a stranger's."""
    for python in lock.pythons:
        for platform in lock.platforms:
            uv(lock, place, ["--no-deps", "--python-version", python, "--python-platform", platform], text_in=lock.path)


def uv(lock: Lock, place: Path, options: list[str], pins: str = "", text_in: str = "-") -> str:
    """What uv answers. A person's own settings of uv do not count; nothing but the answer is kept."""
    command = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--no-config"]
    command += ["--python", sys.executable, *" ".join(lock.options).split(), *options, text_in]
    done = subprocess.run(command, cwd=place, input=pins, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{lock.path} cannot be written, and no lock was: {done.stderr.strip()}")
    return done.stdout


def entries(text: str) -> list[Locked]:
    """Every entry of a lock's text. Raises ValueError for a line that pins nothing or has no hash."""
    found = []
    for line in text.replace("\\\n", "").splitlines():
        if re.match(r"\s*(#|--only-binary |--no-binary |$)", line):
            continue
        entry = re.fullmatch(r"([a-z0-9-]+)==([^\s;]+)(?: ; (.+?))?((?:\s+--hash=sha256:[0-9a-f]{64})+)\s*", line)
        if entry is None:
            raise ValueError(f"not an exact version with its hashes: {line[:100]}")
        hashes = frozenset(re.findall(r"sha256:\w+", entry[4]))
        found.append(Locked(name=entry[1], version=entry[2], marker=entry[3] or "", hashes=hashes))
    return found


def changes(before: str, after: str, direct: set[str]) -> Iterator[str]:
    """What a person should look at, a line per library."""
    old, new = by_name(before), by_name(after)
    for name in sorted(old.keys() | new.keys()):
        kind = "direct" if name in direct else "indirect"
        was, now = old.get(name, []), new.get(name, [])
        versions = [" and ".join(sorted({each.version for each in found})) for found in (was, now)]
        if not was:
            yield f"{name} {versions[1]} is new ({kind})"
        elif not now:
            yield f"{name} {versions[0]} is gone"
        elif versions[0] != versions[1]:
            yield f"{name} {versions[0]} → {versions[1]} ({kind})"
        elif was != now:
            yield f"{name} {versions[0]} has other files or another marker ({kind})"


def by_name(text: str) -> dict[str, list[Locked]]:
    found: dict[str, list[Locked]] = {}
    for each in entries(text):
        found.setdefault(each.name, []).append(each)
    return found


if __name__ == "__main__":
    main()
