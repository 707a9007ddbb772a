/* SPDX-License-Identifier: MIT */
/* godwit.h on its own, compiled as C11 with every warning. */
#include "godwit.h"

_Static_assert(sizeof(struct godwit_move_report) == 48, "the layout is part of the interface");
_Static_assert(GODWIT_PAGE_LOST == 5, "the values are part of the interface");

int godwit_test_c_round_trip(void);

int godwit_test_c_round_trip(void)
{
	struct godwit_options options = { .size = sizeof(options), .device = "soft",
					  .vram_bytes = 8u << 20, .arena_bytes = 64u << 20,
					  .pool_bytes = 4u << 20 };
	godwit_context *context;
	void *region;
	int code;

	code = godwit_context_create(&options, &context);
	if (code != GODWIT_OK)
		return code;
	code = godwit_allocate(context, 1u << 20, 0, &region);
	if (code == GODWIT_OK) {
		((int *)region)[100] = 42;
		code = godwit_prefetch(context, region, 1u << 20, GODWIT_DEVICE, 0);
		if (code == GODWIT_OK && ((int *)region)[100] != 42)
			code = 1;
		if (godwit_free(context, region) != GODWIT_OK)
			code = 2;
	}
	godwit_context_destroy(context);
	return code;
}
