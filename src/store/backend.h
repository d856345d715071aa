/* What a store behind store.h has to provide. Private to src/store. */
#pragma once

#include "store/migrate.h"
#include "store/store.h"

struct store_ops {
	int (*open)(const struct store_options *o, struct arena *message_arena, struct store **ret, struct slice *ret_message);
	void (*close)(struct store *s);
	const char *(*last_error)(const struct store *s);
	int (*batch_load)(struct store *s, const struct store_touch *touch, struct arena *a, struct store_loaded *ret);
	int (*batch_commit)(struct store *s, const struct store_changes *c, struct arena *a);
	void (*batch_abort)(struct store *s);
	void (*until)(struct store *s, int64_t mono_ms);
	int (*due)(struct store *s, int64_t now_ms, size_t limit, struct arena *a, struct slice **ret_sids, size_t *ret_count);
	int (*watch_claim)(struct store *s, const struct watch_claim *c, struct arena *a, struct watch_row **ret, size_t *ret_count);
	int (*watch_move)(struct store *s, struct slice room_sid, int64_t was_ms, int64_t at_ms);
	int (*count)(struct store *s, struct store_counts *ret);
	int (*replay_begin)(struct store *s);
	int (*replay_count)(struct store *s, int64_t *ret);
	int (*replay_find)(struct store *s, struct slice call_id, struct arena *a, struct slice *ret_sid);
	int (*replay_rooms)(struct store *s, struct slice after, int64_t since_ms, size_t limit, struct arena *a, struct slice **ret_sids,
		size_t *ret_count, struct slice *ret_last);
	int (*replay_calls)(struct store *s, const struct slice *sids, size_t count, struct arena *a, struct replay_call *ret);
	int (*replay_legs)(struct store *s, struct replay_leg *legs, size_t count);
	int (*journal_open)(struct store *s, const struct slice *sids, size_t count);
	int (*journal_next)(struct store *s, struct arena *a, struct journal_row *ret);
	void (*journal_close)(struct store *s);
	int (*journal_strays)(struct store *s, int64_t after_ms, struct slice after_id, size_t limit, struct arena *a, struct journal_row **ret,
		size_t *ret_count);

	int (*kept_calls)(struct store *s, struct slice after, size_t limit, bool ask_payloads, struct arena *a, struct kept_call **ret, size_t *ret_count,
		struct slice *ret_last);
	int (*forget_calls)(struct store *s, const struct slice *sids, size_t count, size_t most, struct forgotten *ret);
	int (*forget_payloads)(struct store *s, const struct slice *sids, size_t count, size_t most, struct forgotten *ret);
	int (*move_pruned)(struct store *s, int64_t before_ms);
	int (*forget_strays)(struct store *s, int64_t before_ms, struct slice user, bool payloads_only, size_t most, struct forgotten *ret);
	int (*person_find)(struct store *s, const struct person *p, const struct slice *sids, size_t count, enum person_trace *ret);
	int (*person_forget)(struct store *s, const struct person *p, size_t most, struct forgotten *ret);
	int (*person_places)(struct store *s, const struct person *p, struct arena *a, struct person_place **ret, size_t *ret_count);
	int (*person_scrub)(struct store *s, const struct person *p, bool *ret_rewritten, bool *ret_left);

	int (*reader_open)(const struct store_options *o, struct arena *message_arena, struct store_reader **ret, struct slice *ret_message);
	void (*reader_close)(struct store_reader *r);
	const char *(*reader_last_error)(const struct store_reader *r);
	int (*read_outcomes)(struct store_reader *r, struct outcome_query *queries, size_t n, struct arena *a);
	int (*read_list)(struct store_reader *r, const struct list_filter *f, struct arena *a, struct call_view **ret, size_t *ret_count, bool *ret_more);
	int (*read_call)(struct store_reader *r, struct slice tenant, struct slice call_id, struct arena *a, struct call_detail *ret);
	int (*read_events)(struct store_reader *r, const struct events_query *q, struct arena *a, struct event_view **ret, size_t *ret_count,
		bool *ret_more);
	int (*reader_ping)(struct store_reader *r);

	int (*migrate_status)(const struct store_options *o, struct arena *a, struct migrate_status *ret, struct slice *ret_message);
	int (*migrate_upgrade)(const struct store_options *o, int to_version, migrate_say_fn say, void *context, struct arena *a, struct slice *ret_message);
	int (*migrate_downgrade)(const struct store_options *o, migrate_say_fn say, void *context, struct arena *a, struct slice *ret_message);
};

extern const struct store_ops sqlite_store_ops;
extern const struct store_ops postgres_store_ops;

/* Each backend's struct store and struct store_reader begin with these. */
struct store {
	const struct store_ops *ops;
};
struct store_reader {
	const struct store_ops *ops;
};

/* An embedded migration (generated at build from sql/DIALECT/NNNN_name.{up,down}.sql). */
struct migration {
	int version;
	const char *name, *up, *down;
	const char *sha256; /* hex, of `up` */
};
extern const struct migration sqlite_migrations[], postgres_migrations[];
extern const size_t sqlite_migration_count, postgres_migration_count;

/* call_logs.id of a row that we insert: a UUID (RFC 9562, version 8) from the SHA-256 of the room SID. `ret` is 37 bytes. OC_NOMEM. */
OC_NODISCARD int call_log_id_from_sid(struct slice room_sid, char *ret);

/* The object under metadata's key "outcomed": reason, confidence, fault, rule, rules, answeredAt… of a verdict. */
void call_log_metadata(const struct verdict *v, struct buf *out);

/* ---- in store.c, for the backends ---- */

/* The backend of a URL. OC_CONFIG with what to do in *ret_message (may be NULL). */
OC_NODISCARD int store_ops_for_url(struct slice url, struct arena *a, const struct store_ops **ret, struct slice *ret_message);

/* Puts the formatted text into *ret_message (either may be NULL: then nothing happens) and returns `error`. */
int store_fail(int error, struct arena *a, struct slice *ret_message, const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Does the commit replace a final verdict, which is then to be kept in call_revisions? `was` is the row as loaded. */
bool call_verdict_replaced(const struct call_row *was, const struct call_row *now);

/* store_loaded_find over an array sorted by room SID. */
struct call_row *call_rows_find(struct call_row *calls, size_t count, struct slice room_sid);
