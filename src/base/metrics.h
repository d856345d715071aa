/* Counters, gauges and histograms as one table; a label has a closed list of values, so nothing grows. Lock-free, any thread.
 * http/metrics renders them in the Prometheus text format 0.0.4; docs/CONFIGURATION.md lists them from the same table. */
#pragma once

#include <stdatomic.h>

#include "base/buf.h"

struct metrics;

/* enum, name, type, help, label name or NULL. Label values are set by metrics_label_values. */
#define METRICS(X) \
	X(METRIC_HTTP_REQUESTS, "outcomed_http_requests_total", COUNTER, "Requests answered, by status code.", "code") \
	X(METRIC_HTTP_REFUSALS, "outcomed_http_refusals_total", COUNTER, "Requests refused before their handler, by cause.", "cause") \
	X(METRIC_ACCESS_REFUSALS, "outcomed_access_refusals_total", COUNTER, "Reads and marks that were not let in, by cause.", "cause") \
	X(METRIC_HTTP_CONNECTIONS, "outcomed_http_connections", GAUGE, "Open connections.", NULL) \
	X(METRIC_HTTP_BODY_BYTES, "outcomed_http_body_bytes", GAUGE, "Bytes of request bodies that are counted in their common limit.", NULL) \
	X(METRIC_HTTP_REPLY_BYTES, "outcomed_http_reply_bytes", GAUGE, "Bytes of large replies that have not been taken yet.", NULL) \
	X(METRIC_SIGNATURE, "outcomed_signature_checks_total", COUNTER, "Webhooks by the result of the signature check.", "check") \
	X(METRIC_EVENTS, "outcomed_events_total", COUNTER, "Webhooks and marks that became durable, by event type.", "event") \
	X(METRIC_EVENT_RESULTS, "outcomed_event_results_total", COUNTER, "Webhooks and marks by result.", "result") \
	X(METRIC_MARKS, "outcomed_marks_total", COUNTER, "Marks that became durable, by kind.", "kind") \
	X(METRIC_MARK_SOURCES, "outcomed_mark_sources_total", COUNTER, "Marks that became durable, by source.", "source") \
	X(METRIC_ACK_SECONDS, "outcomed_ack_seconds", HISTOGRAM, "From the last byte of a webhook to its answer, seconds.", NULL) \
	X(METRIC_LAG_SECONDS, "outcomed_arrival_lag_seconds", HISTOGRAM, "From the event's createdAt (whole seconds) to its arrival: more than a few seconds means that LiveKit retries or queues.", NULL) \
	X(METRIC_READ_SECONDS, "outcomed_read_seconds", HISTOGRAM, "Time to answer a read, seconds.", NULL) \
	X(METRIC_QUEUE_DEPTH, "outcomed_queue_depth", GAUGE, "Events waiting for the writer.", NULL) \
	X(METRIC_BATCH_EVENTS, "outcomed_batch_events", HISTOGRAM, "Events of one transaction.", NULL) \
	X(METRIC_COMMIT_SECONDS, "outcomed_commit_seconds", HISTOGRAM, "Time of one transaction, seconds.", NULL) \
	X(METRIC_STORE_UP, "outcomed_store_up", GAUGE, "1 when the store took the last batch or probe.", NULL) \
	X(METRIC_STORE_ERRORS, "outcomed_store_errors_total", COUNTER, "Failed transactions, by error.", "error") \
	X(METRIC_OPEN_CALLS, "outcomed_open_calls", GAUGE, "Calls without a verdict.", NULL) \
	X(METRIC_CALLS, "outcomed_calls_total", COUNTER, "Calls that got their first final verdict, by outcome.", "outcome") \
	X(METRIC_LOSSES, "outcomed_losses_total", COUNTER, "Calls in which something must have existed and never came, at their first final verdict, by what.", "loss") \
	X(METRIC_ASIDE, "outcomed_events_aside", GAUGE, "Events kept aside (processed = 0).", NULL) \
	X(METRIC_WAL_BYTES, "outcomed_sqlite_wal_bytes", GAUGE, "Size of SQLite's -wal file; 0 with PostgreSQL.", NULL) \
	X(METRIC_RETENTION, "outcomed_retention_removed_total", COUNTER, "What this process removed because its time was over (--retention, --keep-payloads), by what.", "what") \
	X(METRIC_WATCHER_REQUESTS, "outcomed_watcher_requests_total", COUNTER, "Requests to LiveKit's API, by what became of them.", "result") \
	X(METRIC_WATCHER_FINDINGS, "outcomed_watcher_findings_total", COUNTER, "What LiveKit's API told that no webhook had told, by kind.", "finding") \
	X(METRIC_WATCHER_CALLS, "outcomed_watcher_calls", GAUGE, "Calls that LiveKit's API is being asked about.", NULL) \
	X(METRIC_WATCHER_SUCCESS, "outcomed_watcher_last_success_seconds", GAUGE, "When LiveKit's API last answered, seconds since the epoch; 0 = never.", NULL) \
	X(METRIC_SPOOL_EVENTS, "outcomed_spool_events", GAUGE, "Events that wait in the spool for the database.", NULL) \
	X(METRIC_SPOOL_BYTES, "outcomed_spool_bytes", GAUGE, "Bytes of the spool's files, against --spool-limit.", NULL) \
	X(METRIC_SPOOL_OLDEST, "outcomed_spool_oldest_seconds", GAUGE, "Age of the oldest event in the spool, seconds; 0 = none.", NULL) \
	X(METRIC_SPOOL_APPENDED, "outcomed_spool_appended_total", COUNTER, "Events synced to the spool and answered.", NULL) \
	X(METRIC_SPOOL_DRAINED, "outcomed_spool_drained_total", COUNTER, "Events of the spool that the database has.", NULL) \
	X(METRIC_SPOOL_DAMAGED, "outcomed_spool_damaged_total", COUNTER, "Stretches of the spool's files that nobody could read.", NULL) \
	X(METRIC_SPOOL_ASIDE, "outcomed_spool_files_aside", GAUGE, "Files of the spool kept for the operator: damaged, or with an event that the database refuses.", NULL) \
	X(METRIC_TLS_EXPIRY, "outcomed_tls_certificate_expiry_seconds", GAUGE, "When the certificate of --tls-cert expires, seconds since the epoch; 0 = no TLS.", NULL) \
	X(METRIC_LOG_DROPPED, "outcomed_log_lines_dropped_total", COUNTER, "Log lines left out because standard error was not read.", NULL) \
	X(METRIC_BUILD, "outcomed_build_info", GAUGE, "1; the version is the label.", "version")

enum metric {
#define X(e, name, type, help, label) e,
	METRICS(X)
#undef X
	METRIC_COUNT
};

struct metrics *metrics_new(void); /* NULL when out of memory */
void metrics_free(struct metrics *m);

/* Declares the closed list of a label's values, index = position; literals that outlive m. Before any thread starts. At most 64. */
void metrics_label_values(struct metrics *m, enum metric which, const char *const *values, size_t n);

/* m may be NULL in all of these: nothing happens. An index out of range counts nowhere. */
void metric_add(struct metrics *m, enum metric which, size_t label_index, int64_t delta);
void metric_set(struct metrics *m, enum metric which, size_t label_index, int64_t value);
void metric_observe(struct metrics *m, enum metric which, double value);
int64_t metric_get(struct metrics *m, enum metric which, size_t label_index); /* for tests and /readyz */

void metrics_render(struct metrics *m, struct buf *out);
/* A Markdown table of the metrics, for the docs. */
void metrics_write_docs(struct buf *out);
