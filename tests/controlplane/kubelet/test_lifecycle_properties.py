"""Random lives of random pods: what must hold at every step, whatever happens."""

from __future__ import annotations

import signal
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controlplane.kubelet import lifecycle, recall
from controlplane.kubelet.model import (
    Exit,
    Finish,
    Instance,
    Observed,
    Policy,
    ProbeReport,
    Record,
    RunPreStop,
    Signal,
    Start,
    StartFailure,
)
from tests.controlplane.kubelet.pods import NOW, container, make_pod

LEGAL = {
    "Pending": {"Pending", "Running", "Succeeded", "Failed"},
    "Running": {"Running", "Succeeded", "Failed"},
    "Succeeded": {"Succeeded"},
    "Failed": {"Failed"},
}
PROBE = {"exec": {"command": ["true"]}}
HOOK = {"preStop": PROBE}


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    mains = []
    for index in range(draw(st.integers(1, 2))):
        extra: dict[str, Any] = {}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if draw(st.booleans()):
                extra[probe] = PROBE
        if draw(st.booleans()):
            extra["lifecycle"] = HOOK
        mains.append(container(f"main{index}", **extra))
    inits = []
    for index in range(draw(st.integers(0, 2))):
        kind = draw(st.sampled_from(["init", "sidecar"]))
        inits.append(container(f"init{index}", **({"restartPolicy": "Always"} if kind == "sidecar" else {})))
    spec: dict[str, Any] = {
        "containers": mains,
        "restartPolicy": draw(st.sampled_from(["Always", "OnFailure", "Never"])),
    }
    if inits:
        spec["initContainers"] = inits
    if draw(st.integers(0, 3)) == 0:
        spec["activeDeadlineSeconds"] = draw(st.integers(1, 200))
    return spec


