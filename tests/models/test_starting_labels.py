"""Labels to begin with, where a mixture has nothing to be learned from."""

import numpy as np

from neuropyro.data import Cohort
from neuropyro.inference import Schedule, fit
from neuropyro.models import VertexClusterMixture
from neuropyro.models.starting_labels import label_vertices
from neuropyro.models.visits import prepare_visits


def test_one_column_is_one_cluster():
    rng = np.random.default_rng(0)
    score = np.repeat(rng.normal(size=30), 2) + np.tile([0.0, 0.5], 30)
    values = 1 / (1 + np.exp(-2 * score)) + 0.05 * rng.normal(size=60)
    people = np.repeat(np.arange(30), 2).astype(str)
    cohort = Cohort(values[:, None], np.tile([70.0, 71.0], 30), people, np.where(people.astype(int) < 15, "CN", "AD"))
    assert label_vertices(prepare_visits(cohort, "all"), 1, rng).tolist() == [0]
    result = fit(VertexClusterMixture(1), cohort, "map", schedule=Schedule(max_steps=300), progress=False)
    assert np.corrcoef(result.posterior(1)["dps"][0], score)[0, 1] > 0.9
