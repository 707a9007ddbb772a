// SPDX-License-Identifier: MIT
// The groups of measurements. Each adds its rows, or a line that says why it cannot.
#pragma once

#include "tests/bench/table.h"

namespace godwit::bench {

void measure_migration(const Plan& plan, Table& table);
void measure_parts(const Plan& plan, Table& table);
void measure_faults(const Plan& plan, Table& table);
void measure_residency(const Plan& plan, Table& table);
void measure_malloc(const Plan& plan, Table& table);
void measure_gemm(const Plan& plan, Table& table);

}  // namespace godwit::bench
