import gymnasium as gym
import numpy as np
import pytest
import torch

from maac_bench.episodes import Episodes
from maac_bench.evaluation import run_episode, run_sampled_episode
from maac_bench.streams import Streams
from maac_bench.tasks import make_training_task
from tests.maac_bench.problems import squashed_policy

# The XML of the cheetah still asks for its total mass in a way MuJoCo is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:.*settotalmass.*")


class Counter(gym.Env):
    """State (start, steps so far); ends by itself after `length` steps of which each pays 1."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, length):
        self.length = length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = np.array([self.np_random.uniform(), 0.0])
        return self.state.astype(np.float32), {}

    def step(self, action):
        self.state = self.state + np.array([0.0, 1.0])
        ended = self.state[1] >= self.length
        return self.state.astype(np.float32), 1.0, bool(ended), False, {}


def counters(*lengths: int, seeds=None, purpose="environment") -> Episodes:
    """One counter per length; their seeds are 0, 1, ... unless given."""
    remaining = iter(lengths)
    seeds = range(len(lengths)) if seeds is None else seeds
    return Episodes(lambda: Counter(next(remaining)), list(seeds), purpose)


def play(episodes: Episodes, actions: np.ndarray) -> list[list[np.ndarray]]:
    """Act [T, seeds, m]; the actions of each seed's episode under way."""
    played: list[list[np.ndarray]] = [[] for _ in episodes.age]
    for action in actions:
        episodes.begin()
        episodes.step(action)
        for k, age in enumerate(episodes.age):
            played[k] = [*played[k], action[k]] if age else []
    return played


@pytest.mark.parametrize(
    "name",
    ["maac_bench/HalfCheetah-v0", "maac_bench/Pendulum-v0", "Hopper-v5", "Pendulum-v1"],
)
def test_replaying_the_actions_restores_an_episode_exactly(name):
    task = make_training_task(name)
    rng, size = np.random.default_rng(0), task.task.action_size
    steps = 100 if name == "Hopper-v5" else 50
    actions = rng.uniform(-1, 1, (steps + 2, 2, size)).astype(np.float32)
    episodes, twin = (Episodes(task.make, [3, 4], "environment") for _ in range(2))
    played = play(episodes, actions[:steps])
    assert (max(episodes.count) > 0) is (name == "Hopper-v5"), "only the hopper falls"
    reached = twin.restore(episodes.count, [np.array(rows) for rows in played])
    assert np.array_equal(reached, episodes.current())
    assert (twin.count, twin.age) == (episodes.count, episodes.age)
    for action in actions[steps:]:
        assert np.array_equal(episodes.begin(), twin.begin())
        one, other = episodes.step(action), twin.step(action)
        for x, y in zip(one, other, strict=True):
            assert np.array_equal(x, y)
    for each in (episodes, twin):
        each.close()


def test_a_seed_between_two_episodes_is_restored_to_the_next():
    episodes, twin = counters(2, 5), counters(2, 5)
    actions = np.zeros((2, 2, 1), np.float32)
    played = play(episodes, actions)
    assert episodes.age == [0, 2]
    twin.restore(episodes.count, [np.array(rows) for rows in played])
    assert np.array_equal(twin.begin(), episodes.begin())
    assert twin.begin()[0, 1] == 0.0


def test_start_states_depend_on_seed_episode_and_purpose_alone():
    several = counters(1, 1, 1, seeds=[5, 7, 9])
    starts = []
    for _ in range(3):
        starts.append(several.begin()[:, 0].tolist())
        several.step(np.zeros((3, 1), np.float32))
    assert len({x for row in starts for x in row}) == 9
    alone = counters(1, seeds=[7])
    for row in starts:
        assert alone.begin()[0, 0] == np.float32(row[1])
        alone.step(np.zeros((1, 1), np.float32))
    other = counters(1, seeds=[7], purpose="evaluation")
    assert other.begin()[0, 0] != np.float32(starts[0][1])


def test_inactive_seeds_stand_still():
    episodes = counters(5, 5)
    before = episodes.begin()
    step = episodes.step(np.zeros((2, 1), np.float32), np.array([False, True]))
    assert step.reward.tolist() == [0.0, 1.0]
    assert step.next_state[:, 1].tolist() == [0.0, 1.0]
    assert np.array_equal(step.next_state[0], before[0])
    assert episodes.age == [0, 1]
    assert np.array_equal(episodes.begin(), step.next_state), "standing still is no new episode"


