/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_STATS_H_
#define _GODWIT_STATS_H_

#include <linux/atomic.h>

#include <drm/godwit_drm.h>

struct drm_device;
struct drm_file;
struct drm_printer;
struct godwit_client;
struct godwit_device;

/**
 * struct godwit_stats - counters, indexed by &enum drm_godwit_stat. No lock.
 *
 * @values: the levels among them (VRAM_BYTES and the like) go up and down.
 */
struct godwit_stats {
	atomic64_t values[GODWIT_STAT_COUNT];
};

void godwit_stat_add(struct godwit_device *gdev, struct godwit_client *client,
		     enum drm_godwit_stat stat, s64 count);
void godwit_stat_vram(struct godwit_device *gdev, struct godwit_client *client, s64 bytes);

static inline s64 godwit_stat_read(const struct godwit_stats *stats, enum drm_godwit_stat stat)
{
	return atomic64_read(&stats->values[stat]);
}

const char *godwit_stat_name(unsigned int stat);

int godwit_stats_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
void godwit_stats_show_fdinfo(struct drm_printer *p, struct drm_file *file);

#endif /* _GODWIT_STATS_H_ */
