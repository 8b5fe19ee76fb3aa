"""Programs outside that admit, change and convert objects: AdmissionReview and ConversionReview v1 over HTTPS.

    selection.py    which webhook is asked about what: rules, selectors, match policy.  Pure
    reviews.py      requests and answers as documents.  Pure
    clients.py      connections: by URL, or to a Service's cluster IP under the Service's name
    hooks.py        the configured webhooks of a request, and the call of one with its failure policy
    mutating.py     the admission plugin that changes objects, with reinvocation
    validating.py   the admission plugin that refuses objects
    conversion.py   custom objects from version to version

Webhook configurations themselves are never shown to a webhook: a broken one could not be removed.
"""