def test_an_ended_episode_is_followed_by_the_next_one():
    episodes = counters(2)
    play(episodes, np.zeros((1, 1, 1), np.float32))
    last = episodes.step(np.zeros((1, 1), np.float32))
    assert last.terminated.tolist() == [True]
    assert last.next_state[0, 1] == 2.0, "the state it ended in, not the next start"
    assert (episodes.count, episodes.age) == ([1], [0])
    assert episodes.begin()[0, 1] == 0.0


def test_rewinding_begins_a_new_episode_once():
    episodes = counters(5)
    start = episodes.begin()
    episodes.rewind()
    assert np.array_equal(episodes.begin(), start), "an episode not stepped is not used up"
    episodes.step(np.zeros((1, 1), np.float32))
    episodes.rewind()
    assert episodes.count == [1]
    assert episodes.begin()[0, 0] != start[0, 0]


def test_a_record_masks_what_comes_after_a_seeds_own_end():
    record = run_episode(squashed_policy([0, 1, 2], n=2, m=1).mean_action, counters(3, 1, 2))
    assert record.alive.T.tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    assert record.returns.tolist() == [3.0, 1.0, 2.0]
    assert record.states[..., 1].T.tolist() == [[0, 1, 2, 3], [0, 1, 1, 1], [0, 1, 2, 2]]
    assert record.terminated.tolist() == [1.0, 1.0, 1.0]


def test_a_time_limit_is_no_termination():
    episodes = Episodes(lambda: gym.wrappers.TimeLimit(Counter(9), 4), [0], "evaluation")
    record = run_episode(squashed_policy([0], n=2, m=1).mean_action, episodes)
    assert record.terminated.tolist() == [0.0]
    assert record.returns.tolist() == [4.0]


def test_without_noise_the_mean_action_is_taken():
    policy = squashed_policy([0, 1], n=2, m=1)
    record = run_episode(policy.mean_action, counters(3, 3))
    for state, action in zip(record.states, record.actions, strict=False):
        torch.testing.assert_close(action, policy.mean_action(state.unsqueeze(1))[:, 0])
    assert not record.log_probs.any()


def test_with_noise_actions_are_sampled_and_their_densities_kept():
    policy = squashed_policy([0, 1], n=2, m=1)
    record = run_sampled_episode(policy.sample, counters(3, 3), Streams([0, 1], "noise"))
    noise = Streams([0, 1], "noise")
    for t, state in enumerate(record.states[:-1]):
        action = policy.sample(state.unsqueeze(1), noise.normal(1, 1))
        torch.testing.assert_close(record.actions[t], action.value[:, 0])
        torch.testing.assert_close(record.log_probs[t], action.log_prob[:, 0])


def test_an_evaluation_does_not_depend_on_what_it_is_stacked_with():
    """Hoppers that fall at different times."""
    make, policy = make_training_task("Hopper-v5").make, squashed_policy([0, 1], 11, 3)
    policy.net.biases[-1][0] = 1.0
    both, alone = (Episodes(make, seeds, "evaluation") for seeds in ([0, 1], [1]))
    half = policy.replace(tuple(p[1:] for p in policy.parameters))
    for episode in range(2):
        purpose = f"noise {episode}"
        stacked = run_sampled_episode(policy.sample, both, Streams([0, 1], purpose))
        single = run_sampled_episode(half.sample, alone, Streams([1], purpose))
        assert stacked.alive[:, 1].sum() == single.alive.sum()
        torch.testing.assert_close(stacked.returns[1:], single.returns)
        assert stacked.returns[0] != stacked.returns[1]
    lengths = stacked.alive.sum(dim=0)
    assert lengths[0] != lengths[1], "otherwise this shows nothing"
    for each in (both, alone):
        each.close()


def test_every_environment_is_closed():
    closed = []

    class Closing(Counter):
        def close(self):
            closed.append(self.length)

    lengths = iter((1, 2))
    Episodes(lambda: Closing(next(lengths)), [0, 1], "environment").close()
    assert closed == [1, 2]


def test_an_evaluation_begins_anew_whatever_is_under_way():
    episodes = counters(5)
    play(episodes, np.zeros((2, 1, 1), np.float32))
    record = run_episode(squashed_policy([0], n=2, m=1).mean_action, episodes)
    assert record.states[0, 0, 1] == 0.0
    assert record.returns.tolist() == [5.0]
    assert episodes.count == [2]


def test_episodes_are_skipped_from_within_one():
    episodes, twin = counters(5, seeds=[3]), counters(1, seeds=[3])
    play(episodes, np.zeros((2, 1, 1), np.float32))
    play(twin, np.zeros((4, 1, 1), np.float32))
    episodes.skip_to([4])
    assert np.array_equal(episodes.begin(), twin.begin())


