// SPDX-License-Identifier: MIT
// A program that multiplies matrices and knows nothing of Godwit: run by gemm_test.sh with and
// without libgodwit_blas.so. Prints `PASS name` and `FAIL name: reason` lines.
//
// usage: gemm_program names|threads|first|fork|cancelled|invalid|alone FAKE_BLAS EXPECTED_CALLS
//
// FAKE_BLAS ("-": none) is loaded as Python loads extension modules, RTLD_LOCAL. EXPECTED_CALLS:
// how many it should get of each call that is made: 0 where all should be offloaded, or 1.
#include <dlfcn.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <complex>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "bindings/blas/gemm_names.h"

namespace {

using Single = float;
using Double = double;
using ComplexSingle = std::complex<float>;
using ComplexDouble = std::complex<double>;

void* fake = nullptr;
int failures = 0;

void report(const std::string& name, const std::string& problem) {
  if (problem.empty()) {
    std::printf("PASS %s\n", name.c_str());
  } else {
    std::printf("FAIL %s: %s\n", name.c_str(), problem.c_str());
    ++failures;
  }
  std::fflush(stdout);
}

/// As the dynamic loader binds a call in an extension module: global scope, then its own.
void* find(const char* name) {
  void* function = dlsym(RTLD_DEFAULT, name);
  return function != nullptr || fake == nullptr ? function : dlsym(fake, name);
}

int fake_calls() {
  if (fake == nullptr) return 0;
  return reinterpret_cast<int (*)()>(dlsym(fake, "fake_blas_calls"))();
}

template <typename T>
T number(std::int64_t seed) {
  const double re = static_cast<double>(seed * 7 % 23) / 23 - 0.4;
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(re);
  } else {
    using Real = typename T::value_type;
    return T(static_cast<Real>(re), static_cast<Real>(static_cast<double>(seed * 5 % 19) / 19));
  }
}

template <typename T>
std::vector<T> numbers(std::int64_t count, std::int64_t seed) {
  std::vector<T> values(static_cast<std::size_t>(count));
  for (std::int64_t index = 0; index < count; ++index) {
    values[static_cast<std::size_t>(index)] = number<T>(index + seed);
  }
  return values;
}

struct Sizes {
  std::int64_t m = 0, n = 0, k = 0;
};

/// C := alpha A B^T + beta C in column-major, by definition: A m x k, B n x k.
template <typename T>
std::vector<T> product(const Sizes& s, T alpha, const std::vector<T>& a, const std::vector<T>& b,
                       T beta, std::vector<T> c) {
  for (std::int64_t j = 0; j < s.n; ++j) {
    for (std::int64_t i = 0; i < s.m; ++i) {
      T sum{};
      for (std::int64_t p = 0; p < s.k; ++p) {
        sum += a[static_cast<std::size_t>(p * s.m + i)] * b[static_cast<std::size_t>(p * s.n + j)];
      }
      T& out = c[static_cast<std::size_t>(j * s.m + i)];
      out = alpha * sum + beta * out;
    }
  }
  return c;
}

template <typename T>
bool close(const std::vector<T>& one, const std::vector<T>& other) {
  const double bound = sizeof(T) == 4 || std::is_same_v<T, ComplexSingle> ? 1e-3 : 1e-10;
  for (std::size_t index = 0; index < one.size(); ++index) {
    if (!(std::abs(one[index] - other[index]) < bound)) return false;
  }
  return one.size() == other.size();
}

template <typename T, typename Int>
using Fortran = void(const char*, const char*, const Int*, const Int*, const Int*, const T*,
                     const T*, const Int*, const T*, const Int*, const T*, T*, const Int*);

template <typename T>
using ByValue = std::conditional_t<std::is_floating_point_v<T>, T, const T*>;
template <typename T, typename Int>
using Cblas = void(int, int, int, Int, Int, Int, ByValue<T>, const T*, Int, const T*, Int,
                   ByValue<T>, T*, Int);

template <typename T>
ByValue<T> by_value(const T& value) {
  if constexpr (std::is_floating_point_v<T>) {
    return value;
  } else {
    return &value;
  }
}

