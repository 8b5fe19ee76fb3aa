"""Structural schemas of custom resources.  Pure: JSON in, JSON or field errors out; nothing is changed in place.

node.py       Node: one compiled schema            Node.compile(openAPIV3Schema)
prune.py      prune(node, obj) -> (obj, paths of unknown fields)
default.py    default(node, obj) -> obj            defaults, and nulls that may not stay
validate.py   validate(node, value, path="") -> [FieldError]     types, ranges, patterns, junctors, list types
formats.py    what `format` accepts                patterns.py   Go's regular expressions as Python's
check.py      check(schema, path) -> [FieldError]  whether a schema is structural, in Kubernetes' words
jsonpath.py   the paths of printer columns, scale and selectable fields
"""

from controlplane.objects.structural.check import check
from controlplane.objects.structural.default import default
from controlplane.objects.structural.node import Node
from controlplane.objects.structural.prune import prune
from controlplane.objects.structural.validate import validate

__all__ = ["Node", "check", "default", "prune", "validate"]
