"""Silences transformers while it loads weights."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOADING = threading.Lock()


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Suppress progress bars, log lines and warnings of transformers inside the block.

    These switches belong to the whole process, so loads take turns and restore them.
    """
    from transformers.utils import logging

    with _LOADING:
        verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity(logging.CRITICAL)
        logging.disable_progress_bar()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            logging.set_verbosity(verbosity)
            if bars:
                logging.enable_progress_bar()
