/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_REACH_H_
#define _GODWIT_REACH_H_

#include <linux/types.h>

#include <godwit/peer.h>

struct godwit_attach;
struct godwit_device;
struct godwit_export;
struct godwit_snapshot;
struct sg_table;

enum godwit_reach godwit_reach(struct godwit_device *gdev, struct device *dev, s64 *bus_offset);
bool godwit_reach_attached(const struct godwit_attach *attach, struct godwit_device *gdev);
bool godwit_reach_all(struct godwit_export *export, struct godwit_device *gdev);
bool godwit_reach_snapshot(const struct godwit_attach *attach,
			   const struct godwit_snapshot *snapshot);

struct sg_table *godwit_reach_map(struct godwit_snapshot *snapshot, struct godwit_attach *attach,
				  enum dma_data_direction dir);
struct godwit_snapshot *godwit_reach_unmap(struct sg_table *table,
					   const struct godwit_attach *attach,
					   enum dma_data_direction dir);
bool godwit_reach_repin(struct godwit_attach *attach, struct godwit_snapshot *pinned);

#endif /* _GODWIT_REACH_H_ */
