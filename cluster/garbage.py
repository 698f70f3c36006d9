"""What Python's collector of garbage looks at in a replica."""

import gc

MOST_NEW = 100_000
"""Objects more than at the last look for garbage: a tick of a hundred hosts makes some ten thousand, and as many go; so
do the requests of a second."""


def spare_what_stays() -> None:
    """Let the collector look no more at what is there now, modules and code for the most part, nor at what a tick or a
    second of requests makes and the next one drops. Only cycles need it, and these leave few.

    To be called when a replica is made. Else looking takes 22 ms every few seconds, in the middle of requests, and 3%
    of an ingress replica's processor time in all; of a controller's, a tenth of a second in the middle of a tick.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(MOST_NEW)
