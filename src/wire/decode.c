/* A webhook's body to a struct event, by tables: one row a field that is read, in both spellings, with its limit and its path for
 * the operator. Everything else in the body is passed over. Invariant: whatever is wrong with the body, the event has an id and a type's
 * name and every slice in it is UTF-8 without NUL and within its limit. Any thread; no state, no clock. */
#include "wire/decode.h"

#include "wire/iso_time.h"
#include "wire/jwt.h"
#include "wire/redact.h"

/* The last moment of the year 9999: later ones are no times, and sums with them could overflow. */
#define MAX_S INT64_C(253402300799)
#define MAX_MS (MAX_S * 1000 + 999)
#define MAX_US (MAX_MS * 1000 + 999)

/* What the tables below write to: the event, and what has to be looked at once all fields are known. */
struct reading {
	struct event event;
	int64_t creation_time_s, creation_time_ms, empty_timeout_s, departure_timeout_s, joined_at_s, joined_at_ms;
	int kind, reason, end_reason, egress_status, track_type;
	struct slice egress_room_sid, egress_room_name, ingress_room_sid, ingress_room_name, job_room_sid, job_room_name;
	struct slice result_location, file_location;
	bool hidden, recorder;
	uint32_t metadata, attributes, participant, track; /* nodes; 0 = absent */
	uint32_t elsewhere;                                /* nodes of no interest in themselves */
};

enum field_kind {
	FIELD_ID, FIELD_TEXT, FIELD_CUT_TEXT, FIELD_INT, FIELD_TIME_S, FIELD_BOOL, FIELD_ENUM, FIELD_OBJECT, FIELD_OBJECTS, FIELD_MAP, FIELD_METADATA,
};

struct field {
	struct slice camel, snake;
	enum field_kind kind;
	size_t to;   /* offset in struct reading */
	int64_t max; /* bytes of a text, greatest number */
	const struct fields *fields;               /* of FIELD_OBJECT and FIELD_OBJECTS */
	int (*value)(struct slice name, int64_t n); /* of FIELD_ENUM: by name, or by number where name is none */
	struct slice path;
};

struct fields {
	const struct field *items;
	size_t count;
};

/* ---- enums ---- */

#define NUMBER_CASE(number, name, e) case number: return e;
#define ENUM_VALUE(function, TABLE, from_name, unknown) \
	static int function(struct slice name, int64_t n) \
	{ \
		if (!slice_is_none(name)) \
			return (int)from_name(name); \
		switch (n) { \
			TABLE(NUMBER_CASE) \
		} \
		return unknown; \
	}

static enum egress_status egress_status_or_first(struct slice name)
{
	enum egress_status s = EGRESS_STARTING;
	return egress_status_from_name(name, &s) ? s : EGRESS_STARTING;
}

enum track_type { TRACK_AUDIO = 0, TRACK_OTHER = 1 };

static int track_type_value(struct slice name, int64_t n)
{
	return (slice_is_none(name) ? n == 0 : slice_eq(name, SLICE("AUDIO"))) ? TRACK_AUDIO : TRACK_OTHER;
}

ENUM_VALUE(reason_value, DISCONNECT_REASONS, disconnect_reason_from_name, REASON_UNKNOWN)
ENUM_VALUE(kind_value, PARTICIPANT_KINDS, participant_kind_from_name, KIND_OTHER)
ENUM_VALUE(end_reason_value, ROOM_END_REASONS, room_end_reason_from_name, ROOM_END_UNKNOWN)
ENUM_VALUE(egress_status_value, EGRESS_STATUSES, egress_status_or_first, EGRESS_STARTING)

/* ---- the fields that are read ---- */

