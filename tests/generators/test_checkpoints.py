import contextlib
import dataclasses
import hashlib
import io
import json
import os
import pickle
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuropyro.generators import (
    Card,
    CheckpointError,
    Generator,
    bundled_generators,
    load_checkpoint,
    load_generator,
    save_generator,
)

FIXTURES = Path(__file__).parent / "fixtures"
CARD = Card("small", "noise", 3, {"fid": 1.5}, "MIT", {"command": "none"}, {"latents.mean": torch.arange(3.0)})
MAGIC_STREAM = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00."

KINDS = {
    "plain": {},
    "grey resnet": {"architecture": "resnet"},
    "colour orig": {"architecture": "orig", "img_channels": 3},
    "conditional": {"label_dim": 3, "label_width": 5},
    "clamped, fp16-flagged": {"conv_clamp": 256.0, "half_resolutions": 2, "lr_multiplier": 0.02},
}


def assert_same(network, expected, tolerance: float = 0.0) -> None:
    found, wanted = network.state_dict(), expected.state_dict()
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=tolerance, atol=tolerance, msg=name)


def assert_same_settings(network, expected) -> None:
    found, wanted = network.config, expected.config
    named = (
        "img_resolution",
        "img_channels",
        "label_dim",
        "architecture",
        "channels",
        "conv_clamp",
        "half_resolutions",
    )
    for name in (*named, "z_dim", "w_dim", "num_ws", "lr_multiplier", "stddev_group", "label_lr_multiplier"):
        if hasattr(wanted, name):
            assert getattr(found, name) == getattr(wanted, name), name


@pytest.fixture
def written(tmp_path):
    def write(content: bytes, name: str = "checkpoint.bin") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.fixture(scope="module")
def real_generator():
    return load_generator(FIXTURES / "rgb32.pkl")


class TestRealFile:
    """A file of NVIDIA's format that NVIDIA's code has written, and what NVIDIA's code computes from it."""

    truth = np.load(FIXTURES / "rgb32.npz")

    def tensor(self, name):
        return torch.from_numpy(self.truth[name])

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("w", {}),
            ("w_psi07", {"truncation_psi": 0.7}),
            ("w_psi07_cut4", {"truncation_psi": 0.7, "truncation_cutoff": 4}),
        ],
    )
    def test_mapping(self, real_generator, name, options):
        w = real_generator.mapping(self.tensor("z"), **options)
        torch.testing.assert_close(w, self.tensor(name), rtol=0, atol=1e-4)

    @pytest.mark.parametrize("mode", ["const", "none"])
    @pytest.mark.parametrize(("latent", "suffix"), [("w", ""), ("w_psi07", "_psi07"), ("wplus", "_wplus")])
    def test_images(self, real_generator, mode, latent, suffix):
        image = real_generator.synthesis(self.tensor(latent), noise_mode=mode)
        torch.testing.assert_close(image, self.tensor(f"img_{mode}{suffix}"), rtol=0, atol=1e-4)

    def test_the_original_agrees_with_itself_without_fusing(self, real_generator):
        image = real_generator.synthesis(self.tensor("wplus"))
        torch.testing.assert_close(image, self.tensor("img_const_wplus_unfused"), rtol=0, atol=1e-4)

    def test_gradient_of_the_mean_square(self, real_generator):
        w = self.tensor("wplus").requires_grad_()
        mean_square = real_generator.synthesis(w).square().sum() / (4 * 3 * 32 * 32)  # of four images, two kept here
        (gradient,) = torch.autograd.grad(mean_square, w)
        torch.testing.assert_close(gradient, self.tensor("grad_meansq_wplus"), rtol=0, atol=1e-4)


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_nvidia_file_reads_back_equal(kind, protocol, make_networks, nvidia_bytes, written):
    generator, discriminator = make_networks(**KINDS[kind])
    training = make_networks(**KINDS[kind])[0].requires_grad_(False)
    training.mapping.w_avg.zero_()
    path = written(nvidia_bytes(generator, discriminator, protocol, training=training))
    checkpoint = load_checkpoint(path)
    assert checkpoint.format == "nvidia"
    for found, wanted in [
        (checkpoint.generator, generator),
        (checkpoint.training_generator, training),
        (checkpoint.discriminator, discriminator),
    ]:
        assert_same(found, wanted)
        assert_same_settings(found, wanted)
    assert all(p.requires_grad for p in checkpoint.generator.parameters())


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_tensorflow_file_reads_back_equal(kind, protocol, make_networks, tensorflow_bytes, written):
    generator, discriminator = make_networks(**KINDS[kind])
    checkpoint = load_checkpoint(written(tensorflow_bytes(generator, discriminator, protocol=protocol)))
    assert checkpoint.format == "tensorflow"
    assert_same(checkpoint.generator, generator, tolerance=1e-6)  # styles are stored less one
    assert_same_settings(checkpoint.generator, generator)
    assert_same(checkpoint.discriminator, discriminator)
    assert_same_settings(checkpoint.discriminator, discriminator)


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize("img_channels", [1, 3])
def test_rosinality_file_reads_back_equal(img_channels, archive, make_networks, rosinality_bytes, written):
    generator, discriminator = make_networks(img_channels=img_channels, architecture="skip")
    resnet = make_networks(img_channels=img_channels, architecture="resnet")[1]
    checkpoint = load_checkpoint(written(rosinality_bytes(generator, resnet, archive=archive)))
    assert checkpoint.format == "rosinality"
    assert_same(checkpoint.generator, generator, tolerance=1e-6)
    assert_same(checkpoint.discriminator, resnet)
    assert_same_settings(checkpoint.generator, generator)
    assert discriminator.config.architecture != checkpoint.discriminator.config.architecture


