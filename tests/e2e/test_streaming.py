"""What people do with a pod that runs: into it, out of it, beside it, and how much it uses; with kubectls of two ages."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, eventually, fetch, find_kubectl, is_ready

pytestmark = pytest.mark.e2e

POD = """
apiVersion: v1
kind: Pod
metadata: {name: streams, labels: {app: streams}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: busybox, command: [sh, -c, 'while read line; do echo "heard $line"; done'], stdin: true}
  - name: web
    image: python
    command: [sh, -c, 'mkdir -p www; echo hello > www/index.html; exec python3 -m http.server -d www -b 127.0.0.1 8087']
"""


class Streams:
    """The pod, and one kubectl."""

    def __init__(self, cluster: Cluster, program: str) -> None:
        self.cluster, self.program = cluster, program

    def kubectl(
        self, *arguments: str, check: bool = True, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return self.cluster.kubectl(*arguments, check=check, program=self.program, stdin=stdin)

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """A kubectl that runs until it is ended."""
        command = [self.program, "--kubeconfig", str(self.cluster.kubeconfig), *arguments]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.cluster.environment,
        )
        with process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(10)


@pytest.fixture(scope="module")
def pod(cluster: Cluster) -> Iterator[None]:
    cluster.kubectl("apply", "-f", "-", stdin=POD)
    eventually("the pod is ready", lambda: is_ready(cluster.get("pod", "streams")))
    yield
    cluster.kubectl("delete", "pod", "streams", "--timeout=60s")


@pytest.fixture(params=["1.37", "1.28"])
def streams(cluster: Cluster, pod: None, request: pytest.FixtureRequest) -> Streams:
    program = find_kubectl(request.param)
    if program is None:
        pytest.skip(f"kubectl {request.param} could not be fetched by make tools")
    return Streams(cluster, program)


def test_exec_gives_output_and_exit_code(streams: Streams) -> None:
    done = streams.kubectl(
        "exec", "streams", "-c", "main", "--", "sh", "-c", "echo out; echo err >&2; exit 3", check=False
    )
    assert (done.returncode, done.stdout) == (3, "out\n")
    assert "err\n" in done.stderr and "command terminated with exit code 3" in done.stderr


def test_exec_takes_input(streams: Streams) -> None:
    text = "a line\n" * 100_000
    done = streams.kubectl("exec", "-i", "streams", "-c", "main", "--", "wc", "-c", stdin=text)
    assert done.stdout.strip() == str(len(text))


def test_exec_of_what_is_not_there_says_so(streams: Streams) -> None:
    done = streams.kubectl("exec", "streams", "-c", "main", "--", "no-such-program", check=False)
    assert done.returncode and "executable file not found" in done.stderr
    done = streams.kubectl("exec", "streams", "-c", "other", "--", "true", check=False)
    assert done.returncode and "container other is not valid for pod streams" in done.stderr


def read_until(terminal: int, text: bytes) -> bytes:
    found = b""
    deadline = time.monotonic() + 20
    while text not in found:
        readable, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        assert readable, f"no {text!r} in {found!r}"
        found += os.read(terminal, 4096)
    return found


def test_a_shell_on_a_terminal(streams: Streams) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        config = str(streams.cluster.kubeconfig)
        arguments = [streams.program, "--kubeconfig", config, "exec", "-it", "streams", "-c", "main", "--", "sh"]
        os.execve(streams.program, arguments, streams.cluster.environment)
    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
        os.write(terminal, b"test -t 0 && echo is''tty\n")
        read_until(terminal, b"istty")
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        os.kill(pid, signal.SIGWINCH)
        os.write(terminal, b"until stty size | grep '40 120'; do sleep 0.1; done; exit 5\n")
        read_until(terminal, b"40 120\r\n")
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 5
    finally:
        os.close(terminal)


def test_attach_talks_with_the_container(streams: Streams) -> None:
    with streams.running("attach", "-i", "streams", "-c", "main") as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("good day\n")
        process.stdin.flush()
        assert any("heard good day" in line for line in process.stdout)


def test_files_are_copied_there_and_back(streams: Streams, tmp_path: Path) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    source.mkdir()
    (source / "small").write_text("small\n")
    (source / "large").write_bytes(os.urandom(3_000_000))
    there = f"streams:{tmp_path}/there"
    streams.kubectl("cp", str(source), there, "-c", "main")
    streams.kubectl("cp", there, str(back), "-c", "main")
    for name in ("small", "large"):
        assert (back / name).read_bytes() == (source / name).read_bytes()


def test_a_port_is_forwarded(streams: Streams) -> None:
    with streams.running("port-forward", "pod/streams", ":8087") as process:
        assert process.stdout is not None
        found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert found is not None
        for _ in range(3):
            assert "hello" in fetch(f"http://127.0.0.1:{found[1]}/")


def test_a_port_that_nobody_serves_is_told(streams: Streams) -> None:
    with streams.running("port-forward", "pod/streams", ":8088") as process:
        assert process.stdout is not None
        found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert found is not None
        with pytest.raises(OSError):
            fetch(f"http://127.0.0.1:{found[1]}/")
        assert any("connection refused" in line for line in process.stdout)


def test_top_shows_nodes_and_pods(streams: Streams) -> None:
    nodes = streams.kubectl("top", "nodes", "--no-headers").stdout
    assert {line.split()[0] for line in nodes.splitlines()} >= {"node-0", "node-1", "node-2"}
    pods = streams.kubectl("top", "pods", "-l", "app=streams", "--containers", "--no-headers").stdout
    assert [line.split()[:2] for line in pods.splitlines()] == [["streams", "main"], ["streams", "web"]]
    assert all(line.split()[3].endswith("Mi") for line in pods.splitlines())