#define LIT(text) { "" text, sizeof(text) - 1 }
#define AT(member) .to = offsetof(struct reading, member)
#define NAMES(camel_, snake_, path_) .camel = LIT(camel_), .snake = LIT(snake_), .path = LIT(path_)
#define TEXT(camel, snake, member, most, path) { NAMES(camel, snake, path), .kind = FIELD_TEXT, AT(member), .max = (most) }
#define INT(camel, snake, member, most, path) { NAMES(camel, snake, path), .kind = FIELD_INT, AT(member), .max = (most) }
#define TIME_S(camel, snake, member, path) { NAMES(camel, snake, path), .kind = FIELD_TIME_S, AT(member), .max = MAX_S }
#define ENUM(camel, snake, member, function, path) { NAMES(camel, snake, path), .kind = FIELD_ENUM, AT(member), .value = (function) }
#define BOOL(camel, snake, member, path) { NAMES(camel, snake, path), .kind = FIELD_BOOL, AT(member) }
#define NODE(camel, snake, kind_, member, table, path) \
	{ NAMES(camel, snake, path), .kind = (kind_), AT(member), .fields = (table) }
#define FIELDS(name, ...) \
	static const struct field name##_items[] = { __VA_ARGS__ }; \
	static const struct fields name = { name##_items, sizeof name##_items / sizeof name##_items[0] }

FIELDS(room_fields,
	TEXT("sid", "sid", event.room.sid, EVENT_MAX_ID, "room.sid"),
	TEXT("name", "name", event.room.name, EVENT_MAX_NAME, "room.name"),
	TIME_S("creationTime", "creation_time", creation_time_s, "room.creationTime"),
	INT("creationTimeMs", "creation_time_ms", creation_time_ms, MAX_MS, "room.creationTimeMs"),
	INT("emptyTimeout", "empty_timeout", empty_timeout_s, UINT32_MAX, "room.emptyTimeout"),
	INT("departureTimeout", "departure_timeout", departure_timeout_s, UINT32_MAX, "room.departureTimeout"),
	NODE("metadata", "metadata", FIELD_METADATA, metadata, NULL, "room.metadata"));

FIELDS(permission_fields,
	BOOL("hidden", "hidden", hidden, "participant.permission.hidden"),
	BOOL("recorder", "recorder", recorder, "participant.permission.recorder"));
FIELDS(participant_fields,
	TEXT("sid", "sid", event.participant.sid, EVENT_MAX_ID, "participant.sid"),
	TEXT("identity", "identity", event.participant.identity, EVENT_MAX_NAME, "participant.identity"),
	TIME_S("joinedAt", "joined_at", joined_at_s, "participant.joinedAt"),
	INT("joinedAtMs", "joined_at_ms", joined_at_ms, MAX_MS, "participant.joinedAtMs"),
	ENUM("kind", "kind", kind, kind_value, "participant.kind"),
	ENUM("disconnectReason", "disconnect_reason", reason, reason_value, "participant.disconnectReason"),
	NODE("permission", "permission", FIELD_OBJECT, elsewhere, &permission_fields, "participant.permission"),
	NODE("attributes", "attributes", FIELD_MAP, attributes, NULL, "participant.attributes"));

FIELDS(version_fields,
	INT("unixMicro", "unix_micro", event.track.published_us, MAX_US, "track.version.unixMicro"));
FIELDS(track_fields,
	TEXT("sid", "sid", event.track.sid, EVENT_MAX_ID, "track.sid"),
	ENUM("type", "type", track_type, track_type_value, "track.type"),
	NODE("version", "version", FIELD_OBJECT, elsewhere, &version_fields, "track.version"));

FIELDS(result_fields,
	TEXT("location", "location", result_location, EVENT_MAX_VALUE, "egressInfo.fileResults.location"));
FIELDS(file_fields,
	TEXT("location", "location", file_location, EVENT_MAX_VALUE, "egressInfo.file.location"));
FIELDS(egress_fields,
	TEXT("egressId", "egress_id", event.egress.egress_id, EVENT_MAX_ID, "egressInfo.egressId"),
	TEXT("roomId", "room_id", egress_room_sid, EVENT_MAX_ID, "egressInfo.roomId"),
	TEXT("roomName", "room_name", egress_room_name, EVENT_MAX_NAME, "egressInfo.roomName"),
	ENUM("status", "status", egress_status, egress_status_value, "egressInfo.status"),
	INT("startedAt", "started_at", event.egress.started_at_ns, INT64_MAX, "egressInfo.startedAt"),
	INT("endedAt", "ended_at", event.egress.ended_at_ns, INT64_MAX, "egressInfo.endedAt"),
	NODE("fileResults", "file_results", FIELD_OBJECTS, elsewhere, &result_fields, "egressInfo.fileResults"),
	NODE("file", "file", FIELD_OBJECT, elsewhere, &file_fields, "egressInfo.file"),
	{ NAMES("error", "error", "egressInfo.error"), .kind = FIELD_CUT_TEXT, AT(event.egress.error), .max = EVENT_MAX_VALUE });

FIELDS(state_fields,
	TEXT("roomId", "room_id", ingress_room_sid, EVENT_MAX_ID, "ingressInfo.state.roomId"));
FIELDS(ingress_fields,
	TEXT("roomName", "room_name", ingress_room_name, EVENT_MAX_NAME, "ingressInfo.roomName"),
	NODE("state", "state", FIELD_OBJECT, elsewhere, &state_fields, "ingressInfo.state"));

FIELDS(job_room_fields,
	TEXT("sid", "sid", job_room_sid, EVENT_MAX_ID, "job.room.sid"),
	TEXT("name", "name", job_room_name, EVENT_MAX_NAME, "job.room.name"));
FIELDS(job_fields,
	NODE("room", "room", FIELD_OBJECT, elsewhere, &job_room_fields, "job.room"));

FIELDS(event_fields,
	{ NAMES("id", "id", "id"), .kind = FIELD_ID, AT(event.id), .max = EVENT_MAX_ID },
	TEXT("event", "event", event.type_name, EVENT_MAX_ID, "event"),
	TIME_S("createdAt", "created_at", event.created_at_s, "createdAt"),
	ENUM("roomEndReason", "room_end_reason", end_reason, end_reason_value, "roomEndReason"),
	NODE("room", "room", FIELD_OBJECT, elsewhere, &room_fields, "room"),
	NODE("participant", "participant", FIELD_OBJECT, participant, &participant_fields, "participant"),
	NODE("track", "track", FIELD_OBJECT, track, &track_fields, "track"),
	NODE("egressInfo", "egress_info", FIELD_OBJECT, elsewhere, &egress_fields, "egressInfo"),
	NODE("ingressInfo", "ingress_info", FIELD_OBJECT, elsewhere, &ingress_fields, "ingressInfo"),
	NODE("job", "job", FIELD_OBJECT, elsewhere, &job_fields, "job"));

struct attribute {
	struct slice name;
	size_t to;
	size_t max;
};
static const struct attribute sip_attributes[] = {
	{ LIT("sip.callID"), offsetof(struct event_participant, sip_call_id), EVENT_MAX_ID },
	{ LIT("sip.ruleID"), offsetof(struct event_participant, sip_rule_id), EVENT_MAX_ID },
	{ LIT("sip.trunkID"), offsetof(struct event_participant, sip_trunk_id), EVENT_MAX_ID },
	{ LIT("sip.phoneNumber"), offsetof(struct event_participant, sip_phone_number), EVENT_MAX_VALUE },
	{ LIT("sip.trunkPhoneNumber"), offsetof(struct event_participant, sip_trunk_phone_number), EVENT_MAX_VALUE },
};

/* ---- reading them ---- */

struct decoder {
	const struct jdoc *j;
	const struct decode_options *options;
	struct arena *arena;
	struct reading reading;
	enum decode_cause cause;
	struct slice cause_field;
	bool nomem;
};

static void complain(struct decoder *d, enum decode_cause cause, struct slice path)
{
	if (d->cause == DECODE_OK) {
		d->cause = cause;
		d->cause_field = path;
	}
}

/* The text of a string, or none: empty is absent in proto3, and what cannot be had as text is a fault of the document already. */
static struct slice text_of(struct decoder *d, uint32_t node, struct slice path)
{
	struct slice s = SLICE_NONE;
	if (jdoc_type_of(d->j, node) != JDOC_STRING)
		complain(d, DECODE_WRONG_TYPE, path);
	else if (jdoc_text(d->j, node, d->arena, &s) == OC_NOMEM)
		d->nomem = true;
	return s.n ? s : SLICE_NONE;
}

static struct slice bounded(struct decoder *d, struct slice s, size_t max, struct slice path)
{
	if (s.n <= max)
		return s;
	complain(d, DECODE_TOO_LONG, path);
	return SLICE_NONE;
}

static struct slice cut_at_character(struct slice s, size_t max)
{
	if (s.n <= max)
		return s;
	while (max && ((unsigned char)s.p[max] & 0xc0) == 0x80)
		max--;
	return slice_of(s.p, max);
}

static bool is_printable(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~')
			return false;
	return true;
}

static void read_id(struct decoder *d, uint32_t node, const struct field *f, struct slice *to)
{
	struct slice id = bounded(d, text_of(d, node, f->path), (size_t)f->max, f->path);
	if (is_printable(id))
		*to = id;
	else
		complain(d, DECODE_TOO_LONG, f->path);
}

static void read_int(struct decoder *d, uint32_t node, const struct field *f, int64_t *to)
{
	enum jdoc_type type = jdoc_type_of(d->j, node);
	if (type != JDOC_STRING && type != JDOC_NUMBER) {
		complain(d, DECODE_WRONG_TYPE, f->path);
		return;
	}
	struct slice literal = type == JDOC_NUMBER ? jdoc_raw(d->j, node) : text_of(d, node, f->path);
	int64_t v = 0;
	bool iso = type == JDOC_STRING && f->kind == FIELD_TIME_S && d->options->iso_times && iso_time_to_s(literal, &v);
	switch (iso ? JDOC_INT_OK : jdoc_int64(literal, &v)) {
	case JDOC_INT_OK:
		if (v >= 0 && v <= f->max)
			*to = v;
		else
			complain(d, DECODE_RANGE, f->path);
		return;
	case JDOC_INT_RANGE:
		complain(d, DECODE_RANGE, f->path);
		return;
	case JDOC_INT_NOT_A_NUMBER:
	case JDOC_INT_FRACTION:
		complain(d, DECODE_WRONG_TYPE, f->path);
		return;
	}
}

static void read_bool(struct decoder *d, uint32_t node, const struct field *f, bool *to)
{
	enum jdoc_type type = jdoc_type_of(d->j, node);
	if (type == JDOC_TRUE || type == JDOC_FALSE)
		*to = type == JDOC_TRUE;
	else
		complain(d, DECODE_WRONG_TYPE, f->path);
}

static void read_enum(struct decoder *d, uint32_t node, const struct field *f, int *to)
{
	int64_t n = -1;
	switch (jdoc_type_of(d->j, node)) {
	case JDOC_STRING: {
		struct slice name = text_of(d, node, f->path);
		*to = f->value(slice_is_none(name) ? SLICE("") : name, 0);
		return;
	}
	case JDOC_NUMBER:
		if (jdoc_int64(jdoc_raw(d->j, node), &n) != JDOC_INT_OK)
			n = -1;
		*to = f->value(SLICE_NONE, n);
		return;
	case JDOC_OBJECT:
	case JDOC_ARRAY:
	case JDOC_TRUE:
	case JDOC_FALSE:
	case JDOC_NULL:
		complain(d, DECODE_WRONG_TYPE, f->path);
		return;
	}
}

static void read_object(struct decoder *d, uint32_t object, const struct fields *fields);

static void read_objects(struct decoder *d, uint32_t array, const struct field *f)
{
	for (uint32_t item = jdoc_first(d->j, array); item < jdoc_end(d->j, array); item = jdoc_after(d->j, item)) {
		if (jdoc_type_of(d->j, item) == JDOC_OBJECT)
			read_object(d, item, f->fields);
		else
			complain(d, DECODE_WRONG_TYPE, f->path);
	}
}

static bool is_of_type(struct decoder *d, uint32_t node, enum jdoc_type type, const struct field *f)
{
	if (jdoc_type_of(d->j, node) == type)
		return true;
	complain(d, DECODE_WRONG_TYPE, f->path);
	return false;
}

static void read_field(struct decoder *d, uint32_t node, const struct field *f)
{
	void *to = (char *)&d->reading + f->to;
	struct slice *text = to, s;
	switch (f->kind) {
	case FIELD_ID:
		read_id(d, node, f, to);
		return;
	case FIELD_TEXT:
		s = bounded(d, text_of(d, node, f->path), (size_t)f->max, f->path);
		*text = slice_is_none(*text) ? s : *text;
		return;
	case FIELD_CUT_TEXT:
		*text = cut_at_character(text_of(d, node, f->path), (size_t)f->max);
		return;
	case FIELD_INT:
	case FIELD_TIME_S:
		read_int(d, node, f, to);
		return;
	case FIELD_BOOL:
		read_bool(d, node, f, to);
		return;
	case FIELD_ENUM:
		read_enum(d, node, f, to);
		return;
	case FIELD_OBJECT:
		if (is_of_type(d, node, JDOC_OBJECT, f)) {
			memcpy(to, &node, sizeof node);
			read_object(d, node, f->fields);
		}
		return;
	case FIELD_OBJECTS:
		if (is_of_type(d, node, JDOC_ARRAY, f))
			read_objects(d, node, f);
		return;
	case FIELD_MAP:
		if (is_of_type(d, node, JDOC_OBJECT, f))
			memcpy(to, &node, sizeof node);
		return;
	case FIELD_METADATA:
		if (is_of_type(d, node, JDOC_STRING, f))
			memcpy(to, &node, sizeof node);
		return;
	}
}

static const struct field *find_field(const struct jdoc *j, uint32_t key, const struct fields *fields)
{
	for (size_t i = 0; i < fields->count; i++)
		if (jdoc_text_is(j, key, fields->items[i].camel) || jdoc_text_is(j, key, fields->items[i].snake))
			return &fields->items[i];
	return NULL;
}

/* Recursion is as deep as the tables. */
static void read_object(struct decoder *d, uint32_t object, const struct fields *fields)
{
	uint32_t seen = 0; /* a bit a field: both spellings at once are one field twice */
	for (uint32_t key = jdoc_first(d->j, object); key < jdoc_end(d->j, object); key = jdoc_after(d->j, key + 1)) {
		const struct field *f = find_field(d->j, key, fields);
		if (!f)
			continue;
		uint32_t bit = (uint32_t)1 << (f - fields->items);
		if (seen & bit)
			complain(d, DECODE_DUPLICATE_KEY, f->path);
		else if (jdoc_type_of(d->j, key + 1) != JDOC_NULL)
			read_field(d, key + 1, f);
		seen |= bit;
	}
}

/* ---- tenants and attributes ---- */

/* The names that are looked for may stand in the text only with escapes when they have other characters than these. */
static bool is_plain_name(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && c != '_' && c != '-' && c != '.')
			return false;
	}
	return s.n > 0;
}

