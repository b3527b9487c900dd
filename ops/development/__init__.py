"""`make dev`: a folder of this machine, running on the server of a stack in development mode, change by change.

`__main__` deploys and watches, `files` knows what the folder holds, `connection` is the one SSH session that everything
goes through, and `flaskhost sync` on the server takes it.
"""
