"""Scripts as tests: `command`, `----`, what it prints. REWRITE=1 pytest ... writes down what is printed now.

    cluster N [election=10] [limit=BYTES] [window=N]    N members, terms 0, empty logs, timers that never fire by chance
    term M T [VOTE]               the member restarts in this term
    log M 1 1 2 ...               the member's log holds entries of these terms; its term is the last of them
    campaign M... | tick M [n] | propose M a b ... | read M CONTEXT | transfer M TO | unreachable M TO
    remove M TO | configure M 1,2,3 [learners]          propose a configuration
    deliver [A>B] [Kind]          messages that wait now, once, in order; what they cause waits in turn
    drop [A>B] [Kind]
    settle                        deliver until nothing waits
    cut A B ... | heal            messages between {A, B, ...} and the others are lost
    slow M | fsync M [n]          fsyncs of M wait for `fsync`
    crash M | restart M | compact M INDEX
    show | logs                   one line for each member
    quiet COMMAND                 the same, printing nothing
"""

from random import Random

from chaos.sim.cores import World
from kvstore.raft.configuration import make_configuration
from kvstore.raft.core import RaftConfig
from kvstore.raft.types import (
    Append,
    Entry,
    EntryKind,
    HardState,
    InstallSnapshot,
    Message,
    Propose,
    ProposeConfiguration,
    Transfer,
    Unreachable,
    VoteReply,
    VoteRequest,
)


class LongestTimeout(Random):
    """Every draw is the greatest: only those campaign whom the script tells."""

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        return (start if stop is None else stop) - 1


def run(text: str) -> str:
    """Run a script and return it with what each command prints now."""
    player, written = Player(), []
    for block in text.strip("\n").split("\n\n"):
        commands = block.split("\n----")[0]
        player.printed = []
        for line in commands.splitlines():
            if not line.startswith("#"):
                player.play(line)
        written.append(commands + "\n----\n" + "".join(f"{line}\n" for line in player.printed))
    return "\n".join(written)


