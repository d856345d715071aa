/* Phone numbers in texts that leave for a log: found wherever they stand (alone, in an identity such as sip_+4930…, a room's name, a SIP URI, a
 * database's error text) and made unreadable but for their last two digits. Pure; any thread.
 *
 * A number is MASK_DIGITS digits or more, with at most two blanks, hyphens, dots, slashes or brackets between one and the next. Not numbers:
 * dates and times as ISO 8601 writes them, IPv4 addresses, UUIDs, hexadecimal words of 16 characters and more with a letter among them, and
 * LiveKit's ids: two or three capitals, an underscore, ten characters or more, again with a letter among them, such as EV_8sQ2vRkY7Lmb.
 * Shorter ones, extensions of a house say, stay as they are. */
#pragma once

#include "base/buf.h"

#define MASK_DIGITS 7

void buf_put_masked(struct buf *b, struct slice s);
