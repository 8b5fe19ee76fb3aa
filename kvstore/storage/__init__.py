"""Bytes on disk.

    port.py         OrderedStore: tables of ordered byte keys; one write transaction at a time, consistent read views
    lmdb_store.py   the only file that imports lmdb
    memory.py       the in-memory twin: the same contract suite runs on both
    raft_log.py     RaftLog: entries, hard state and snapshot mark; save() is one durable transaction; every record is checksummed
    file_log.py     FileLog: the same contract on an append-only file; what members use.  segments.py   its frames and files
    files.py        the system calls that the log needs, as a port
    bbolt.py        the file format of etcd's database, read and written as a stream; pure
    etcd_snapshot.py, etcd_restore.py     the state as etcd's own snapshot file, and back
    codec.py        the only file that imports msgpack
    data_dir.py     layout, lock file (a second process gets DataDirectoryInUse), identity of the member

Errors: DataDirectoryInUse, CorruptLog (a checksum did not match), StoreFull (map or disk is full),
DamagedStore (the state's files are damaged, or were copied in part); BadBoltFile, BadHash
(what is restored is no snapshot, or a damaged one). Anything else is our bug.
"""