template <typename T, typename Int>
void call_fortran(const char* name, const Sizes& s, T alpha, const std::vector<T>& a,
                  const std::vector<T>& b, T beta, std::vector<T>& c) {
  const Int m = static_cast<Int>(s.m), n = static_cast<Int>(s.n), k = static_cast<Int>(s.k);
  reinterpret_cast<Fortran<T, Int>*>(find(name))("N", "T", &m, &n, &k, &alpha, a.data(), &m,
                                                 b.data(), &n, &beta, c.data(), &m);
}

/// Rows of the transpose are the columns of the matrix: C^T = B A^T in row-major.
template <typename T, typename Int>
void call_cblas(const char* name, const Sizes& s, T alpha, const std::vector<T>& a,
                const std::vector<T>& b, T beta, std::vector<T>& c, bool row_major) {
  const Int m = static_cast<Int>(s.m), n = static_cast<Int>(s.n), k = static_cast<Int>(s.k);
  auto* function = reinterpret_cast<Cblas<T, Int>*>(find(name));
  if (row_major) {
    function(101, 112, 111, n, m, k, by_value(alpha), b.data(), n, a.data(), m, by_value(beta),
             c.data(), m);
  } else {
    function(102, 111, 112, m, n, k, by_value(alpha), a.data(), m, b.data(), n, by_value(beta),
             c.data(), m);
  }
}

template <typename T, typename Call>
std::string check(const Sizes& s, int expected_calls, const Call& call) {
  const std::vector<T> a = numbers<T>(s.m * s.k, 1);
  const std::vector<T> b = numbers<T>(s.n * s.k, 2);
  std::vector<T> c = numbers<T>(s.m * s.n, 3);
  const T alpha = number<T>(4);
  const T beta = number<T>(5);
  const std::vector<T> wanted = product(s, alpha, a, b, beta, c);
  const int before = fake_calls();
  call(alpha, a, b, beta, c);
  const int calls = fake_calls() - before;
  if (!close(c, wanted)) return "wrong result";
  if (calls != expected_calls) return "the next BLAS got " + std::to_string(calls) + " calls";
  return "";
}

template <typename T, typename Int>
void check_fortran(const char* name, int expected_calls) {
  const Sizes s{37, 23, 41};
  report(name, find(name) == nullptr ? "no such function"
                                     : check<T>(s, expected_calls,
                                                [&](T alpha, const auto& a, const auto& b, T beta,
                                                    auto& c) {
                                                  call_fortran<T, Int>(name, s, alpha, a, b, beta,
                                                                       c);
                                                }));
}

template <typename T, typename Int>
void check_cblas(const char* name, int expected_calls) {
  const Sizes s{37, 23, 41};
  for (const bool row_major : {false, true}) {
    report(std::string(name) + (row_major ? "_rows" : "_columns"),
           find(name) == nullptr
               ? "no such function"
               : check<T>(s, expected_calls,
                          [&](T alpha, const auto& a, const auto& b, T beta, auto& c) {
                            call_cblas<T, Int>(name, s, alpha, a, b, beta, c, row_major);
                          }));
  }
}

void all_names(int expected_calls) {
#define CHECK_FORTRAN(name, T, Int) check_fortran<T, Int>(#name, expected_calls);
#define CHECK_CBLAS(name, T, Int) check_cblas<T, Int>(#name, expected_calls);
  GODWIT_GEMM_NAMES(CHECK_FORTRAN, CHECK_CBLAS)
}

std::string one_dgemm(const Sizes& s, int expected_calls) {
  return check<double>(s, expected_calls,
                       [&](double alpha, const auto& a, const auto& b, double beta, auto& c) {
                         call_fortran<double, std::int32_t>("dgemm_", s, alpha, a, b, beta, c);
                       });
}

