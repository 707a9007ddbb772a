// SPDX-License-Identifier: MIT
#include "runtime/src/base/inside.h"

#include <initializer_list>

namespace godwit {
namespace {

// initial-exec: the general model may call malloc on a thread's first access, and malloc asks us.
__attribute__((tls_model("initial-exec"))) thread_local int depth = 0;

}  // namespace

int inside_depth() noexcept { return depth; }
void inside_enter() noexcept { ++depth; }
void inside_leave() noexcept { --depth; }

SignalScope::SignalScope() noexcept {
  sigset_t others;
  ::sigfillset(&others);
  for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) {
    ::sigdelset(&others, own);
  }
  ::pthread_sigmask(SIG_BLOCK, &others, &before_);
}

SignalScope::~SignalScope() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

}  // namespace godwit
