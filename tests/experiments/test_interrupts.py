"""An interruption waits for code that cannot be left half done, and is never taken for an error of it."""

import os
import signal
import threading

import pytest

from experiments import composing
from experiments.interrupts import SIGNALS, held_back


@pytest.fixture(autouse=True)
def interrupted_by_both():
    """Both signals raise KeyboardInterrupt, as within a command."""
    before = [signal.signal(each, signal.default_int_handler) for each in SIGNALS]
    yield
    for each, handler in zip(SIGNALS, before, strict=True):
        signal.signal(each, handler)


@pytest.mark.parametrize("sent", SIGNALS)
def test_it_is_held_back_to_the_end_of_the_context(sent):
    reached = False
    with pytest.raises(KeyboardInterrupt), held_back(), held_back():
        os.kill(os.getpid(), sent)
        reached = True
    assert reached and all(signal.getsignal(each) is signal.default_int_handler for each in SIGNALS)


def test_it_comes_before_an_error_of_the_context():
    with pytest.raises(KeyboardInterrupt), held_back():
        os.kill(os.getpid(), signal.SIGINT)
        raise ValueError


def test_another_thread_is_not_interrupted_and_can_use_it():
    done = []

    def work():
        with held_back():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done


def test_a_configuration_is_composed_to_its_end(monkeypatch):
    """In OmegaConf, or in YAML's reader, an interruption may end as UnboundLocalError, AttributeError or UserError."""
    ended = []

    def compose(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        ended.append(real(*arguments))

    real = composing.compose
    composing._of_files.cache_clear()
    monkeypatch.setattr(composing, "compose", compose)
    with pytest.raises(KeyboardInterrupt):
        composing.composed("config", "+exp=glue_mrpc")
    assert len(ended) == 1
