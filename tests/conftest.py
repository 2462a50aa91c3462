"""Fixtures that several files of tests share."""

import numpy as np
import pytest


@pytest.fixture
def rng():
    """A generator of its own for every test."""
    return np.random.default_rng(3)
