"""Networks that can be hurt while processes speak over them.

    conditions.py   what may be wrong with one direction between two ends, and the rules in force now
    proxy.py        a TCP proxy before every member: cut, delay, bandwidth, reset, truncation; needs no rights
    tun.py          an IP switch of TUN devices in network namespaces: loss, duplication, reordering, corruption; needs root

The ends are members by name, and CLIENTS. Several conditions of one direction add up; each counts what it touched.
"""
