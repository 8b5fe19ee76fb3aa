"""The supervisor: imports the program once, forks each process of the plan from itself, and watches them.

Forking from one warm process makes a start fast and shares the pages of the code. The supervisor has no threads and no event
loop, so a fork is safe at any time. It waits on: readiness pipes of its children, SIGCHLD and SIGTERM (a wake-up pipe), and
run/control.sock, where `pilothouse start|stop NAME` ask for one process.

A process that dies stays dead unless `--restart` was given: people use the launcher to see what happens then. When a node
agent dies, what is left of its machine (the processes of its pods) is ended, as when a machine loses power.
"""

import gc
import json
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from controlplane.launcher.plan import AnyPlan, Component
from controlplane.launcher.state import DataDirectory, ProcessState, alive, start_time_of

STOP_ORDER = ("node", "simulated", "loadbalancer", "master", "kv")
STOP_GRACE_SECONDS = 10.0
RESTART_FIRST_SECONDS = 0.5
RESTART_MAX_SECONDS = 30.0
MAX_LOG_BYTES = 20_000_000
MAX_REQUEST_BYTES = 4096

Notify = Callable[[dict[str, Any]], None]
logger = logging.getLogger("pilothouse.supervisor")


@dataclass(slots=True)
class Child:
    """One process of the plan, running or not."""

    component: Component
    state: ProcessState
    ready_descriptor: int = -1
    wanted: bool = True
    restart_at: float | None = None
    restart_delay: float = RESTART_FIRST_SECONDS
    waiters: list[socket.socket] = field(default_factory=list)