def test_rosinality_file_without_average_takes_that_of_seeded_draws(make_networks, rosinality_bytes, written):
    generator, _ = make_networks()
    path = written(rosinality_bytes(generator, average=False))
    average = load_generator(path).mapping.w_avg
    w = generator.mapping.single(torch.randn(50_000, generator.z_dim))
    error = (average - w.mean(dim=0)) / w.std(dim=0)
    assert error.abs().max() < 5 / 100  # five standard errors of 10,000 draws
    assert torch.equal(load_generator(path).mapping.w_avg, average)


@pytest.mark.parametrize("kind", KINDS)
def test_our_own_file_reads_back_equal(kind, make_networks, tmp_path):
    generator, discriminator = make_networks(**KINDS[kind])
    path = tmp_path / "small.safetensors"
    card = save_generator(generator, path, CARD, discriminator)
    checkpoint = load_checkpoint(path)
    assert_same(checkpoint.generator, generator)
    assert_same(checkpoint.discriminator, discriminator)
    assert checkpoint.generator.config == generator.config
    assert checkpoint.discriminator.config == discriminator.config
    assert card.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() == checkpoint.card.sha256
    assert (checkpoint.card.name, checkpoint.card.seed, checkpoint.card.metrics) == ("small", 3, {"fid": 1.5})
    assert torch.equal(checkpoint.card.arrays["latents.mean"], torch.arange(3.0))
    assert load_generator(path).card.details == {"command": "none"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["small.json", "small.safetensors"]


def test_loaded_generator_is_frozen_and_placed(make_networks, tmp_path):
    generator, _ = make_networks()
    save_generator(generator, tmp_path / "small.safetensors", CARD)
    state = torch.get_rng_state()
    loaded = load_generator(str(tmp_path / "small.safetensors"), device="cpu", dtype=torch.float64)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(p.requires_grad for p in loaded.parameters())
    w = loaded.mapping(torch.randn(2, loaded.z_dim))
    assert w.dtype == loaded.synthesis(w).dtype == torch.float64


class Call:
    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def evil(kind: str, marker: Path) -> bytes:
    """Pickles that would make ``marker`` if they were run."""
    command, code = f"touch {marker}", f"open({str(marker)!r}, 'w')"
    if kind == "os.system":
        return pickle.dumps({"G_ema": Call(os.system, command)}, 4)
    if kind == "os.system by its other name":
        return b"cos\nsystem\n(V" + command.encode() + b"\ntR."
    if kind == "eval":
        return pickle.dumps({"G_ema": Call(eval, code)}, 3)
    if kind == "nested":
        stream = MAGIC_STREAM + pickle.dumps(Call(os.system, command), 2)
        return pickle.dumps({"G_ema": Call(torch.storage._load_from_bytes, stream)}, 4)
    if kind == "nested without magic":
        return pickle.dumps({"G_ema": Call(torch.storage._load_from_bytes, pickle.dumps(Call(eval, code)))}, 4)
    if kind == "instance":
        return b"\x80\x02(V" + command.encode() + b"\nios\nsystem\n."
    if kind == "dotted":
        return b"\x80\x04\x8c\x05torch\x8c\x12_utils.sys.modules\x93."
    if kind == "build":  # would give a class of ours a __setstate__
        return b"\x80\x04ccollections\nOrderedDict\nN}\x8c\x01a\x8c\x01bs\x86b."
    if kind == "called value":
        return b"\x80\x04\x8c\x04text)R."
    if kind == "extension":
        return b"\x80\x02\x82\x01."
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"g_ema": Call(os.system, command)}, 2))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("os.system", r"'(posix|nt)\.system'"),
        ("os.system by its other name", "not a generator's checkpoint"),
        ("eval", r"'(builtins|__builtin__)\.eval'"),
        ("nested", r"'(posix|nt)\.system'"),
        ("nested without magic", "not a stream of PyTorch"),
        ("instance", "instruction"),
        ("dotted", r"'torch\._utils\.sys\.modules"),
        ("build", "sets the state of a GlobalName"),
        ("called value", "calls what is not a global"),
        ("extension", "instruction"),
        ("archive", r"'(posix|nt)\.system'"),
    ],
)
def test_malicious_pickle_is_refused_by_name(kind, message, tmp_path, written):
    marker = tmp_path / "executed"
    path = written(evil(kind, marker), "evil.pkl")
    with pytest.raises(CheckpointError, match=message) as refusal:
        load_generator(path)
    assert str(path) in str(refusal.value)
    assert not marker.exists()


