"""The `flaskhost` command that runs on the server: releases, slots, site and checks.

Standard library only and Python 3.8 syntax, since it runs with the system's Python of every supported distribution.
"""
