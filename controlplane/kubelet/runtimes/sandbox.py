"""The last step before a container's program: prepare this very process, then become the program.

Started as `python -S -E -I sandbox.pyc SPEC_FD ERROR_FD` by process.py, never imported by the agent for its functions;
standard library only, and little of it, because every import is paid at every start. SPEC_FD holds one marshalled dict:

    argv, env, directory, hostname, user, group    what to execute, where, as whom (user and group: int or None)
    isolation   "root": a private mount namespace; "user": the same inside a user namespace; "none": neither
    root        an empty directory of ours to build the new root on
    mounts      [(source, target, read_only)], absolute paths
    join        process id whose namespaces to enter instead (exec, hooks), or 0
    terminal    whether standard input is a terminal that is to control the program's session
    parent      process id of the agent: when it dies, the program is killed

A failure is one marshalled (stage, text) on ERROR_FD and exit status 128. A successful exec closes ERROR_FD (close-on-exec).

The new root is a tmpfs that mirrors "/": each top-level directory of the host is bind-mounted. Where a mount point does not
exist, the deepest existing directory is mirrored the same way on a tmpfs, so the host's directories are never written.
See mount_namespaces(7), user_namespaces(7), pivot_root(2).
"""

import marshal
import os
import sys

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWUSER = 0x10000000
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_REC = 16384
MS_SLAVE = 1 << 19
MS_RELATIME = 1 << 21
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1
TIOCSCTTY = 0x540E
SIGKILL = 9
SIGPIPE = 13
SIGXFSZ = 25
MAX_SYMBOLIC_LINKS = 40
FAILED = 128


class Libc:
    """The few calls that the os module of Python 3.11 lacks. OSError on failure."""

    def __init__(self) -> None:
        import ctypes  # here, because a failure to load it must be reported like any other

        self._ctypes = ctypes
        self._libc = ctypes.CDLL(None, use_errno=True)

    def call(self, name: str, *arguments: "int | bytes | None", about: str = "") -> None:
        """Call a C function with int, bytes or None arguments."""
        c_long, c_char_p = self._ctypes.c_long, self._ctypes.c_char_p
        values = [c_long(a) if isinstance(a, int) else c_char_p(a) for a in arguments]
        if getattr(self._libc, name)(*values) == -1:
            number = self._ctypes.get_errno()
            raise OSError(number, f"{name} {about}: {os.strerror(number)}")

    def mount(
        self, source: "str | None", target: str, kind: "str | None", flags: int, data: "bytes | None" = None
    ) -> None:
        """mount(2)."""
        encoded = [os.fsencode(x) if x is not None else None for x in (source, target, kind)]
        self.call("mount", *encoded, flags, data, about=f"{source} on {target}")


def resolve(root: str, path: str) -> str:
    """Where `path`, as seen inside `root`, really is: symbolic links followed, never out of the root; may not exist."""
    todo = [part for part in path.split("/") if part][::-1]
    done: list[str] = []
    links = 0
    while todo:
        part = todo.pop()
        if part == ".":
            continue
        if part == "..":
            if done:
                done.pop()
            continue
        here = "/".join([root, *done, part])
        if os.path.islink(here):
            links += 1
            if links > MAX_SYMBOLIC_LINKS:
                raise OSError(40, f"too many symbolic links in {path}")
            target = os.readlink(here)
            if target.startswith("/"):
                done = []
            todo.extend([piece for piece in target.split("/") if piece][::-1])
        else:
            done.append(part)
    return "/".join([root, *done])


