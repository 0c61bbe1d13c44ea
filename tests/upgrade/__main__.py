"""`python -m tests.upgrade VERSION`: lives some days on each engine and stores what the databases hold then, with the module.

Run it from the tree of the version that is released, once, on the day it is released; a stored release never changes.
"""

import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bridge.store.db import migrate
from tests.postgres import start_cluster
from tests.upgrade import days, stored


def store_release(release: str) -> None:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="release-")))
        cluster = start_cluster()
        stack.callback(cluster.stop)
        cluster.create_database("release")
        urls = {"sqlite": f"sqlite:///{directory / 'bridge.db'}", "postgresql": cluster.url("release")}
        for engine, url in urls.items():
            migrate(url)
            with days.shop(url, directory) as world:
                days.live(world, url)
                stored.save(release, engine, database_url=url, outside=world.sandbox.world)
            print(f"{release} on {engine}: stored")
        command = ["make", "-s", "-C", "plugin_stub", "tarball", f"OUTPUT={directory}"]
        packed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        shutil.copy(packed, stored.RELEASES / release / stored.MODULE)
        print(f"{release} module: stored")


if __name__ == "__main__":
    (_, version) = sys.argv
    if version in stored.names():
        sys.exit(f"{version} is stored already; a stored release never changes")
    store_release(version)
