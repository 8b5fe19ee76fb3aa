"""`pilothouse kv up | down | status | logs | reset`: the three-node local Raft cluster."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import click

from controlplane.launcher import show
from controlplane.launcher.cluster_commands import describe, given_options, output
from controlplane.launcher.plan import StorePlan, plan_from_document
from controlplane.launcher.process_commands import process_commands
from controlplane.launcher.start import bring_up, plan_for
from controlplane.launcher.state import DEFAULT_STORE_DIRECTORY, DataDirectory, LauncherError

STATUS_TIMEOUT_SECONDS = 2.0

data_dir = click.option(
    "--data-dir", type=click.Path(path_type=Path), default=DEFAULT_STORE_DIRECTORY,
    envvar="PILOTHOUSE_KV_DATA_DIR", show_default=True,
    help="Where the members keep their data (also PILOTHOUSE_KV_DATA_DIR).",
)  # fmt: skip


processes = process_commands(data_dir)


@click.command()
@click.option("--members", default=3, show_default=True, help="How many members.")
@click.option(
    "--base-port", default=2379, show_default=True, help="Member i serves clients on N+10i and peers on N+10i+1."
)
@click.option("--restart", is_flag=True, help="Start again what dies.")
@click.option("--foreground", is_flag=True, help="Stay; Ctrl-C stops the members.")
@data_dir
@click.pass_context
def up(context: click.Context, members: int, base_port: int, restart: bool, foreground: bool, data_dir: Path) -> None:
    """Start a replicated store on this machine and print its endpoints."""
    began = time.monotonic()
    directory = DataDirectory(data_dir)
    plan = plan_for(
        directory, StorePlan(members=members, base_port=base_port), given_options(context) & {"members", "base_port"}
    )
    assert isinstance(plan, StorePlan)

    def after() -> None:
        click.echo(members_table(directory, plan))
        endpoints = ",".join(plan.store_endpoints)
        click.echo(
            f"\nready in {time.monotonic() - began:.1f} s\n\n"
            f"  export ETCDCTL_API=3 ETCDCTL_ENDPOINTS={endpoints}\n"
            "  etcdctl put greeting hello && etcdctl get greeting\n\n"
            f"  --endpoints={endpoints}"
        )

    bring_up(directory, plan, foreground=foreground, restart=restart, after=after)


@click.command()
@data_dir
@output
def status(data_dir: Path, output: str) -> None:
    """Show each member: state, leader, term, revision, size. Exit code 3 when nothing runs."""
    directory = DataDirectory(data_dir)
    plan = stored_plan(directory)
    if output == "json":
        document = {
            "running": directory.is_locked(),
            "dataDir": str(directory.path),
            "endpoints": list(plan.store_endpoints),
        }
        click.echo(json.dumps({**document, "members": member_rows(directory, plan)}, indent=2))
    elif directory.is_locked():
        click.echo(members_table(directory, plan))
    else:
        click.echo(f"nothing runs in {directory.path}; `pilothouse kv up` starts the store")
    if not directory.is_locked():
        raise SystemExit(3)


def stored_plan(directory: DataDirectory) -> StorePlan:
    document = directory.read_json(directory.plan_file)
    plan = plan_from_document(document) if document else None
    if not isinstance(plan, StorePlan):
        raise LauncherError(f"no store has been made in {directory.path}; `pilothouse kv up` makes one")
    return plan


def member_rows(directory: DataDirectory, plan: StorePlan) -> list[dict[str, Any]]:
    """Return one dict per member: the process, and what its Status call says (absent when it does not answer)."""
    answers = asyncio.run(ask_members(plan))
    rows = []
    for item, endpoint, answer in zip(map(describe, directory.processes()), plan.store_endpoints, answers):
        rows.append({**item, "endpoint": endpoint, **answer})
    return rows


async def ask_members(plan: StorePlan) -> list[dict[str, Any]]:
    from kvstore.client import Client

    async def ask(endpoint: str) -> dict[str, Any]:
        async with Client([endpoint]) as client:
            try:
                answer = await asyncio.wait_for(client.status(), STATUS_TIMEOUT_SECONDS)
            except (Exception, TimeoutError):
                return {}
        return {
            "id": f"{answer.header.member_id:x}", "isLeader": answer.leader == answer.header.member_id, "term": answer.raftTerm,
            "raftIndex": answer.raftIndex, "revision": answer.header.revision, "dbSizeBytes": answer.dbSize,
        }  # fmt: skip

    return list(await asyncio.gather(*map(ask, plan.store_endpoints)))


def members_table(directory: DataDirectory, plan: StorePlan) -> str:
    rows = []
    for item in member_rows(directory, plan):
        role = "-" if "isLeader" not in item else ("leader" if item["isLeader"] else "follower")
        figures = (
            str(item.get("term", "-")),
            str(item.get("revision", "-")),
            show.megabytes(item.get("dbSizeBytes", 0)),
        )
        rows.append(
            (item["name"], item["state"], role, *figures, show.megabytes(item["memoryBytes"]), item["endpoint"])
        )
    return show.table(("NAME", "STATE", "ROLE", "TERM", "REVISION", "DB", "MEMORY", "ENDPOINT"), rows)
