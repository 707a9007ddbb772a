// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Counters
 *
 * Overview: every counter exists for each client and for each device. Nothing in the module
 * decides anything by them.
 *
 * Locking: none; each counter is right, two of them may belong to different moments.
 */
#include <linux/mm.h>
#include <linux/slab.h>

#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_print.h>

#include "client.h"
#include "device.h"
#include "stats.h"

/* Words that one call may ask for. */
#define STATS_MAX	512

static const char * const stat_names[GODWIT_STAT_COUNT] = {
	[GODWIT_STAT_DEVICE_FAULTS] = "device-faults",
	[GODWIT_STAT_CPU_FAULTS] = "cpu-faults",
	[GODWIT_STAT_PAGES_TO_VRAM] = "pages-to-vram",
	[GODWIT_STAT_PAGES_HOME] = "pages-home",
	[GODWIT_STAT_PAGES_EVICTED] = "pages-evicted",
	[GODWIT_STAT_PAGES_STAYED] = "pages-stayed",
	[GODWIT_STAT_HUGE_TO_VRAM] = "huge-to-vram",
	[GODWIT_STAT_HUGE_HOME] = "huge-home",
	[GODWIT_STAT_HUGE_SPLIT] = "huge-split",
	[GODWIT_STAT_INVALIDATIONS] = "invalidations",
	[GODWIT_STAT_INVALIDATIONS_REFUSED] = "invalidations-refused",
	[GODWIT_STAT_RETRIES] = "retries",
	[GODWIT_STAT_TIMEOUTS] = "timeouts",
	[GODWIT_STAT_PEER_FETCHES] = "peer-fetches",
	[GODWIT_STAT_PING_PONG] = "ping-pong",
	[GODWIT_STAT_COPY_ERRORS] = "copy-errors",
	[GODWIT_STAT_PAGES_POISONED] = "pages-poisoned",
	[GODWIT_STAT_PAGES_MAPPED] = "pages-mapped",
	[GODWIT_STAT_JOBS] = "jobs",
	[GODWIT_STAT_JOBS_FAILED] = "jobs-failed",
	[GODWIT_STAT_JOB_TIMEOUTS] = "job-timeouts",
	[GODWIT_STAT_EVENTS_LOST] = "events-lost",
	[GODWIT_STAT_VRAM_BYTES] = "vram-bytes",
	[GODWIT_STAT_VRAM_BYTES_PEAK] = "vram-bytes-peak",
	[GODWIT_STAT_MIRRORS] = "mirrors",
	[GODWIT_STAT_PEER_MAPS] = "peer-maps",
	[GODWIT_STAT_PEER_REVOKES] = "peer-revokes",
	[GODWIT_STAT_PEER_TIMEOUTS] = "peer-timeouts",
	[GODWIT_STAT_PEER_BYTES_HOME] = "peer-bytes-home",
	[GODWIT_STAT_PEER_BYTES_DIRECT] = "peer-bytes-direct",
	[GODWIT_STAT_PEER_BYTES_STAGED] = "peer-bytes-staged",
};

/**
 * godwit_stat_name() - for people.
 * @stat: &enum drm_godwit_stat.
 */
const char *godwit_stat_name(unsigned int stat)
{
	return stat < GODWIT_STAT_COUNT ? stat_names[stat] : "?";
}

/**
 * godwit_stat_add() - count. Any context.
 * @gdev: the device, or NULL.
 * @client: the client, or NULL.
 * @stat: what.
 * @count: how much.
 */
void godwit_stat_add(struct godwit_device *gdev, struct godwit_client *client,
		     enum drm_godwit_stat stat, s64 count)
{
	if (!count)
		return;
	if (gdev)
		atomic64_add(count, &gdev->stats.values[stat]);
	if (client)
		atomic64_add(count, &client->stats.values[stat]);
}

static void stat_level(struct godwit_stats *stats, s64 bytes)
{
	s64 level = atomic64_add_return(bytes, &stats->values[GODWIT_STAT_VRAM_BYTES]);
	s64 peak = atomic64_read(&stats->values[GODWIT_STAT_VRAM_BYTES_PEAK]);

	while (level > peak)
		if (atomic64_try_cmpxchg(&stats->values[GODWIT_STAT_VRAM_BYTES_PEAK], &peak, level))
			break;
}

/**
 * godwit_stat_vram() - somebody has more VRAM, or less. Any context.
 * @gdev: the device.
 * @client: whose.
 * @bytes: how much more.
 */
void godwit_stat_vram(struct godwit_device *gdev, struct godwit_client *client, s64 bytes)
{
	stat_level(&gdev->stats, bytes);
	stat_level(&client->stats, bytes);
}

/**
 * godwit_stats_ioctl() - DRM_IOCTL_GODWIT_STATS.
 * @drm: the device.
 * @data: &struct drm_godwit_stats.
 * @file: the client.
 */
int godwit_stats_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct godwit_client *client = file->driver_priv;
	struct drm_godwit_stats *args = data;
	u64 __user *to = u64_to_user_ptr(args->values);
	const struct godwit_stats *stats;
	u32 count = args->count, i;
	u64 values[GODWIT_STAT_COUNT];

	args->count = GODWIT_STAT_COUNT;
	/* More than there will ever be: an error of the caller, and a long time to clear. */
	if (count > STATS_MAX)
		return -E2BIG;
	if (args->scope == GODWIT_STATS_CLIENT)
		stats = &client->stats;
	else if (args->scope == GODWIT_STATS_DEVICE)
		stats = &to_godwit(drm)->stats;
	else
		return -EINVAL;
	for (i = 0; i < GODWIT_STAT_COUNT; i++)
		values[i] = godwit_stat_read(stats, i);
	if (copy_to_user(to, values, min(count, GODWIT_STAT_COUNT) * sizeof(u64)))
		return -EFAULT;
	if (count > GODWIT_STAT_COUNT && clear_user(to + GODWIT_STAT_COUNT,
						    (count - GODWIT_STAT_COUNT) * sizeof(u64)))
		return -EFAULT;
	return 0;
}

/**
 * godwit_stats_show_fdinfo() - the memory of a client, as tools of DRM read it.
 * @p: where to.
 * @file: the client.
 */
void godwit_stats_show_fdinfo(struct drm_printer *p, struct drm_file *file)
{
	struct godwit_client *client = file->driver_priv;
	struct drm_memory_stats memory = { };
	unsigned int i;

	memory.private = godwit_stat_read(&client->stats, GODWIT_STAT_VRAM_BYTES);
	memory.resident = memory.private;
	drm_print_memory_stats(p, &memory, DRM_GEM_OBJECT_RESIDENT, "vram0");
	for (i = 0; i < GODWIT_STAT_COUNT; i++)
		drm_printf(p, "godwit-%s:\t%lld\n", stat_names[i],
			   godwit_stat_read(&client->stats, i));
}
