"""Devices, dtypes and fingerprints."""

import numpy as np
import pytest
import torch

from neuropyro.inference.placement import choose_device, described, fingerprint, prepare


def test_tensors_in_containers_are_moved():
    data = {"y": torch.zeros(2), "more": (np.ones(3), torch.arange(2)), "name": "x"}
    moved = prepare(lambda data: None, data, torch.device("meta"), torch.float64)
    assert moved["y"].device.type == "meta"
    assert moved["more"][0].dtype == torch.float64
    assert moved["more"][1].dtype == torch.int64
    assert moved["name"] == "x"


def test_fingerprints_tell_data_apart():
    one, other = torch.zeros(3), torch.zeros(3, dtype=torch.float64)
    assert fingerprint(one) == fingerprint(torch.zeros(3))
    assert len({fingerprint(x) for x in (one, other, {"y": one}, [one, one], torch.zeros(3, 1))}) == 5


class Plain:
    def __init__(self, number):
        self.number = number


def test_objects_are_known_by_what_they_hold_and_not_by_their_place_in_memory():
    assert fingerprint(Plain(1)) == fingerprint(Plain(1))
    assert fingerprint(Plain(1)) != fingerprint(Plain(2))
    assert described(Plain(1)) == described(Plain(2))
    assert described(lambda y: y) != described(Plain)


def test_lists_are_moved():
    (moved,) = prepare(lambda data: None, [torch.zeros(2)], torch.device("meta"), torch.float64)
    assert moved.device.type == "meta"


def test_the_device_asked_for_is_taken():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("meta") == torch.device("meta")


def test_a_device_that_is_not_here_is_refused():
    absent = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ValueError, match=f"device {absent}: not on this machine"):
        choose_device(absent)


def test_data_in_a_models_place_are_refused():
    with pytest.raises(
        ValueError, match="model: of type Tensor, which is no model; give the model first, then the data"
    ):
        prepare(torch.zeros(2), print, torch.device("cpu"), torch.float32)