def test_source_text_in_a_checkpoint_is_data(make_networks, nvidia_bytes, tmp_path, written):
    generator, _ = make_networks()
    marker = tmp_path / "executed"
    path = written(nvidia_bytes(generator, source=f"open({str(marker)!r}, 'w')"))
    assert_same(load_generator(path), generator)
    assert not marker.exists()


def all_formats(make_networks, nvidia_bytes, tensorflow_bytes, rosinality_bytes) -> dict[str, bytes]:
    generator, discriminator = make_networks(architecture="skip")
    return {
        "nvidia": nvidia_bytes(generator, discriminator),
        "nvidia, protocol 3": nvidia_bytes(generator, protocol=3),
        "tensorflow": tensorflow_bytes(generator, discriminator),
        "rosinality": rosinality_bytes(generator),
        "rosinality, old layout": rosinality_bytes(generator, archive=False),
    }


@pytest.fixture
def files(make_networks, nvidia_bytes, tensorflow_bytes, rosinality_bytes):
    return all_formats(make_networks, nvidia_bytes, tensorflow_bytes, rosinality_bytes)


FORMATS = ("nvidia", "nvidia, protocol 3", "tensorflow", "rosinality", "rosinality, old layout")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.999])
def test_truncated_file_is_one_clear_error(name, share, files, written):
    content = files[name]
    path = written(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"checkpoint\.bin: "):
        load_generator(path)


