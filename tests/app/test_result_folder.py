"""A folder for results: where a file is named instead, it is told before any work."""

import pytest

from neuropyro.cli import app

COMMANDS = {
    "demo": [],
    "dive fit": ["visits.csv"],
    "dive forecast": ["fit", "--years", "1"],
    "dive select": ["visits.csv", "--clusters", "2:3"],
    "compare": ["fit", "other"],
    "diagnose": ["fit"],
    "reconstruct": ["small.png", "--corruption", "superres:4"],
    "simulate anatomy": [],
    "counterfactual": ["shard.npz", "--do", "apoe4=0"],
    "generator train": ["phantoms"],
}


@pytest.mark.parametrize("inside", ["", "/fit"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_is_no_folder(tmp_path, command, inside):
    file = tmp_path / "results.csv"
    file.write_text("mine")
    told = r"results\.csv: a file, where --out names a folder for the results; give another --out"
    with pytest.raises(ValueError, match=told):
        app([*command.split(), *COMMANDS[command], "--out", f"{file}{inside}"], result_action="return_value")
    assert file.read_text() == "mine"