static bool may_have_tenant(const struct decode_options *o, struct slice raw)
{
	if (memmem(raw.p, raw.n, "\\u", 2))
		return true;
	for (size_t i = 0; i < o->tenant_key_count; i++)
		if (!is_plain_name(o->tenant_keys[i]) || memmem(raw.p, raw.n, o->tenant_keys[i].p, o->tenant_keys[i].n))
			return true;
	return false;
}

/* A tenant as a string or a number in the metadata's top level; none where it is neither. */
static struct slice tenant_in(struct decoder *d, const struct jdoc *metadata)
{
	for (size_t i = 0; i < d->options->tenant_key_count; i++) {
		uint32_t value = jdoc_member(metadata, 0, d->options->tenant_keys[i]);
		struct slice s = SLICE_NONE;
		if (value && jdoc_type_of(metadata, value) == JDOC_NUMBER)
			return jdoc_raw(metadata, value);
		if (value && jdoc_type_of(metadata, value) == JDOC_STRING && jdoc_text(metadata, value, d->arena, &s) == OC_NOMEM)
			d->nomem = true;
		if (s.n)
			return s;
	}
	return SLICE_NONE;
}

static void read_metadata(struct decoder *d)
{
	struct reading *r = &d->reading;
	struct slice path = SLICE("room.metadata");
	if (!r->metadata || !may_have_tenant(d->options, jdoc_raw(d->j, r->metadata)))
		return;
	struct slice text = text_of(d, r->metadata, path);
	if (slice_is_none(text))
		return;
	struct jdoc metadata;
	if (jdoc_parse(text, d->arena, &metadata) != 0) {
		d->nomem = true;
		return;
	}
	if (metadata.fault == JDOC_OK && jdoc_type_of(&metadata, 0) == JDOC_OBJECT)
		r->event.room.tenant = bounded(d, tenant_in(d, &metadata), EVENT_MAX_VALUE, path);
}

