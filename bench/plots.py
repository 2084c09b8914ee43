# File: bench/plots.py
# Plots of benchmarks as SVG files, drawn with matplotlib where a benchmark's environment has it.


def start():
    """Returns pyplot, set to write files that are the same for the same figures."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "quiver"
    from matplotlib import pyplot

    return pyplot


def save(pyplot, figure, path):
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    print(f"plot: {path}", flush=True)


def draw_recall(path, title, label, series):
    """Queries per second against recall, which is stretched towards 1. series: name -> points of (recall, rate)."""
    pyplot = start()
    figure, axes = pyplot.subplots(figsize=(8, 5))
    for name, points in series.items():
        points = [(max(1 - recall, 5e-4), rate) for recall, rate in points if recall > 0.5]
        if points:
            axes.plot([miss for miss, _ in points], [rate for _, rate in points], marker="o", markersize=3, label=name)
    ticks = [0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005]
    axes.set(xscale="log", yscale="log", xlabel=label, ylabel="queries per CPU-second", title=title)
    axes.set_xlim(0.5, 4e-4)
    axes.set_xticks(ticks, [f"{1 - miss:g}" for miss in ticks])
    axes.minorticks_off()
    axes.grid(True, alpha=0.3)
    axes.legend(fontsize="small")
    save(pyplot, figure, path)


def draw_shares(path, title, series):
    """Queries per second against the share of rows that a filter keeps. series: name -> points of (per cent, rate)."""
    pyplot = start()
    figure, axes = pyplot.subplots(figsize=(8, 5))
    for name, points in series.items():
        axes.plot([share for share, _ in points], [rate for _, rate in points], marker="o", markersize=3, label=name)
    axes.set(xscale="log", yscale="log", xlabel="rows kept, per cent", ylabel="queries per CPU-second", title=title)
    axes.grid(True, alpha=0.3)
    axes.legend(fontsize="small")
    save(pyplot, figure, path)
