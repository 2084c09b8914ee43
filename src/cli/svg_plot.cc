#include "cli/svg_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

namespace quiver::cli {
namespace {

constexpr double kLeft = 80;
constexpr double kTop = 20;
constexpr double kWidth = 640;
constexpr double kHeight = 360;
/// Recall above 1 - kLeastMissing is drawn at the right edge.
constexpr double kLeastMissing = 0.0005;
constexpr double kLeastRecall = 0.5;

std::string Escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else {
      out += c;
    }
  }
  return out;
}

double X(double recall) {
  const auto stretch = [](double value) { return -std::log10(std::max(1 - value, kLeastMissing)); };
  const double share =
      (stretch(std::max(recall, kLeastRecall)) - stretch(kLeastRecall)) / (stretch(1) - stretch(kLeastRecall));
  return kLeft + share * kWidth;
}

}  // namespace

std::string DrawRecallPlot(const std::string& recall_label, const std::vector<PlotSeries>& series) {
  double least = 1e300;
  double most = 1;
  for (const PlotSeries& line : series) {
    for (const auto& [recall, speed] : line.points) {
      least = std::min(least, speed);
      most = std::max(most, speed);
    }
  }
  const double low = std::floor(std::log10(std::max(std::min(least, most), 1e-3)));
  const double high = std::max(std::ceil(std::log10(most)), low + 1);
  const auto y = [&](double speed) {
    return kTop + (1 - (std::log10(std::max(speed, 1e-3)) - low) / (high - low)) * kHeight;
  };
  constexpr std::array<std::string_view, 6> kColours{"#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf"};

  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" font-family=\"sans-serif\" "
      "font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
      kLeft + kWidth + 30, kTop + kHeight + 60 + 18 * static_cast<double>(series.size()));
  for (const double recall : {0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999}) {
    svg += fmt::format(
        "<path d=\"M{0:.1f} {1}V{2}\" stroke=\"#ddd\"/><text x=\"{0:.1f}\" y=\"{3}\" "
        "text-anchor=\"middle\">{4}</text>\n",
        X(recall), kTop, kTop + kHeight, kTop + kHeight + 16, recall);
  }
  for (double power = low; power <= high; ++power) {
    const double speed = std::pow(10, power);
    svg += fmt::format(
        "<path d=\"M{0} {1:.1f}H{2}\" stroke=\"#ddd\"/><text x=\"{3}\" y=\"{1:.1f}\" "
        "text-anchor=\"end\">{4:g}</text>\n",
        kLeft, y(speed), kLeft + kWidth, kLeft - 6, speed);
  }
  svg += fmt::format("<text x=\"{:.0f}\" y=\"{:.0f}\" text-anchor=\"middle\">{}</text>\n", kLeft + kWidth / 2,
                     kTop + kHeight + 34, Escape(recall_label));
  svg += fmt::format(
      "<text transform=\"translate(16 {:.0f}) rotate(-90)\" text-anchor=\"middle\">queries per CPU "
      "second</text>\n",
      kTop + kHeight / 2);
  for (size_t i = 0; i < series.size(); ++i) {
    const std::string_view colour = kColours[i % kColours.size()];
    std::string path;
    for (const auto& [recall, speed] : series[i].points) {
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", X(recall), y(speed));
      svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\" fill=\"{}\"/>\n", X(recall), y(speed), colour);
    }
    svg += fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\"/>\n", path, colour);
    svg += fmt::format("<text x=\"{}\" y=\"{:.0f}\" fill=\"{}\">{}</text>\n", kLeft,
                       kTop + kHeight + 54 + 18 * static_cast<double>(i), colour, Escape(series[i].name));
  }
  return svg + "</svg>\n";
}

}  // namespace quiver::cli