/* The attribute's text, or none. */
static struct slice attribute(struct decoder *d, struct slice name, size_t max)
{
	struct slice path = SLICE("participant.attributes");
	uint32_t value = jdoc_member(d->j, d->reading.attributes, name);
	return value && jdoc_type_of(d->j, value) != JDOC_NULL ? bounded(d, text_of(d, value, path), max, path) : SLICE_NONE;
}

static void read_attributes(struct decoder *d)
{
	struct event_participant *p = &d->reading.event.participant;
	if (!d->reading.attributes || (p->kind != KIND_SIP && p->kind != KIND_AGENT))
		return;
	for (size_t i = 0; i < d->options->tenant_key_count && slice_is_none(p->tenant); i++)
		p->tenant = attribute(d, d->options->tenant_keys[i], EVENT_MAX_VALUE);
	if (p->kind != KIND_SIP)
		return;
	for (size_t i = 0; i < sizeof sip_attributes / sizeof sip_attributes[0]; i++) {
		struct slice *to = (struct slice *)(void *)((char *)p + sip_attributes[i].to);
		*to = attribute(d, sip_attributes[i].name, sip_attributes[i].max);
	}
	struct slice status = attribute(d, SLICE("sip.callStatus"), SIZE_MAX);
	p->sip_status = slice_is_none(status) ? STATUS_NONE : sip_status_from_name(status);
	p->sip_call_tag = !slice_is_none(attribute(d, SLICE("sip.callTag"), SIZE_MAX));
}

