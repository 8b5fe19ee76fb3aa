"""Random objects of any kind, drawn along its schema: right in shape, rarely in meaning."""

import random
from typing import Any

from controlplane.objects.rules.enums import BY_OWNER
from controlplane.objects.schema import Schema

_WORDS = (
    "",
    "a",
    "b",
    "app",
    "web-1",
    "Always",
    "TCP",
    "80%",
    "1.5",
    "/x",
    "A_b",
    "*/5 * * * *",
    "127.0.0.1",
    "Exists",
    "In",
)
_QUANTITIES = ("0", "1", "100m", "1Gi", "-1", "2k")
_MOST_DEPTH = 9


def sample(schema: Schema, rnd: random.Random, depth: int = 0, *, chance: float = 0.5) -> Any:
    """A value that decodes under the schema."""
    match schema.type:
        case "object":
            return _fields(schema, rnd, depth, chance)
        case "map":
            keys = rnd.sample(_WORDS, rnd.randint(0, 2)) if depth < _MOST_DEPTH else []
            return {key: sample(schema.values, rnd, depth + 1, chance=chance) for key in keys}
        case "array":
            count = rnd.choice((0, 1, 1, 2)) if depth < _MOST_DEPTH else 0
            return [sample(schema.items, rnd, depth + 1, chance=chance) for _ in range(count)]
        case "integer":
            return rnd.choice((-1, 0, 1, 5, 80, 70000))
        case "number":
            return rnd.choice((0, 1.5))
        case "boolean":
            return rnd.random() < 0.5
        case "quantity":
            return rnd.choice(_QUANTITIES)
        case "int-or-string":
            return rnd.choice((0, 1, 80, "50%", "http"))
        case "time":
            return "2026-01-01T00:00:00Z"
        case "micro-time":
            return "2026-01-01T00:00:00.000000Z"
        case "bytes":
            return rnd.choice(("", "aGk="))
        case "any":
            return rnd.choice(({}, {"a": 1}, "x"))
        case _:
            return rnd.choice(_WORDS)


def _fields(schema: Schema, rnd: random.Random, depth: int, chance: float) -> dict[str, Any]:
    found = {}
    enums = BY_OWNER.get(schema.short_name, {})
    for name, field in schema.fields.items():
        wanted = name in ("spec", "metadata", "template") or rnd.random() < chance * (0.85**depth)
        if not wanted or depth > _MOST_DEPTH or (schema.short_name == "JSONSchemaProps" and depth > 4):
            continue
        if name in enums and field.type == "string" and rnd.random() < 0.8:
            found[name] = rnd.choice(enums[name])
        else:
            found[name] = sample(field, rnd, depth + 1, chance=chance)
    return found
