"""Kubernetes objects as values.  Pure: plain dicts treated as immutable, functions over them.

kinds.py        Resource (group, version, plural, kind, namespaced, ...) and constants PODS, NODES, SERVICES, ...
scheme.py       Scheme.load(): every built-in resource with verbs, short names, subresources; kinds to schemas
data/           generate.py makes the package data from kubernetes-validate and lightkube-models at build
schema.py       Schema: the structural schema of a kind; merge keys, list types
validation.py   structural validation with field paths, unknown fields (Strict / Warn / Ignore), pruning
defaults/       defaults per kind, one small file a family     rules/   semantic validation per kind
patch.py        JSON patch (RFC 6902), merge patch (RFC 7386), strategic merge patch
selectors.py    label selectors (string and object form), field selectors        fields.py   selectable fields
quantity.py     exact quantities                               protobuf/     bodies in Kubernetes' protobuf, both ways
meta.py         names, owners, finalizers, conditions, times   taints.py     taints, tolerations, node selectors
status.py       ApiError(code, reason, message, details): Kubernetes' Status and its constructors
"""
