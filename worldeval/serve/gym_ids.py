"""The name by which gymnasium makes environments of ours: `worldeval/World-v0`.

Import this file first, or let gymnasium do so by the name before the colon:

    gymnasium.make("worldeval.serve.gym_ids:worldeval/World-v0", url="ws://localhost:8001")
"""

import gymnasium

WORLD = "worldeval/World-v0"


def register() -> None:
    """Tell gymnasium, once. Nothing is wrapped around the environments: their task and their
    length are attributes that LeRobot looks for."""
    if WORLD not in gymnasium.registry:
        gymnasium.register(
            WORLD,
            entry_point="worldeval.serve.client:RemoteSingleEnv",
            vector_entry_point="worldeval.serve.client:RemoteWorldEnv",
            disable_env_checker=True,
            order_enforce=False,
        )


register()
