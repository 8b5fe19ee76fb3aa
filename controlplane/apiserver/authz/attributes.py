"""What an authorization decision is about."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.apiserver.authn.user import User
from controlplane.apiserver.context import Context
from controlplane.objects.selectors import SelectorError, parse_fields


@dataclass(frozen=True, slots=True)
class Attributes:
    """An action on a resource, or on a path when `path` is not empty."""

    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    namespace: str = ""
    path: str = ""
    fields: tuple[tuple[str, str], ...] = ()  # what a list, a watch or a deletion of many is narrowed to

    def field(self, name: str) -> str:
        """The value that the request narrows itself to in a field; "" when it does not."""
        return next((value for field, value in self.fields if field == name), "")

    @property
    def full_resource(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource

    def refusal(self, user: User) -> str:
        """Kubernetes' words for why not."""
        if self.path:
            return f'User "{user.name}" cannot {self.verb} path "{self.path}"'
        scope = f'in the namespace "{self.namespace}"' if self.namespace else "at the cluster scope"
        return (
            f'User "{user.name}" cannot {self.verb} resource "{self.full_resource}" in API group "{self.group}" {scope}'
        )


def of(context: Context) -> Attributes:
    """What a request asks."""
    path = context.info.path
    if not path.is_resource:
        return Attributes(context.info.verb, path=path.path)
    name = path.name
    fields: tuple[tuple[str, str], ...] = ()
    if not name and "fieldSelector" in context.query:
        name, fields = _narrowed(context.query["fieldSelector"])
        if context.info.verb not in ("list", "watch"):
            name = ""
    return Attributes(
        context.info.verb,
        path.group,
        path.version,
        path.resource,
        path.subresource,
        name,
        path.namespace,
        fields=fields,
    )


def _narrowed(text: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """(the one name that a field selector can match, every field that must have one value); nothing for a wrong one."""
    try:
        wanted = parse_fields(text).requirements
    except SelectorError:
        return "", ()
    fields = tuple((each.field, each.value) for each in wanted if each.equals)
    return next((value for field, value in fields if field == "metadata.name"), ""), fields
