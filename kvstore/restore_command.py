"""`pilothouse kv restore SNAPSHOT`: a data directory out of a snapshot of ours or of a real etcd, with etcdutl's flags.

Every member of the new cluster is restored from the same file, each with its own --name and --data-dir, and then
started with the same --initial-cluster. The log of each begins after entry 1, which stands for the snapshot: a member
that joins later with nothing is sent the state, because the log does not hold it.
"""

import mmap
import shutil
from pathlib import Path

import click

from kvstore.member.config import MemberConfig
from kvstore.member.membership import Membership
from kvstore.mvcc import layout
from kvstore.raft.configuration import make_configuration
from kvstore.raft.types import HardState, Persist, SnapshotMark
from kvstore.storage.bbolt import BadBoltFile, BoltFile
from kvstore.storage.data_dir import DataDirectory, Identity
from kvstore.storage.etcd_restore import BadHash, Bump, Restored, check_hash, restore_state
from kvstore.storage.file_log import open_log
from kvstore.storage.lmdb_store import LmdbStore

__all__ = ["restore", "restore_snapshot"]

FIRST_INDEX, FIRST_TERM = 1, 1  # of the entry that stands for the snapshot
DEFAULT_BUMP_REVISIONS = 1_000_000_000  # more than a cluster writes between a snapshot and its loss


def restore_snapshot(snapshot: Path, config: MemberConfig, *, bump: Bump, skip_hash_check: bool = False) -> Restored:
    """Make config.data_dir out of `snapshot`. It appears whole or not at all.

    Raises BadHash, BadBoltFile, OSError (FileExistsError: the directory is not empty).
    """
    target = config.data_dir
    if target.exists() and any(target.iterdir()):
        raise FileExistsError(f'data-dir "{target}" not empty or could not be read')
    unfinished = target.with_name(target.name + ".restoring")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    try:
        with snapshot.open("rb") as file:
            size = file.seek(0, 2)
            if not size:
                raise BadBoltFile("the snapshot is empty")
            with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as buffer:
                if not skip_hash_check:
                    check_hash(buffer)
                restored = _fill(unfinished, BoltFile(buffer), config, bump)
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished.rename(target)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return restored


def _fill(path: Path, file: BoltFile, config: MemberConfig, bump: Bump) -> Restored:
    directory = DataDirectory(path)
    try:
        store = LmdbStore(directory.state_path, layout.TABLES)
        try:
            restored = restore_state(file, store, index=FIRST_INDEX, term=FIRST_TERM, bump=bump)
        finally:
            store.close()
        _begin_log(directory, config)
        directory.identify(Identity(config.cluster_id, config.member_id, config.name))
    finally:
        directory.close()
    return restored


def _begin_log(directory: DataDirectory, config: MemberConfig) -> None:
    mark = SnapshotMark(FIRST_INDEX, FIRST_TERM, make_configuration(config.ids.values()))
    log = open_log(directory.log_path, FIRST_INDEX)
    try:
        log.load(FIRST_INDEX)
        log.begin_install(mark, Membership(config.initial_members()).encode())
        log.save(Persist(0, HardState(FIRST_TERM, 0), (), mark))
    finally:
        log.close()


@click.command(help="Make the data directory of a member from an etcd snapshot, with the flags of `etcdutl snapshot restore`.")
@click.argument("snapshot", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--data-dir", help="directory to make; NAME.etcd by default")
@click.option("--name", default="default", show_default=True, help="name of this member")
@click.option(
    "--initial-cluster", default="default=http://localhost:2380", show_default=True, help="NAME=PEER-URL of every member"
)
@click.option("--initial-cluster-token", default="etcd-cluster", show_default=True, help="makes ids differ between clusters")
@click.option(
    "--initial-advertise-peer-urls",
    default="http://localhost:2380",
    show_default=True,
    help="where the other members are told to connect",
)
@click.option("--skip-hash-check", is_flag=True, help="take a copied database, which ends without a hash")
@click.option(
    "--bump-revision",
    default=DEFAULT_BUMP_REVISIONS,
    show_default=True,
    type=click.IntRange(min=0),
    help="start so far above the snapshot's revision, so that no client sees revisions go back; 0: exactly there",
)
@click.option(
    "--mark-compacted/--no-mark-compacted",
    default=None,
    help="history below the bumped revision is compacted, so that watchers begin anew (default when bumped)",
)
@click.option("--wal-dir", help="refused: log and data are in --data-dir")
def restore(
    snapshot: Path,
    data_dir: str | None,
    name: str,
    initial_cluster: str,
    initial_cluster_token: str,
    initial_advertise_peer_urls: str,
    skip_hash_check: bool,
    bump_revision: int,
    mark_compacted: bool | None,
    wal_dir: str | None,
) -> None:
    """Restore one member."""
    if wal_dir:
        raise click.UsageError("--wal-dir is not supported: log and data are both in --data-dir")
    if mark_compacted and not bump_revision:
        raise click.UsageError("--mark-compacted needs a --bump-revision above 0")
    bump = Bump(bump_revision, bool(bump_revision) if mark_compacted is None else mark_compacted)
    flags = {
        "name": name,
        "data-dir": data_dir or f"{name}.etcd",
        "initial-cluster": initial_cluster,
        "initial-cluster-token": initial_cluster_token,
        "initial-advertise-peer-urls": initial_advertise_peer_urls,
    }
    try:
        config = MemberConfig.from_flags(flags)
        restored = restore_snapshot(snapshot, config, bump=bump, skip_hash_check=skip_hash_check)
    except (BadHash, BadBoltFile, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(
        f"restored {restored.versions} versions and {restored.leases} leases into {config.data_dir}: member "
        f"{config.member_id:x} of cluster {config.cluster_id:x} at revision {restored.revision}"
    )


if __name__ == "__main__":
    restore()
