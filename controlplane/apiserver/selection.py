"""Which objects a list, a watch or a deletion of a collection means: namespace, labels, fields."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.apiserver.context import Context
from controlplane.apiserver.registry import fields
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.entry import Entry
from controlplane.apiserver.storage.subscription import Matcher, Pin
from controlplane.objects import status
from controlplane.objects.kinds import Resource
from controlplane.objects.selectors import FieldSelector, LabelSelector, SelectorError, parse_fields, parse_labels

_PINNED = ("metadata.name", "spec.nodeName")


@dataclass(frozen=True, slots=True)
class Selection:
    """What was asked for: keys under `prefix` (or the one `key` when a name is fixed), and a matcher."""

    resource: Resource
    prefix: bytes
    labels: LabelSelector
    fields: FieldSelector
    name: str = ""  # the only name that can match, "" when any can
    namespace: str = ""

    @property
    def is_everything(self) -> bool:
        return self.labels.is_everything and self.fields.is_everything

    def matcher(self) -> Matcher | None:
        """None when every object of the prefix is meant."""
        if self.is_everything:
            return None
        labels, selector = self.labels, self.fields
        if selector.is_everything:
            return lambda entry: labels.matches(entry.labels())
        fields_of = fields.fields_of_resource(self.resource)

        def matches(entry: Entry) -> bool:
            found = entry.fields(fields_of)
            return labels.matches(entry.labels()) and selector.matches(
                lambda name: found.get(fields.canonical(name), "")
            )

        return matches

    @property
    def pin(self) -> Pin:
        """One field with one value, so that other events need not be looked at."""
        for name in _PINNED:
            value = self.fields.exact(name)
            if value is not None:
                return (name, value)
        return None

    @property
    def key(self) -> str:
        """The one key that can match; "" when several can."""
        if not self.name or (self.resource.namespaced and not self.namespace):
            return ""
        return layout.key(self.resource.group, self.resource.plural, self.namespace, self.name)


def selection(context: Context, resource: Resource) -> Selection:
    """From the path and the query; raises 400 for a selector that is none or a field that the kind does not offer."""
    path = context.info.path
    try:
        labels = parse_labels(context.query.get("labelSelector", ""))
        selector = parse_fields(context.query.get("fieldSelector", ""))
    except SelectorError as error:
        raise status.bad_request(str(error)) from error
    identity = layout.storage_identity(resource.group, resource.plural)
    fields.check(resource, selector)
    if path.name:  # a watch of one object by its path
        selector = FieldSelector((*selector.requirements, *parse_fields(f"metadata.name={path.name}").requirements))
    namespace = path.namespace if resource.namespaced else ""
    wanted = namespace or (selector.exact("metadata.namespace") or "" if resource.namespaced else "")
    prefix = layout.scope_prefix(*identity, wanted).encode()
    return Selection(resource, prefix, labels, selector, selector.exact("metadata.name") or "", wanted)
