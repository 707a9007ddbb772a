// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Debug files
 *
 * Overview: <debugfs>/dri/N/godwit_{stats,clients,objects,vram,ready,raw_copy}: counters of the
 * device, its clients, its objects, the state of each block of VRAM, the RAM that is ready for
 * pages of any device (pool.c), and the speed of its copies (rawcopy.c). For people; no program
 * may rely on them.
 */
#include <linux/seq_file.h>

#include <drm/drm_debugfs.h>
#include <drm/drm_file.h>

#include "client.h"
#include "debugfs.h"
#include "device.h"
#include "gem.h"
#include "pool.h"

static struct godwit_device *debugfs_device(struct seq_file *m)
{
	struct drm_debugfs_entry *entry = m->private;

	return to_godwit(entry->dev);
}

static int debugfs_stats(struct seq_file *m, void *unused)
{
	struct godwit_device *gdev = debugfs_device(m);
	unsigned int i;

	for (i = 0; i < GODWIT_STAT_COUNT; i++)
		seq_printf(m, "%-24s %lld\n", godwit_stat_name(i),
			   godwit_stat_read(&gdev->stats, i));
	return 0;
}

static int debugfs_clients(struct seq_file *m, void *unused)
{
	struct godwit_device *gdev = debugfs_device(m);
	struct godwit_client *client;
	unsigned long id;

	seq_puts(m, "client mirrors vram-kib peak-kib\n");
	xa_lock_irq(&gdev->clients);
	xa_for_each(&gdev->clients, id, client)
		seq_printf(m, "%6lu %7lld %8lld %8lld\n", id,
			   godwit_stat_read(&client->stats, GODWIT_STAT_MIRRORS),
			   godwit_stat_read(&client->stats, GODWIT_STAT_VRAM_BYTES) >> 10,
			   godwit_stat_read(&client->stats, GODWIT_STAT_VRAM_BYTES_PEAK) >> 10);
	xa_unlock_irq(&gdev->clients);
	return 0;
}

static int debugfs_objects(struct seq_file *m, void *unused)
{
	godwit_gem_show(debugfs_device(m), m);
	return 0;
}

static int debugfs_vram(struct seq_file *m, void *unused)
{
	struct godwit_vram *vram = &debugfs_device(m)->vram;
	unsigned long i;

	seq_printf(m, "frames %lu used %lu free %lu reserved %lu\n", vram->nr_frames,
		   READ_ONCE(vram->frames.nr_used), READ_ONCE(vram->frames.nr_free),
		   READ_ONCE(vram->frames.nr_reserved));
	seq_puts(m, "block used pinned isolated last-use\n");
	for (i = 0; i < vram->frames.nr_blocks; i++) {
		const struct godwit_block *block = &vram->frames.blocks[i];

		seq_printf(m, "%5lu %4u %6u %8u %llu\n", i, READ_ONCE(block->nr_used),
			   READ_ONCE(block->nr_pinned), READ_ONCE(block->isolated),
			   READ_ONCE(block->last_use));
	}
	return 0;
}

/**
 * godwit_debugfs_init() - make the files of a device.
 * @minor: its minor.
 */
void godwit_debugfs_init(struct drm_minor *minor)
{
	drm_debugfs_add_file(minor->dev, "godwit_stats", debugfs_stats, NULL);
	drm_debugfs_add_file(minor->dev, "godwit_clients", debugfs_clients, NULL);
	drm_debugfs_add_file(minor->dev, "godwit_objects", debugfs_objects, NULL);
	drm_debugfs_add_file(minor->dev, "godwit_vram", debugfs_vram, NULL);
	drm_debugfs_add_file(minor->dev, "godwit_ready", godwit_pool_show, NULL);
	drm_debugfs_add_file(minor->dev, "godwit_raw_copy", godwit_rawcopy_show, NULL);
}
