"""A job of a sweep: one configuration over the frames."""

from __future__ import annotations

import math
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config.loader import to_builtin
from ..config.multirun import job_context
from ..config.rank import Terms
from ..config.settings import all_images
from ..execution import interruption
from ..execution.engines.local import change_folder
from ..execution.run import run
from ..io.memory import memory
from ..io.writing import write_json
from ..model.errors import ConfigError, InUseError
from .verdict import median_metrics, score

MEMORY = 1 << 29  # bytes of frames that a worker keeps for the next job


@dataclass(frozen=True)
class Job:
    """One job of a sweep; it runs in the process that the launcher chooses, and writes its results into its folder.

    Attributes
    ----------
    images
        Bare paths of frames on the command line.
    supplied
        Configuration with the frames that the source of the sweep made once; None if each job finds its own frames.
    varied
        Keys that vary from job to job.
    n_jobs
        Frames that one job processes at once, if the configuration says -1.
    quiet
        Print nothing.
    stop_file
        File whose existence asks the job to stop, see `interruption.follow_stop_file`.
    working_folder
        Folder to which relative paths refer.
    rank
        Terms of the score.
    options
        Options of the command line that a job alone needs too.
    """

    images: tuple[str, ...]
    supplied: dict[str, Any] | None
    varied: tuple[str, ...]
    n_jobs: int
    quiet: bool
    stop_file: Path
    working_folder: str
    rank: Terms
    options: tuple[str, ...] = ()

    def __call__(self, cfg: Any) -> float:
        """Run the job and return its score, the lower the better; a job that fails has an infinite score.

        A failure raises no error. The score is never NaN, because the sweeper of Optuna stops at NaN.
        """
        change_folder(self.working_folder)
        memory.room = MEMORY
        folder, number, overrides = job_context()
        interruption.follow_stop_file(self.stop_file)
        if interruption.stop_requested():
            with suppress(OSError):  # Hydra makes the folder; rmdir keeps one with results
                folder.rmdir()
            return math.inf
        overrides = [text.removeprefix("++") for text in overrides]
        command = [*self.options, *overrides, *self.images]
        try:
            values = to_builtin(cfg)
            values["output_dir"], values["quiet"] = str(folder), True
            values["images"] = all_images(values["images"], self.images, overrides)
            parallel = values.get("parallel")
            if isinstance(parallel, dict) and parallel.get("n_jobs") == -1 and parallel.get("backend") != "slurm":
                values["parallel"] = {**parallel, "n_jobs": self.n_jobs}
            if self.supplied is not None:
                values |= {"poni": self.supplied["poni"], "images": self.supplied["images"]}
                if isinstance(values.get("background"), dict) and not values["background"].get("file"):
                    values["background"]["file"] = self.supplied["background"]["file"]
            result = run(values, command, job=number, names=None if self.supplied is None else {})
        except InUseError:  # another run uses the folder and keeps its record
            raise
        except (ConfigError, OSError) as error:
            record = {"program": "xrdpipe", "status": "refused", "error": str(error), "command": command, "job": number}
            write_json(folder / "run.json", {**record, "images": []})
            print(f"xrdpipe: job {number} refused: {error}", file=sys.stderr, flush=True)
            return math.inf
        if not self.quiet and not result.stopped:
            done = len(result.frames) - len(result.failed)
            varied = " ".join(text for text in overrides if text.partition("=")[0] in self.varied)
            print(f"xrdpipe: job {number}, {varied}: {done} of {len(result.frames)} done", file=sys.stderr, flush=True)
        total = score(median_metrics([vars(record) for record in result.frames]), self.rank)
        return total if math.isfinite(total) else math.inf
