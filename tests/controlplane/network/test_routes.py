"""What a Service and its EndpointSlices ask of a proxy."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from controlplane.network.affinity import EndpointBalancer
from controlplane.network.forwarder import Backend
from controlplane.network.routes import Address, routes_of, service_of_slice

Object = dict[str, Any]
NODE = ("127.9.0.1",)


def service(**spec: Any) -> Object:
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "ClusterIP", "clusterIP": "127.9.128.5", "clusterIPs": ["127.9.128.5"], "ports": ports} | spec,
    }


def slice_of(*endpoints: Object, port: int = 8080, name: str = "http") -> Object:
    return {
        "metadata": {"name": "web-x", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": name, "port": port, "protocol": "TCP"}],
        "endpoints": list(endpoints),
    }


def endpoint(address: str, **conditions: bool) -> Object:
    return {"addresses": [address], "conditions": conditions}


def hosts(obj: Object, *slices: Object) -> dict[str, list[str]]:
    routes = routes_of(obj, slices, NODE).by_address
    return {str(address): [str(backend) for backend in route.backends] for address, route in sorted(routes.items())}


def test_the_cluster_address_leads_to_ready_endpoints_of_all_slices() -> None:
    slices = [
        slice_of(endpoint("127.9.16.2", ready=True), endpoint("127.9.16.3", ready=False)),
        slice_of(endpoint("127.9.17.2")),
    ]
    assert hosts(service(), *slices) == {"127.9.128.5:80": ["127.9.16.2:8080", "127.9.17.2:8080"]}


def test_node_ports_and_load_balancer_addresses_lead_there_too() -> None:
    ports = [{"name": "http", "port": 80, "nodePort": 30080}]
    obj = service(type="LoadBalancer", ports=ports) | {"status": {"loadBalancer": {"ingress": [{"ip": "127.9.200.1"}]}}}
    found = hosts(obj, slice_of(endpoint("127.9.16.2")))
    assert list(found) == ["127.9.0.1:30080", "127.9.128.5:80", "127.9.200.1:80"]


def test_an_address_of_a_former_load_balancer_does_not_listen() -> None:
    obj = service() | {"status": {"loadBalancer": {"ingress": [{"ip": "127.9.200.1"}]}}}
    assert list(hosts(obj, slice_of(endpoint("127.9.16.2")))) == ["127.9.128.5:80"]


def test_without_ready_endpoints_terminating_ones_that_serve_are_used() -> None:
    leaving = endpoint("127.9.16.2", ready=False, serving=True, terminating=True)
    assert hosts(service(), slice_of(leaving)) == {"127.9.128.5:80": ["127.9.16.2:8080"]}
    assert hosts(service(), slice_of(leaving, endpoint("127.9.16.3"))) == {"127.9.128.5:80": ["127.9.16.3:8080"]}


def test_without_endpoints_nothing_listens() -> None:
    assert hosts(service()) == {}
    assert hosts(service(), slice_of(endpoint("127.9.16.2", ready=False))) == {}


def test_headless_and_external_services_are_not_proxied() -> None:
    assert hosts(service(clusterIP="None", clusterIPs=["None"]), slice_of(endpoint("127.9.16.2"))) == {}
    assert hosts(service(type="ExternalName"), slice_of(endpoint("127.9.16.2"))) == {}


def test_ports_are_matched_by_name() -> None:
    ports = [{"name": "http", "port": 80}, {"name": "admin", "port": 81}]
    slices = [slice_of(endpoint("127.9.16.2")), slice_of(endpoint("127.9.16.2"), port=9000, name="admin")]
    found = hosts(service(ports=ports), *slices)
    assert found == {"127.9.128.5:80": ["127.9.16.2:8080"], "127.9.128.5:81": ["127.9.16.2:9000"]}


def test_udp_ports_are_named_as_unsupported() -> None:
    routes = routes_of(service(ports=[{"port": 53, "protocol": "UDP"}]), [slice_of(endpoint("127.9.16.2"))], NODE)
    assert (routes.unsupported, routes.by_address) == (("53/UDP",), {})


def test_a_slice_names_its_service() -> None:
    assert service_of_slice(slice_of()) == "default/web"
    assert service_of_slice({"metadata": {"name": "x", "namespace": "default"}}) == ""


def test_session_affinity_is_part_of_the_route() -> None:
    (route,) = routes_of(
        service(sessionAffinity="ClientIP"), [slice_of(endpoint("127.9.16.2"))], NODE
    ).by_address.values()
    assert route.by_client
    assert Address("127.0.0.1", 1) < Address("127.0.0.1", 2)


BACKENDS = st.lists(
    st.builds(Backend, st.just("127.0.0.1"), st.integers(1, 65535)), min_size=1, max_size=8, unique=True
)


@given(BACKENDS, st.integers(0, 100))
def test_in_turn_every_endpoint_gets_the_same_share(backends: list[Backend], start: int) -> None:
    balancer = EndpointBalancer(tuple(backends), first_turn=start)
    chosen = [balancer.choose("c", frozenset()) for _ in range(3 * len(backends))]
    assert sorted(chosen, key=str) == sorted(backends * 3, key=str)


@given(BACKENDS, st.text(max_size=5), st.data())
def test_one_client_keeps_its_endpoint_while_that_exists(
    backends: list[Backend], client: str, data: st.DataObject
) -> None:
    chosen = EndpointBalancer(tuple(backends), by_client=True).choose(client, frozenset())
    survivors = tuple(backend for backend in backends if backend == chosen or data.draw(st.booleans()))
    assert EndpointBalancer(survivors, by_client=True, first_turn=7).choose(client, frozenset()) == chosen


@given(BACKENDS, st.booleans())
def test_each_endpoint_is_tried_once_then_there_is_none(backends: list[Backend], by_client: bool) -> None:
    balancer, tried = EndpointBalancer(tuple(backends), by_client=by_client), frozenset[Backend]()
    while (chosen := balancer.choose("client", tried)) is not None:
        assert chosen not in tried
        tried |= {chosen}
    assert tried == set(backends)
