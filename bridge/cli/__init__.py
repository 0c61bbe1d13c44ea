"""The `subtc-bridge` command: every action of an operator.

Owns its entrance; must not hold a rule, each command calls one flow, nor import what a command needs: that is the command's own.
"""

import gc
import sys


def main() -> None:
    """Answers `--help` out of the table of the commands, before anything is imported that could answer more."""
    if sys.argv[1:] == ["--help"]:
        from shutil import get_terminal_size

        from bridge.cli.table import COLUMNS, page

        if get_terminal_size().columns >= COLUMNS:
            print(page())
            return
    # Nothing of what a command imports is garbage, and to look it through for that is a tenth of a start.
    gc.disable()
    from bridge.cli.group import main as group

    group(prog_name="subtc-bridge")