/// Sizes above the threshold of the malloc replacement, from many threads.
void many_threads() {
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int index = 0; index < 4; ++index) {
    threads.emplace_back([&wrong, index] {
      const Sizes s{420 + index, 400 - index, 50};
      const std::vector<double> a = numbers<double>(s.m * s.k, index);
      const std::vector<double> b = numbers<double>(s.n * s.k, index + 1);
      const std::vector<double> start = numbers<double>(s.m * s.n, index + 2);
      const std::vector<double> wanted = product(s, 0.5, a, b, 1.5, start);
      for (int round = 0; round < 10; ++round) {
        std::vector<double> c = start;
        call_fortran<double, std::int32_t>("dgemm_", s, 0.5, a, b, 1.5, c);
        if (!close(c, wanted)) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  report("threads", wrong == 0 ? "" : std::to_string(wrong.load()) + " wrong results");
}

/// The first product of the process, on many threads at once: one of them makes the context.
void first_on_many_threads() {
  constexpr int kThreads = 8;
  std::atomic<int> ready{0};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int index = 0; index < kThreads; ++index) {
    threads.emplace_back([&] {
      const Sizes s{20, 21, 22};
      const std::vector<double> a = numbers<double>(s.m * s.k, 1);
      const std::vector<double> b = numbers<double>(s.n * s.k, 2);
      std::vector<double> c = numbers<double>(s.m * s.n, 3);
      const std::vector<double> wanted = product(s, 0.5, a, b, 1.5, c);
      ++ready;
      while (ready < kThreads) std::this_thread::yield();
      call_fortran<double, std::int32_t>("dgemm_", s, 0.5, a, b, 1.5, c);
      if (!close(c, wanted)) ++wrong;
    });
  }
  for (std::thread& thread : threads) thread.join();
  report("first", wrong == 0 ? "" : std::to_string(wrong.load()) + " wrong results");
}

void in_child(int expected_calls) {
  report("before_fork", one_dgemm({400, 410, 60}, expected_calls));
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    const std::string problem = one_dgemm({410, 400, 60}, 1);
    if (!problem.empty()) std::printf("child: %s\n", problem.c_str());
    std::fflush(stdout);
    _exit(problem.empty() ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  report("in_child", status == 0 ? "" : "status " + std::to_string(status));
  report("after_fork", one_dgemm({400, 400, 60}, expected_calls));
}

// A product is no point of cancellation. The first makes the context and the device.
void in_a_cancelled_thread() {
  static std::string problem;
  problem = "cancelled inside of a product";
  pthread_t thread;
  void* result = nullptr;
  pthread_create(
      &thread, nullptr,
      [](void*) -> void* {
        pthread_cancel(pthread_self());
        std::string seen = one_dgemm({30, 31, 32}, 0);
        if (seen.empty()) seen = one_dgemm({400, 410, 60}, 0);
        problem = seen;
        pthread_testcancel();
        return nullptr;
      },
      nullptr);
  pthread_join(thread, &result);
  if (problem.empty() && result != PTHREAD_CANCELED) problem = "not cancelled afterwards";
  report("cancelled", problem);
}

int told = 0;

void invalid_arguments() {
  const std::int32_t one = 1;
  const std::int32_t negative = -1;
  double value = 7;
  reinterpret_cast<Fortran<double, std::int32_t>*>(find("dgemm_"))(
      "N", "N", &one, &negative, &one, &value, &value, &one, &value, &one, &value, &value, &one);
  report("fortran_error_handler", told == 4 ? "" : "told " + std::to_string(told));
  reinterpret_cast<Cblas<double, std::int32_t>*>(find("cblas_dgemm"))(
      101, 111, 111, 1, 1, 1, 1.0, &value, 1, &value, 1, 1.0, &value, 0);
  report("cblas_error_handler", told == 14 ? "" : "told " + std::to_string(told));
  report("operand_untouched", value == 7 ? "" : "changed");
}

}  // namespace

// As a program may replace them.
extern "C" void xerbla_(const char*, const int* argument, std::size_t) { told = *argument; }
extern "C" void cblas_xerbla(int argument, const char*, const char*, ...) { told = argument; }

int main(int count, char** arguments) {
  if (count != 4) return 2;
  const std::string what = arguments[1];
  if (std::strcmp(arguments[2], "-") != 0) {
    fake = dlopen(arguments[2], RTLD_NOW | RTLD_LOCAL);
    if (fake == nullptr) {
      std::printf("FAIL load: %s\n", dlerror());
      return 1;
    }
  }
  const int expected_calls = std::atoi(arguments[3]);
  if (what == "names") all_names(expected_calls);
  if (what == "threads") many_threads();
  if (what == "first") first_on_many_threads();
  if (what == "fork") in_child(expected_calls);
  if (what == "cancelled") in_a_cancelled_thread();
  if (what == "invalid") invalid_arguments();
  if (what == "alone") report("alone", one_dgemm({300, 310, 60}, expected_calls));
  return failures == 0 ? 0 : 1;
}
