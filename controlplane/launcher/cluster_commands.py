"""`pilothouse up | down | status | logs | kubeconfig | start | stop | reset`."""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import click

from controlplane.launcher import show
from controlplane.launcher.plan import Plan, plan_from_document
from controlplane.launcher.process_commands import process_commands
from controlplane.launcher.start import bring_up, plan_for
from controlplane.launcher.state import (
    DEFAULT_DIRECTORY,
    DataDirectory,
    LauncherError,
    ProcessState,
    alive,
    resident_bytes,
)

NODES_READY_SECONDS = 30.0

data_dir = click.option(
    "--data-dir", type=click.Path(path_type=Path), default=DEFAULT_DIRECTORY, envvar="PILOTHOUSE_DATA_DIR", show_default=True,
    help="Where the cluster keeps its state (also PILOTHOUSE_DATA_DIR).",
)  # fmt: skip
output = click.option("--output", "-o", type=click.Choice(["table", "json"]), default="table", show_default=True)


processes = process_commands(data_dir)


def given_options(context: click.Context) -> set[str]:
    """Return the names of the options that the user typed (not defaults)."""
    typed = (click.core.ParameterSource.COMMANDLINE, click.core.ParameterSource.ENVIRONMENT)
    return {name for name in context.params if context.get_parameter_source(name) in typed}


@click.command()
@click.option(
    "--masters", default=3, show_default=True, help="Store members, and API servers with scheduler and controllers."
)
@click.option("--nodes", default=3, show_default=True, help="Node agents; their pods are processes of this machine.")
@click.option("--simulated-nodes", default=0, show_default=True, help="Nodes without processes, for trying out size.")
@click.option(
    "--base-port", default=6443, show_default=True, help="The API's port; the others follow (see `pilothouse status`)."
)
@click.option(
    "--etcd-endpoints", default="", help="Use this etcd cluster (comma-separated) instead of members of our own."
)
@click.option("--restart", is_flag=True, help="Start again what dies.")
@click.option("--foreground", is_flag=True, help="Stay; Ctrl-C stops the cluster.")
@data_dir
@click.pass_context
def up(
    context: click.Context,
    masters: int,
    nodes: int,
    simulated_nodes: int,
    base_port: int,
    etcd_endpoints: str,
    restart: bool,
    foreground: bool,
    data_dir: Path,
) -> None:
    """Start a cluster on this machine: replicated store, masters, nodes and a load balancer before the API."""
    began = time.monotonic()
    directory = DataDirectory(data_dir)
    wanted = Plan(
        masters=masters,
        nodes=nodes,
        base_port=base_port,
        simulated_nodes=simulated_nodes,
        etcd_endpoints=etcd_endpoints,
    )
    given = given_options(context) & {"masters", "nodes", "base_port", "simulated_nodes", "etcd_endpoints"}
    plan = plan_for(directory, wanted, given)
    assert isinstance(plan, Plan)

    def after() -> None:
        wait_for_nodes(directory, plan)
        print_processes(directory)
        print_welcome(directory, plan, time.monotonic() - began)

    bring_up(directory, plan, foreground=foreground, restart=restart, after=after)


@click.command()
@data_dir
@output
def status(data_dir: Path, output: str) -> None:
    """Show every process: state, pid, memory (shared pages divided), address. Exit code 3 when nothing runs."""
    directory = DataDirectory(data_dir)
    processes = directory.processes()
    running = directory.is_locked()
    if output == "json":
        document = {
            "running": running,
            "dataDir": str(directory.path),
            "processes": [describe(item) for item in processes],
        }
        plan = read_plan(directory)
        if plan is not None:
            document |= {
                "server": plan.server,
                "kubeconfig": str(directory.kubeconfig()),
                "storeEndpoints": list(plan.store_endpoints),
            }
        click.echo(json.dumps(document, indent=2))
    elif running:
        print_processes(directory)
    else:
        click.echo(f"nothing runs in {directory.path}; `pilothouse up` starts a cluster")
    if not running:
        raise SystemExit(3)


@click.command()
@data_dir
def kubeconfig(data_dir: Path) -> None:
    """Print the path of the administrator's kubeconfig: export KUBECONFIG=$(pilothouse kubeconfig)."""
    path = DataDirectory(data_dir).kubeconfig()
    if not path.exists():
        raise LauncherError(f"no cluster has been made in {DataDirectory(data_dir).path}; `pilothouse up` makes one")
    click.echo(str(path))


def read_plan(directory: DataDirectory) -> Plan | None:
    document = directory.read_json(directory.plan_file)
    plan = plan_from_document(document) if document else None
    return plan if isinstance(plan, Plan) else None


def describe(item: ProcessState) -> dict[str, Any]:
    """Return one process as `status --output json` shows it; memory in bytes."""
    living = alive(item)
    state = item.state if living else ("exited" if item.state == "exited" else "gone")
    return {
        "name": item.name, "kind": item.kind, "state": state, "pid": item.pid if living else None, "exit": item.exit or None,
        "address": item.address, "memoryBytes": resident_bytes(item.pid) if living else 0, "log": item.name,
    }  # fmt: skip


def print_processes(directory: DataDirectory) -> None:
    rows = []
    total = 0
    for item in map(describe, directory.processes()):
        total += item["memoryBytes"]
        state = item["state"] + (f" ({item['exit']})" if item["exit"] else "")
        rows.append(
            (item["name"], state, str(item["pid"] or "-"), show.megabytes(item["memoryBytes"]), item["address"])
        )
    click.echo(show.table(("NAME", "STATE", "PID", "MEMORY", "ADDRESS"), rows))
    click.echo(f"{len(rows)} processes, {show.megabytes(total)}")


def print_welcome(directory: DataDirectory, plan: Plan, seconds: float) -> None:
    kubectl = "kubectl" if shutil.which("kubectl") else str(Path(os.sys.executable).with_name("kubectl"))  # type: ignore[attr-defined]
    click.echo(
        f"\nready in {seconds:.1f} s: {plan.masters} masters, {plan.nodes} nodes, API at {plan.server}\n\n"
        f"  export KUBECONFIG={directory.kubeconfig()}\n"
        f"  {kubectl} get nodes\n"
        f"  {kubectl} apply -f examples/guestbook/\n"
        f"  {etcdctl(directory, plan)} endpoint status -w table\n\n"
        "  pilothouse status | logs COMPONENT -f | stop COMPONENT | start COMPONENT | down"
    )


def etcdctl(directory: DataDirectory, plan: Plan) -> str:
    """Return the words that begin an etcdctl command against the cluster's store."""
    if plan.store_tls and not plan.etcd_endpoints:
        return f". {directory.pki / 'etcd' / 'etcdctl.env'} && etcdctl"
    return f"ETCDCTL_API=3 etcdctl --endpoints {','.join(plan.store_endpoints)}"


def wait_for_nodes(directory: DataDirectory, plan: Plan) -> None:
    """Return when every node of the plan is Ready; raise LauncherError when that takes too long."""
    from controlplane.launcher.look import ready_nodes

    names = {f"node-{index}" for index in range(plan.nodes)}
    deadline = time.monotonic() + NODES_READY_SECONDS
    with show.Progress("waiting for nodes", plan.nodes) as progress:
        while True:
            ready = ready_nodes(plan.server, directory.pki) & names
            progress.step(len(ready), "")
            if ready == names:
                return
            if time.monotonic() > deadline:
                missing = ", ".join(sorted(names - ready))
                raise LauncherError(
                    f"not Ready after {NODES_READY_SECONDS:.0f} s: {missing}; `pilothouse logs NAME` tells why"
                )
            time.sleep(0.05)
