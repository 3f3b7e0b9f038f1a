import torch

from neuropyro.generators.config import DiscriminatorConfig
from neuropyro.generators.encoder import Encoder


def make(seed: int = 0) -> Encoder:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Encoder(DiscriminatorConfig(img_resolution=8, channels=(8, 8)), z_dim=5)


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_a_code_is_a_normal_no_wider_than_the_prior():
    mean, log_sd = make()(10 * images(6))
    assert mean.shape == log_sd.shape == (6, 5)
    assert (log_sd <= 0).all()
    assert (log_sd < 0).any()


def test_images_are_encoded_each_by_itself():
    encoder, batch = make(), images(4)
    whole = torch.cat(encoder(batch), dim=1)
    alone = torch.cat([torch.cat(encoder(image[None]), dim=1) for image in batch])
    torch.testing.assert_close(alone, whole)
    assert (whole.std(dim=0) > 0).all()