def test_a_time_limit_ends_an_episode():
    episodes = Episodes(lambda: gym.wrappers.TimeLimit(Counter(9), 2), [0], "environment")
    play(episodes, np.zeros((2, 1, 1), np.float32))
    assert (episodes.count, episodes.age) == ([1], [0])
    assert episodes.begin()[0, 1] == 0.0


class Odd(Counter):
    """Gives `found` in place of what a step gives."""

    def __init__(self, found):
        super().__init__(9)
        self.found = found

    def step(self, action):
        return self.found


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (([0.0, 1.0], 1.0, False, {}), "gives 4 values; Gymnasium's are observation, reward, "),
        (([0.0], 1.0, False, False, {}), r"observation has the shape \(1,\), its space \(2,\)"),
        (([0.0, 1.0], [1.0, 2.0], False, False, {}), r"reward is no number: \[1.0, 2.0\]"),
        (([0.0, 1.0], "much", False, False, {}), "reward is no number: 'much'"),
    ],
)
def test_what_no_step_of_an_environment_gives_is_named(found, message):
    episodes = Episodes(lambda: Odd(found), [0], "environment")
    episodes.begin()
    with pytest.raises(ValueError, match=message):
        episodes.step(np.zeros((1, 1), np.float32))


def test_a_reward_may_be_an_array_of_one():
    odd = Odd((np.zeros(2), np.array([0.5]), False, False, {}))
    episodes = Episodes(lambda: odd, [0], "environment")
    episodes.begin()
    assert episodes.step(np.zeros((1, 1), np.float32)).reward.tolist() == [0.5]


def test_an_environments_own_error_is_named_with_its_place():
    class Falling(Counter):
        def step(self, action):
            if self.state[1] == 2.0:
                raise RuntimeError("the floor is gone")
            return super().step(action)

    episodes = Episodes(lambda: Falling(9), [0], "environment")
    with pytest.raises(
        ValueError, match=r"fails in step 3 of an episode: RuntimeError: the floor "
    ):
        play(episodes, np.zeros((3, 1, 1), np.float32))
    with pytest.raises(ValueError, match=r"is gone \(test_episodes.py, line \d+\)"):
        play(episodes, np.zeros((1, 1, 1), np.float32))


def test_an_error_below_an_environment_is_named_with_the_environments_place():
    class Singular(Counter):
        def step(self, action):
            np.linalg.inv(np.zeros((2, 2)))

    episodes = Episodes(lambda: Singular(9), [0], "environment")
    with pytest.raises(ValueError, match=r"Singular matrix \(test_episodes.py, line \d+\)"):
        play(episodes, np.zeros((1, 1, 1), np.float32))


def test_an_environment_that_cannot_start_is_named():
    class Stuck(Counter):
        def reset(self, *, seed=None, options=None):
            raise KeyError("no start")

    with pytest.raises(ValueError, match="fails in reset: KeyError: 'no start'"):
        Episodes(lambda: Stuck(9), [0], "environment").begin()


def test_an_error_while_an_episode_is_played_again_is_named_like_any_other():
    class Moody(Counter):
        def step(self, action):
            assert self.state[1] < 1.0, "not in the mood"
            return super().step(action)

    with pytest.raises(ValueError, match="fails in step 2 of an episode: AssertionError: not in"):
        Episodes(lambda: Moody(9), [0], "environment").restore([0], [np.zeros((3, 1), np.float32)])


def test_an_action_that_is_not_finite_ends_its_seeds_episode_and_no_other():
    class Strict(Counter):
        def step(self, action):
            assert self.action_space.contains(action)
            return super().step(action)

    policy = squashed_policy([0, 1], n=2, m=1)
    policy.net.biases[-1][0] = float("nan")
    episodes = Episodes(lambda: Strict(3), [0, 1], "evaluation")
    for record in (
        run_episode(policy.mean_action, episodes),
        run_sampled_episode(policy.sample, episodes, Streams([0, 1], "noise")),
    ):
        assert record.returns.isnan().tolist() == [True, False]
        assert record.returns[1] == 3.0
        assert record.alive.T.tolist() == [[1, 0, 0], [1, 1, 1]]


def test_a_seed_that_has_ended_is_asked_for_actions_where_it_last_acted():
    """Planners are never asked to plan from a fallen robot."""
    policy, asked = squashed_policy([0, 1], n=2, m=1), []

    def decide(state):
        asked.append(state[:, 0, 1].tolist())
        return policy.mean_action(state)

    run_episode(decide, counters(1, 3))
    assert asked == [[0.0, 0.0], [0.0, 1.0], [0.0, 2.0]]