class Root:
    """The new root under construction."""

    def __init__(self, libc: Libc, root: str) -> None:
        self.libc = libc
        self.root = root
        self.own: set[str] = set()  # directories on our tmpfs: mount points may be made there
        self.volumes: list[str] = []

    def build(self, mounts: "list[tuple[str, str, bool]]") -> None:
        """Mirror the host, then put every volume in its place, outer ones first."""
        self._mirror("/", self.root)
        placed = []
        for source, target, read_only in sorted(mounts, key=lambda m: m[1].rstrip("/").count("/")):
            place = resolve(self.root, target)
            self._make_point(place, os.path.isdir(source))
            self.libc.mount(source, place, None, MS_BIND | MS_REC)
            self.volumes.append(place)
            if read_only:
                placed.append(place)
        for place in placed:
            self.libc.mount(None, place, None, MS_BIND | MS_REMOUNT | MS_RDONLY | kept_flags(place))

    def _mirror(self, source: str, target: str) -> None:
        """Cover `target` with a tmpfs that shows the entries of the host's directory `source`."""
        entries = [(e.name, e.is_symlink(), e.is_dir(follow_symlinks=False)) for e in os.scandir(source)]
        self.libc.mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, b"mode=755,size=16m")
        self.own.add(target)
        prefix = source.rstrip("/")
        for name, is_link, is_directory in entries:
            there, here = f"{prefix}/{name}", f"{target}/{name}"
            try:
                if is_link:
                    os.symlink(os.readlink(there), here)
                    continue
                if is_directory:
                    os.mkdir(here)
                else:
                    os.close(os.open(here, os.O_CREAT | os.O_WRONLY, 0o644))
                self.libc.mount(there, here, None, MS_BIND | MS_REC)
            except OSError:
                continue  # what we may not see, the container does not see either

    def _make_point(self, place: str, directory: bool) -> None:
        """Make sure that `place` exists, on a tmpfs of ours or inside a volume; never on the host."""
        if os.path.lexists(place):
            return
        existing = place
        missing: list[str] = []
        while not os.path.isdir(existing):
            existing, _, name = existing.rpartition("/")
            missing.append(name)
        if existing not in self.own and not any((existing + "/").startswith(v + "/") for v in self.volumes):
            self._mirror(existing[len(self.root) :] or "/", existing)
        here = existing
        while missing:
            here = f"{here}/{missing.pop()}"
            if missing or directory:
                os.mkdir(here)
                self.own.add(here)
            else:
                os.close(os.open(here, os.O_CREAT | os.O_WRONLY, 0o644))

    def enter(self) -> None:
        """Make it "/". The old root goes away with all that is under it."""
        os.chdir(self.root)
        try:
            self.libc.call("pivot_root", b".", b".")
            self.libc.call("umount2", b".", MNT_DETACH)
        except OSError:
            os.chroot(".")  # the host's root is an initramfs: pivot_root(2) cannot leave it
        os.chdir("/")


def kept_flags(place: str) -> int:
    """The flags of a mount that a remount inside a user namespace must repeat, see mount_namespaces(7)."""
    found = os.statvfs(place).f_flag
    return found & (MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME)


def isolate(libc: Libc, spec: "dict[str, object]") -> None:
    """A mount namespace of our own, with the volumes in it; a host name of our own."""
    flags = CLONE_NEWNS | (CLONE_NEWUTS if spec["hostname"] else 0)
    if spec["isolation"] == "user":
        user, group = os.geteuid(), os.getegid()
        libc.call("unshare", flags | CLONE_NEWUSER)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    else:
        libc.call("unshare", flags)
    if spec["hostname"]:
        hostname = os.fsencode(str(spec["hostname"]))[:64]
        libc.call("sethostname", hostname, len(hostname))
    libc.mount(None, "/", None, MS_REC | MS_SLAVE)
    if spec["mounts"]:
        root = Root(libc, str(spec["root"]))
        root.build(spec["mounts"])  # type: ignore[arg-type]
        root.enter()


def join(libc: Libc, process: int) -> None:
    """Enter the namespaces of another process of ours."""
    kinds = [kind for kind in ("user", "mnt", "uts") if os.readlink(f"/proc/self/ns/{kind}") != _link(process, kind)]
    descriptors = [os.open(f"/proc/{process}/ns/{kind}", os.O_RDONLY) for kind in kinds]
    for descriptor in descriptors:
        libc.call("setns", descriptor, 0)
        os.close(descriptor)


def _link(process: int, kind: str) -> str:
    return os.readlink(f"/proc/{process}/ns/{kind}")


def main() -> None:
    """See the module docstring."""
    spec_descriptor, error_descriptor = int(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(error_descriptor, False)
    stage = "read"
    try:
        with open(spec_descriptor, "rb") as file:
            spec = marshal.load(file)
        libc = Libc()
        if spec["join"]:
            stage = "join"
            join(libc, spec["join"])
        elif spec["isolation"] != "none":
            stage = "isolate"
            isolate(libc, spec)
        stage = "identity"
        if spec["group"] is not None:
            os.setgroups([])
            os.setgid(spec["group"])
        if spec["user"] is not None:
            os.setuid(spec["user"])
        libc.call("prctl", PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
        if os.getppid() != spec["parent"]:
            os._exit(FAILED)  # the agent died before the line above could take effect
        if spec["terminal"]:
            stage = "terminal"
            libc.call("ioctl", 0, TIOCSCTTY, 0)
        stage = "directory"
        os.chdir(spec["directory"])
        for number in (SIGPIPE, SIGXFSZ):  # Python ignores them; a program expects the default
            libc.call("signal", number, 0)
        stage = "execute"
        os.execvpe(spec["argv"][0], spec["argv"], spec["env"])
    except FileNotFoundError as error:
        text = str(error)
        if stage == "execute":
            text = f'exec: "{spec["argv"][0]}": executable file not found in $PATH'
        os.write(error_descriptor, marshal.dumps((stage, text)))
        os._exit(FAILED)
    except Exception as error:
        os.write(error_descriptor, marshal.dumps((stage, str(error))))
        os._exit(FAILED)


if __name__ == "__main__":
    main()
