/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What userfaultfd takes from a mapping. Each paragraph says when it can go.
 */
#ifndef _GODWIT_COMPAT_USERFAULTFD_H_
#define _GODWIT_COMPAT_USERFAULTFD_H_

#include <linux/userfaultfd_k.h>

/*
 * Reading as well as writing (UFFDIO_REGISTER_MODE_RWP): since Linux 7.3. userfaultfd_rwp() and
 * userfaultfd_protected() do when 7.2 is no longer served.
 */
static inline bool godwit_vma_hides(struct vm_area_struct *vma)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 3, 0)
	return false;
#else
	return userfaultfd_rwp(vma);
#endif
}

static inline bool godwit_vma_protects(struct vm_area_struct *vma)
{
	return userfaultfd_wp(vma) || godwit_vma_hides(vma);
}

#endif /* _GODWIT_COMPAT_USERFAULTFD_H_ */
