"""Server-side apply and field ownership.  Pure: objects, schemas and times come in, objects go out.

tracked(request, old, new)                    -> new with managedFields, after a create, an update or any other patch
apply(request, live, config, force=False)     -> the live object after a configuration; ConflictError, ConfigurationError
merged(schema, live, config)                  -> live with a configuration that nobody owns (of an admission policy)
Request(View(api_version, schema), others, manager, time, subresource, ignored)

elements.py       path elements, as FieldsV1 writes them      sets.py       field sets and their algebra
shape.py          what is owned whole and what in parts       check.py      whether a configuration fits its schema
extract.py        the field set of a value                    compare.py    what changed from one object to another
merge.py          a configuration into a live object          remove.py     fields and items taken out
managers.py       metadata.managedFields, read and written    conflicts.py  who is in the way, in upstream's words
views.py          one object in several API versions          update.py     owners after a plain write
configuration.py  apply itself

Promised: results share what did not change; an object whose owners do not change keeps its very entries.  Not here: times,
names of managers, what a resource ignores, defaults and validation: the API server gives or does them.
"""

from controlplane.objects.apply.compare import same
from controlplane.objects.apply.configuration import ConfigurationError, apply, merged
from controlplane.objects.apply.conflicts import ConflictError
from controlplane.objects.apply.managers import carried, differ_in_time_only, with_entries
from controlplane.objects.apply.update import tracked
from controlplane.objects.apply.views import Object, Request, View, Views

__all__ = [
    "ConfigurationError", "ConflictError", "Object", "Request", "View", "Views", "apply", "carried", "differ_in_time_only",
    "merged", "same", "tracked", "with_entries",
]  # fmt: skip
