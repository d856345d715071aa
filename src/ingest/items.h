/* A queue of items, first in first out. Whoever has it guards it. */
#pragma once

#include "ingest/ingest.h"

struct item_list {
	struct ingest_item *head, *tail;
};

static inline void item_list_push(struct item_list *l, struct ingest_item *item)
{
	item->next = NULL;
	if (l->tail)
		l->tail->next = item;
	else
		l->head = item;
	l->tail = item;
}

/* NULL where it is empty. */
static inline struct ingest_item *item_list_pop(struct item_list *l)
{
	struct ingest_item *item = l->head;
	if (item) {
		l->head = item->next;
		if (!l->head)
			l->tail = NULL;
		item->next = NULL;
	}
	return item;
}
