"""A stand-in for the Hugging Face Hub: folders on this disk, by repository, and what was sent."""

import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from worldeval import hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub:
    """Repositories lie in `home/models` and `home/datasets`; downloads go to `home/cache`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.downloads: list[tuple[str, str | None]] = []
        self.made: list[dict[str, Any]] = []
        self.sent: dict[str, bytes] = {}

    def put(self, repo: str, folder: Path, kind: str = "model") -> None:
        """Publish a copy of a folder."""
        shutil.copytree(folder, self.home / f"{kind}s" / repo, dirs_exist_ok=True)

    def snapshot_download(
        self,
        repo: str,
        *,
        repo_type: str,
        revision: str | None,
        allow_patterns: Sequence[str],
        ignore_patterns: Sequence[str],
    ) -> str:
        source = self.home / f"{repo_type}s" / repo
        if not source.is_dir() or revision not in (None, "main", COMMIT):
            raise OSError("404 Client Error: repository not found\nRequest ID: 1")
        self.downloads.append((repo, revision))
        name = f"{repo_type}s--{repo.replace('/', '--')}"
        target = self.home / "cache" / name / "snapshots" / COMMIT
        target.mkdir(parents=True, exist_ok=True)
        for path in source.rglob("*"):
            inside = path.relative_to(source).as_posix()
            wanted = any(fnmatch(inside, pattern) for pattern in allow_patterns)
            refused = any(fnmatch(inside, pattern) for pattern in ignore_patterns)
            if path.is_file() and wanted and not refused:
                (target / inside).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target / inside)
        return str(target)

    def create_repo(self, repo: str, **options: Any) -> None:
        self.made.append({"repo": repo, **options})

    def create_commit(self, *, operations: Sequence[Any], repo_id: str, **_: Any) -> Any:
        for each in operations:
            content = each.path_or_fileobj
            self.sent[each.path_in_repo] = (
                content if isinstance(content, bytes) else Path(content).read_bytes()
            )
        return SimpleNamespace(oid=COMMIT, commit_url=f"https://hub/{repo_id}/commit/{COMMIT}")


@pytest.fixture
def fake_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """The hub that every address with hf: is on."""
    import huggingface_hub

    fake = FakeHub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake.snapshot_download)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: fake)
    hub.fetched.cache_clear()
    return fake
