"""The web server's processes part from one that has built the application, and take nothing along that only one may hold."""

import signal
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

from bridge.wsgi import application
from tests.cli.test_starts import CONFIG
from tests.flows.world import settings_for

# Tells who builds and who begins.
SERVE = """
import os, sys
from bridge.cli.web_server import web_server
from bridge.config import load_settings
from flask import Flask

def build():
    print("built by", os.getpid(), flush=True)
    return Flask("nobody")

web_server(load_settings(sys.argv[1]), build=build, begin=lambda: print("begun by", os.getpid(), flush=True)).run()
"""


def open_files() -> set[str]:
    return {each.name for each in Path("/dev/fd").iterdir()}


def test_an_application_is_built_without_connecting_or_starting_anything(database_url):
    threads, files = threading.active_count(), open_files()
    web = application(settings_for("http://127.0.0.1:9", database_url))
    with closing(web.extensions["bridge"].bridge) as bridge:
        assert (bridge.store.engine.pool.checkedin(), bridge.store.engine.pool.checkedout()) == (0, 0)
        assert (threading.active_count(), open_files()) == (threads, files)


def test_the_processes_of_a_web_server_share_one_application_and_another_one_after_a_reload(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(folder=tmp_path) + 'listen: "127.0.0.1:0"\nweb_processes: 2\n')
    command = [sys.executable, "-c", SERVE, str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            first = [server.stdout.readline().split() for _ in range(3)]
            server.send_signal(signal.SIGHUP)
            second = [server.stdout.readline().split() for _ in range(3)]
        finally:
            server.terminate()
    for told in (first, second):
        assert [each[0] for each in told] == ["built", "begun", "begun"]
        assert told[0][2] == str(server.pid)
    assert len({each[2] for each in first + second}) == 5
