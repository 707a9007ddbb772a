/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_EVICT_H_
#define _GODWIT_EVICT_H_

#include <linux/types.h>

#include <drm/godwit_drm.h>

struct drm_device;
struct drm_file;
struct godwit_client;
struct godwit_device;

/**
 * struct godwit_eviction - what an eviction is to do, and did.
 */
struct godwit_eviction {
	/** @advised: what advice holds comes home, too. */
	bool advised;
	/** @moved: pages that came home. */
	unsigned long moved;
	/** @stayed: pages that did not. */
	unsigned long stayed;
};

unsigned long godwit_evict_reserve(struct godwit_device *gdev, unsigned long count, bool evict);
int godwit_evict_pages(struct godwit_device *gdev, const struct godwit_client *client,
		       enum drm_godwit_cause cause, struct godwit_eviction *eviction);
void godwit_evict_unplug(struct godwit_device *gdev);

int godwit_evict_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

#endif /* _GODWIT_EVICT_H_ */
