// SPDX-License-Identifier: MIT
// A thread that was started inside libgodwit stays inside: a worker of a graphics driver must never
// wait for a page that only the work it does could bring.
#include "bindings/malloc/thread_calls.h"

#include <dlfcn.h>
#include <errno.h>
#include <mimalloc.h>

#include <atomic>

#include "bindings/malloc/process_context.h"
#include "bindings/malloc/report.h"

namespace godwit::preload {
namespace {

using PthreadCreate = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);

constinit std::atomic<PthreadCreate> next{nullptr};

struct Start {
  void* (*run)(void*);
  void* argument;
};

void* run_inside(void* argument) {
  const Start start = *static_cast<Start*>(argument);
  mi_free(argument);
  godwit_inside_enter();
  return start.run(start.argument);
}

}  // namespace

int next_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
                        void* argument) noexcept {
  PthreadCreate function = next.load(std::memory_order_acquire);
  if (function == nullptr) {
    function = reinterpret_cast<PthreadCreate>(dlsym(RTLD_NEXT, "pthread_create"));
    if (function == nullptr) {
      report_line("pthread_create() is not to be found behind this library");
      return EAGAIN;
    }
    next.store(function, std::memory_order_release);
  }
  return function(thread, attributes, run, argument);
}

}  // namespace godwit::preload

extern "C" GODWIT_API int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                                         void* (*run)(void*), void* argument) noexcept {
  using namespace godwit::preload;
  if (!thread_is_inside()) return next_pthread_create(thread, attributes, run, argument);
  auto* start = static_cast<Start*>(mi_malloc(sizeof(Start)));
  if (start == nullptr) return EAGAIN;
  *start = {run, argument};
  const int code = next_pthread_create(thread, attributes, run_inside, start);
  if (code != 0) mi_free(start);
  return code;
}
