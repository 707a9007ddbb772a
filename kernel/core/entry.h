/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_ENTRY_H_
#define _GODWIT_ENTRY_H_

#include <linux/mm.h>
#include <linux/pgtable.h>

/*
 * Where the entry for 2 MiB of an address is, or NULL. The caller sees to it that the page tables
 * stay: by mmap_lock, or by the lock of a reverse map that has a VMA there. The entry can change.
 */
static inline pmd_t *godwit_pmd_at(struct mm_struct *mm, unsigned long addr)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d;
	pud_t *pud;

	if (!pgd_present(*pgd))
		return NULL;
	p4d = p4d_offset(pgd, addr);
	if (!p4d_present(*p4d))
		return NULL;
	pud = pud_offset(p4d, addr);
	if (!pud_present(*pud) || pud_leaf(*pud))
		return NULL;
	return pmd_offset(pud, addr);
}

#endif /* _GODWIT_ENTRY_H_ */
