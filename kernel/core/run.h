/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_RUN_H_
#define _GODWIT_RUN_H_

struct godwit_home;
struct godwit_span;
struct vm_area_struct;

int godwit_run(struct godwit_span *span, struct vm_area_struct *vma, unsigned long start,
	       unsigned long end, struct godwit_home *home);

#endif /* _GODWIT_RUN_H_ */
