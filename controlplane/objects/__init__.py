"""Kubernetes objects as values.  Pure: plain dicts treated as immutable, functions over them.

kinds.py        Resource (group, version, plural, kind, namespaced, ...) and constants PODS, NODES, SERVICES, ...
scheme.py       Scheme.load(): every built-in resource with verbs, short names, categories, subresources; kinds to schemas
data/           generate.py makes the package data from kubernetes-validate and lightkube-models at build
schema.py       Schema: the structural schema of a kind; merge keys, list types; compiled closures
validation.py   structural validation with field paths, unknown fields (Strict / Warn / Ignore), pruning
defaults/       defaults per kind, one small file each      rules/   semantic validation and immutability per kind
patch.py        JSON patch (RFC 6902), merge patch (RFC 7386), strategic merge patch
selectors.py    label selectors (string and object form), field selectors
quantity.py     exact quantities                            protobuf.py   request bodies in Kubernetes' protobuf
meta.py         names, owners, finalizers, conditions, timestamps     taints.py   taints, tolerations, node affinity terms
status.py       ApiError(reason, code, message, details): Kubernetes' Status and its constructors
"""
