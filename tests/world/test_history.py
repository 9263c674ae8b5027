"""Frames that grow in place, and states that are never changed by it."""

import torch

from worldeval.world.branch import rows_of
from worldeval.world.hand.state import HandState
from worldeval.world.history import ROOM, History


def numbered(first: int, count: int) -> torch.Tensor:
    return torch.arange(first, first + count).float().expand(2, -1)


def test_frames_are_appended_in_place_until_the_room_is_full() -> None:
    history = History.of(numbered(0, 1))
    where = history.frames.data_ptr()
    for frame in range(1, 3 * ROOM):
        history = history.followed_by(numbered(frame, 1))
        assert (history.frames.data_ptr() == where) == (frame < ROOM)
        assert torch.equal(history.frames, numbered(0, frame + 1))


def test_a_second_continuation_copies_and_the_first_keeps_its_frames() -> None:
    start = History.of(numbered(0, 3))
    one = start.followed_by(numbered(3, 2))
    two = start.followed_by(numbered(30, 1))
    three = start.followed_by(numbered(40, 1)).followed_by(numbered(41, 1))
    assert one.frames[0].tolist() == [0, 1, 2, 3, 4]
    assert two.frames[0].tolist() == [0, 1, 2, 30]
    assert three.frames[0].tolist() == [0, 1, 2, 40, 41]
    assert start.frames[0].tolist() == [0, 1, 2]


def test_an_observation_replaces_the_newest_frame_of_its_own_state_alone() -> None:
    imagined = History.of(numbered(0, 3))
    seen = imagined.ending_in(torch.tensor([7.0, 8.0]))
    assert seen.frames.tolist() == [[0, 1, 7], [0, 1, 8]]
    assert torch.equal(imagined.frames, numbered(0, 3))


def test_rows_are_selected_and_go_on_by_themselves() -> None:
    track = History.of(torch.arange(6.0).view(2, 3, 1))
    zeros = torch.zeros(2, 1)
    state = HandState(
        track=track, past_actions=torch.zeros(2, 2, 1), command=zeros, task=zeros[:, 0].long()
    )
    picked = rows_of(state, torch.tensor([1, 0, 1]))
    assert torch.equal(picked.poses, state.poses[[1, 0, 1]])
    longer = picked.track.followed_by(torch.full((3, 1, 1), 9.0))
    assert longer.count == 4 and torch.equal(state.poses, track.frames)
    assert torch.equal(rows_of(state, slice(1, 2)).poses, state.poses[1:])


def test_states_of_inference_go_on_outside_of_it() -> None:
    with torch.inference_mode():
        history = History.of(torch.ones(1, 1))
    assert history.followed_by(torch.ones(1, 1)).count == 2
