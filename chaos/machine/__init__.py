"""One machine's parts that can fail beneath a process.

shim.c, shim.py   a library before libc: failing, slow and torn disk calls, SIGKILL inside one, clocks that lie
disks.py          a file system of its own: power cuts, failing syncs, full disks (root)
"""
