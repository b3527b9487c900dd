"""A container with systemd on this machine that plays the server (server kind `local`).

`python3 -m ops.local_server VERB` reads a JSON object on stdin, says on stderr what it does, and prints one JSON line.
Only the standard library: it runs before the project's environment is there.
"""