class Player:
    """Plays one script."""

    def __init__(self) -> None:
        self.printed: list[str] = []
        self.cut_off: set[int] = set()
        self.number = 0

    def play(self, line: str) -> None:
        name, *arguments = line.split()
        if name == "quiet":
            printed = self.printed
            self.printed = []
            self.play(" ".join(arguments))
            self.printed = printed
            return
        getattr(self, "do_" + name)(*arguments)
        self.note_changes()

    def note_changes(self) -> None:
        for member, node in self.world.nodes.items():
            now = "down" if node.raft is None else f"{node.raft.role.name.lower()} in term {node.raft.term}"
            if now != self.known[member]:
                self.known[member] = now
                self.printed.append(f"{member} is {now}")

    def do_cluster(self, size: str, *options: str) -> None:
        given = dict(option.split("=") for option in options)
        config = RaftConfig(1, int(given.get("election", 10)), boot_election_ticks=0,
                            max_append_bytes=int(given.get("limit", 1 << 20)),
                            max_uncommitted_bytes=int(given.get("uncommitted", 1 << 20)),
                            max_in_flight_messages=int(given.get("window", 256)))
        self.world = World(int(size), LongestTimeout(), config)
        for member in self.world.nodes:
            self.world.raft(member).random = LongestTimeout()
            self.world.raft(member).draw_timeout()
        self.known = dict.fromkeys(self.world.nodes, "follower in term 0")
        self.world.trace = lambda line: self.printed.append("  " + line)

    def do_log(self, member: str, *terms: str) -> None:
        disk = self.world.nodes[int(member)].disk
        disk.entries = [Entry(i, int(t), EntryKind.COMMAND, b"%d/%d" % (i, int(t))) for i, t in enumerate(terms, 1)]
        disk.hard_state = HardState(int(terms[-1]), 0)
        self.do_restart(member)
        self.known[int(member)] = f"follower in term {terms[-1]}"

    def do_term(self, member: str, term: str, vote: str = "0") -> None:
        self.world.nodes[int(member)].disk.hard_state = HardState(int(term), int(vote))
        self.do_restart(member)

    def do_restart(self, member: str) -> None:
        self.world.restart(int(member))
        self.world.raft(int(member)).random = LongestTimeout()
        self.world.raft(int(member)).draw_timeout()

    def do_crash(self, member: str) -> None:
        self.world.crash(int(member))

    def do_campaign(self, *members: str) -> None:
        for member in members:
            self.world.campaign(int(member))

    def do_tick(self, member: str, count: str = "1") -> None:
        self.world.tick(int(member), int(count))

    def do_propose(self, member: str, *commands: str) -> None:
        self.number += 1
        self.world.step(int(member), Propose(self.number, tuple(command.encode() for command in commands)))

    def do_configure(self, member: str, voters: str, learners: str = "") -> None:
        self.number += 1
        target = make_configuration(map(int, voters.split(",")), map(int, filter(None, learners.split(","))))
        self.world.step(int(member), ProposeConfiguration(self.number, target))

    def do_read(self, member: str, context: str) -> None:
        self.world.read(int(member), int(context))

    def do_transfer(self, member: str, to: str) -> None:
        self.world.step(int(member), Transfer(int(to)))

    def do_unreachable(self, member: str, to: str) -> None:
        self.world.step(int(member), Unreachable(int(to)))

    def do_compact(self, member: str, index: str) -> None:
        self.world.compact(int(member), int(index))

    def do_slow(self, member: str) -> None:
        self.world.slow_disks.add(int(member))

    def do_fsync(self, member: str, count: str = "") -> None:
        node = self.world.nodes[int(member)]
        for _ in range(int(count) if count else len(node.pending)):
            self.world.finish_fsync(int(member))

    def do_cut(self, *members: str) -> None:
        self.cut_off = set(map(int, members))

    def do_heal(self) -> None:
        self.cut_off = set()

    def do_deliver(self, *what: str) -> None:
        for message in self.take(*what):
            is_lost = (message.source in self.cut_off) != (message.to in self.cut_off)
            is_lost = is_lost or self.world.nodes[message.to].raft is None
            self.printed.append(("x " if is_lost else "") + describe(message))
            if not is_lost:
                self.world.deliver(message)

    def do_drop(self, *what: str) -> None:
        self.printed += [f"x {describe(message)}" for message in self.take(*what)]

    def take(self, *what: str) -> list[Message]:
        def is_meant(message: Message) -> bool:
            return all(word in (f"{message.source}>{message.to}", type(message).__name__) for word in what)

        taken = [message for message in self.world.network if is_meant(message)]
        self.world.network = [message for message in self.world.network if not is_meant(message)]
        return taken

    def do_settle(self) -> None:
        for _ in range(100):
            if not self.world.network:
                return
            self.do_deliver()
            self.note_changes()
        raise AssertionError("the network does not fall silent")

    def do_show(self) -> None:
        for member, node in self.world.nodes.items():
            if node.raft is not None:
                raft, log = node.raft, node.raft.log
                self.printed.append(f"{member}: {raft.role.name.lower()} term={raft.term} vote={raft.vote} "
                                    f"leader={raft.leader} last={log.last_index}/{log.last_term} "
                                    f"commit={log.committed} applied={log.applied} stable={log.stable}")

    def do_logs(self) -> None:
        for member, node in self.world.nodes.items():
            if node.raft is not None:
                log = node.raft.log
                terms = " ".join(str(e.term) for e in log.between(log.snapshot.index + 1, log.last_index))
                self.printed.append(f"{member}: ({log.snapshot.index}/{log.snapshot.term}) {terms}")


def describe(message: Message) -> str:
    """One message on one line; fields that say nothing are left out."""
    line = f"{message.source}>{message.to} {type(message).__name__} term={message.term}"
    for name in message.__dataclass_fields__:
        value = getattr(message, name)
        if name in ("source", "to", "term") or value in (0, False, ()):
            continue
        if isinstance(message, VoteRequest | VoteReply) and name in ("pre", "granted", "forced"):
            line += f" {name}"
        elif isinstance(message, Append) and name == "entries":
            line += " [" + " ".join(f"{e.index}/{e.term}" for e in message.entries) + "]"
        elif isinstance(message, InstallSnapshot):
            line += f" mark={message.mark.index}/{message.mark.term}"
        elif name == "batch":
            line += " [" + " ".join(command.decode() for command in value) + "]"
        elif name == "rejected":
            line += " rejected"
        else:
            line += f" {name}={value}"
    return line



