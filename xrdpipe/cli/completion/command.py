"""``xrdpipe completion``: print the script of a shell that completes command lines of xrdpipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...model.errors import ConfigError, nearest

SHELLS = {
    "bash": 'eval "$(xrdpipe completion bash)"        # in ~/.bashrc',
    "zsh": 'eval "$(xrdpipe completion zsh)"         # in ~/.zshrc',
    "fish": "xrdpipe completion fish | source        # in ~/.config/fish/config.fish",
}


def main(arguments: Sequence[str]) -> int:
    """Run ``xrdpipe completion bash|zsh|fish``; return 0."""
    if len(arguments) != 1 or arguments[0] not in SHELLS:
        wrong = f"{' '.join(arguments)}: {nearest(arguments[0], SHELLS)}" if arguments else "which shell?"
        raise ConfigError("\n".join([f"completion: {wrong}", *(f"  {line}" for line in SHELLS.values())]))
    print(Path(__file__).with_name(f"xrdpipe.{arguments[0]}").read_text(encoding="utf-8"), end="")
    return 0
