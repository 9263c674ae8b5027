"""What a person calls from Python, and what the command line calls for each of its verbs.

`worldeval/__init__.py` gives these functions their public names and loads them when they are first
used. Live objects (a policy, a world model, a judge, starts) are taken wherever an address is.
"""
