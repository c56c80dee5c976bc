"""Two plain matplotlib figures per frame: peer_matplotlib.py COUNT IMAGE OUTPUT

The figures are `matshow` with a colour bar at full size and a line plot of 1480 points, each saved as PNG. The image is
read once and drawn COUNT times, so that the difference between two runs is the time of drawing and saving.
"""

import sys
from pathlib import Path


def main(count: str, image: str, output: str) -> None:
    import fabio
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    data = fabio.open(image).data
    profile = data[len(data) // 2, :1480]
    for number in range(int(count)):
        mean, std = data.mean(), data.std()
        figure, axes = plt.subplots()
        shown = axes.matshow(data, vmin=mean - 2 * std, vmax=mean + 2 * std)
        figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.04)
        figure.savefig(Path(output, f"{number}_image.png"))
        plt.close(figure)
        figure, axes = plt.subplots()
        axes.plot(profile)
        axes.set_xlabel("q (1/angstrom)")
        axes.set_ylabel("intensity")
        figure.savefig(Path(output, f"{number}_pattern.png"))
        plt.close(figure)


if __name__ == "__main__":
    main(*sys.argv[1:])
