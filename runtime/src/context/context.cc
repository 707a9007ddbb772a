// SPDX-License-Identifier: MIT
#include "godwit/context.h"

#include <unistd.h>

#include <utility>

#include "runtime/src/base/inside.h"
#include "runtime/src/blas/gemm.h"
#include "runtime/src/context/choice.h"
#include "runtime/src/engine/engine.h"
#include "runtime/src/stats/telemetry.h"

namespace godwit {

Context::Context() = default;

Context::~Context() {
  const InsideScope inside;
  gemm_.reset();
  engine_.reset();
  telemetry_.reset();
}

Result<std::unique_ptr<Context>> Context::create(const ContextOptions& options) {
  const InsideScope inside;
  if (auto device = device_maker(options); !device) return tl::unexpected(device.error());
  std::unique_ptr<Context> context(new Context());
  auto telemetry = Telemetry::create(options.telemetry, options.event_slots);
  if (!telemetry) return tl::unexpected(telemetry.error());
  context->telemetry_ = std::move(*telemetry);
  auto engine = choose_engine(options, *context->telemetry_);
  if (!engine) {
    // Nothing happened that a report could tell of.
    if (!options.telemetry.empty()) (void)::unlink(options.telemetry.c_str());
    return tl::unexpected(engine.error());
  }
  context->engine_ = std::move(*engine);
  context->telemetry_->set_names(context->engine_->info().name, "");
  context->gemm_ = std::make_unique<GemmRunner>(*context->engine_, *context->telemetry_);
  return context;
}

Result<void*> Context::allocate(std::size_t bytes, std::size_t alignment) {
  return engine_->allocate(bytes, alignment);
}
Result<void*> Context::map(const std::string& path, const MapOptions& options) {
  return engine_->map(path, options);
}
Result<std::size_t> Context::sync(const void* base, std::size_t bytes) {
  return engine_->sync(base, bytes);
}
Result<> Context::free(void* region) { return engine_->free(region); }
std::size_t Context::size_of(const void* region) const { return engine_->size_of(region); }
bool Context::manages(const void* address) const noexcept { return engine_->manages(address); }
std::span<const std::byte> Context::bounds() const noexcept { return engine_->bounds(); }
std::span<const std::byte> Context::next_region(const void* from) const {
  return engine_->next_region(from);
}

Result<MoveReport> Context::prefetch(const void* base, std::size_t bytes, Place to) {
  return engine_->prefetch(base, bytes, to);
}
Result<> Context::advise(const void* base, std::size_t bytes, Advice advice) {
  return engine_->advise(base, bytes, advice);
}
Result<> Context::discard(const void* base, std::size_t bytes) {
  return engine_->discard(base, bytes);
}
Result<> Context::residency(const void* base, std::size_t bytes,
                            std::span<Residency> pages) const {
  return engine_->residency(base, bytes, pages);
}
Result<int> Context::view(const void* base, std::size_t bytes) {
  return engine_->view(base, bytes);
}
Result<std::unique_ptr<PeerMapping>> Context::map_peer(const void* base, std::size_t bytes,
                                                       PeerOptions options) {
  return engine_->map_peer(base, bytes, std::move(options));
}
bool Context::lent_to_peer(const void* base, std::size_t bytes) const noexcept {
  return engine_->lent_to_peer(base, bytes);
}
const Statistics& Context::statistics() const {
  engine_->refresh_statistics();
  return telemetry_->statistics();
}

void Context::prepare_fork() noexcept {
  const InsideScope inside;
  engine_->prepare_fork();
}
void Context::after_fork_in_parent() noexcept {
  const InsideScope inside;
  engine_->after_fork_in_parent();
}
void Context::after_fork_in_child() noexcept {
  const InsideScope inside;
  engine_->after_fork_in_child();
}

}  // namespace godwit
