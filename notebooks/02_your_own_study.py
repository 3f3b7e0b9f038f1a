# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own study: from a FreeSurfer folder to a report
#
# **The question.** You ran FreeSurfer's longitudinal stream on a study and have its subjects folder and a table of
# visits. What do you type, what do you get, and what happens when something is wrong with the data?
#
# There is no study here that could be shown, so the first cell writes one: a simulated cohort, in the files that
# `recon-all -long` and `-qcache` leave. From there on nothing is known but the folder and the table.

# %%
# %matplotlib inline
import csv
import logging
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
from IPython.display import Image

from neuropyro import plots
from neuropyro.data import Cohort, simulate_cohort

logging.getLogger("matplotlib").setLevel(logging.ERROR)

hidden = simulate_cohort(n_subjects=34, visits=3, n_clusters=3, missing_visits=0.08, seed=4)
study = Path(tempfile.mkdtemp())
subjects = study / "subjects"
row_of = {}
with (study / "visits.csv").open("w", newline="") as stream:
    table = csv.writer(stream)
    table.writerow(["subject", "session", "age", "diagnosis"])
    for row, (subject, age) in enumerate(zip(hidden.subject, hidden.time)):
        session = f"m{12 * row_of.setdefault(subject, 0):02d}"
        row_of[subject] += 1
        table.writerow([subject, session, f"{age:.2f}", hidden.diagnosis[row]])
        surf = subjects / f"{subject}_{session}.long.{subject}" / "surf"
        surf.mkdir(parents=True)
        whole = np.zeros(20484, np.float32)  # both hemispheres of fsaverage5; 0 on the medial wall
        whole[hidden.mesh.template_index] = hidden.values[row]
        for hemisphere, part in (("lh", whole[:10242]), ("rh", whole[10242:])):
            image = nibabel.MGHImage(part.reshape(-1, 1, 1), np.eye(4))
            nibabel.save(image, surf / f"{hemisphere}.thickness.fwhm10.fsaverage5.mgh")

print(*sorted(path.name for path in subjects.iterdir())[:4], "...", sep="\n")
pd.read_csv(study / "visits.csv").head(4)

# %% [markdown]
# ## Look before fitting
#
# `Cohort.open` (or `Cohort.from_freesurfer`) reads the folder. One line says what was found: visits, ages, how much is
# missing, who the controls are.

# %%
cohort = Cohort.from_freesurfer(subjects, study / "visits.csv", fwhm=10, hemispheres=["lh"])
print(cohort)
plots.plot_map(cohort.mesh, cohort.values[cohort.is_control].mean(0), "mean thickness of controls (mm)")

# %% [markdown]
# ## When something is wrong
#
# An error is one line that names the file, the field and the remedy, and the exit status is 2. Here the table asks for
# a visit that was never processed:


# %%
def neuropyro(*words):
    """Run a command as one would in a shell; returns what it wrote."""
    done = subprocess.run([sys.executable, "-m", "neuropyro", *map(str, words)], capture_output=True, text=True)
    print(done.stdout + ("" if done.returncode == 0 else done.stderr), end="")
    print(f"[exit status {done.returncode}]")


broken = (study / "visits.csv").read_text() + "sub-0034,m96,81.00,CN\n"
(study / "broken.csv").write_text(broken)
neuropyro("dive", "fit", subjects, "--table", study / "broken.csv", "--fwhm", 10, "--out", study / "fit")

# %% [markdown]
# ## The fit
#
# One command, `neuropyro dive fit subjects/ --table visits.csv --fwhm 10 --clusters 3 --out fit/`; here with the left
# hemisphere alone. The guide is `laplace`, which the command takes where maps are of up to 60 people.

# %%
neuropyro(
    "dive", "fit", subjects, "--table", study / "visits.csv", "--fwhm", 10, "--hemispheres", "lh",
    "--clusters", 3, "--out", study / "fit",
)  # fmt: skip

# %%
print(*sorted(path.name for path in (study / "fit").iterdir()), sep="\n")

# %% [markdown]
# `report.html` has all of it on one page. Its figures, those of [notebook 1](01_dive_on_a_cortex.ipynb), lie beside it as
# pictures, and the maps come back as `.mgh`, the format that came in.

# %%
Image(study / "fit" / "clusters.png", width=600)

# %% [markdown]
# ## The tables
#
# `stages.csv` has a row for each visit, in the order of your table: the progression score with its 90 % interval.
# `trajectories.csv` has a row for each cluster, with the change `a` and the residual `sigma` in millimetres, and the
# onset `c` in scores.

# %%
pd.read_csv(study / "fit" / "stages.csv").head(4)

# %%
trajectories = pd.read_csv(study / "fit" / "trajectories.csv")
trajectories[["cluster", "vertices", "a", "a_5", "a_95", "c", "c_5", "c_95", "sigma"]].round(3)

# %% [markdown]
# ## A new patient
#
# Someone who was not in the study is placed on the course that was fitted. Here it is the first visit of one of the
# subjects, as if it had come in today: its score should be near the one that the fit gave it from all of its visits.

# %%
first = pd.read_csv(study / "visits.csv").query("diagnosis == 'AD'").head(1)
first.to_csv(study / "new.csv", index=False)
neuropyro(
    "dive", "personalize", study / "fit", subjects, "--table", study / "new.csv", "--fwhm", 10, "--hemispheres", "lh",
    "--out", study / "placed.csv",
)  # fmt: skip
pd.read_csv(study / "placed.csv").round(2)

# %% [markdown]
# ## Against the truth
#
# This is the one thing that your study will not have.

# %%
stages = pd.read_csv(study / "fit" / "stages.csv")
true = np.asarray(hidden.truth["dps"])
held = ((stages["dps_5"] <= true) & (true <= stages["dps_95"])).mean()
print(
    f"correlation of scores with the truth {np.corrcoef(stages['dps'], true)[0, 1]:.3f}; 90 % intervals hold {held:.0%}"
)

# %% [markdown]
# ## What could be wrong
#
# * **Intervals of scores may be too narrow** where maps depart from the model, as real ones do: the share just printed
#   should be 90 %, and is not so near to it in every study (README has the numbers). Where there are more people than
#   60, and the guide is `normal`, they are far too narrow.
# * The number of clusters was a choice; `neuropyro dive select subjects/ ... --clusters 2:6 --out select/` compares.
# * Age, sex and head size may explain what looks like disease: `--adjust age,sex,icv` takes their effects in controls
#   out first; `--site` harmonises over scanners by ComBat.
# * Cross-sectional and longitudinal folders are never mixed: where any visit has a `.long.` folder, all must.
