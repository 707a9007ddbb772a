// SPDX-License-Identifier: MIT
// The one table that the benchmark prints, row by row as it is measured.
#pragma once

#include <cstddef>
#include <optional>
#include <regex>
#include <string>

#include "tests/bench/samples.h"

namespace godwit::bench {

/// What a row should reach: of the ratio, or (of_value) of the value itself.
struct Aim {
  enum class Kind { kAtLeast, kAtMost };
  Kind kind = Kind::kAtLeast;
  double bound = 0;
  bool of_value = false;
};

struct Row {
  std::string name;  // group/what/how: the filter is matched against it
  std::string unit;  // of `value`
  Samples value;
  Samples ratio;        // empty: none
  std::string against;  // what the ratio is to
  std::optional<Aim> aim;
};

/// What every group is told.
struct Plan {
  std::regex filter{""};
  bool smoke = false;      // tiny sizes, one repetition: does it still run
  int repetitions = 0;     // 0: each group's own number
  std::string executable;  // the path of this program: its companions lie beside it

  [[nodiscard]] bool wants(const std::string& name) const {
    return std::regex_search(name, filter);
  }
  [[nodiscard]] int times(int usual) const {
    if (repetitions != 0) return repetitions;
    return smoke ? 1 : usual;
  }
};

class Table {
 public:
  void head();
  void add(const Row& row);
  /// A line in place of rows: what could not be measured, and why.
  void skip(const std::string& name, const std::string& reason);
  /// How many aims there were and how many were met.
  void foot();
  [[nodiscard]] std::size_t rows() const { return rows_; }

 private:
  std::size_t rows_ = 0;
  std::size_t aims_ = 0;
  std::size_t met_ = 0;
};

}  // namespace godwit::bench
