"""A small replicated key-value store that speaks etcd's v3 API.

    raft/      consensus, pure                      storage/   bytes on disk
    mvcc/      the replicated state, pure           member/    one member: all of it in one turn loop
    rpc/       gRPC over HTTP/2                     api/       etcd's services on a member
    client/    the Python client                    pb/        generated from proto/
    compiled.py   which modules run as machine code
"""

from kvstore import compiled

compiled.choose()
