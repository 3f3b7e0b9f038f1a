import numpy as np
import pytest
import torch

from neuropyro.models import corruption as ops
from neuropyro.models.corruption_coils import SmoothPhase
from neuropyro.models.corruption_intensity import BiasField
from neuropyro.models.corruption_kspace_patterns import Lines, Points
from neuropyro.models.corruption_mask_shapes import Ellipse, FreeForm, Half, Pixels, Rectangle, Stripes

SAME = {
    "identity": ops.Identity(),
    "noise:.05": ops.Identity(0.05),
    "superres:8": ops.Downsample(8),
    "superres:4,kernel=area+noise:0.1": ops.Downsample(4, "area", noise=0.1),
    "superres:2,antialias=no,size=48x48": ops.Downsample(2, antialias=False, image_size=48),
    "inpaint:rectangle": ops.Mask(Rectangle()),
    "inpaint:rectangle,height=.25,column=.75": ops.Mask(Rectangle(height=0.25, column=0.75)),
    "inpaint:ellipse,width=1": ops.Mask(Ellipse(width=1.0)),
    "inpaint:half,side=top,fraction=.25": ops.Mask(Half("top", 0.25)),
    "inpaint:stripes,count=3": ops.Mask(Stripes(3)),
    "inpaint:pixels,seed=4": ops.Mask(Pixels(seed=4)),
    "inpaint:freeform,fraction=.3,brush=.05": ops.Mask(FreeForm(0.3, 0.05)),
    "blur:2": ops.Blur(2.0),
    "blur:2+noise:.05": ops.Blur(2.0, noise=0.05),
    "motion:9,angle=30": ops.Blur.motion(9, 30),
    "kspace:4,centre=.08": ops.Undersample(4, 0.08),
    "kspace:8,density=variable,seed=2,coils=4": ops.Undersample(Lines(8, density="variable", seed=2), coils=4),
    "kspace:3,pattern=points,centre=.2,phase=0": ops.Undersample(Points(3, 0.2), phase=None),
    "kspace:3,phase=.5,phase_seed=7": ops.Undersample(3, phase=SmoothPhase(0.5, 7)),
    "intensity:gamma=1.5,bias=.3,seed=1": ops.Intensity(BiasField(0.3, 1), 1.5),
    "intensity": ops.Intensity(),
    "blur:1 + superres:4 + noise:.01": ops.Compose(ops.Blur(1.0), ops.Downsample(4), noise=0.01),
}


@pytest.mark.parametrize("text", SAME)
def test_texts_give_what_the_constructors_give(text):
    made, expected = ops.parse_corruption(text), SAME[text]
    x = torch.rand(1, 1, 48, 48) * 2 - 1
    assert torch.equal(made.A(x), expected.A(x))
    assert made.noise == expected.noise
    assert type(made) is type(expected)


@pytest.mark.parametrize("text", SAME)
def test_round_trip(text):
    first = ops.parse_corruption(text)
    again = ops.parse_corruption(first.text)
    x = torch.rand(1, 1, 48, 48) * 2 - 1
    assert again.text == first.text == SAME[text].text
    assert torch.equal(again.A(x), first.A(x))
    assert again.noise == first.noise


def test_files_may_have_a_plus_or_a_comma_in_their_name(tmp_path):
    mask = np.random.default_rng(0).random((8, 8)) > 0.5
    path = tmp_path / "left+right, old.npy"
    np.save(path, mask)
    made = ops.parse_corruption(f"inpaint:{path}+noise:.1")
    assert torch.equal(made.A(torch.ones(1, 1, 8, 8))[0, 0], torch.from_numpy(mask).float())
    assert made.noise == 0.1
    assert ops.parse_corruption(made.text).text == made.text
    np.save(tmp_path / "kernel.npy", np.ones((3, 3)) / 9)
    blur = ops.parse_corruption(f"blur:{tmp_path / 'kernel.npy'}")
    assert torch.equal(ops.parse_corruption(blur.text).A(torch.eye(8)[None, None]), blur.A(torch.eye(8)[None, None]))


def test_arrays_have_no_text():
    for corruption in (
        ops.Mask(np.ones((2, 2))),
        ops.Blur(np.ones((3, 3))),
        ops.Undersample(np.ones((2, 2))),
        ops.Undersample(4, coils=torch.ones(1, 2, 2) + 0j),
        ops.Undersample(4, phase=np.ones((2, 2))),
        ops.Intensity(np.ones((2, 2))),
    ):
        with pytest.raises(ops.CorruptionError, match="made from arrays"):
            _ = corruption.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no ''; known are identity, superres"),
        ("sharpen:2", "there is no 'sharpen'; known are .*noise"),
        ("superres", "superres's value is missing, as in 'superres:4'"),
        ("superres:eight", "superres's value must be a number, got 'eight'"),
        ("inpaint:no.png", r"^corruption 'inpaint:no\.png': no\.png: there is no such file; a mask is 1 \(white\)"),
        ("superres:4,area", "must be a number, got '4,area'; write an option with its name, as superres:4,kernel=area"),
        ("superres:4,kernel=box", r"the kernel must be bicubic or area \(means of blocks\), got 'box'"),
        ("superres:8,kernl=area", "superres's kernl has no meaning; options are: antialias, kernel, size"),
        ("superres:8,size=64", "height and a width like 64x64"),
        ("superres:8,antialias=perhaps", "yes or no, got 'perhaps'"),
        ("superres:8,kernel=area,kernel=bicubic", "kernel is given twice"),
        ("inpaint:square", "there is no shape 'square'; give a file, or one of rectangle"),
        ("inpaint:missing.png", r"missing\.png.*no such file"),
        ("inpaint:half,side=north", "left, right, top, bottom"),
        ("blur:much", "blur's value must be a number, got 'much'"),
        ("blur:0", "above 0 px"),
        ("kspace:4,pattern=spiral", "lines or points, got 'spiral'"),
        ("kspace:4,pattern=points,density=variable", "density has no meaning"),
        ("kspace:4,seed=1.5", "whole number"),
        ("noise:.1+blur:2", "noise must come last"),
        ("blur:2+noise:-1", "standard deviation of 0 or more"),
        ("superres:4+noise:20", r"brightness is -1 to 1, so 2 at most, got 20; if grey levels of 255 .* noise:\.157"),
        ("blur:2+noise", "noise's value is missing, as in 'noise:.02'"),
        ("noise:.1+noise:.2", "noise must come last"),
        ("identity:3", "identity's value has no meaning"),
    ],
)
def test_errors_quote_the_text_and_say_what_is_wrong(text, message):
    with pytest.raises(ops.CorruptionError, match=message) as caught:
        ops.parse_corruption(text)
    assert repr(text) in str(caught.value)
