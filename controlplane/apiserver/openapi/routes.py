"""What can be done at which path, before any dialect of OpenAPI."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from controlplane.objects.scheme import ResourceInfo, Scheme, Subresource

META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1."

# name -> (type, description)
QUERY: Final[dict[str, tuple[str, str]]] = {
    "pretty": ("string", "Print the answer for people to read when it is true."),
    "allowWatchBookmarks": ("boolean", "Ask for events of type BOOKMARK, which carry only a resourceVersion."),
    "continue": ("string", "The token that the last page of this list gave."),
    "fieldSelector": ("string", "Restrict the objects by their fields. Everything by default."),
    "labelSelector": ("string", "Restrict the objects by their labels. Everything by default."),
    "limit": ("integer", "The most objects in one answer; the rest follows with `continue`."),
    "resourceVersion": ("string", "The version that the answer must reflect, see `resourceVersionMatch`."),
    "resourceVersionMatch": ("string", "How resourceVersion applies: NotOlderThan or Exact."),
    "sendInitialEvents": ("boolean", "Begin a watch with events of all objects, closed by a bookmark."),
    "timeoutSeconds": ("integer", "The longest that the call may take, in seconds."),
    "watch": ("boolean", "Follow changes and report them as a stream of events."),
    "dryRun": ("string", "Do everything but store the result. The only value is All."),
    "fieldManager": ("string", "The name of who makes this change."),
    "fieldValidation": ("string", "What to do about unknown or duplicate fields: Ignore, Warn or Strict."),
    "force": ("boolean", "Take fields from their other managers. Must be unset for patches that are not of apply."),
    "gracePeriodSeconds": ("integer", "How long the object may take to end. 0 means at once."),
    "orphanDependents": ("boolean", "Deprecated: use propagationPolicy. Whether dependents stay."),
    "propagationPolicy": ("string", "What becomes of dependents: Orphan, Background or Foreground."),
    "container": ("string", "The container, where a pod has more than one."),
    "follow": ("boolean", "Go on with what the container writes from now on."),
    "limitBytes": ("integer", "The most bytes of log to answer."),
    "previous": ("boolean", "The log of the container's last run."),
    "sinceSeconds": ("integer", "Only what is not older than this."),
    "stream": ("string", "Which stream: All, Stdout or Stderr."),
    "tailLines": ("integer", "Only the last lines."),
    "timestamps": ("boolean", "Begin each line with its time."),
    "path": ("string", "The path of the request that is passed on."),
    "command": ("string", "The command to run."),
    "stdin": ("boolean", "Whether there is an input stream."),
    "stdout": ("boolean", "Whether there is an output stream."),
    "stderr": ("boolean", "Whether there is an error stream."),
    "tty": ("boolean", "Whether the streams are a terminal."),
    "ports": ("integer", "The ports to forward."),
}
_LIST: Final = (
    "allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion", "resourceVersionMatch",
    "sendInitialEvents", "timeoutSeconds", "watch",
)  # fmt: skip
_WRITE: Final = ("dryRun", "fieldManager", "fieldValidation")
_DELETE: Final = ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy")
_STREAMS: Final = ("command", "container", "stderr", "stdin", "stdout", "tty")
_LOG: Final = (
    "container", "follow", "limitBytes", "pretty", "previous", "sinceSeconds", "stream", "tailLines", "timestamps",
)  # fmt: skip
_CONNECT: Final[dict[str, tuple[str, ...]]] = {
    "attach": _STREAMS[1:], "exec": _STREAMS, "portforward": ("ports",), "proxy": ("path",),
}  # fmt: skip

# verb -> (HTTP method, action, query parameters)
_VERBS: Final[dict[str, tuple[str, str, tuple[str, ...]]]] = {
    "get": ("get", "get", ()),
    "list": ("get", "list", _LIST),
    "create": ("post", "post", _WRITE),
    "update": ("put", "put", _WRITE),
    "patch": ("patch", "patch", (*_WRITE, "force")),
    "delete": ("delete", "delete", _DELETE),
    "deletecollection": ("delete", "deletecollection", (*_DELETE, *_LIST[1:-1])),
}
_COLLECTION: Final = ("list", "create", "deletecollection")
_OBJECT: Final = ("get", "update", "patch", "delete")
_WORDS: Final = {
    "get": "read the specified", "list": "list or watch objects of kind", "create": "create", "update": "replace the specified",
    "patch": "partially update the specified", "delete": "delete", "deletecollection": "delete collection of",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `body` and `result` are names of definitions; "" means none, or text."""

    method: str
    action: str
    kind: tuple[str, str, str]  # group, version, kind
    identifier: str
    description: str
    query: tuple[str, ...]
    body: str
    result: str


