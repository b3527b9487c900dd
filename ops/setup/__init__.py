"""Set-up: makes everything that the project needs on a workstation, with nothing but Python's standard library.

It runs with the system's Python before any environment exists. Each module looks first for what is already there,
then takes the usual way, then the way that is left where only package registries can be reached; the way taken is
said in one line and kept, so that a later run can say it (`ops/setup/start status`).
"""
