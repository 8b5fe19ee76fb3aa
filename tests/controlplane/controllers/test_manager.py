"""The manager: which controllers run, and that only one of several leads at any time."""

import asyncio
from random import Random

import pytest
from click.testing import CliRunner

from controlplane.controllers import CONTROLLERS, ControllerManagerConfig
from controlplane.controllers._manager import Manager, chosen
from controlplane.controllers.command import controller_manager
from controlplane.machinery.clock import FakeClock
from controlplane.machinery.command import Duration
from controlplane.machinery.config import ClientConfig
from controlplane.objects.kinds import LEASES, NAMESPACES, SERVICE_ACCOUNTS
from tests.controlplane.fakes import FakeApi, run_virtual

NAMES = ("serviceaccount-controller", "deployment-controller", "replicaset-controller")


def config(identity: str) -> ControllerManagerConfig:
    return ControllerManagerConfig(
        client=ClientConfig("http://unused"),
        identity=identity,
        controllers=NAMES,
        leader_elect_lease_duration_seconds=3,
        leader_elect_renew_deadline_seconds=2,
        leader_elect_retry_period_seconds=0.5,
    )


def test_controllers_are_chosen_as_with_kubernetes_flag() -> None:
    assert chosen(CONTROLLERS, ["*"]) == list(CONTROLLERS)
    assert "job-controller" not in chosen(CONTROLLERS, ["*", "-job-controller"])
    assert chosen(CONTROLLERS, ["job-controller"]) == ["job-controller"]
    with pytest.raises(ValueError, match="unknown controllers: jobs"):
        chosen(CONTROLLERS, ["*", "jobs"])


def test_of_two_managers_one_works_and_the_other_follows_within_five_seconds_of_its_death() -> None:
    clock = FakeClock()
    api = FakeApi(clock)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        tasks, stops, served = {}, {}, []
        for identity in ("one", "two"):
            manager = Manager(config(identity), CONTROLLERS, api.client(), clock, Random(identity))
            stops[identity] = asyncio.Event()
            ready = asyncio.Event()
            tasks[identity] = asyncio.ensure_future(manager.run(stops[identity], ready.set))
            await ready.wait()
            served.append(identity)
        await asyncio.sleep(5)
        first = api.find(LEASES, "kube-controller-manager", "kube-system")["spec"]["holderIdentity"]
        api.put(NAMESPACES, {"metadata": {"name": "a"}, "status": {"phase": "Active"}})
        await asyncio.sleep(1)
        assert len(api.all(SERVICE_ACCOUNTS)) == 1
        api.fail_next("update", OSError("killed"), LEASES)  # its lease is not released
        tasks[first].cancel()
        died_at = loop.time()
        api.put(NAMESPACES, {"metadata": {"name": "b"}, "status": {"phase": "Active"}})
        while len(api.all(SERVICE_ACCOUNTS)) < 2:
            assert loop.time() - died_at < 5
            await asyncio.sleep(0.05)
        for stop in stops.values():
            stop.set()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        assert api.find(LEASES, "kube-controller-manager", "kube-system")["spec"]["holderIdentity"] == ""

    run_virtual(main(), clock)


@pytest.mark.parametrize(
    ("text", "seconds"), [("15s", 15.0), ("1m30s", 90.0), ("300ms", 0.3), ("1h", 3600.0), ("0", 0.0)]
)
def test_durations_are_read_as_go_writes_them(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


def test_a_wrong_flag_is_one_clear_line() -> None:
    runner = CliRunner()
    result = runner.invoke(controller_manager, ["--kubeconfig", "/nonexistent"])
    assert result.exit_code == 2 and "does not exist" in result.output
    result = runner.invoke(controller_manager, ["--help"])
    assert result.exit_code == 0 and "--leader-elect-lease-duration" in result.output
