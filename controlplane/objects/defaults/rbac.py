"""Role bindings: the group of the role and of the subjects."""

from typing import Final

from controlplane.objects.defaults.fill import Object, each, edit, fill

GROUP: Final = "rbac.authorization.k8s.io"


def _subject(subject: Object) -> Object:
    return fill(subject, {"apiGroup": GROUP}) if subject.get("kind") in ("User", "Group") else subject


def _binding(binding: Object) -> Object:
    binding = edit(binding, "roleRef", lambda reference: fill(reference, {"apiGroup": GROUP}))
    return each(binding, "subjects", _subject)


DEFAULTS: Final = {(GROUP, "rolebindings"): _binding, (GROUP, "clusterrolebindings"): _binding}
