// SPDX-License-Identifier: MIT
// Heat spreads over a square plate: a program as many are, with its arrays from malloc (std::vector
// asks operator new, which asks malloc). Nothing in it knows of Godwit.
//
// usage: heat [CELLS [STEPS]]   a plate of CELLS x CELLS, 1024 unless told; 200 steps
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

namespace {

/// Temperatures of a square plate, row by row. The cells at the rim never change.
class Plate {
 public:
  explicit Plate(std::size_t cells) : cells_(cells), values_(cells * cells, 0.0) {}
  [[nodiscard]] std::size_t cells() const { return cells_; }
  [[nodiscard]] double* row(std::size_t index) { return values_.data() + index * cells_; }
  [[nodiscard]] const double* row(std::size_t index) const {
    return values_.data() + index * cells_;
  }
  [[nodiscard]] double at(std::size_t row_index, std::size_t column) const {
    return row(row_index)[column];
  }

 private:
  std::size_t cells_;
  std::vector<double> values_;
};

/// The upper rim is hot, and a small square in the middle is hotter; the rest is cold.
Plate heated(std::size_t cells) {
  Plate plate(cells);
  for (std::size_t column = 0; column < cells; ++column) plate.row(0)[column] = 100.0;
  for (std::size_t row = cells * 7 / 16; row < cells * 9 / 16; ++row) {
    for (std::size_t column = cells * 7 / 16; column < cells * 9 / 16; ++column) {
      plate.row(row)[column] = 400.0;
    }
  }
  return plate;
}

/// One explicit step: each cell moves a quarter of the way towards the mean of its neighbours.
void step(const Plate& now, Plate& next) {
  constexpr double kRate = 0.25 / 4.0;
  const std::size_t last = now.cells() - 1;
  for (std::size_t row = 1; row < last; ++row) {
    const double* above = now.row(row - 1);
    const double* here = now.row(row);
    const double* below = now.row(row + 1);
    double* out = next.row(row);
    for (std::size_t column = 1; column < last; ++column) {
      const double around = above[column] + below[column] + here[column - 1] + here[column + 1];
      out[column] = here[column] + kRate * (around - 4.0 * here[column]);
    }
  }
}

double total(const Plate& plate) {
  double sum = 0.0;
  for (std::size_t row = 0; row < plate.cells(); ++row) {
    for (std::size_t column = 0; column < plate.cells(); ++column) sum += plate.at(row, column);
  }
  return sum;
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t cells = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 1024;
  const std::size_t steps = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 200;
  if (argc > 3 || cells < 16 || cells > 65536) {
    (void)std::fprintf(stderr, "usage: heat [CELLS [STEPS]], CELLS from 16 to 65536\n");
    return 2;
  }
  Plate now = heated(cells);
  Plate next = now;
  for (std::size_t done = 0; done < steps; ++done) {
    step(now, next);
    std::swap(now, next);
    if ((done + 1) % 50 == 0) {
      std::printf("step %4zu: edge of the square %8.4f, below the rim %8.4f\n", done + 1,
                  now.at(cells * 7 / 16, cells / 2), now.at(1, cells / 2));
    }
  }
  std::printf("mean temperature %.6f\n",
              total(now) / static_cast<double>(cells) / static_cast<double>(cells));
  return 0;
}
