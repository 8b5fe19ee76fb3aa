"""The lifecycle, case by case: what is asked for, and what the status says."""

from __future__ import annotations

import signal
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from controlplane.kubelet import lifecycle, recall
from controlplane.kubelet.model import (
    Decision,
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

Object = dict[str, Any]


class Story:
    """A pod, a pretended runtime, and a clock that stands still until told."""

    def __init__(self, pod: Object, policy: Policy | None = None) -> None:
        self.pod = pod
        self.now = NOW
        self.policy = policy or Policy()
        self.memory = recall.begin(pod, NOW)
        self.observed = Observed(pod_ip="127.1.16.1", host_ip="127.1.0.1")
        self.decision: Decision | None = None

    def look(self, seconds: float = 0.0) -> Decision:
        self.now += timedelta(seconds=seconds)
        decision = lifecycle.decide(self.pod, self.memory, self.observed, self.now, self.policy)
        self.memory, self.decision = decision.memory, decision
        return decision

    def run(self, seconds: float = 0.0) -> Decision:
        """Look and start everything that is asked for, until nothing more is."""
        decision = self.look(seconds)
        while starts := [a for a in decision.actions if isinstance(a, Start)]:
            for action in starts:
                self.started(action.container["name"], action.attempt)
            decision = self.look()
        return decision

    def started(self, name: str, attempt: int) -> None:
        instance = Instance(name, attempt, f"process://{name}-{attempt}", self.now)
        self.observed = replace(self.observed, instances={**self.observed.instances, name: instance})

    def exits(self, name: str, code: int, reason: str = "") -> None:
        old = self.observed.instances[name]
        ended = Exit(code, reason or ("Completed" if code == 0 else "Error"), self.now, old.started_at)
        new = replace(old, exit=ended)
        self.observed = replace(self.observed, instances={**self.observed.instances, name: new})

    def probe(self, name: str, attempt: int, **report: Any) -> None:
        made = ProbeReport(attempt, **report)
        self.observed = replace(self.observed, probes={**self.observed.probes, name: made})

    def fails(self, name: str, attempt: int, tries: int, reason: str, message: str = "why") -> None:
        failure = StartFailure(name, attempt, tries, reason, message, self.now)
        self.observed = replace(self.observed, failures={name: failure})

    def delete(self, grace: int) -> None:
        metadata = {**self.pod["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
        self.pod = {**self.pod, "metadata": {**metadata, "deletionGracePeriodSeconds": grace}}

    def state(self, name: str = "main") -> Object:
        assert self.decision is not None
        entries = [*self.decision.status.get("initContainerStatuses", ()), *self.decision.status["containerStatuses"]]
        return next(entry for entry in entries if entry["name"] == name)

    def condition(self, kind: str) -> Object:
        assert self.decision is not None
        return next(c for c in self.decision.status["conditions"] if c["type"] == kind)


def kinds(decision: Decision) -> list[type]:
    return [type(action) for action in decision.actions]


def test_a_pod_starts_runs_and_is_ready() -> None:
    story = Story(make_pod())
    first = story.look()
    assert kinds(first) == [Start]
    assert first.status["phase"] == "Pending"
    assert story.state()["state"] == {"waiting": {"reason": "ContainerCreating"}}
    story.started("main", 0)
    second = story.look()
    assert second.actions == ()
    assert second.status["phase"] == "Running"
    assert story.state()["ready"] is True and story.state()["started"] is True
    assert story.condition("Ready")["status"] == "True"
    assert second.status["podIP"] == "127.1.16.1" and second.status["hostIP"] == "127.1.0.1"


def test_the_first_restart_is_at_once_and_the_next_ones_back_off_from_ten_seconds_to_five_minutes() -> None:
    story = Story(make_pod())
    story.run()
    story.exits("main", 1)
    story.run()
    assert story.state()["restartCount"] == 1
    assert story.state()["lastState"]["terminated"]["exitCode"] == 1
    delays = []
    for _ in range(7):
        story.exits("main", 1)
        decision = story.look()
        assert story.state()["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        assert decision.again_at is not None
        delays.append((decision.again_at - story.now).total_seconds())
        story.run(delays[-1])
    assert delays == [10, 20, 40, 80, 160, 300, 300]
    assert story.state()["restartCount"] == 8


def test_the_back_off_message_is_kubernetes() -> None:
    story = Story(make_pod())
    story.run()
    for _ in range(2):
        story.exits("main", 1)
        story.run()
    message = "back-off 10s restarting failed container=main pod=web_default(uid-web)"
    assert story.state()["state"]["waiting"] == {"reason": "CrashLoopBackOff", "message": message}
    assert story.decision is not None and story.decision.status["phase"] == "Running"


def test_a_container_that_ran_long_enough_is_forgiven() -> None:
    story = Story(make_pod())
    story.run()
    for _ in range(3):
        story.exits("main", 1)
        story.run(30)
    story.look(601)
    story.exits("main", 1)
    assert Start in kinds(story.look())


def test_a_job_pod_that_exits_with_zero_has_succeeded_for_good() -> None:
    story = Story(make_pod(restartPolicy="OnFailure"))
    story.run()
    story.exits("main", 0)
    decision = story.look()
    assert decision.status["phase"] == "Succeeded"
    assert decision.actions == (Finish(delete=False),)
    assert story.condition("Ready") == {**story.condition("Ready"), "status": "False", "reason": "PodCompleted"}
    assert story.look(1000).status == decision.status


def test_on_failure_restarts_what_failed_and_never_does_not() -> None:
    retried = Story(make_pod(restartPolicy="OnFailure"))
    retried.run()
    retried.exits("main", 3)
    assert Start in kinds(retried.look())
    failed = Story(make_pod(restartPolicy="Never"))
    failed.run()
    failed.exits("main", 3)
    assert failed.look().status["phase"] == "Failed"
    assert failed.state()["state"]["terminated"]["exitCode"] == 3


def test_init_containers_run_one_after_the_other_before_the_others() -> None:
    story = Story(make_pod(initContainers=[container("a"), container("b")]))
    assert [a.container["name"] for a in story.look().actions if isinstance(a, Start)] == ["a"]
    story.started("a", 0)
    story.look()
    assert story.state("main")["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert story.condition("Initialized")["status"] == "False"
    assert story.condition("Initialized")["message"] == "containers with incomplete status: [a b]"
    story.exits("a", 0)
    assert [a.container["name"] for a in story.look().actions if isinstance(a, Start)] == ["b"]
    story.started("b", 0)
    story.look()
    story.exits("b", 0)
    assert [a.container["name"] for a in story.look().actions if isinstance(a, Start)] == ["main"]
    assert story.condition("Initialized")["status"] == "True"


def test_a_failed_init_container_fails_a_pod_that_never_restarts() -> None:
    story = Story(make_pod(restartPolicy="Never", initContainers=[container("a")]))
    story.run()
    story.exits("a", 1)
    assert story.look().status["phase"] == "Failed"


def test_a_sidecar_lets_the_next_one_start_when_it_has_started_and_stops_when_the_others_are_done() -> None:
    sidecar = container("proxy", restartPolicy="Always", startupProbe={"exec": {"command": ["true"]}})
    story = Story(make_pod(restartPolicy="Never", initContainers=[sidecar]))
    story.run()
    assert "main" not in story.observed.instances
    story.probe("proxy", 0, started=True, ready=True)
    story.run()
    assert story.state("main")["ready"] is True
    story.exits("main", 0)
    decision = story.look()
    assert Signal("proxy", 0, signal.SIGTERM) in decision.actions
    assert decision.status["phase"] == "Running"
    story.exits("proxy", 143)
    assert story.look().status["phase"] == "Succeeded"


def test_deletion_sends_term_then_kill_after_the_grace_then_finishes() -> None:
    story = Story(make_pod())
    story.run()
    story.delete(5)
    decision = story.look()
    assert kinds(decision) == [Record, Signal]
    assert decision.actions[1] == Signal("main", 0, signal.SIGTERM)
    assert story.condition("Ready")["status"] == "False"
    assert story.look(4).actions == ()
    assert story.look(1).actions == (Signal("main", 0, signal.SIGKILL),)
    story.exits("main", 137)
    decision = story.look()
    assert decision.actions == (Finish(delete=True),)
    assert decision.status["phase"] == "Failed"


def test_a_shorter_grace_wins() -> None:
    story = Story(make_pod())
    story.run()
    story.delete(30)
    story.look()
    story.delete(1)
    story.look()
    assert story.look(1).actions == (Signal("main", 0, signal.SIGKILL),)


def test_the_pre_stop_hook_comes_before_term_and_cannot_outlast_the_grace() -> None:
    hook = {"preStop": {"exec": {"command": ["sleep", "99"]}}}
    story = Story(make_pod(containers=[container(lifecycle=hook)]))
    story.run()
    story.delete(10)
    assert kinds(story.look()) == [Record, RunPreStop]
    story.observed = replace(story.observed, hooks_done=frozenset({("main", 0)}))
    assert story.look(1).actions == (Signal("main", 0, signal.SIGTERM),)
    late = Story(make_pod(containers=[container(lifecycle=hook)]))
    late.run()
    late.delete(10)
    late.look()
    assert late.look(10).actions == (Signal("main", 0, signal.SIGTERM),)
    assert late.look(2).actions == (Signal("main", 0, signal.SIGKILL),)


def test_a_deadline_fails_the_pod_when_its_containers_are_gone() -> None:
    story = Story(make_pod(restartPolicy="Never", activeDeadlineSeconds=60))
    decision = story.run()
    assert decision.again_at == NOW + timedelta(seconds=60)
    decision = story.look(60)
    assert Signal("main", 0, signal.SIGTERM) in decision.actions and decision.status["phase"] == "Running"
    story.exits("main", 143)
    decision = story.look(1)
    assert decision.status["phase"] == "Failed" and decision.status["reason"] == "DeadlineExceeded"


def test_a_failed_liveness_probe_restarts_the_container() -> None:
    story = Story(make_pod(containers=[container(livenessProbe={"exec": {"command": ["false"]}})]))
    story.run()
    story.probe("main", 0, started=True, ready=True, failure="liveness")
    decision = story.look()
    assert decision.actions[0] == Record("Normal", "Killing", "Container main failed liveness probe, will be restarted")
    assert decision.actions[1] == Signal("main", 0, signal.SIGTERM)
    story.exits("main", 0)
    story.run()
    assert story.state()["restartCount"] == 1


def test_an_image_without_a_program_is_shown_and_retried_ever_more_slowly() -> None:
    story = Story(make_pod())
    story.look()
    story.fails("main", 0, 1, "ErrImagePull", "what to do")
    story.look()
    assert story.state()["state"]["waiting"] == {"reason": "ErrImagePull", "message": "what to do"}
    decision = story.look(1)
    waiting = story.state()["state"]["waiting"]
    assert waiting["reason"] == "ImagePullBackOff" and "what to do" in waiting["message"]
    assert decision.again_at == NOW + timedelta(seconds=10)
    assert kinds(story.look(9)) == [Start]
    story.fails("main", 0, 2, "ErrImagePull")
    decision = story.look()
    assert story.look(1).again_at == story.now - timedelta(seconds=1) + timedelta(seconds=20)
    assert story.state()["restartCount"] == 0


def test_a_missing_config_map_is_shown_and_tried_again() -> None:
    story = Story(make_pod())
    story.look()
    story.fails("main", 0, 1, "CreateContainerConfigError", 'configmap "x" not found')
    story.look()
    assert story.state()["state"]["waiting"]["message"] == 'configmap "x" not found'
    assert kinds(story.look(5)) == [Start]
    story.started("main", 0)
    assert story.look().status["phase"] == "Running"


def told(pod: Object, decision: Decision) -> Object:
    return {**pod, "status": dict(decision.status)}


def test_a_restarted_node_starts_its_pods_again_and_counts_it_as_a_restart() -> None:
    story = Story(make_pod())
    pod = told(story.pod, story.run())
    again = Story(pod)
    again.memory = recall.restore(pod, NOW + timedelta(seconds=9))
    decision = again.run(9)
    assert decision.status["phase"] == "Running"
    assert again.state()["restartCount"] == 1
    assert again.state()["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"
    assert decision.status["startTime"] == "2026-01-01T00:00:00Z"


def test_a_restarted_node_leaves_what_has_ended_alone() -> None:
    story = Story(make_pod(restartPolicy="Never"))
    story.run()
    story.exits("main", 0)
    pod = told(story.pod, story.look())
    again = Story(pod)
    again.memory = recall.restore(pod, NOW)
    decision = again.look(100)
    assert decision.actions == (Finish(delete=False),)
    assert decision.status["phase"] == "Succeeded"


def test_a_restarted_node_does_not_run_init_containers_again() -> None:
    story = Story(make_pod(initContainers=[container("a")]))
    story.run()
    story.exits("a", 0)
    pod = told(story.pod, story.run())
    again = Story(pod)
    again.memory = recall.restore(pod, NOW)
    assert [a.container["name"] for a in again.look().actions if isinstance(a, Start)] == ["main"]


def test_a_readiness_gate_holds_up_ready_but_not_containers_ready() -> None:
    story = Story(make_pod(readinessGates=[{"conditionType": "example.com/ok"}]))
    story.run()
    assert story.condition("ContainersReady")["status"] == "True"
    assert story.condition("Ready")["reason"] == "ReadinessGatesNotReady"
    story.pod = {**story.pod, "status": {"conditions": [{"type": "example.com/ok", "status": "True"}]}}
    story.look()
    assert story.condition("Ready")["status"] == "True"


def test_times_of_transitions_move_only_with_the_status() -> None:
    story = Story(make_pod())
    story.run()
    before = story.condition("Ready")["lastTransitionTime"]
    story.look(100)
    assert story.condition("Ready")["lastTransitionTime"] == before
    story.exits("main", 1)
    story.look()
    assert story.condition("Ready")["lastTransitionTime"] != before


def test_a_pod_that_is_deleted_before_it_started_goes_at_once() -> None:
    story = Story(make_pod())
    story.delete(30)
    decision = story.look()
    assert decision.actions == (Finish(delete=True),)
    assert decision.status["phase"] == "Failed"


def test_a_refused_pod_has_failed_with_its_reason() -> None:
    story = Story(make_pod())
    story.memory, _ = recall.reject(story.pod, "OutOfcpu", "Pod was rejected: no", NOW)
    decision = story.look()
    assert decision.status["phase"] == "Failed" and decision.status["reason"] == "OutOfcpu"
    assert "containerStatuses" not in decision.status
    assert kinds(decision) == [Finish]


def test_a_program_that_cannot_be_executed_says_so() -> None:
    story = Story(make_pod())
    story.run()
    story.exits("main", 128, "StartError")
    story.run()
    story.exits("main", 128, "StartError")
    story.look()
    assert story.state()["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert story.state()["lastState"]["terminated"]["reason"] == "StartError"


def test_time_is_given_in_whole_seconds() -> None:
    story = Story(make_pod())
    story.now = datetime(2026, 1, 1, 0, 0, 0, 999_999, tzinfo=NOW.tzinfo)
    story.run()
    assert story.state()["state"]["running"]["startedAt"] == "2026-01-01T00:00:00Z"
