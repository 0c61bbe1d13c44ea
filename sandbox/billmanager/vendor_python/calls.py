"""Owns calls to mgrctl, the currency lookup and file locks for modules. It must not use a shell."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from .exception import XmlException

BASE = Path(__file__).resolve().parents[3]
Currency = namedtuple("Currency", "id iso")
os.chdir(BASE)  # modules name files by their place in the tree


def run_mgrctl(func: str, out: str, params: dict[str, Any]) -> bytes:
    """The bytes that mgrctl printed. Raises XmlException for a non-zero exit."""
    argv = ["sbin/mgrctl", "-m", "billmgr", func, *[f"{k}={v}" for k, v in params.items()], f"out={out}"]
    environment = {**os.environ, "SSH_CONNECTION": Path(sys.argv[0]).name}
    done = subprocess.run(argv, cwd=BASE, env=environment, capture_output=True, check=False)
    if done.returncode:
        raise XmlException("process", "not_zero_code", done.stderr.decode("utf-8", "replace"))
    return done.stdout


def MgrctlXml(func: str, **params: Any) -> ET.Element:
    """A call answered in XML. Raises XmlException for an error document."""
    document = ET.fromstring(run_mgrctl(func, "xml", params))
    if document.find("error") is not None:
        raise XmlException("process", "error", ET.tostring(document, encoding="unicode"))
    return document


def Mgrctl(func: str, **params: Any) -> dict[str, Any]:
    """A call answered in bjson. Raises XmlException for an error document."""
    answer: dict[str, Any] = json.loads(run_mgrctl(func, "bjson", params))
    if "error" in answer:
        raise XmlException("process", "error", json.dumps(answer))
    return answer


def get_currency_data(number: int | str) -> Any:
    """The currency with this number: `.id`, `.iso`. Raises XmlException when there is none."""
    for element in MgrctlXml("currency").findall("elem"):
        if element.findtext("id") == str(number):
            return Currency(str(number), element.findtext("iso"))
    raise XmlException("missed", "currency", str(number))


class FileLock:
    """An exclusive lock on a file, waited for."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> FileLock:
        self._file = Path(self._path).open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
