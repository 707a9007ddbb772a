// SPDX-License-Identifier: MIT
// What a fork means for the kernel engine. The kernel sees to the pages; the child gets a dead engine.
#include "runtime/src/base/inside.h"
#include "runtime/src/engine/kernel/kernel_engine.h"

namespace godwit {

void KernelEngine::prepare_fork() noexcept {
  // The kernel sees to the pages. What the child inherits of ours must be whole.
  if (detached()) return;
  const InsideScope inside;
  ++telemetry_.statistics().forks;
  device_mutex_.lock();
  if (window_ != nullptr) window_->mutex().lock();
  files_.mutex().lock();
  advice_.mutex().lock();
  arena_.mutex().lock();
  peers_->prepare_fork();
  fork_prepared_ = true;
}

void KernelEngine::after_fork_in_parent() noexcept {
  if (detached()) return;
  peers_->after_fork_in_parent();
  unlock_after_fork();
}

void KernelEngine::unlock_after_fork() noexcept {
  fork_prepared_ = false;
  arena_.mutex().unlock();
  advice_.mutex().unlock();
  files_.mutex().unlock();
  if (window_ != nullptr) window_->mutex().unlock();
  device_mutex_.unlock();
}

bool KernelEngine::detached() const noexcept {
  // A child of a fork that bypassed the C library finds out here.
  return detached_.load(std::memory_order_relaxed) || ::getpid() != process_;
}

void KernelEngine::after_fork_in_child() noexcept {
  if (detached_.exchange(true)) return;
  // A raw fork prepared nothing, and nobody will ask for these again.
  if (fork_prepared_) {
    peers_->after_fork_in_child();
    unlock_after_fork();
  }
  // VRAM that the child's pages keep counts for whom they were; moving more is the parent's.
  if (reader_ != nullptr) reader_->abandon();
  (void)ring_.release();  // whose mapping the child need not have
  if (window_ != nullptr) window_->abandon();
  telemetry_.make_private();
  // The device's threads do not exist here: it is left as it lies.
  (void)device_.release();
  driver_->close();
}

}  // namespace godwit