def loaded_or_refused(path: Path) -> Generator | None:
    """The generator, or None where it is refused by our error; any other exception is the test's failure."""
    with contextlib.suppress(CheckpointError):
        return load_generator(path)
    return None


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(data=st.data())
def test_mutated_bytes_load_or_are_our_error(name, files, written, data):
    content = bytearray(files[name])
    # Numbers make up most of a file: half of the changes go to its instructions, near both ends.
    near = st.one_of(st.integers(0, 3000), st.integers(len(content) - 3000, len(content) - 1))
    places = st.lists(st.one_of(near, st.integers(0, len(content) - 1)), min_size=1, max_size=4)
    for place in data.draw(places):
        content[place] = data.draw(st.integers(0, 255))
    generator = loaded_or_refused(written(bytes(content)))
    assert generator is None or generator.num_ws == 6


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(data=st.data())
def test_mutated_card_or_weights_load_or_are_our_error(data, make_networks, tmp_path):
    generator, _ = make_networks()
    path = tmp_path / "small.safetensors"
    save_generator(generator, path, CARD)
    target = data.draw(st.sampled_from([path, path.with_suffix(".json")]))
    content = bytearray(target.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    before, content[place] = content[place], data.draw(st.integers(0, 255))
    target.write_bytes(content)
    if target == path and content[place] != before:
        with pytest.raises(CheckpointError, match=r"SHA-256|not a generator's checkpoint"):
            load_generator(path)
        return
    loaded = loaded_or_refused(path)
    assert loaded is None or loaded.config == generator.config


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty; fetch it again"),
        (pickle.dumps({"a": 1})[:4], r"cut short, damaged, or not a generator's checkpoint.*; fetch it again"),
        (b"\x80\x04", r"cut short, damaged, or not a generator's checkpoint; fetch it again"),
        (b"not a checkpoint", "known are NVIDIA's"),
        (pickle.dumps({"a": 1}), "neither G_ema nor"),
        (pickle.dumps([1, 2, 3]), "neither G_ema nor"),
        (pickle.dumps((1, 2, 3)), "not networks that NVIDIA's TensorFlow"),
        (pickle.dumps({"G_ema": bytearray(9)}, 5), "instruction|bytearray"),
    ],
)
def test_wrong_file_is_one_clear_error(content, message, written):
    with pytest.raises(CheckpointError, match=message):
        load_generator(written(content))


def test_other_pytorch_file_is_one_clear_error(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="no g_ema"):
        load_generator(tmp_path / "other.pt")


def test_unknown_name_lists_the_bundled_ones(tmp_path):
    with pytest.raises(
        CheckpointError, match=f"hearts64: no such generator; bundled generators: {'.*'.join(bundled_generators())}"
    ):
        load_generator("hearts64")
    with pytest.raises(CheckpointError, match="no such file"):
        load_generator(tmp_path / "missing.pkl")
    with pytest.raises(CheckpointError, match="a folder"):
        load_generator(tmp_path)


def test_tensors_that_do_not_fit_are_named(make_networks, nvidia_bytes, written):
    generator, _ = make_networks()
    generator.synthesis.b8.conv0.affine.weight = torch.nn.Parameter(torch.zeros(3, 10))
    with pytest.raises(CheckpointError, match=r"synthesis\.b8\.conv0\.affine\.weight"):
        load_generator(written(nvidia_bytes(generator)))


@pytest.mark.parametrize(
    "name", ["format", "name", "training_data", "seed", "metrics", "licence", "architecture", "sha256"]
)
def test_card_without_a_required_field_is_refused(name, make_networks, tmp_path):
    path, card = tmp_path / "small.safetensors", tmp_path / "small.json"
    save_generator(make_networks()[0], path, CARD)
    fields = json.loads(card.read_text())
    del fields[name]
    card.write_text(json.dumps(fields))
    with pytest.raises(CheckpointError, match=f"lacks {name}"):
        load_generator(path)
    card.unlink()
    with pytest.raises(
        CheckpointError, match=r"card small\.json is missing, .*; fetch it too, or .* `neuropyro generator convert`"
    ):
        load_generator(path)


