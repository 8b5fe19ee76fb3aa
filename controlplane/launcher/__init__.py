"""A cluster on one machine: `pilothouse up / down / status / logs / kubeconfig / reset`, and `pilothouse kv ...`.

cli.py              the `pilothouse` program: lazy sub-commands
cluster_commands.py up, status, kubeconfig       store_commands.py   kv up, kv status
process_commands.py down, logs, start, stop, kill, reset: the same for both
plan.py             PURE: what runs where, on which port
configurations.py   each component's configuration from the plan
processes.py        what each kind of process runs, on one event loop
supervisor.py       forks the processes from one warm process and watches them      sweep.py   ends what a dead node left
start.py            from a command to a running supervisor and back
pki.py              certificates and kubeconfigs at first start
state.py            the data directory: plan, pids, lock
look.py show.py     a light look at the API; tables and progress
bench/              beside a peer in one sitting
"""
