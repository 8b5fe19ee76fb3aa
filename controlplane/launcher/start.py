"""Start and stop a plan on this machine: checks first, then a supervisor in the background (or here, with --foreground)."""

import errno
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from controlplane.launcher.plan import AnyPlan, Plan, plan_from_document
from controlplane.launcher.show import Progress
from controlplane.launcher.state import DataDirectory, LauncherError, ProcessState, alive

START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 75.0
NEWS_BYTES = 65536


def plan_for(directory: DataDirectory, wanted: AnyPlan, given: set[str]) -> AnyPlan:
    """Return the plan of the first `up` where there is one; raise LauncherError when an option given now contradicts it."""
    document = directory.read_json(directory.plan_file)
    if document is None:
        return wanted
    kept = plan_from_document(document)
    if type(kept) is not type(wanted):
        raise LauncherError(f"{directory.path} holds a {document['kind']}; use another --data-dir")
    fixed = {name for name in given if getattr(kept, name) != getattr(wanted, name)}
    growable = {"nodes", "simulated_nodes"} & fixed
    if fixed - growable:
        name = sorted(fixed - growable)[0]
        raise LauncherError(
            f"{directory.path} was made with --{name.replace('_', '-')} {getattr(kept, name)}; "
            "`pilothouse reset` deletes it, --data-dir names another"
        )
    if growable:
        document.update({name: getattr(wanted, name) for name in growable})
        return plan_from_document(document)
    return kept


def check_addresses(plan: AnyPlan) -> None:
    """Raise LauncherError naming the first address that something else uses."""
    for host, port in plan.addresses():
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                probe.listen(1)
            except OSError as error:
                reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
                raise LauncherError(f"{host}:{port} {reason}; --base-port N takes other ports") from error


def bring_up(
    directory: DataDirectory, plan: AnyPlan, *, foreground: bool, restart: bool, after: Callable[[], None]
) -> None:
    """Start a supervisor and wait until every process serves; then call `after` (which prints). Raises LauncherError."""
    directory.make()
    lock = directory.lock()
    check_addresses(plan)
    directory.write_json(directory.plan_file, plan.to_document())
    if isinstance(plan, Plan):
        from controlplane.launcher.pki import ensure_pki

        ensure_pki(directory, plan)
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        supervise(directory, plan, restart, write_end, lock)
    os.close(write_end)
    os.close(lock)
    with signals_raise():
        try:
            wait_until_ready(directory, plan, read_end)
            after()
        except BaseException:
            stop_supervisor(pid)
            raise
        finally:
            os.close(read_end)
        if foreground:
            stay(pid)


@contextmanager
def signals_raise() -> Iterator[None]:
    """SIGTERM and SIGHUP end us by an exception, as Ctrl-C does: what was started is stopped before we go."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears signals
        return

    def end(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def supervise(directory: DataDirectory, plan: AnyPlan, restart: bool, news: int, lock: int) -> None:
    """In the background process: run the supervisor; never returns. The lock stays open in it and in all its children."""
    code = 1
    try:
        os.setsid()
        os.set_inheritable(lock, True)
        from controlplane.launcher.supervisor import Supervisor, take_log

        take_log(directory, "supervisor")

        def notify(change: dict[str, Any]) -> None:
            try:
                os.write(news, json.dumps(change).encode() + b"\n")
            except OSError:
                return  # nobody waits any more: `up` has printed its table

        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        directory.write_json(directory.run / "supervisor.json", {"pid": os.getpid()})
        Supervisor(directory, plan, restart=restart, notify=notify, own=(news,)).run()
        code = 0
    except Exception:
        import logging

        logging.getLogger("pilothouse.supervisor").exception("the supervisor ends")
    finally:
        os._exit(code)


def wait_until_ready(directory: DataDirectory, plan: AnyPlan, news: int) -> None:
    """Read the supervisor's news until all processes are ready; raise LauncherError when one ends or time runs out."""
    waiting = {component.name for component in plan.components()}
    total = len(waiting)
    with Progress("starting", total) as progress:
        for change in changes(directory, news, waiting):
            if change["state"] == "exited":
                name = change["name"]
                why = change.get("why") or last_line(directory, name)
                raise LauncherError(f"{name} ended with {change['exit']} while starting: {why} ({directory.log(name)})")
            if change["state"] == "ready":
                waiting.discard(change["name"])
                progress.step(total - len(waiting), change["name"])


