"""Nothing that was acknowledged is lost: real processes, real files, real faults of the disk.

member.py        one member as a process, and a client of it that keeps what was acknowledged
shim.py, shim.c  a library put before libc: the N-th sync or write of a file kills the process or fails
test_kill.py     leaders and whole clusters killed under load     test_crash_points.py   killed at the N-th sync or write
test_disk.py     a full disk, a disk that cannot sync             test_damage.py         flipped bytes, half copies
test_rejoin.py   a damaged member replaced by its peers
test_power_cut.py   power cuts of an ext4 on a loop device (root)
"""