/* ---- putting it together ---- */

static struct slice first_of(struct slice a, struct slice b, struct slice c, struct slice d)
{
	return !slice_is_none(a) ? a : !slice_is_none(b) ? b : !slice_is_none(c) ? c : d;
}

#define KIND_ABSENT INT32_MIN

/* Track events carry sid and identity only; elsewhere an absent kind is protojson's way to say STANDARD. */
static enum participant_kind kind_of(const struct reading *r)
{
	if (r->kind != KIND_ABSENT)
		return (enum participant_kind)r->kind;
	switch (r->event.type) {
	case EVENT_PARTICIPANT_JOINED:
	case EVENT_PARTICIPANT_LEFT:
	case EVENT_PARTICIPANT_ABORTED:
		return r->participant ? KIND_STANDARD : KIND_UNKNOWN;
	case EVENT_UNKNOWN:
	case EVENT_ROOM_STARTED:
	case EVENT_ROOM_FINISHED:
	case EVENT_TRACK_PUBLISHED:
	case EVENT_TRACK_UNPUBLISHED:
	case EVENT_EGRESS_STARTED:
	case EVENT_EGRESS_UPDATED:
	case EVENT_EGRESS_ENDED:
	case EVENT_INGRESS_STARTED:
	case EVENT_INGRESS_ENDED:
	case EVENT_AGENT_JOB_STARTED:
	case EVENT_AGENT_JOB_ENDED:
	case EVENT_MARK:
		return KIND_UNKNOWN;
	}
	return KIND_UNKNOWN;
}

