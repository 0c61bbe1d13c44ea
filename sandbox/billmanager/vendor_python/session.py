"""Owns reading the document on stdin. It must not read stdin twice."""

from __future__ import annotations

import sys
from xml.etree import ElementTree as ET


def get_input_xml() -> ET.Element:
    """The form on stdin."""
    return ET.fromstring(sys.stdin.buffer.read())
