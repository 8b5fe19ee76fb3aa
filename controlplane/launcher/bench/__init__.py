"""`pilothouse bench kv`: our store and a real etcd, three members each, side by side in one sitting; `bench api`: see api/.

    command.py     the options, the rounds (ours, peer, ours, peer, ...), the table or JSON
    system.py      three members as processes: start, stop, kill -9, leader, memory
    measures.py    the measures by name; each gets a System and gives a number
    clients.py     what they are measured with: one client, many keys, watchers, a store without its leader
    hammer.py      128 equal requests in flight: h2load where it is installed, else our channel in a process of its own
    plot.py       the ratios as a picture (SVG)
    reader.py      a process that reads a large range again and again
    numbers.py     figures as a person reads them
    api/           `pilothouse bench api`: the API server under wrk

Absolute figures are those of the machine and of its load; the ratio of the medians of interleaved rounds is what counts.
"""
