/* SPDX-License-Identifier: Apache-2.0 */
/* Intrusive doubly linked circular lists. The head is a node; an unlinked node points to itself. */
#ifndef CORE_LIST_H
#define CORE_LIST_H

#include "core/types.h"

struct list {
	struct list *next, *prev;
};

#define LIST_INIT(l) { &(l), &(l) }

static inline void list_init(struct list *l) { l->next = l->prev = l; }
static inline bool list_empty(const struct list *l) { return l->next == l; }

static inline void list_insert_between(struct list *n, struct list *prev, struct list *next)
{
	n->next = next;
	n->prev = prev;
	next->prev = n;
	prev->next = n;
}

static inline void list_push_front(struct list *head, struct list *n) { list_insert_between(n, head, head->next); }
static inline void list_push_back(struct list *head, struct list *n) { list_insert_between(n, head->prev, head); }

static inline void list_remove(struct list *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}

#define list_entry(p, type, member) container_of(p, type, member)
#define list_first(head, type, member) list_entry((head)->next, type, member)
#define list_for_each(p, head) for (struct list *p = (head)->next; p != (head); p = p->next)
/* Safe against removal of the node at hand. */
#define list_for_each_safe(p, n, head) \
	for (struct list *p = (head)->next, *n = p->next; p != (head); p = n, n = p->next)

#endif
