"""The program under measurement."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD_SECONDS = 3600


def build() -> Path:
    """Builds it with the `dist` profile, and the small one of the agent beside it."""
    subprocess.run([ROOT / "scripts/need", "cc"], check=True)
    command = ["cargo", "build", "--quiet", "--profile", "dist", "--package", "fingerpost"]
    command += ["--package", "fingerpost-agent"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=BUILD_SECONDS)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "dist" / "fingerpost"