def test_architecture_of_another_network_in_the_card_is_refused_before_memory_is_taken(make_networks, tmp_path):
    path, card = tmp_path / "small.safetensors", tmp_path / "small.json"
    save_generator(make_networks()[0], path, CARD)
    fields = json.loads(card.read_text())
    fields["architecture"]["generator"]["channels"] = [10**7] * 3
    card.write_text(json.dumps(fields))
    with pytest.raises(CheckpointError, match="not those of one StyleGAN2 network"):
        load_generator(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mapping_layers": 10**9}, "mapping_layers must be from 1 to 64"),
        ({"conv_clamp": -1.0}, "conv_clamp must be positive"),
        ({"w_dim": 0}, "w_dim"),
    ],
)
def test_settings_in_the_card_that_no_network_has_are_refused_at_once(change, message, make_networks, tmp_path):
    path, card = tmp_path / "small.safetensors", tmp_path / "small.json"
    save_generator(make_networks()[0], path, CARD)
    fields = json.loads(card.read_text())
    fields["architecture"]["generator"] |= change
    card.write_text(json.dumps(fields))
    with pytest.raises(CheckpointError, match=message):
        load_generator(path)


@pytest.mark.parametrize("name", ["metrics", "details", "architecture"])
def test_card_whose_objects_are_none_is_refused(name, make_networks, tmp_path):
    path, card = tmp_path / "small.safetensors", tmp_path / "small.json"
    save_generator(make_networks()[0], path, CARD)
    card.write_text(json.dumps(json.loads(card.read_text()) | {name: "text"}))
    with pytest.raises(CheckpointError, match=f"{name} that should be objects"):
        load_generator(path)


def test_seed_may_be_unknown(make_networks, tmp_path):
    save_generator(make_networks()[0], tmp_path / "small.safetensors", dataclasses.replace(CARD, seed=None))
    assert load_generator(tmp_path / "small.safetensors").card.seed is None


def nested_archive(count: int) -> bytes:
    """An archive of PyTorch each of whose storages holds the next one, header and all: more than the file has."""
    content, infos = bytes(4000), []
    for i in range(count):
        info = zipfile.ZipInfo(f"archive/data/{i}")
        content += bytes(-len(content) % 4)
        info.file_size = info.compress_size = len(content)
        info.CRC, info.header_offset = zlib.crc32(content), len(content)
        infos.append(info)
        content = info.FileHeader(zip64=False) + content + bytes(-len(info.FileHeader(zip64=False)) % 4)
    for info in infos:
        info.header_offset = len(content) - info.header_offset - len(info.FileHeader(zip64=False))
    stream, source = io.BytesIO(content), io.BytesIO()
    torch.save({"g_ema": {f"a{i}": torch.zeros(infos[i].file_size // 4) for i in range(count)}}, source)
    with zipfile.ZipFile(source) as original, zipfile.ZipFile(stream, "a") as archive:
        inner = original.namelist()[0].partition("/")[0]
        archive.filelist.extend(infos)
        archive.NameToInfo.update({info.filename: info for info in infos})
        archive.writestr("archive/data.pkl", original.read(f"{inner}/data.pkl"))
    return stream.getvalue()


def test_archive_whose_members_overlap_is_refused(written):
    with pytest.raises(CheckpointError, match=r"[Oo]verlap"):
        load_generator(written(nested_archive(6)))


def test_saving_refuses_before_writing(make_networks, tmp_path):
    generator, _ = make_networks()
    for path in (tmp_path / "small.pt", tmp_path / "nowhere" / "small.safetensors"):
        with pytest.raises(CheckpointError, match=r"ends in \.safetensors"):
            save_generator(generator, path, CARD)
    assert list(tmp_path.iterdir()) == []
