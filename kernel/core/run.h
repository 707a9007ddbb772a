/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_RUN_H_
#define _GODWIT_RUN_H_

#include <linux/migrate.h>
#include <linux/workqueue_types.h>

#include "home.h"

struct godwit_span;
struct vm_area_struct;

/**
 * struct godwit_run - consecutive addresses of one VMA that are being migrated.
 */
struct godwit_run {
	/** @span: what they are a part of. */
	struct godwit_span *span;
	/** @args: what the kernel keeps between isolating and switching. */
	struct migrate_vma args;
	/** @home: how they go home, where they do. */
	struct godwit_home home;
	/**
	 * @holes: some of them had no memory. The kernel wants them to be finished by the one
	 * who holds mmap_lock.
	 */
	bool holes;
	/** @handed: @work was queued. For pass.c. */
	bool handed;
	/** @work: finishes the run. For pass.c. */
	struct work_struct work;
};

bool godwit_run_start(struct godwit_run *run, struct godwit_span *span,
		      struct vm_area_struct *vma, unsigned long start, unsigned long end);
void godwit_run_finish(struct godwit_run *run);

#endif /* _GODWIT_RUN_H_ */
