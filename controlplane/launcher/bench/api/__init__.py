"""`pilothouse bench api`: one API server over HTTPS on one member of our store, under wrk.

    command.py     the options, progress, the table, JSON or a plot      plot.py    the picture
    measures.py    the measures by name, each with what it must reach and what it aims at
    system.py      the two processes, their certificates, a bearer of a service account's token
    load.py        equal requests in masses, by wrk                      objects.py the ConfigMaps that are written
    watchers.py    a process that holds thousands of watches and tells when the last of them was told

The peer is not run beside us: no package index carries a kube-apiserver. What stands for it are figures of a kube-apiserver
1.28 with etcd 3.4 on such a machine of two cores (TLS, wrk).
"""