static void finish(struct decoder *d)
{
	struct reading *r = &d->reading;
	struct event *e = &r->event;
	enum event_type type = slice_is_none(e->type_name) ? EVENT_UNKNOWN : event_type_from_name(e->type_name);
	e->type = type == EVENT_MARK ? EVENT_UNKNOWN : type; /* a mark never comes as a webhook */
	e->room.sid = first_of(e->room.sid, r->egress_room_sid, r->ingress_room_sid, r->job_room_sid);
	e->room.name = first_of(e->room.name, r->egress_room_name, r->ingress_room_name, r->job_room_name);
	e->room.creation_time_ms = r->creation_time_ms ? r->creation_time_ms : r->creation_time_s * 1000;
	e->room.empty_timeout_s = (uint32_t)r->empty_timeout_s;
	e->room.departure_timeout_s = (uint32_t)r->departure_timeout_s;
	e->room_end_reason = (enum room_end_reason)r->end_reason;
	e->participant.kind = kind_of(r);
	if ((r->hidden || r->recorder) && (e->participant.kind == KIND_STANDARD || e->participant.kind == KIND_AGENT))
		e->participant.kind = KIND_HIDDEN;
	e->participant.disconnect_reason = (enum disconnect_reason)r->reason;
	e->participant.joined_at_ms = r->joined_at_ms ? r->joined_at_ms : r->joined_at_s * 1000;
	e->participant.joined_at_whole_s = !r->joined_at_ms && r->joined_at_s;
	e->track.audio = r->track && r->track_type == TRACK_AUDIO;
	e->egress.status = (enum egress_status)r->egress_status;
	e->egress.location = first_of(r->result_location, r->file_location, SLICE_NONE, SLICE_NONE);
	read_metadata(d);
	read_attributes(d);
	if (slice_is_none(e->id))
		complain(d, DECODE_NO_ID, SLICE_NONE);
	if (slice_is_none(e->type_name)) {
		complain(d, DECODE_NO_EVENT, SLICE_NONE);
		e->type_name = SLICE("unknown");
	}
}

