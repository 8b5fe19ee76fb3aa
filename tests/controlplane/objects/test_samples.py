"""Whatever decodes can be completed, judged and printed: nothing here raises, whatever the object says."""

import random
from datetime import UTC, datetime

import pytest

from controlplane.apiserver import tables
from controlplane.objects import rules
from controlplane.objects.defaults import apply_defaults
from controlplane.objects.scheme import ResourceInfo, Scheme
from controlplane.objects.validation import decode
from tests.controlplane.objects.samples import sample

SCHEME = Scheme.load()
NOW = datetime(2026, 11, 22, 8, 0, 0, tzinfo=UTC)
SAMPLES = 25  # a kind; the whole file stays under two seconds


@pytest.mark.parametrize(
    "info", SCHEME.resources, ids=lambda info: f"{info.resource.group_version}/{info.resource.plural}"
)
def test_objects_of_the_right_shape_pass_through_every_step(info: ResourceInfo) -> None:
    resource, schema = info.resource, SCHEME.definitions.get(info.definition)
    for seed in range(SAMPLES):
        rnd = random.Random(f"{resource.group_resource}/{resource.version}/{seed}")
        pair = []
        for _ in range(2):
            drawn = sample(schema, rnd, chance=rnd.choice((0.2, 0.5, 0.9)))
            drawn["apiVersion"] = resource.group_version
            decoded = decode(schema, drawn)
            assert decoded.unknown == ()
            full = apply_defaults(resource, decoded.object)
            assert apply_defaults(resource, full) == full
            assert decode(schema, full).unknown == ()
            pair.append(full)
        new, old = pair
        errors = rules.validate_create(resource, schema, new)
        for subresource in ("", "status", "resize", "ephemeralcontainers"):
            errors += rules.validate_update(resource, schema, new, old, subresource)
        assert all(str(error) for error in errors)
        tables.row(resource, new, NOW)
