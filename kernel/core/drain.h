/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_DRAIN_H_
#define _GODWIT_DRAIN_H_

void godwit_drain_all(void);
int godwit_drain_init(void);
void godwit_drain_fini(void);

#endif /* _GODWIT_DRAIN_H_ */
