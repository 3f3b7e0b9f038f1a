"""Devices, dtypes and fingerprints."""

import numpy as np
import torch

from neuropyro.inference.placement import choose_device, fingerprint, prepare


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


def test_the_device_asked_for_is_taken():
    assert choose_device("cpu") == torch.device("cpu")
