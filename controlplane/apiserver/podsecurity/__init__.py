"""The Pod Security Standards: what a pod may ask for at each level, by version.  Pure.

    pod.py             a pod taken apart, and the words that findings are told in
    baseline.py        controls that keep known privilege escalations out
    restricted.py      controls of hardened pods, on top
    levels.py          a pod against a level and a version
    labels.py          which levels a namespace asks for, by its labels
    configuration.py   defaults and exemptions of the whole cluster

The admission plugin is `admission/pod_security.py`.
"""
