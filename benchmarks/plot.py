"""Draws the ratios of a comparison as a bar chart."""

import sys


def entries(results):
    """Yields for each ratio: its name, its value, its goal or None, and whether the goal is met or None."""
    for result in results:
        if "deciding_ratio" in result:
            yield f"{result['row']} (raw)", result["deciding_ratio"], result["deciding_goal"], result["met"]
        for metric in result.get("metrics", ()):
            if "ratio" in metric:
                yield (f"{result['row']}\n{metric['label']} ({metric['best']})", metric["ratio"], metric["goal"],
                       metric.get("met"))


def draw(results, path):
    try:
        import matplotlib
        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        print("--plot: nothing drawn, matplotlib is not installed (package python3-matplotlib)", file=sys.stderr)
        return
    drawn = list(entries(results))
    if not drawn:
        return
    colours = {True: "tab:green", False: "tab:red", None: "tab:gray"}
    figure, axes = pyplot.subplots(figsize=(10, 1 + 0.5 * len(drawn)), layout="constrained")
    axes.barh([name for name, *_ in drawn], [value for _, value, _, _ in drawn], color=[colours[met] for *_, met in drawn])
    for place, (_, value, goal, _) in enumerate(drawn):
        axes.text(value, place, f" {value:.2f}", va="center")
        if goal is not None:
            axes.plot([goal, goal], [place - 0.4, place + 0.4], color="black")
    axes.axvline(1, color="black", linewidth=0.5, linestyle=":")
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlabel("ratio to the best of the others (in brackets), more is better; black mark: goal")
    figure.savefig(path)
    pyplot.close(figure)
