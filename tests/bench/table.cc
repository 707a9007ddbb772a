// SPDX-License-Identifier: MIT
#include "tests/bench/table.h"

#include <cmath>
#include <cstdio>

namespace godwit::bench {
namespace {

/// Three significant digits, without an exponent.
std::string number(double value) {
  const double size = std::fabs(value);
  const int digits = size >= 100 || size == 0 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  char text[32];
  (void)std::snprintf(text, sizeof(text), "%.*f", digits, value);
  return text;
}

std::string spread(const Samples& samples) {
  if (samples.empty()) return "";
  return number(samples.lower()) + ".." + number(samples.upper());
}

void print(const std::string& name, const std::string& median, const std::string& quartiles,
           const std::string& unit, const std::string& ratio, const std::string& ratio_quartiles,
           const std::string& against, const std::string& aim, const std::string& verdict) {
  (void)std::printf("%-36s %8s %15s %-8s %6s %13s %-22s %-9s %s\n", name.c_str(), median.c_str(),
                    quartiles.c_str(), unit.c_str(), ratio.c_str(), ratio_quartiles.c_str(),
                    against.c_str(), aim.c_str(), verdict.c_str());
  (void)std::fflush(stdout);
}

}  // namespace

void Table::head() {
  print("row", "median", "quartiles", "unit", "ratio", "quartiles", "ratio to", "aim", "");
}

void Table::add(const Row& row) {
  ++rows_;
  std::string aim;
  std::string verdict;
  if (row.aim) {
    const double reached = row.aim->of_value ? row.value.median() : row.ratio.median();
    const bool least = row.aim->kind == Aim::Kind::kAtLeast;
    const bool met = least ? reached >= row.aim->bound : reached <= row.aim->bound;
    aim = (least ? ">= " : "<= ") + number(row.aim->bound);
    verdict = met ? "met" : "MISSED";
    ++aims_;
    if (met) ++met_;
  }
  print(row.name, number(row.value.median()), spread(row.value), row.unit,
        row.ratio.empty() ? "" : number(row.ratio.median()), spread(row.ratio), row.against, aim,
        verdict);
}

void Table::skip(const std::string& name, const std::string& reason) {
  (void)std::printf("%-36s %s\n", name.c_str(), reason.c_str());
  (void)std::fflush(stdout);
}

void Table::foot() { (void)std::printf("\n%zu rows; %zu of %zu aims met\n", rows_, met_, aims_); }

}  // namespace godwit::bench
