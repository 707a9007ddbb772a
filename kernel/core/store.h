/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_STORE_H_
#define _GODWIT_STORE_H_

#include <linux/types.h>

struct godwit_client;
struct godwit_device;
struct mem_cgroup;
struct page;

struct page **godwit_store_pages(struct mem_cgroup *memcg, unsigned long count, bool zero);
void godwit_store_put_pages(struct page **pages, unsigned long count);
unsigned long *godwit_store_frames(struct godwit_client *client, unsigned long count);
void godwit_store_put_frames(struct godwit_device *gdev, unsigned long *frames,
			     unsigned long count);
int godwit_store_clear(struct godwit_device *gdev, const unsigned long *frames,
		       unsigned long count);
void godwit_store_bind(struct godwit_device *gdev, const unsigned long *frames,
		       unsigned long count);
int godwit_store_copy(struct godwit_device *gdev, struct page **pages,
		      const unsigned long *frames, unsigned long count, bool to_vram);

#endif /* _GODWIT_STORE_H_ */
