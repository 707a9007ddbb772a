// SPDX-License-Identifier: MIT
#include <ucm/api/ucm.h>

#include <atomic>
#include <new>

#include "godwit_ucx.h"

struct godwit_ucx {
  godwit_peer* peer = nullptr;
  std::atomic<std::uint64_t> told{0};
};

extern "C" {

int godwit_ucx_export(godwit_context* context, godwit_ucx** result) {
  auto* exporter = new (std::nothrow) godwit_ucx;
  if (exporter == nullptr) return GODWIT_OUT_OF_MEMORY;
  godwit_peer_options options{};
  options.size = sizeof(options);
  options.standing = 1;
  options.opaque = exporter;
  options.on_invalidate = [](void* opaque, void* pages, std::size_t bytes) {
    ucm_vm_munmap(pages, bytes);
    ++static_cast<godwit_ucx*>(opaque)->told;
    return 0;
  };
  const int code = godwit_peer_map(context, nullptr, 0, &options, &exporter->peer);
  if (code != GODWIT_OK) {
    delete exporter;
    return code;
  }
  *result = exporter;
  return GODWIT_OK;
}

void godwit_ucx_end(godwit_ucx* exporter) {
  if (exporter == nullptr) return;
  godwit_peer_unmap(exporter->peer);
  delete exporter;
}

std::uint64_t godwit_ucx_told(const godwit_ucx* exporter) { return exporter->told; }

}  // extern "C"
