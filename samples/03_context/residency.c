/* SPDX-License-Identifier: MIT */
/* The same through the C interface: allocate, move, ask, touch, free. */
#include <stdio.h>
#include <stdlib.h>

#include "godwit.h"

enum { kPages = 2048, kPageBytes = 4096 };

static int fail(const char* what) {
  fprintf(stderr, "residency_c: %s: %s\n", what, godwit_last_error());
  return 1;
}

static void show(const char* when, const godwit_context* context, const void* region) {
  static uint8_t states[kPages];
  unsigned ram = 0, vram = 0;
  if (godwit_residency(context, region, (size_t)kPages * kPageBytes, states, kPages) != 0) {
    fail("residency");
    return;
  }
  for (size_t page = 0; page < kPages; ++page) {
    ram += states[page] == GODWIT_PAGE_HOST || states[page] == GODWIT_PAGE_BOTH;
    vram += states[page] == GODWIT_PAGE_DEVICE || states[page] == GODWIT_PAGE_BOTH;
  }
  printf("%-28s %5u in RAM %5u in VRAM\n", when, ram, vram);
}

int main(void) {
  const size_t bytes = (size_t)kPages * kPageBytes;
  godwit_context* context = NULL;
  struct godwit_move_report report;
  void* region = NULL;
  if (godwit_context_create_from_environment(&context) != 0) return fail("context"), 2;
  if (godwit_allocate(context, bytes, 0, &region) != 0) return fail("allocate");
  double* values = region;
  for (size_t index = 0; index < bytes / sizeof(double); ++index)
    values[index] = (double)(index + 1);
  show("written by the CPU", context, region);
  if (godwit_prefetch(context, region, bytes, GODWIT_DEVICE, &report) != 0) return fail("prefetch");
  printf("prefetch: %lu pages moved, %lu stayed\n", (unsigned long)report.moved,
         (unsigned long)report.stayed);
  show("prefetched to the device", context, region);
  printf("array[0] is %.0f\n", values[0]);
  show("one element read", context, region);
  if (godwit_free(context, region) != 0) return fail("free");
  godwit_context_destroy(context);
  return 0;
}