static enum decode_cause cause_of_fault(enum jdoc_fault fault)
{
	switch (fault) {
	case JDOC_OK:
		return DECODE_OK;
	case JDOC_SYNTAX:
	case JDOC_SURROGATE:
		return DECODE_NOT_JSON;
	case JDOC_TOO_DEEP:
		return DECODE_TOO_DEEP;
	case JDOC_TOO_MANY:
		return DECODE_TOO_MANY;
	case JDOC_DUPLICATE_KEY:
		return DECODE_DUPLICATE_KEY;
	case JDOC_BAD_UTF8:
		return DECODE_BAD_UTF8;
	case JDOC_NUL:
		return DECODE_NUL;
	case JDOC_NUMBER_RANGE:
		return DECODE_RANGE;
	}
	return DECODE_NOT_JSON;
}

static bool name_by_hash(struct arena *a, struct slice body, struct slice *ret)
{
	static const struct slice prefix = LIT("sha256:");
	unsigned char hash[32];
	char *id = arena_alloc(a, prefix.n + 2 * sizeof hash);
	if (!id || !hash_sha256(body, hash))
		return false;
	memcpy(id, prefix.p, prefix.n);
	hex_encode(hash, sizeof hash, id + prefix.n);
	*ret = slice_of(id, prefix.n + 2 * sizeof hash);
	return true;
}

int decode_event(struct slice body, const struct decode_options *options, struct arena *a, struct decoded *ret)
{
	struct jdoc j;
	if (jdoc_parse(body, a, &j) != 0)
		return OC_NOMEM;
	struct decoder d = { .j = &j, .options = options, .arena = a, .reading = { .kind = KIND_ABSENT } };
	d.cause = cause_of_fault(j.fault);
	if (j.count && jdoc_type_of(&j, 0) == JDOC_OBJECT)
		read_object(&d, 0, &event_fields);
	else
		complain(&d, DECODE_NOT_OBJECT, SLICE_NONE);
	finish(&d);
	struct decoded out = { .event = d.reading.event, .cause = d.cause, .cause_field = d.cause_field };
	if (d.nomem || (slice_is_none(out.event.id) && !name_by_hash(a, body, &out.event.id)))
		return OC_NOMEM;
	if (j.fault == JDOC_OK && redact_document(&j, a, &out.payload) != 0)
		return OC_NOMEM;
	*ret = out;
	return 0;
}

static const struct {
	const char *name, *text;
} causes[] = {
#define X(name, e, text) [e] = { name, text },
	DECODE_CAUSES(X)
#undef X
};

const char *decode_cause_name(enum decode_cause c) { return causes[c].name; }
const char *decode_cause_text(enum decode_cause c) { return causes[c].text; }
