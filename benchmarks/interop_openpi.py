# openpi-client lives in an environment of its own.
# pyright: reportMissingImports=false
"""openpi's own client and our server; our client and a server that packs as openpi does.

    python benchmarks/interop_openpi.py PYTHON OUT.json

PYTHON is that of an environment with `pip install openpi-client typing_extensions`. openpi's server
is published in no package: the one here is written from its protocol, around openpi-client's own
packing.
"""

import json
import subprocess
import sys
from pathlib import Path

SERVE, ASK, RESIZE = "serve", "ask", "resize"


def serve() -> None:
    """In openpi's environment: the actions say what was seen."""
    import numpy as np
    from openpi_client import msgpack_numpy
    from websockets.sync.server import serve as listen

    def talk(connection) -> None:
        stats = {"mean": np.arange(8.0), "q99": np.ones((2, 3), np.float32)}
        connection.send(msgpack_numpy.packb({"model": "pi0_droid", "norm_stats": stats}))
        for message in connection:
            seen = msgpack_numpy.unpackb(message)
            bright = [seen[key].mean() for key in sorted(seen) if "image" in key]
            state = [*seen["observation/joint_position"], *seen["observation/gripper_position"]]
            told = np.array([*state, *bright, len(seen["prompt"])])
            answer = {"actions": told + np.arange(10)[:, None], "server_timing": {"infer_ms": 1.0}}
            connection.send(msgpack_numpy.packb(answer))

    with listen(talk, "127.0.0.1", 0, compression=None, max_size=None) as server:
        print(server.socket.getsockname()[1], flush=True)
        server.serve_forever()


def ask(port: str) -> None:
    """In openpi's environment: its client asks a policy of ours three times."""
    import numpy as np
    from openpi_client.websocket_client_policy import WebsocketClientPolicy

    client = WebsocketClientPolicy("127.0.0.1", int(port))
    rng, out = np.random.default_rng(0), []
    for _ in range(3):
        seen = {
            "observation/side": rng.integers(0, 256, (64, 64, 3), np.uint8),
            "observation/top": rng.integers(0, 256, (64, 64, 3), np.uint8),
            "observation/state": rng.normal(size=4).astype(np.float32),
            "prompt": "button-press-topdown-v3",
        }
        out.append(client.infer(seen)["actions"].tolist())
    print(json.dumps({"said": client.get_server_metadata()["name"], "actions": out}))


def resize() -> None:
    """In openpi's environment: pictures of several shapes as its own client resizes them."""
    import numpy as np
    from openpi_client.image_tools import resize_with_pad

    rng = np.random.default_rng(0)
    shapes = [(64, 64), (180, 320), (192, 320), (321, 113)]
    made = [resize_with_pad(rng.integers(0, 256, (*s, 3), np.uint8), 224, 224) for s in shapes]
    print(json.dumps({"shapes": shapes, "sums": [int(m.astype(int).sum()) for m in made]}))
    np.savez(sys.argv[2], *made)


def main(theirs: str, out: Path) -> None:
    import tempfile

    import numpy as np

    from worldeval.files import write_json
    from worldeval.policy.load import load_policy
    from worldeval.policy.pictures import picture_form
    from worldeval.record import Observation

    this, rng = str(Path(__file__).resolve()), np.random.default_rng(0)
    began = subprocess.Popen([theirs, this, SERVE], stdout=subprocess.PIPE, text=True)
    chunk = np.zeros(0)
    try:
        assert began.stdout
        port = began.stdout.readline().strip()
        policy = load_policy(f"ws://127.0.0.1:{port}?keys=droid&action_dim=11&chunk=10&name=pi0")
        frames = {
            view: rng.integers(0, 256, (3, 180, 320, 3), np.uint8)
            for view in ("exterior_1", "wrist")
        }
        pose = rng.normal(size=(3, 8)).astype(np.float32)
        seen = Observation(frames=frames, pose=pose, tasks=("a", "bb", "ccc"))
        for _ in range(2):  # a second episode renews the sessions: metadata with arrays is compared
            policy.reset(seen.tasks, (0, 1, 2))
            chunk = policy.act(seen)
    finally:
        began.kill()
        began.wait()
    bright = [frames[view].mean((1, 2, 3))[:, None] for view in ("exterior_1", "wrist")]
    told = np.concatenate([pose, *bright, np.array([[1], [2], [3]])], 1)
    there = float(np.abs(chunk - (told[:, None] + np.arange(10)[None, :, None])).max())

    command = ["serve-policy", "models/policies-test/bc-all/step-2400", "--port", "0", "--json"]
    served = subprocess.Popen(
        [sys.executable, "-m", "worldeval", *command], stdout=subprocess.PIPE, text=True
    )
    try:
        assert served.stdout
        address = json.loads(served.stdout.readline())["address"]
        asked = subprocess.run(
            [theirs, this, ASK, address.rpartition(":")[2]],
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        served.kill()
        served.wait()
    heard, rng = json.loads(asked.stdout), np.random.default_rng(0)
    own, here = load_policy("models/policies-test/bc-all/step-2400"), 0.0
    own.reset(("button-press-topdown-v3",), (0,))
    for actions in heard["actions"]:
        pictures = {v: rng.integers(0, 256, (64, 64, 3), np.uint8)[None] for v in ("side", "top")}
        moment = Observation(
            frames=pictures,
            pose=rng.normal(size=4).astype(np.float32)[None],
            tasks=("button-press-topdown-v3",),
        )
        here = max(here, float(np.abs(own.act(moment)[0] - np.array(actions)).max()))

    with tempfile.TemporaryDirectory() as place:
        kept = Path(place) / "theirs.npz"
        told_shapes = subprocess.run(
            [theirs, this, RESIZE, str(kept)], capture_output=True, text=True, check=True
        )
        made, rng = list(np.load(kept).values()), np.random.default_rng(0)
    form, worst = picture_form(224), 0
    for shape, their in zip(json.loads(told_shapes.stdout)["shapes"], made, strict=True):
        ours = form(rng.integers(0, 256, (*shape, 3), np.uint8)[None])[0].astype(int)
        worst = max(worst, int(np.abs(ours - their).max()))

    version = subprocess.run(
        [theirs, "-c", "import importlib.metadata as m; print(m.version('openpi-client'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    result = {
        "made_by": "benchmarks/interop_openpi.py",
        "openpi_client": version,
        "our_client_and_a_server_that_packs_as_openpi": {"largest_difference": there},
        "their_client_and_our_server": {"policy": heard["said"], "largest_difference": here},
        "resize_with_pad_to_224": {"largest_difference_of_a_pixel": worst},
    }
    print(result)
    results = json.loads(out.read_text()) if out.is_file() else {}
    write_json(out, {**results, "openpi": result})
    assert there < 1e-4 and here < 1e-5 and worst == 0


if __name__ == "__main__":
    if sys.argv[1] == SERVE:
        serve()
    elif sys.argv[1] == ASK:
        ask(sys.argv[2])
    elif sys.argv[1] == RESIZE:
        resize()
    else:
        main(sys.argv[1], Path(sys.argv[2]))