class Supervisor:
    """Runs until it is told to stop; `notify` is told each change of state of a process as a dict."""

    def __init__(
        self, directory: DataDirectory, plan: AnyPlan, *, restart: bool, notify: Notify, own: tuple[int, ...] = ()
    ) -> None:
        self.directory = directory
        self.plan = plan
        self.restart = restart
        self.notify = notify
        self.own = own  # descriptors that no child may keep open: whoever reads their other end waits for our end
        self.children: dict[str, Child] = {}
        self.selector = selectors.DefaultSelector()
        self.stopping = False
        self.wake_read, self.wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.control: socket.socket | None = None

    def run(self) -> None:
        """Start everything, then serve until SIGTERM or SIGINT; all children are gone when this returns."""
        signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.on_terminate)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.selector.register(self.wake_read, selectors.EVENT_READ, self.on_wake)
        try:
            self.serve()
        except Exception as error:
            logger.exception("the supervisor failed")
            why = f"{type(error).__name__}: {error}"
            self.notify({"name": "supervisor", "state": "exited", "exit": "an error", "why": why})
            raise
        finally:
            self.stopping = True
            self.stop_all()
            if self.control is not None:
                self.control.close()
                (self.directory.run / "control.sock").unlink(missing_ok=True)

    def serve(self) -> None:
        """Start everything and look after it until a signal says stop."""
        self.listen()
        for component in self.plan.components():
            if self.stopping:
                break
            self.start(component)
        while not self.stopping:
            self.turn(self.until_next_restart())

    def on_terminate(self, *_: Any) -> None:
        self.stopping = True

    def turn(self, timeout: float | None) -> None:
        for key, _ in self.selector.select(timeout):
            key.data()
        self.reap()
        self.restart_what_is_due()

    # -- children ------------------------------------------------------------------------------------------------------

    def start(self, component: Component) -> None:
        """Fork one process; the parent returns at once."""
        preload(component.kind)
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        gc.freeze()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(read_end)
            self.become(component, write_end)
        os.close(write_end)
        state = ProcessState(
            component.name, component.kind, pid, start_time_of(pid) or 0, "starting", "", component.address
        )
        previous = self.children.get(component.name)
        child = Child(component, state, read_end)
        if previous is not None:
            child.restart_delay = previous.restart_delay
        self.children[component.name] = child
        self.selector.register(read_end, selectors.EVENT_READ, lambda: self.on_ready_pipe(child))
        self.publish(child)

    def become(self, component: Component, ready_descriptor: int) -> None:
        """In the child: drop what belongs to the supervisor, take the log, run the component; never returns."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            self.selector.close()
            self.release_descriptors()
            take_log(self.directory, component.name)
            from controlplane.launcher import processes

            code = processes.main(self.directory, self.plan, component, ready_descriptor)
        except BaseException:
            logger.exception("%s failed", component.name)
        finally:
            logging.shutdown()
            os._exit(code)

    def release_descriptors(self) -> None:
        for descriptor in (self.wake_read, self.wake_write, *self.own):
            os.close(descriptor)
        if self.control is not None:
            self.control.close()
        for child in self.children.values():
            if child.ready_descriptor >= 0:
                os.close(child.ready_descriptor)

    def on_ready_pipe(self, child: Child) -> None:
        """The child said that it serves, or closed the pipe by ending."""
        said = os.read(child.ready_descriptor, 16)
        self.selector.unregister(child.ready_descriptor)
        os.close(child.ready_descriptor)
        child.ready_descriptor = -1
        if said:
            child.state = replace(child.state, state="ready")
            child.restart_delay = RESTART_FIRST_SECONDS
            self.publish(child)

    def reap(self) -> None:
        """Collect every child that ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self.children.values():
                if child.state.pid == pid:
                    self.on_exit(child, status)

    def on_exit(self, child: Child, status: int) -> None:
        how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"code {os.WEXITSTATUS(status)}"
        logger.warning("%s ended with %s", child.component.name, how)
        child.state = replace(child.state, state="exited", exit=how)
        if child.component.kind in ("node", "simulated"):
            from controlplane.launcher.sweep import end_processes_of_node

            end_processes_of_node(self.directory, child.component.name)
        if self.restart and child.wanted and not self.stopping:
            child.restart_at = time.monotonic() + child.restart_delay
            child.restart_delay = min(child.restart_delay * 2, RESTART_MAX_SECONDS)
        for waiter in child.waiters:
            answer(waiter, {"ok": True})
        child.waiters.clear()
        self.publish(child)

    def restart_what_is_due(self) -> None:
        now = time.monotonic()
        for child in list(self.children.values()):
            if child.restart_at is not None and child.restart_at <= now and not self.stopping:
                self.start(child.component)

    def until_next_restart(self) -> float | None:
        due = [child.restart_at for child in self.children.values() if child.restart_at is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def publish(self, child: Child) -> None:
        states = [item.state for item in self.children.values()]
        self.directory.write_processes(states)
        self.notify({"name": child.component.name, "state": child.state.state, "exit": child.state.exit})

    def stop_all(self) -> None:
        """End every child in an order that lets each say goodbye to what it needs; what does not obey is killed."""
        for kind in STOP_ORDER:
            group = [child for child in self.children.values() if child.component.kind == kind]
            for child in group:
                self.signal_child(child, signal.SIGTERM)
            deadline = time.monotonic() + STOP_GRACE_SECONDS
            while any(alive(child.state) for child in group) and time.monotonic() < deadline:
                self.turn(min(0.2, max(0.0, deadline - time.monotonic())))
            for child in group:
                if alive(child.state):
                    logger.warning("%s did not stop in %.0f s: killed", child.component.name, STOP_GRACE_SECONDS)
                    self.signal_child(child, signal.SIGKILL)
            while any(alive(child.state) for child in group):
                self.turn(0.05)
        self.reap()

    def signal_child(self, child: Child, number: int) -> None:
        child.wanted = False
        child.restart_at = None
        if alive(child.state):
            os.kill(child.state.pid, number)

    # -- requests ------------------------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Listen on run/control.sock. By way of its folder, since a socket's path may have 108 bytes at most."""
        path = self.directory.run / "control.sock"
        path.unlink(missing_ok=True)
        self.control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.control.bind(f"/proc/self/fd/{folder}/control.sock")
        finally:
            os.close(folder)
        os.chmod(path, 0o600)
        self.control.listen(8)
        self.control.setblocking(False)
        self.selector.register(self.control, selectors.EVENT_READ, self.on_request)

    def on_request(self) -> None:
        assert self.control is not None
        connection, _ = self.control.accept()
        connection.settimeout(1.0)
        try:
            request = json.loads(connection.recv(MAX_REQUEST_BYTES) or b"{}")
            self.obey(connection, str(request.get("do")), str(request.get("name")))
        except (OSError, ValueError):
            connection.close()

    def obey(self, connection: socket.socket, do: str, name: str) -> None:
        child = self.children.get(name)
        if child is None:
            answer(connection, {"error": f"there is no {name!r} here; there are: {', '.join(self.children)}"})
        elif do == "start":
            if alive(child.state):
                answer(connection, {"error": f"{name} runs already (pid {child.state.pid})"})
            else:
                self.start(child.component)
                answer(connection, {"ok": True})
        elif do == "stop":
            if not alive(child.state):
                answer(connection, {"error": f"{name} does not run"})
            else:
                child.waiters.append(connection)
                self.signal_child(child, signal.SIGTERM)
        else:
            answer(connection, {"error": f"unknown request {do!r}"})

    def on_wake(self) -> None:
        os.read(self.wake_read, 512)


def answer(connection: socket.socket, document: dict[str, Any]) -> None:
    try:
        connection.sendall(json.dumps(document).encode())
    except OSError:
        logger.debug("a client of the control socket left before its answer")
    connection.close()


def preload(kind: str) -> None:
    """Import what a kind of process needs before the fork: members come first, so that they elect a leader meanwhile."""
    from controlplane.launcher import processes

    processes.preload(kind)


def take_log(directory: DataDirectory, name: str) -> None:
    """Point standard output and error at the component's log; an old one that grew large is kept once as NAME.log.1."""
    path = directory.log(name)
    if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    os.close(null)
    configure_logging()


def configure_logging() -> None:
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(os.environ.get("PILOTHOUSE_LOG_LEVEL", "INFO").upper())
