"""The `pilothouse` program. Sub-commands are imported when they are used, so that `pilothouse --help` is quick."""

import importlib
import sys
from operator import attrgetter
from typing import Any

import click

from controlplane.launcher.state import LauncherError
from kvstore import compiled

VERSION = "0.1.0"


class LazyGroup(click.Group):
    """A group whose commands are named as `module:attribute` and imported on use; the summaries stand here, not there."""

    def __init__(self, *args: Any, lazy: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.lazy)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.lazy:
            return None
        module, _, attribute = self.lazy[name][0].partition(":")
        command = attrgetter(attribute)(importlib.import_module(module))
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self.lazy.items()])


CLUSTER = "controlplane.launcher.cluster_commands"
STORE = "controlplane.launcher.store_commands"

kv = LazyGroup(
    "kv",
    help="The replicated store alone: it speaks etcd's v3 API.",
    lazy={
        "up": (f"{STORE}:up", "start a three-member store on this machine"),
        "down": (f"{STORE}:processes.down", "stop it; its data stays"),
        "status": (f"{STORE}:status", "members, leader, revision"),
        "logs": (f"{STORE}:processes.logs", "print or follow the log of a member"),
        "start": (f"{STORE}:processes.start", "start a member that was stopped or died"),
        "stop": (f"{STORE}:processes.stop", "stop one member"),
        "kill": (f"{STORE}:processes.kill", "kill -9 one member"),
        "reset": (f"{STORE}:processes.reset", "stop it and delete its data"),
        "restore": ("kvstore.restore_command:restore", "a data directory from a snapshot, ours or etcd's"),
        "member": ("kvstore.command:member", "one member in the foreground, with etcd's flags"),
    },
)


class Main(LazyGroup):
    """The top group: as LazyGroup, and `kv` is a group of its own."""

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        return kv if name == "kv" else super().get_command(context, name)


program = Main(
    "pilothouse",
    help="A Kubernetes control plane on a Raft store of its own. `pilothouse up` starts three masters and three nodes.",
    lazy={
        "up": (f"{CLUSTER}:up", "start a cluster on this machine"),
        "down": (f"{CLUSTER}:processes.down", "stop it; its state stays"),
        "status": (f"{CLUSTER}:status", "what runs, where, since when"),
        "logs": (f"{CLUSTER}:processes.logs", "print or follow the log of a component"),
        "kubeconfig": (f"{CLUSTER}:kubeconfig", "print the path of the administrator's kubeconfig"),
        "start": (f"{CLUSTER}:processes.start", "start one component that was stopped or died"),
        "stop": (f"{CLUSTER}:processes.stop", "stop one component"),
        "kill": (f"{CLUSTER}:processes.kill", "kill -9 one component, to see what happens"),
        "reset": (f"{CLUSTER}:processes.reset", "stop the cluster and delete its state"),
        "kv": ("", "the store alone: up, down, status, member"),
        "sim": ("chaos.sim.command:sim", "play the store on virtual time with faults; one seed replays one run"),
        "chaos": ("chaos.command:chaos", "hurt a store and check its promises: run, list, check"),
        "bench": (
            "controlplane.launcher.bench.command:bench",
            "the store beside a real etcd: kv; the API server under wrk: api",
        ),
        "apiserver": ("controlplane.apiserver.command:apiserver", "the API server, alone, in the foreground"),
        "scheduler": ("controlplane.scheduler.command:scheduler", "the scheduler"),
        "controller-manager": ("controlplane.controllers.command:controller_manager", "the controllers"),
        "cloud-controller-manager": ("controlplane.cloud.command:cloud_controller_manager", "the cloud controllers"),
        "kubelet": ("controlplane.kubelet.command:kubelet", "the node agent"),
        "proxy": ("controlplane.network.command:proxy", "the service proxy"),
        "loadbalancer": ("controlplane.network.command:loadbalancer", "one address before several API servers"),
    },
)


program = click.version_option(
    VERSION, prog_name="pilothouse", message=f"%(prog)s, version %(version)s\nkvstore: {compiled.build()}"
)(program)


def main() -> None:
    """Run the program; a LauncherError is one line on standard error and exit code 1."""
    try:
        program.main(prog_name="pilothouse", standalone_mode=True)
    except LauncherError as error:
        click.echo(f"pilothouse: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
