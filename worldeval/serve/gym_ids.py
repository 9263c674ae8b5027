"""Register `worldeval/World-v0` with gymnasium.

Import this file first, or let gymnasium do so by the name before the colon:

    gymnasium.make("worldeval.serve.gym_ids:worldeval/World-v0", url="ws://localhost:8001")
"""

import gymnasium

WORLD = "worldeval/World-v0"


def register() -> None:
    """Register once. The environments are not wrapped, since LeRobot reads their task and length
    from attributes."""
    if WORLD not in gymnasium.registry:
        gymnasium.register(
            WORLD,
            entry_point="worldeval.serve.client:RemoteSingleEnv",
            vector_entry_point="worldeval.serve.client:RemoteWorldEnv",
            disable_env_checker=True,
            order_enforce=False,
        )


register()
