/* Does what the database says is committed stand on its disk? For `outcomed check`. On a connection of its own. Any thread. */
#pragma once

#include "store/store.h"

/* *ret_words says how commits become durable; *ret_lacks (none: nothing) what keeps them from it. OC_DOWN and the like with a message. */
OC_NODISCARD int store_durability(const struct store_options *o, struct arena *a, struct slice *ret_words, struct slice *ret_lacks,
	struct slice *ret_message);
