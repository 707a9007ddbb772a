/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_SHIELD_H_
#define _GODWIT_SHIELD_H_

#include <linux/types.h>

struct folio;
struct page;
struct work_struct;

/**
 * struct godwit_shield - the huge folio of private VRAM that a migration has isolated, if any.
 */
struct godwit_shield {
	/** @folio: locked by the migration, or NULL. */
	struct folio *folio;
	/** @up: it has the references that shield it. */
	bool up;
	/** @moved: nothing maps it any more. */
	bool moved;
};

int godwit_shield_init(void);
void godwit_shield_fini(void);

bool godwit_shield_begin(struct godwit_shield *shield, struct folio *folio);
void godwit_shield_lower(struct godwit_shield *shield);
void godwit_shield_raise(struct godwit_shield *shield);
void godwit_shield_end(struct godwit_shield *shield, bool locked);

bool godwit_shield_zapped(struct folio *folio);
void godwit_shield_return(struct folio *folio, struct folio *heir);
bool godwit_shield_keep(struct folio *folio);
void godwit_shield_recount(struct folio *folio);
void godwit_shield_refused(struct page *page);
void godwit_shield_work(struct work_struct *work);

#endif /* _GODWIT_SHIELD_H_ */
