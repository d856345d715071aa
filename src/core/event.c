/* The names of events, reasons, kinds and marks, as LiveKit's JSON and our own marks spell them. Every function here is made from the
 * tables of event.h, so a name and its number cannot drift apart. Pure; any thread. */
#include "core/event.h"

struct name_row {
	int number;
	struct slice name;
};

#define ROW2(text, e) { e, { text, sizeof(text) - 1 } },
#define ROW3(number, text, e) { e, { text, sizeof(text) - 1 } },

static const struct name_row TYPES[] = { EVENT_TYPES(ROW2) };
static const struct name_row DISCONNECTS[] = { DISCONNECT_REASONS(ROW3) };
static const struct name_row KINDS[] = { PARTICIPANT_KINDS(ROW3) };
static const struct name_row STATUSES[] = { SIP_STATUSES(ROW3) };
static const struct name_row END_REASONS[] = { ROOM_END_REASONS(ROW3) };
static const struct name_row EGRESS[] = { EGRESS_STATUSES(ROW3) };
static const struct name_row MARKS[] = { MARK_KINDS(ROW2) };
static const struct name_row SOURCES[] = { MARK_SOURCES(ROW2) };

static const char *name_of(const struct name_row *rows, size_t n, int number)
{
	for (size_t i = 0; i < n; i++)
		if (rows[i].number == number)
			return rows[i].name.p;
	return NULL;
}

static bool number_of(const struct name_row *rows, size_t n, struct slice name, int *ret)
{
	for (size_t i = 0; i < n; i++)
		if (slice_eq(rows[i].name, name)) {
			*ret = rows[i].number;
			return true;
		}
	return false;
}

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define NAME_OF(rows, number) name_of((rows), COUNT(rows), (int)(number))

const char *event_type_name(enum event_type t) { return NAME_OF(TYPES, t); }
const char *disconnect_reason_name(enum disconnect_reason r) { return NAME_OF(DISCONNECTS, r); }
const char *participant_kind_name(enum participant_kind k) { return NAME_OF(KINDS, k); }
const char *sip_status_name(enum sip_status s) { return NAME_OF(STATUSES, s); }
const char *room_end_reason_name(enum room_end_reason r) { return NAME_OF(END_REASONS, r); }
const char *egress_status_name(enum egress_status s) { return NAME_OF(EGRESS, s); }
const char *mark_kind_name(enum mark_kind k) { return NAME_OF(MARKS, k); }
const char *mark_source_name(enum mark_source s) { return NAME_OF(SOURCES, s); }

enum event_type event_type_from_name(struct slice name)
{
	int v = EVENT_UNKNOWN;
	(void)number_of(TYPES, COUNT(TYPES), name, &v);
	return (enum event_type)v;
}

enum disconnect_reason disconnect_reason_from_name(struct slice name)
{
	int v = REASON_UNKNOWN;
	(void)number_of(DISCONNECTS, COUNT(DISCONNECTS), name, &v);
	return (enum disconnect_reason)v;
}

enum participant_kind participant_kind_from_name(struct slice name)
{
	int v = KIND_OTHER;
	(void)number_of(KINDS, COUNT(KINDS), name, &v);
	return (enum participant_kind)v;
}

enum sip_status sip_status_from_name(struct slice name)
{
	int v = STATUS_NONE;
	(void)number_of(STATUSES, COUNT(STATUSES), name, &v);
	return (enum sip_status)v;
}

enum room_end_reason room_end_reason_from_name(struct slice name)
{
	int v = ROOM_END_UNKNOWN;
	(void)number_of(END_REASONS, COUNT(END_REASONS), name, &v);
	return (enum room_end_reason)v;
}

bool egress_status_from_name(struct slice name, enum egress_status *ret)
{
	int v;
	if (!number_of(EGRESS, COUNT(EGRESS), name, &v))
		return false;
	*ret = (enum egress_status)v;
	return true;
}

enum mark_kind mark_kind_from_name(struct slice name)
{
	int v = MARK_NONE;
	(void)number_of(MARKS, COUNT(MARKS), name, &v);
	return (enum mark_kind)v;
}

enum mark_source mark_source_from_name(struct slice name)
{
	int v = MARK_SOURCE_NONE;
	(void)number_of(SOURCES, COUNT(SOURCES), name, &v);
	return (enum mark_source)v;
}
