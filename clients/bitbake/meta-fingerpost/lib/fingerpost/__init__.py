"""The side of Fingerpost that BitBake runs.

`probe` asks a hash equivalence server whether it is there, within a deadline; it knows nothing of BitBake. `choice`
decides by that which server a build uses, `agent` keeps an agent for the time of a build, `reuse` counts, and
`events` is what the class calls. For Python 3.6 and later: kirkstone builds on hosts that have no newer one.

SPDX-License-Identifier: MIT OR Apache-2.0
"""