def changes(directory: DataDirectory, news: int, waiting: set[str]) -> Iterator[dict[str, Any]]:
    """Yield what comes through the pipe, all lines of one read before the next wait, while `waiting` is not empty."""
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    rest = b""
    while waiting:
        readable, _, _ = select.select([news], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            names = ", ".join(sorted(waiting))
            raise LauncherError(f"not ready after {START_TIMEOUT_SECONDS:.0f} s: {names}; logs are in {directory.logs}")
        data = os.read(news, NEWS_BYTES)
        if not data:
            why = last_line(directory, "supervisor")
            raise LauncherError(f"the start failed: {why} ({directory.log('supervisor')})")
        *lines, rest = (rest + data).split(b"\n")
        yield from map(json.loads, lines)


def last_line(directory: DataDirectory, name: str) -> str:
    """Return the last line of a component's log that is not part of a traceback's code."""
    try:
        lines = [line for line in directory.log(name).read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return "no log"
    return lines[-1].strip() if lines else "no output"


def stay(pid: int) -> None:
    """Wait in the foreground; Ctrl-C stops the cluster."""
    try:
        os.waitpid(pid, 0)
    except KeyboardInterrupt:
        print("\nstopping ...", flush=True)
        stop_supervisor(pid)
    except SystemExit:
        stop_supervisor(pid)
        raise


def stop_supervisor(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        return


def bring_down(directory: DataDirectory) -> list[str]:
    """Stop the supervisor and all its processes, however they were left; return the names of what was stopped."""
    running = [item for item in directory.processes() if alive(item)]
    supervisor = (
        (directory.read_json(directory.run / "supervisor.json") or {}).get("pid", 0) if directory.is_locked() else 0
    )
    if supervisor and is_supervisor(directory, supervisor):
        os.kill(supervisor, signal.SIGTERM)
    else:
        for item in running:
            os.kill(item.pid, signal.SIGTERM)
    wait_until_gone(running, directory)
    return [item.name for item in running]


def is_supervisor(directory: DataDirectory, pid: int) -> bool:
    """Tell whether pid is the process that holds this directory's lock open and is not one of its children."""
    try:
        children = {item.pid for item in directory.processes()}
        lock = os.stat(directory.path / "lock")
        descriptors = [os.stat(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd") if name not in "012"]
    except OSError:
        return False
    return pid not in children and any((item.st_dev, item.st_ino) == (lock.st_dev, lock.st_ino) for item in descriptors)


def wait_until_gone(running: list[ProcessState], directory: DataDirectory) -> None:
    deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
    with Progress("stopping", len(running)) as progress:
        while True:
            left = [item for item in running if alive(item)]
            progress.step(len(running) - len(left), left[0].name if left else "")
            if not left and not directory.is_locked():
                break
            if time.monotonic() > deadline:
                for item in left:
                    os.kill(item.pid, signal.SIGKILL)
                raise LauncherError(
                    f"killed what did not stop in {STOP_TIMEOUT_SECONDS:.0f} s: {', '.join(item.name for item in left)}"
                )
            time.sleep(0.05)
    from controlplane.launcher.sweep import end_processes_of_node

    for item in running:
        if item.kind in ("node", "simulated"):
            end_processes_of_node(directory, item.name)


def ask_supervisor(directory: DataDirectory, do: str, name: str) -> None:
    """Ask for one process to be started or stopped and wait for the answer; raise LauncherError with its text."""
    if not directory.is_locked():
        raise LauncherError(f"no cluster runs in {directory.path}; `pilothouse up` starts one")
    folder = os.open(directory.run, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(30.0)
            connection.connect(f"/proc/self/fd/{folder}/control.sock")
            connection.sendall(json.dumps({"do": do, "name": name}).encode())
            reply = json.loads(connection.recv(65536) or b'{"error": "the supervisor hung up"}')
    except OSError as error:
        raise LauncherError(
            f"the supervisor of {directory.path} does not answer ({error}); `pilothouse down` stops what is left"
        ) from error
    finally:
        os.close(folder)
    if "error" in reply:
        raise LauncherError(reply["error"])


def kill_component(directory: DataDirectory, name: str) -> None:
    """kill -9 one process; raise LauncherError when there is none of that name alive."""
    living = {item.name: item for item in directory.processes() if alive(item)}
    if name not in living:
        raise LauncherError(f"no {name!r} runs in {directory.path}; there are: {', '.join(living) or 'none'}")
    os.kill(living[name].pid, signal.SIGKILL)


def follow_log(directory: DataDirectory, name: str, follow: bool, lines: int) -> None:
    """Print the last lines of a log and, with follow, what is added until Ctrl-C. Raises LauncherError for an unknown name."""
    path = directory.log(name)
    if not path.exists():
        known = sorted(item.stem for item in directory.logs.glob("*.log"))
        raise LauncherError(f"no log of {name!r} in {directory.logs}; there are: {', '.join(known) or 'none'}")
    with path.open(errors="replace") as file:
        text = file.read().splitlines(keepends=True)
        sys.stdout.writelines(text[-lines:] if lines else text)
        sys.stdout.flush()
        while follow:
            more = file.read()
            if more:
                sys.stdout.write(more)
                sys.stdout.flush()
            else:
                time.sleep(0.2)
