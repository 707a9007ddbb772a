/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_PIN_H_
#define _GODWIT_PIN_H_

#include <linux/list.h>
#include <linux/types.h>

struct drm_device;
struct drm_file;
struct godwit_client;
struct godwit_device;
struct godwit_mirror;
struct mm_struct;
struct page;

/**
 * struct godwit_pin_page - what holds one page.
 *
 * @page: in RAM: the page that is pinned, or NULL.
 * @frame: in VRAM: the frame, or GODWIT_NO_FRAME.
 * @generation: of @frame.
 */
struct godwit_pin_page {
	union {
		struct page *page;
		unsigned long frame;
	};
	u32 generation;
};

/**
 * struct godwit_pin - a range that is held.
 */
struct godwit_pin {
	/** @link: in &godwit_mirror.pins. */
	struct list_head link;
	/** @handle: names it to user space. */
	u32 handle;
	/** @in_vram: where. */
	bool in_vram;
	/** @start: first address. */
	unsigned long start;
	/** @end: address after the last one. */
	unsigned long end;
	/** @charged: pages that count against a limit. */
	unsigned long charged;
	/** @grip_start: first address that grip.c is pinning. */
	unsigned long grip_start;
	/** @grip_end: address after the last one. */
	unsigned long grip_end;
	/** @grip_lost: some of that was unmapped. */
	bool grip_lost;
	/** @pages: one a page of the range. */
	struct godwit_pin_page *pages;
};

int godwit_pin_charge(struct godwit_device *gdev, struct godwit_client *client,
		      unsigned long frames);
void godwit_pin_adjust(struct godwit_client *client, long frames);
void godwit_pin_uncharge(struct godwit_client *client, unsigned long frames);
int godwit_pin_charge_system(struct mm_struct *mm, unsigned long pages);
void godwit_pin_uncharge_system(struct mm_struct *mm, unsigned long pages);

void godwit_pin_in_system(struct godwit_mirror *mirror, unsigned long start, unsigned long end,
			  unsigned long *pages);
bool godwit_pin_next(struct godwit_mirror *mirror, unsigned long *start, unsigned long *end);
void godwit_pin_end(struct godwit_mirror *mirror, unsigned long start, unsigned long end);
void godwit_pin_remove_all(struct godwit_mirror *mirror);

int godwit_pin_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int godwit_unpin_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

#endif /* _GODWIT_PIN_H_ */
