"""Programs written elsewhere that tests use as clients."""

import os
import shutil

import tap


def require(name):
    """Returns the path of a program. If it is not installed, the test is skipped, or fails where all must be: on CI."""
    path = shutil.which(name)
    if path is None:
        missing(name)
    return path


def missing(name):
    reason = f"{name} is not installed: ./dev setup installs it"
    assert not os.environ.get("CI"), reason
    raise tap.Skip(reason)
