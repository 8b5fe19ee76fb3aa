"""A cluster on one machine: `pilothouse up / down / status / logs / kubeconfig / reset`, and `pilothouse kv ...`.

cli.py          the `pilothouse` program: lazy sub-commands      plan.py       PURE: what runs where, on which port
pki.py          certificates and kubeconfigs at first start      supervisor.py forks the components from one warm process
state.py        the data directory: plan, pids, lock             show.py       tables and messages
"""
