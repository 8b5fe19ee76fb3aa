"""The hash of a revision does not depend on what came after it, nor on what has been thrown away."""

from hypothesis import given
from hypothesis import strategies as st

from kvstore.mvcc import commands, layout
from kvstore.mvcc.state import StateMachine
from kvstore.pb import rpc_pb2 as rpc
from kvstore.storage.memory import MemoryStore

KEYS = (b"a", b"b", b"c")


@given(st.lists(st.tuples(st.sampled_from(KEYS), st.booleans()), min_size=2, max_size=12))
def test_the_hash_of_a_revision_stays_the_same_while_writes_go_on(changes: list[tuple[bytes, bool]]) -> None:
    state = StateMachine(MemoryStore(layout.TABLES))
    hashes: dict[int, object] = {}
    for index, (key, is_delete) in enumerate(changes, 1):
        if is_delete:
            data = commands.DELETE_RANGE + rpc.DeleteRangeRequest(key=key).SerializeToString()
        else:
            data = commands.PUT + rpc.PutRequest(key=key, value=b"%d" % index).SerializeToString()
        state.apply(index, 1, data)
        state.end_of_turn()
        hashes[state.revision] = state.hash_key_values(state.revision)
    for revision, before in hashes.items():
        assert state.hash_key_values(revision) == before
