"""Completion of command lines in bash, zsh and fish.

`command` prints the script of a shell, which asks `answer` at every TAB; `candidates` finds what may follow. Nothing
here imports numpy, pyFAI or Hydra: an answer takes less than a tenth of a second.
"""
