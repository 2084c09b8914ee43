// File: cli/svg_plot.h
// Draws recall against speed as SVG. Thread rule: pure functions.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace quiver::cli {

/// One line of a plot: points of recall (0 to 1) and queries per second.
struct PlotSeries {
  std::string name;
  std::vector<std::pair<double, double>> points;
};

/// An SVG document. The horizontal axis is the recall, stretched towards 1 (as -log10 of what is missing, down to
/// 0.0005); the vertical one is logarithmic.
std::string DrawRecallPlot(const std::string& recall_label, const std::vector<PlotSeries>& series);

}  // namespace quiver::cli
