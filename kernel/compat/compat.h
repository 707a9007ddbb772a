/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between kernels, all of it here: the rest of the module is written to the newest
 * kernel. Included before everything else (Kbuild). One fact a paragraph: what differs, since which
 * version, and when the paragraph can go.
 *
 * Linux 7.2 and 7.3 are served; what differs between them is in rmap.h and userfaultfd.h. What
 * older ones will need here, found while writing for 7.2: the arguments of
 * zone_device_folio_init(); dev_pagemap_ops.folio_free (page_free before);
 * MIGRATE_VMA_SELECT_COMPOUND; zap_vma_range() (zap_page_range_single before); kzalloc_obj();
 * vmalloc_huge() with a node.
 */
#ifndef _GODWIT_COMPAT_H_
#define _GODWIT_COMPAT_H_

#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 2, 0)
#error "godwit needs Linux 7.2"
#endif

/*
 * CONFIG_MEMORY_FAILURE is optional. Without it nobody can be told of a page that is lost with its
 * device; the page then has a pattern that is no data, and the log says so.
 */
#ifdef CONFIG_MEMORY_FAILURE
#define GODWIT_CAN_POISON	1
#else
#define GODWIT_CAN_POISON	0
#endif

#endif /* _GODWIT_COMPAT_H_ */
