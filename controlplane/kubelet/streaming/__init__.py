"""What of a node is used interactively: exec, attach and port-forward, behind the kubelet's HTTPS server.

    endpoint.py        /exec /attach /portForward: which pod, which container, which protocol; refusals before the upgrade
    websocket.py       messages over a WebSocket (frames: the websockets package, sans-IO)
    spdy.py            SPDY/3.1 frames, sans-IO; dictionary.py is what its headers are compressed with
    connection.py      frames over bytes: a SPDY connection on the raw connection, or inside WebSocket messages
    sessions.py        one remote command's streams, whatever the protocol: WebSocket channels (v5, v4) or SPDY streams (v5, v4)
    remotecommand.py   the pumps between a session and a running command; the Status that ends it
    portforward.py     connections to a pod's ports: SPDY stream pairs, or WebSocket channel pairs

The API server passes the bytes of an upgraded connection through; all protocol is spoken here. Nothing of this package is
imported before the first client comes.
"""
