"""Laws of forking: parent and child are two processes, each with a voice of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sdk.server import TinyServer, snapshot

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forking is for POSIX systems")

# The parent records one call and holds it, then forks; each process records on its own. The parent
# keeps its thread busy all the while, so that locks are held at the moment of a fork.
PROGRAM = """
import os, sys, warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", category=DeprecationWarning)  # fork with threads: our very point
import knowngood
url, fork_count = sys.argv[1], int(sys.argv[2])
client = knowngood.Client(url, snapshot_file=False)
assert client.wait_ready(20)
prompt = client.get("bot")
with prompt.call() as call:
    call.count("parent")
children = []
for i in range(fork_count):
    child = os.fork()
    if child == 0:
        assert client.stats().waiting_count == 0
        with prompt.call() as call:  # got before the fork: recorded by the child all the same
            call.count("child")
        assert client.get("bot").version == "v1"
        assert client.flush()
        client.close()
        os._exit(0)
    children.append(child)
failed = [child for child in children if os.waitpid(child, 0)[1] != 0]
assert not failed, failed
with client.get("bot").call() as call:
    call.count("parent")
"""


def run(server: TinyServer, program: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program, server.url, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_parent_and_children_report_for_themselves(server):
    """A child has its own id and number line and reports its own calls only.

    The parent's calls arrive once, and it says goodbye at its exit without being asked.
    """
    run(server, PROGRAM, "5")
    counted: dict[str, dict[str, int]] = {}
    for batch in server.batches:
        own = counted.setdefault(batch.client_id, {})
        for row in batch.rows:
            for name, count in row.window.counters.items():
                own[name] = own.get(name, 0) + count
    assert sorted(map(str, counted.values())) == sorted(["{'parent': 2}", *["{'child': 1}"] * 5])
    assert len({batch.boot for batch in server.batches}) == 6
    for client_id in counted:
        own_batches = [batch for batch in server.batches if batch.client_id == client_id]
        assert [batch.seq for batch in own_batches] == list(range(1, len(own_batches) + 1))
        assert own_batches[-1].closing


LAZY = """
import os, sys, threading, warnings
warnings.filterwarnings("ignore", category=DeprecationWarning)
import knowngood
client = knowngood.Client(sys.argv[1], snapshot_file=False)
assert client.wait_ready(20)
child = os.fork()
if child == 0:
    assert threading.active_count() == 1  # nothing runs in a worker that asks for nothing
    assert client.get("bot").version == "v1"  # the snapshot is there at once
    assert threading.active_count() == 2
    grandchild = os.fork()
    if grandchild == 0:
        assert client.get("bot").version == "v1"
        client.close()
        os._exit(0)
    assert os.waitpid(grandchild, 0)[1] == 0
    client.close()
    os._exit(0)
sys.exit(os.waitpid(child, 0)[1] != 0)
"""


def test_a_childs_thread_starts_with_its_first_prompt(server):
    """A forked worker that asks for nothing runs nothing; children may have children."""
    server.snapshot = snapshot(3)
    run(server, LAZY)


HELD = """
import os, sys, threading, warnings
warnings.filterwarnings("ignore", category=DeprecationWarning)
import knowngood
client = knowngood.Client(sys.argv[1], snapshot_file=False)
assert client.wait_ready(20)
client.score("no id", "quality", 1)
held = [client._worker._lock, client._starting, client._recorder._lock]  # in the worker's order
for lock in held:
    lock.acquire()  # as another thread might at the moment of the fork
child = os.fork()
if child == 0:
    client.score("no id", "quality", 1)
    assert client.stats().refused == {"not a call id": 1}
    assert client.get("bot").version == "v1"
    assert client.flush()
    client.close()
    os._exit(0)
status = os.waitpid(child, 0)[1]
for lock in held:
    lock.release()
client.close()
sys.exit(status != 0)
"""


def test_no_lock_of_the_parent_is_held_in_the_child(server):
    """Whatever a thread of the parent held at the fork, the child works."""
    run(server, HELD)
