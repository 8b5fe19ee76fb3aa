"""The commands that a cluster and a store alone have in common: `down | logs | start | stop | kill | reset`."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from controlplane.launcher.start import ask_supervisor, bring_down, follow_log, kill_component
from controlplane.launcher.state import DataDirectory, LauncherError

Option = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class ProcessCommands:
    """The commands, with the data directory's option of their group."""

    down: click.Command
    logs: click.Command
    start: click.Command
    stop: click.Command
    kill: click.Command
    reset: click.Command


def process_commands(data_dir_option: Option) -> ProcessCommands:
    """Make them for one group."""

    @click.command("down")
    @data_dir_option
    def down(data_dir: Path) -> None:
        """Stop all processes; the state stays for the next `up`."""
        stopped = bring_down(DataDirectory(data_dir))
        click.echo(f"stopped {len(stopped)} processes" if stopped else "nothing runs")

    @click.command("logs")
    @click.argument("component")
    @click.option("-f", "--follow", is_flag=True, help="Go on printing what is added.")
    @click.option("--tail", default=0, help="Only the last N lines (0: all).")
    @data_dir_option
    def logs(component: str, follow: bool, tail: int, data_dir: Path) -> None:
        """Print the log of COMPONENT (kv-0, master-1, node-2, loadbalancer, supervisor)."""
        try:
            follow_log(DataDirectory(data_dir), component, follow, tail)
        except KeyboardInterrupt:
            return

    def one(name: str, said: str, help_text: str, do: Callable[[DataDirectory, str], None]) -> click.Command:
        @click.command(name, help=help_text)
        @click.argument("component")
        @data_dir_option
        def command(component: str, data_dir: Path) -> None:
            do(DataDirectory(data_dir), component)
            click.echo(f"{component} {said}")

        return command

    @click.command("reset")
    @click.option("--yes", is_flag=True, help="Do not ask.")
    @data_dir_option
    def reset(yes: bool, data_dir: Path) -> None:
        """Stop everything and delete the state: data, certificates, logs."""
        remove(DataDirectory(data_dir), yes)

    return ProcessCommands(
        down=down,
        logs=logs,
        start=one("start", "started", "Start COMPONENT again after it was stopped or died.", asker("start")),
        stop=one("stop", "stopped", "Stop COMPONENT (SIGTERM) and leave it stopped.", asker("stop")),
        kill=one("kill", "killed", "kill -9 COMPONENT, to see what happens.", kill_component),
        reset=reset,
    )


def asker(do: str) -> Callable[[DataDirectory, str], None]:
    return lambda directory, component: ask_supervisor(directory, do, component)


def remove(directory: DataDirectory, yes: bool) -> None:
    """Stop what runs and delete the directory, if it is one of ours. Raises LauncherError when it is not."""
    if not directory.path.exists():
        click.echo(f"{directory.path} does not exist")
        return
    if any(directory.path.iterdir()) and not directory.plan_file.exists() and not directory.run.exists():
        raise LauncherError(f"{directory.path} is not a Pilothouse data directory; nothing was deleted")
    if not yes:
        click.confirm(f"Delete everything in {directory.path}?", abort=True)
    bring_down(directory)
    shutil.rmtree(directory.path)
    click.echo(f"deleted {directory.path}")
