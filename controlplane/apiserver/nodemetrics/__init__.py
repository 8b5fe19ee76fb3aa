"""metrics.k8s.io: what nodes and pods use now, asked of the kubelets when somebody wants to know.  `kubectl top` reads it.

    definitions.py   the two resources and their schemas: `with_metrics(scheme)` also serves them
    samples.py       PURE: a kubelet's /metrics/resource as values; two of them make a rate
    source.py        Measurer: reads kubelets, remembers their last samples, one reading at a time for each node
    handlers.py      get and list, with selectors, tables and what RBAC says like for any resource

Nothing is read while nobody asks. A first question takes WINDOW_SECONDS, because a rate needs two samples.
"""
