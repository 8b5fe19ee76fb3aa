"""What runs containers: the port, and one file per runtime.

port.py        Runtime: the port; its requests and answers
process.py     a container is a process          container.py   one attempt of it    sandbox.py  the helper it starts by
simulated.py   no process: thousands of nodes    logs.py  log files and their readers    proc.py  what /proc says
"""
