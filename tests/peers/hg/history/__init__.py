"""Histories with real contents: releases of a package, split into small commits.

`source` reads releases, `evolution` says what changed from one to the next, `weave` orders the changes into
commits with branches and merges, `stream` writes them for `git fast-import`, `recipes` names the histories that tests
and benches use, and `making` keeps them in a cache.
"""
