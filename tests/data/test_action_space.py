"""Actions in one form and another: the same motion, and no jump where training looks."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from worldeval.data.normaliser import Normaliser
from worldeval.data.rotation import SIZES, read_rotation, write_rotation
from worldeval.data.space_conversion import into
from worldeval.data.space_text import read_space
from worldeval.errors import UserError

EULER = read_space("ee-absolute(euler)+1")


def motions(count: int = 40) -> np.ndarray:
    rng = np.random.default_rng(0)
    angles = Rotation.random(count, rng=rng).as_euler("xyz")
    return np.concatenate([rng.normal(size=(count, 3)), angles, rng.random((count, 1))], axis=1)


@pytest.mark.parametrize("form", SIZES)
def test_every_form_is_the_same_rotation(form) -> None:
    rotation = Rotation.random(50, rng=np.random.default_rng(1))
    again = read_rotation(write_rotation(rotation, form), form)
    assert (rotation.inv() * again).magnitude().max() < 1e-6


def test_a_quarter_turn_about_z() -> None:
    quarter = np.array([[0, 0, np.pi / 2]])
    turn = read_rotation(quarter, "euler")
    assert write_rotation(turn, "axis-angle") == pytest.approx(quarter)
    assert write_rotation(turn, "quaternion") == pytest.approx(
        np.array([[0, 0, np.sqrt(0.5), np.sqrt(0.5)]])
    )
    assert write_rotation(turn, "6d") == pytest.approx(np.array([[0, 1, 0, -1, 0, 0]]), abs=1e-9)


def test_six_numbers_of_a_network_become_a_rotation() -> None:
    raw = np.array([[2.0, 0, 0, 0.5, 3.0, 0]])  # neither unit nor orthogonal
    assert read_rotation(raw, "6d").magnitude() == pytest.approx([0], abs=1e-9)
    with pytest.raises(ValueError, match="neither zero nor parallel"):
        read_rotation(np.array([[1.0, 0, 0, 2, 0, 0]]), "6d")


@pytest.mark.parametrize("form", SIZES)
def test_absolute_to_delta_and_back(form) -> None:
    delta = read_space(f"ee-delta({form})+1")
    actions, pose = motions(), np.roll(motions(), 7, axis=0)
    deltas = into(EULER, delta, actions, pose=pose)
    assert deltas[:, :3] == pytest.approx(actions[:, :3] - pose[:, :3], abs=1e-5)
    own_pose = into(EULER, read_space(f"ee-absolute({form})+1"), pose)
    back = into(delta, EULER, deltas, pose=own_pose)
    assert back[:, :3] == pytest.approx(actions[:, :3], abs=1e-5)
    turned = read_rotation(back[:, 3:6], "euler").inv() * read_rotation(actions[:, 3:6], "euler")
    assert turned.magnitude().max() < 1e-3
    assert back[:, 6] == pytest.approx(actions[:, 6], abs=1e-6)


def test_a_roll_over_pi_is_continuous_where_it_is_trained() -> None:
    roll = np.linspace(np.pi - 0.2, np.pi + 0.2, 41)
    actions = np.zeros((41, 7))
    actions[:, 3] = np.angle(np.exp(1j * roll))
    assert np.abs(np.diff(actions[:, 3])).max() > 6
    trained = into(EULER, EULER.trainable(), actions)
    assert trained.shape[1] == EULER.trainable().size == 10
    assert np.abs(np.diff(trained, axis=0)).max() < 0.011
    assert EULER.unwrapped(actions)[:, 3] == pytest.approx(roll, abs=1e-5)


def test_joint_velocities_are_differences_times_the_rate() -> None:
    position = read_space("joint-position(2)+1")
    velocity = read_space("joint-velocity(2)+1")
    actions = np.array([[1.0, 2.0, 0.3]])
    here = np.array([[0.8, 2.4, 0.0]])
    assert into(position, velocity, actions, pose=here, fps=5) == pytest.approx(
        np.array([[1.0, -2.0, 0.3]])
    )
    back = into(velocity, position, np.array([[1.0, -2.0, 0.3]]), pose=here, fps=5)
    assert back == pytest.approx(actions)


def test_percentiles_go_to_one_and_outliers_do_not_move_them() -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(-2, 4, (100_000, 1))
    values[0] = 1e6
    fitted = Normaliser.fit([values[:50], values[50:]], "percentile")
    low, high = np.percentile(values, [1, 99], axis=0)
    assert fitted(np.stack([low, high])) == pytest.approx(np.array([[-1.0], [1.0]]), abs=1e-5)
    assert high - low < 6


def test_mean_and_deviation() -> None:
    values = np.random.default_rng(0).normal(3, 2, (1000, 2))
    normalised = Normaliser.fit([values], "mean-std")(values)
    assert normalised.mean(axis=0) == pytest.approx([0, 0], abs=1e-5)
    assert normalised.std(axis=0, ddof=1) == pytest.approx([1, 1], abs=1e-5)
    still = Normaliser.fit([0 * values], "mean-std", least=0.1)
    assert still.scale == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize("method", ["percentile", "mean-std"])
def test_there_and_back(method) -> None:
    values = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    fitted = Normaliser.fit([values], method)
    assert fitted.back(fitted(values)) == pytest.approx(values, abs=1e-5)


def test_dimensions_that_hardly_vary_stay_finite() -> None:
    values = np.zeros((1000, 2), np.float32)
    values[:, 0] = 7  # never changes
    values[5, 1] = 1  # a switch, used once
    fitted = Normaliser.fit([values], "percentile")
    normalised = fitted(values)
    assert normalised[:, 0] == pytest.approx(np.zeros(1000))
    assert set(normalised[:, 1].tolist()) == {-1.0, 1.0}
    with pytest.raises(UserError, match="all numbers must be finite"):
        Normaliser.fit([np.array([[np.nan]])], "percentile")
