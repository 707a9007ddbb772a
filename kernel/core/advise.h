/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_ADVISE_H_
#define _GODWIT_ADVISE_H_

#include <linux/bits.h>
#include <linux/types.h>

struct drm_device;
struct drm_file;
struct godwit_chunk;
struct godwit_mirror;

/* What is advised for a page. SYSTEM and VRAM exclude each other. */
#define GODWIT_ADVISED_SYSTEM	BIT(0)
#define GODWIT_ADVISED_VRAM	BIT(1)
#define GODWIT_ADVISED_PINNED	BIT(2)
#define GODWIT_ADVISED_IN_PLACE	BIT(3)

u8 godwit_advice_locked(const struct godwit_chunk *chunk, unsigned long addr);
u8 godwit_advice_get(struct godwit_chunk *chunk, unsigned long addr);
void godwit_advice_end(struct godwit_chunk *chunk, unsigned long start, unsigned long end);
void godwit_advice_fini(struct godwit_chunk *chunk);
void godwit_advice_remove_all(struct godwit_mirror *mirror);

/* Does a fault of the device bring the page to VRAM? Otherwise it is mapped where it is. */
static inline bool godwit_advice_moves(u8 advice)
{
	return !(advice & (GODWIT_ADVISED_SYSTEM | GODWIT_ADVISED_IN_PLACE));
}

int godwit_advise_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

#endif /* _GODWIT_ADVISE_H_ */