@dataclass(frozen=True, slots=True)
class Route:
    """A path with its parameters in braces ("namespace", "name", "path")."""

    path: str
    parameters: tuple[str, ...]
    operations: tuple[Operation, ...]


def group_path(group: str, version: str) -> str:
    """ "api/v1", "apis/apps/v1": as the index of version 3 names documents."""
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _camel(group: str, version: str) -> str:
    """ "AppsV1", "RbacAuthorizationV1", "CoreV1": what operation identifiers are made of."""
    words = (group.removesuffix(".k8s.io") or "core").split(".")
    return "".join(word[:1].upper() + word[1:] for word in words) + version[:1].upper() + version[1:]


def _body(verb: str, definition: str) -> str:
    if verb in ("create", "update"):
        return definition
    if verb == "patch":
        return META + "Patch"
    return META + "DeleteOptions" if verb.startswith("delete") else ""


def _result(verb: str, info: ResourceInfo) -> str:
    if verb == "list":
        return info.list_definition
    return META + "Status" if verb.startswith("delete") else info.definition


def _operations(info: ResourceInfo, verbs: tuple[str, ...], scope: str) -> Iterator[Operation]:
    resource = info.resource
    kind = (resource.group, resource.version, resource.kind)
    for verb in verbs:
        if verb in info.verbs:
            method, action, query = _VERBS[verb]
            word = {"get": "read", "update": "replace"}.get(verb, verb)
            name = f"{word.replace('collection', 'Collection')}{_camel(*kind[:2])}{scope}{resource.kind}"
            description = f"{_WORDS[verb]} {resource.kind}"
            yield Operation(
                method, action, kind, name, description, query, _body(verb, info.definition), _result(verb, info)
            )


def _sub_operations(scheme: Scheme, info: ResourceInfo, found: Subresource, scope: str) -> Iterator[Operation]:
    resource = info.resource
    kind = (found.group, found.version, found.kind)
    suffix = f"{_camel(resource.group, resource.version)}{scope}{resource.kind}{found.name[:1].upper()}{found.name[1:]}"
    if found.name in _CONNECT:
        for verb in found.verbs:
            method = {"create": "post", "update": "put"}.get(verb, verb)
            words = f"connect {method.upper()} requests to {found.name} of {resource.kind}"
            identifier = f"connect{method.capitalize()}{suffix}"
            yield Operation(method, "connect", kind, identifier, words, _CONNECT[found.name], "", "")
        return
    definition = scheme.definition(*kind)
    for verb in found.verbs:
        method, action, query = _VERBS[verb]
        is_log = found.name == "log"
        word = {"get": "read", "update": "replace"}.get(verb, verb)
        words = f"{_WORDS[verb]} {found.name} of {resource.kind}"
        result = "" if is_log else definition
        yield Operation(
            method, action, kind, word + suffix, words, _LOG if is_log else query, _body(verb, definition), result
        )


def routes(scheme: Scheme, group: str, version: str) -> Iterator[Route]:
    """Every path of one group and version, but those of discovery."""
    for info in scheme.in_version(group, version):
        resource = info.resource
        scope = "Namespaced" if resource.namespaced else ""
        owner = ("namespace",) if resource.namespaced else ()
        base = resource.path("{namespace}" if owner else None)
        if owner and "list" in info.verbs:
            yield Route(resource.path(), (), tuple(_operations(info, ("list",), "")))
        yield Route(base, owner, tuple(_operations(info, _COLLECTION, scope)))
        named = tuple(_operations(info, _OBJECT, scope))
        if named:
            yield Route(f"{base}/{{name}}", (*owner, "name"), named)
        for found in info.subresources:
            operations = tuple(_sub_operations(scheme, info, found, scope))
            path = f"{base}/{{name}}/{found.name}"
            yield Route(path, (*owner, "name"), operations)
            if found.name == "proxy":
                more = tuple(_with_path(operation) for operation in operations)
                yield Route(f"{path}/{{path}}", (*owner, "name", "path"), more)


def _with_path(found: Operation) -> Operation:
    return Operation(
        found.method, found.action, found.kind, f"{found.identifier}WithPath", found.description, found.query, "", ""
    )


def definitions_of(scheme: Scheme, group: str, version: str) -> list[str]:
    """The definitions that the routes of one group and version name."""
    found = {META + "APIResourceList", META + "Status", META + "WatchEvent"}
    for route in routes(scheme, group, version):
        for operation in route.operations:
            found |= {operation.body, operation.result}
    return sorted(found - {""})
