// SPDX-License-Identifier: MIT
#include "tests/bench/cpu_blas.h"

#include <dlfcn.h>

#include <cstdlib>
#include <vector>

namespace godwit::bench {
namespace {

template <typename Real>
using Gemm = void (*)(const char*, const char*, const int*, const int*, const int*, const Real*,
                      const Real*, const int*, const Real*, const int*, const Real*, Real*,
                      const int*, std::size_t, std::size_t);

template <typename Real>
void call(void* function, std::size_t size, const Real* a, const Real* b, Real* c) {
  const auto gemm = reinterpret_cast<Gemm<Real>>(function);
  const int n = static_cast<int>(size);
  const Real one = 1;
  const Real zero = 0;
  gemm("N", "N", &n, &n, &n, &one, a, &n, b, &n, &zero, c, &n, 1, 1);
}

/// The file that a symbol comes from, with links followed: Debian's libblas.so.3 is a link to
/// whichever BLAS was chosen.
std::string file_of(void* function) {
  Dl_info info{};
  if (function == nullptr || ::dladdr(function, &info) == 0) return "";
  char* real = ::realpath(info.dli_fname, nullptr);
  std::string file = real == nullptr ? info.dli_fname : real;
  std::free(real);
  return file;
}

std::vector<std::string> names_of(CpuBlas::Kind kind) {
  if (kind == CpuBlas::Kind::kOpenBlas) return {"libopenblas.so.0"};
  std::vector<std::string> names;
#if defined(__x86_64__)
  names.emplace_back("/usr/lib/x86_64-linux-gnu/blas/libblas.so.3");
#elif defined(__aarch64__)
  names.emplace_back("/usr/lib/aarch64-linux-gnu/blas/libblas.so.3");
#endif
  names.emplace_back("libblas.so.3");
  return names;
}

}  // namespace

CpuBlas::CpuBlas(Kind kind) {
  for (const std::string& name : names_of(kind)) {
    void* library = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      reason_ = ::dlerror();
      continue;
    }
    void* dgemm = ::dlsym(library, "dgemm_");
    const bool open = file_of(dgemm).find("openblas") != std::string::npos;
    if (open != (kind == Kind::kOpenBlas)) {
      reason_ = name + " is another BLAS";
      continue;
    }
    dgemm_ = dgemm;
    sgemm_ = ::dlsym(library, "sgemm_");
    return;
  }
}

void CpuBlas::multiply(std::size_t n, const double* a, const double* b, double* c) const {
  call(dgemm_, n, a, b, c);
}

void CpuBlas::multiply(std::size_t n, const float* a, const float* b, float* c) const {
  call(sgemm_, n, a, b, c);
}

}  // namespace godwit::bench
