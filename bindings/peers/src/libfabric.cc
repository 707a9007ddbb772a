// SPDX-License-Identifier: MIT
// A memory monitor that libfabric imports. Lock: none of ours; notify() takes libfabric's, on the
// context's peer thread, which no subscription waits for.
#include <rdma/fabric.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_ext.h>

#include <atomic>
#include <cstddef>
#include <new>

#include "godwit_libfabric.h"

struct godwit_libfabric {
  fid_mem_monitor monitor{};
  fi_ops_mem_monitor ops{};
  godwit_peer* peer = nullptr;
  std::atomic<std::uint64_t> told{0};
  std::atomic<std::uint64_t> subscribed{0};
  std::atomic<bool> running{false};  // a cache uses it
};

namespace {

constexpr int kGodwitCodes = -1000;

godwit_libfabric& of(fid_mem_monitor* monitor) {
  // The first member.
  static_assert(offsetof(godwit_libfabric, monitor) == 0);
  return *reinterpret_cast<godwit_libfabric*>(monitor);
}

int start(fid_mem_monitor* monitor) {
  of(monitor).running = true;
  return 0;
}
void stop(fid_mem_monitor* monitor) { of(monitor).running = false; }
// Every move is told, so a subscription only counts.
int subscribe(fid_mem_monitor* monitor, const void* /*base*/, std::size_t /*bytes*/) {
  ++of(monitor).subscribed;
  return 0;
}
void unsubscribe(fid_mem_monitor* monitor, const void* /*base*/, std::size_t /*bytes*/) {
  --of(monitor).subscribed;
}
// It was told before any page moved.
bool valid(fid_mem_monitor* /*monitor*/, const void* /*base*/, std::size_t /*bytes*/) {
  return true;
}

int tell(void* opaque, void* pages, std::size_t bytes) {
  auto* exporter = static_cast<godwit_libfabric*>(opaque);
  if (!exporter->running) return 0;
  exporter->monitor.import_ops->notify(&exporter->monitor, pages, bytes);
  ++exporter->told;
  return 0;
}

}  // namespace

extern "C" {

int godwit_libfabric_export(godwit_context* context, godwit_libfabric** result) {
  auto* exporter = new (std::nothrow) godwit_libfabric;
  if (exporter == nullptr) return -FI_ENOMEM;
  exporter->ops = {sizeof(fi_ops_mem_monitor), start, stop, subscribe, unsubscribe, valid};
  exporter->monitor.fid.fclass = FI_CLASS_MEM_MONITOR;
  exporter->monitor.export_ops = &exporter->ops;
  int error =
      fi_import(FI_VERSION(1, 14), "mr_cache", nullptr, 0, 0, &exporter->monitor.fid, nullptr);
  if (error == 0) {
    godwit_peer_options options{};
    options.size = sizeof(options);
    options.standing = 1;
    options.on_invalidate = tell;
    options.opaque = exporter;
    const int code = godwit_peer_map(context, nullptr, 0, &options, &exporter->peer);
    if (code == GODWIT_OK) {
      *result = exporter;
      return 0;
    }
    fi_close(&exporter->monitor.fid);
    error = kGodwitCodes + code;
  }
  delete exporter;
  return error;
}

void godwit_libfabric_end(godwit_libfabric* exporter) {
  if (exporter == nullptr) return;
  godwit_peer_unmap(exporter->peer);
  fi_close(&exporter->monitor.fid);
  delete exporter;
}

void godwit_libfabric_counts(const godwit_libfabric* exporter, std::uint64_t* told,
                             std::uint64_t* subscribed) {
  if (told != nullptr) *told = exporter->told;
  if (subscribed != nullptr) *subscribed = exporter->subscribed;
}

}  // extern "C"
