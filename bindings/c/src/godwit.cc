// SPDX-License-Identifier: MIT
#include "godwit.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "bindings/c/src/errors.h"
#include "bindings/c/src/handle.h"
#include "godwit/units.h"
#include "runtime/src/base/inside.h"

namespace {

using godwit::Code;
using godwit::InsideScope;
using godwit::c::guarded;
using godwit::c::report;

std::string text_of(const char* text, const char* otherwise) {
  return text == nullptr ? otherwise : text;
}

int create(const godwit::ContextOptions& options, godwit_context** context) {
  auto made = godwit::Context::create(options);
  if (!made) return report(made.error());
  *context = new godwit_context{std::move(*made)};
  return GODWIT_OK;
}

}  // namespace

extern "C" {

uint32_t godwit_version(void) { return GODWIT_VERSION_MAJOR << 16 | GODWIT_VERSION_MINOR; }

const char* godwit_last_error(void) { return godwit::c::last_error(); }

int godwit_context_create(const godwit_options* options, godwit_context** context) {
  const InsideScope inside;
  return guarded([&] {
    if (context == nullptr) return report(Code::kInvalidArgument, "context is NULL");
    godwit::ContextOptions wish;
    if (options != nullptr) {
      if (options->size != sizeof(godwit_options)) {
        return report(Code::kInvalidArgument,
                      "options: size is " + std::to_string(options->size) + ", this library's is " +
                          std::to_string(sizeof(godwit_options)) +
                          "; set it to sizeof(struct godwit_options) of a matching header");
      }
      wish.engine = text_of(options->engine, "auto");
      wish.device = text_of(options->device, "auto");
      wish.level = text_of(options->level, "auto");
      wish.vram_bytes = options->vram_bytes;
      wish.arena_bytes = options->arena_bytes;
      wish.pool_bytes = options->pool_bytes;
      wish.threads = options->threads;
      wish.telemetry = text_of(options->telemetry, "");
      wish.event_slots = options->event_slots;
    }
    return create(wish, context);
  });
}

int godwit_context_create_from_environment(godwit_context** context) {
  const InsideScope inside;
  return guarded([&] {
    if (context == nullptr) return report(Code::kInvalidArgument, "context is NULL");
    auto options = godwit::ContextOptions::from_environment();
    if (!options) return report(options.error());
    return create(*options, context);
  });
}

void godwit_context_destroy(godwit_context* context) {
  const InsideScope inside;
  delete context;
}

int godwit_allocate(godwit_context* context, size_t bytes, size_t alignment, void** region) {
  const InsideScope inside;
  return guarded([&] {
    auto made = context->context->allocate(bytes, alignment);
    if (!made) return report(made.error());
    *region = *made;
    return int{GODWIT_OK};
  });
}

int godwit_map_file(godwit_context* context, const char* path, uint64_t offset, size_t bytes,
                    int shared, void** region) {
  const InsideScope inside;
  return guarded([&] {
    if (path == nullptr) {
      return report({Code::kInvalidArgument, "godwit_map_file: the path is NULL", {}});
    }
    auto mapped = context->context->map(
        path, {.offset = offset,
               .bytes = bytes,
               .sharing = shared != 0 ? godwit::Sharing::kShared : godwit::Sharing::kPrivate});
    if (!mapped) return report(mapped.error());
    *region = *mapped;
    return int{GODWIT_OK};
  });
}

int godwit_sync(godwit_context* context, const void* base, size_t bytes, size_t* pages) {
  const InsideScope inside;
  return guarded([&] {
    auto synced = context->context->sync(base, bytes);
    if (!synced) return report(synced.error());
    if (pages != nullptr) *pages = *synced;
    return int{GODWIT_OK};
  });
}

int godwit_free(godwit_context* context, void* region) {
  const InsideScope inside;
  return guarded([&] {
    auto freed = context->context->free(region);
    return freed ? int{GODWIT_OK} : report(freed.error());
  });
}

size_t godwit_size_of(const godwit_context* context, const void* region) {
  return context->context->size_of(region);
}

int godwit_manages(const godwit_context* context, const void* address) {
  return context->context->manages(address) ? 1 : 0;
}

void godwit_bounds(const godwit_context* context, const void** base, size_t* bytes) {
  const auto bounds = context->context->bounds();
  *base = bounds.data();
  *bytes = bounds.size();
}

int godwit_prefetch(godwit_context* context, const void* base, size_t bytes, int place,
                    godwit_move_report* result) {
  const InsideScope inside;
  return guarded([&] {
    if (place != GODWIT_HOST && place != GODWIT_DEVICE) {
      return report(Code::kInvalidArgument,
                    "prefetch: place " + std::to_string(place) + " is neither host nor device");
    }
    auto moved = context->context->prefetch(
        base, bytes, place == GODWIT_HOST ? godwit::Place::kHost : godwit::Place::kDevice);
    if (!moved) return report(moved.error());
    if (result != nullptr) {
      const auto stayed = [&](godwit::StayReason reason) {
        return moved->stayed_for[static_cast<std::size_t>(reason)];
      };
      *result = {};
      result->moved = moved->moved;
      result->already = moved->already;
      result->stayed = moved->stayed;
      result->stayed_pinned = stayed(godwit::StayReason::kPinned);
      result->stayed_no_vram = stayed(godwit::StayReason::kNoVram);
      result->stayed_other = result->stayed - result->stayed_pinned - result->stayed_no_vram;
    }
    return int{GODWIT_OK};
  });
}

int godwit_advise(godwit_context* context, const void* base, size_t bytes, int advice) {
  const InsideScope inside;
  return guarded([&] {
    if (advice < GODWIT_ADVICE_NORMAL || advice > GODWIT_ADVICE_KEEP_HOST) {
      return report(Code::kInvalidArgument,
                    "advise: " + std::to_string(advice) + " is not one of enum godwit_advice");
    }
    auto done = context->context->advise(base, bytes, static_cast<godwit::Advice>(advice));
    return done ? int{GODWIT_OK} : report(done.error());
  });
}

int godwit_discard(godwit_context* context, const void* base, size_t bytes) {
  const InsideScope inside;
  return guarded([&] {
    auto done = context->context->discard(base, bytes);
    return done ? int{GODWIT_OK} : report(done.error());
  });
}

int godwit_residency(const godwit_context* context, const void* base, size_t bytes,
                     uint8_t* states, size_t states_count) {
  const InsideScope inside;
  static_assert(sizeof(godwit::Residency) == 1);
  static_assert(static_cast<int>(godwit::Residency::kLost) == GODWIT_PAGE_LOST);
  return guarded([&] {
    auto done = context->context->residency(
        base, bytes, {reinterpret_cast<godwit::Residency*>(states), states_count});
    return done ? int{GODWIT_OK} : report(done.error());
  });
}

int godwit_next_region(const godwit_context* context, const void* from, void** base,
                       size_t* bytes) {
  const InsideScope inside;
  const auto region = context->context->next_region(from);
  *base = const_cast<std::byte*>(region.data());
  *bytes = region.size();
  return GODWIT_OK;
}

int godwit_statistics_get(const godwit_context* context, godwit_statistics* result) {
  const godwit::Statistics& now = context->context->statistics();
  *result = {};
  for (const godwit::CauseCounters& cause : now.causes) {
    result->bytes_to_device += cause.pages_to_device * godwit::kPageBytes;
    result->bytes_to_host += cause.pages_to_host * godwit::kPageBytes;
    result->pages_dropped += cause.pages_dropped;
  }
  result->faults = now.faults_read + now.faults_write;
  result->evictions = now.evictions;
  result->managed_bytes = now.managed_bytes;
  result->vram_bytes = now.vram_bytes;
  result->gemm_offloaded = now.gemm_offloaded;
  result->gemm_passed_on = now.gemm_passed_on;
  return GODWIT_OK;
}

void godwit_fork_prepare(godwit_context* context) { context->context->prepare_fork(); }
void godwit_fork_parent(godwit_context* context) { context->context->after_fork_in_parent(); }
void godwit_fork_child(godwit_context* context) { context->context->after_fork_in_child(); }

int godwit_inside(void) { return godwit::inside_depth() > 0 ? 1 : 0; }
void godwit_inside_enter(void) { godwit::inside_enter(); }
void godwit_inside_leave(void) { godwit::inside_leave(); }

}  // extern "C"
