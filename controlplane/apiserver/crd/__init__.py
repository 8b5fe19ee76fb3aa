"""Custom resources: definitions that become resources of the API while the server runs.

    definition.py   Definition: one CRD, compiled; CustomResource: one of its versions, a `Resource` that carries it
    strategy.py     a CRD's life in the store (what it must be stands in objects/rules/definitions.py)
    names.py        names accepted or in conflict; the conditions
    catalog.py      CRDs -> a Scheme that also serves them (discovery and OpenAPI are made from it)
    manager.py      one server's watch of the CRDs: catalog, conditions, removal of the objects with their definition
    rules.py        CEL rules of an object        marker.py     one small key tells of every change of a definition
    instances.py    a custom object between body and store: prune, default, validate, generation
    view.py         the store as a request of one version sees it         conversion.py   None and Webhook
    printer.py      additionalPrinterColumns                              scale.py        the scale subresource

Whoever handles a request asks `isinstance(resource, CustomResource)` where custom objects differ; everything else is shared.
"""