class PodLife(RuleBasedStateMachine):
    """A pod between a decider and a pretended runtime."""

    @initialize(spec=specs())
    def begin(self, spec: dict[str, Any]) -> None:
        self.pod = make_pod(**spec)
        self.now = NOW
        self.policy = Policy()
        self.memory = recall.begin(self.pod, NOW)
        self.instances: dict[str, Instance] = {}
        self.failures: dict[str, StartFailure] = {}
        self.probes: dict[str, ProbeReport] = {}
        self.hooks: set[tuple[str, int]] = set()
        self.fail_next_start = ""
        self.phase = "Pending"
        self.counts: dict[str, int] = {}
        self.final: Any = None
        self.hooks_asked: set[tuple[str, int]] = set()
        self.restored = False
        self.look()

    # What may happen

    @rule()
    def look_again(self) -> None:
        self.look()

    @rule(seconds=st.sampled_from([0.1, 1, 5, 10, 60, 700]))
    def time_passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.look()

    @precondition(lambda self: any(i.exit is None for i in self.instances.values()))
    @rule(data=st.data(), code=st.sampled_from([0, 0, 1, 137]))
    def a_container_exits(self, data: st.DataObject, code: int) -> None:
        name = data.draw(st.sampled_from(sorted(n for n, i in self.instances.items() if i.exit is None)))
        self.end(name, code)
        self.look()

    @precondition(lambda self: any(i.exit is None for i in self.instances.values()))
    @rule(data=st.data(), ready=st.booleans(), fails=st.booleans())
    def a_probe_reports(self, data: st.DataObject, ready: bool, fails: bool) -> None:
        name = data.draw(st.sampled_from(sorted(n for n, i in self.instances.items() if i.exit is None)))
        attempt = self.instances[name].attempt
        self.probes[name] = ProbeReport(attempt, started=True, ready=ready, failure="liveness" if fails else "")
        self.look()

    @rule(reason=st.sampled_from(["ErrImagePull", "CreateContainerConfigError", "ContainerCreating"]))
    def the_next_start_will_fail(self, reason: str) -> None:
        self.fail_next_start = reason

    @rule(grace=st.sampled_from([0, 1, 30]))
    def it_is_deleted(self, grace: int) -> None:
        metadata = {**self.pod["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
        self.pod = {**self.pod, "metadata": {**metadata, "deletionGracePeriodSeconds": grace}}
        self.look()

    @rule()
    def a_hook_ends(self) -> None:
        self.hooks |= self.hooks_asked
        self.look()

    @rule()
    def the_node_restarts(self) -> None:
        self.pod = {**self.pod, "status": dict(self.status)}
        self.memory = recall.restore(self.pod, self.now)
        self.instances, self.failures, self.probes = {}, {}, {}
        self.restored = True
        self.look()

    # The loop

    def end(self, name: str, code: int) -> None:
        old = self.instances[name]
        ended = Exit(code, "Completed" if code == 0 else "Error", self.now, old.started_at)
        self.instances[name] = replace(old, exit=ended)

    def look(self) -> None:
        for _ in range(20):
            observed = Observed(dict(self.instances), dict(self.failures), dict(self.probes), frozenset(self.hooks))
            decision = lifecycle.decide(self.pod, self.memory, observed, self.now, self.policy)
            again = lifecycle.decide(self.pod, decision.memory, observed, self.now, self.policy)
            assert all(isinstance(a, Finish) for a in again.actions), "the same look must ask for nothing new"
            assert again.status == decision.status
            self.memory, self.status = decision.memory, decision.status
            self.check_phase()
            busy = False
            for action in decision.actions:
                busy = self.do(action) or busy
            if not busy:
                return
        raise AssertionError("it never comes to rest")

    def do(self, action: Any) -> bool:
        match action:
            case Start(spec, _, attempt, tries):
                self.start(spec["name"], attempt, tries)
                return True
            case Signal(name, attempt, number):
                assert self.instances[name].attempt == attempt and self.instances[name].exit is None
                if number == signal.SIGKILL:
                    self.end(name, 137)
                    return True
            case RunPreStop(spec, attempt, limit_seconds):
                assert limit_seconds > 0
                assert (spec["name"], attempt) not in self.hooks_asked or self.restored
                self.hooks_asked.add((spec["name"], attempt))
            case Finish(delete):
                assert delete == ("deletionTimestamp" in self.pod["metadata"])
                assert self.status["phase"] in ("Succeeded", "Failed")
            case Record(type):
                assert type in ("Normal", "Warning")
        return False

    def start(self, name: str, attempt: int, tries: int) -> None:
        assert "deletionTimestamp" not in self.pod["metadata"], "what is going does not start"
        assert self.phase not in ("Succeeded", "Failed")
        before = self.instances.get(name)
        assert before is None or (before.exit is not None and attempt == before.attempt + 1)
        if name.startswith("main"):
            for other in self.pod["spec"].get("initContainers", ()):
                if other.get("restartPolicy") != "Always":
                    slot = self.memory.slots[other["name"]]
                    assert slot.exit is not None and slot.exit.exit_code == 0, "init containers come first"
        if self.fail_next_start:
            self.failures[name] = StartFailure(name, attempt, tries, self.fail_next_start, "why", self.now)
            self.fail_next_start = ""
            return
        self.failures.pop(name, None)
        self.probes.pop(name, None)
        self.instances[name] = Instance(name, attempt, f"process://{name}-{attempt}", self.now)

    def check_phase(self) -> None:
        phase = self.status["phase"]
        assert phase in LEGAL[self.phase], f"{self.phase} -> {phase}"
        self.phase = phase

    # What always holds

    @invariant()
    def restart_counts_never_go_back(self) -> None:
        for entry in self.entries():
            before = self.counts.get(entry["name"], 0)
            assert entry["restartCount"] >= before
            self.counts[entry["name"]] = entry["restartCount"]

    @invariant()
    def a_container_is_in_exactly_one_state(self) -> None:
        for entry in self.entries():
            assert len(entry["state"]) == 1
            init = entry["name"].startswith("init")
            assert not entry["ready"] or "running" in entry["state"] or init
            if "running" in entry["state"]:
                assert self.instances[entry["name"]].exit is None

    @invariant()
    def the_end_is_final_and_nothing_runs_then(self) -> None:
        if getattr(self, "phase", "Pending") not in ("Succeeded", "Failed"):
            return
        assert all(instance.exit is not None for instance in self.instances.values())
        kept = {k: v for k, v in self.status.items() if k in ("phase", "reason", "message", "startTime")}
        assert self.final is None or kept == self.final
        self.final = kept

    @invariant()
    def ready_means_that_all_containers_are(self) -> None:
        if not hasattr(self, "status"):
            return
        conditions = {c["type"]: c["status"] for c in self.status["conditions"]}
        all_ready = all(entry["ready"] for entry in self.entries() if entry["name"].startswith("main"))
        if conditions["Ready"] == "True":
            assert all_ready and self.status["phase"] == "Running"
        assert conditions["Ready"] == conditions["ContainersReady"]

    @invariant()
    def never_means_never(self) -> None:
        if hasattr(self, "pod") and self.pod["spec"]["restartPolicy"] == "Never":
            for entry in self.entries():
                sidecars = {c["name"] for c in self.pod["spec"].get("initContainers", ()) if "restartPolicy" in c}
                assert entry["restartCount"] == 0 or entry["name"] in sidecars

    def entries(self) -> list[dict[str, Any]]:
        status = getattr(self, "status", {})
        return [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]

    def teardown(self) -> None:
        """Whatever happened before: a deleted pod comes to its end when time passes."""
        if not hasattr(self, "pod"):
            return
        metadata = {
            **self.pod["metadata"],
            "deletionTimestamp": "2026-01-01T00:00:00Z",
            "deletionGracePeriodSeconds": 1,
        }
        self.pod = {**self.pod, "metadata": metadata}
        for _ in range(12):
            self.look()
            self.now += timedelta(seconds=40)
        assert self.phase in ("Succeeded", "Failed")


PodLife.TestCase.settings = settings(max_examples=120, stateful_step_count=25, deadline=None)
test_any_life_of_any_pod_keeps_the_promises = PodLife.TestCase


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=30), st.integers(1, 4), st.integers(1, 4))
def test_a_tally_agrees_with_counting_the_last_outcomes(outcomes: list[bool], success: int, failure: int) -> None:
    from controlplane.kubelet.probes import Tally

    tally, verdict = Tally(success, failure), None
    for index, passed in enumerate(outcomes):
        tally = tally.after(passed)
        threshold = success if passed else failure
        recent = outcomes[max(0, index + 1 - threshold) : index + 1]
        if len(recent) == threshold and all(each == passed for each in recent):
            verdict = passed
        assert tally.verdict == verdict
