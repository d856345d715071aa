/* core/event.c: names and numbers of the tables. */
#include "core_fixture.h"

static void every_event_type_has_a_name_that_leads_back(void **state)
{
	(void)state;
#define X(name, e) \
	assert_string_equal(event_type_name(e), name); \
	assert_int_equal(event_type_from_name(SLICE(name)), e);
	EVENT_TYPES(X)
#undef X
	assert_null(event_type_name(EVENT_UNKNOWN));
	assert_int_equal(event_type_from_name(SLICE("room_painted")), EVENT_UNKNOWN);
}

static void every_disconnect_reason_has_a_name_that_leads_back(void **state)
{
	(void)state;
#define X(number, name, e) \
	assert_int_equal(e, number); \
	assert_string_equal(disconnect_reason_name(e), name); \
	assert_int_equal(disconnect_reason_from_name(SLICE(name)), e);
	DISCONNECT_REASONS(X)
#undef X
	assert_int_equal(disconnect_reason_from_name(SLICE("SOLAR_FLARE")), REASON_UNKNOWN);
}

static void every_participant_kind_has_a_name_that_leads_back(void **state)
{
	(void)state;
#define X(number, name, e) \
	assert_string_equal(participant_kind_name(e), name); \
	assert_int_equal(participant_kind_from_name(SLICE(name)), e);
	PARTICIPANT_KINDS(X)
#undef X
	assert_null(participant_kind_name(KIND_UNKNOWN));
	assert_int_equal(participant_kind_from_name(SLICE("ROBOT")), KIND_OTHER);
}

static void every_sip_status_has_a_name_that_leads_back(void **state)
{
	(void)state;
#define X(number, name, e) \
	assert_string_equal(sip_status_name(e), name); \
	assert_int_equal(sip_status_from_name(SLICE(name)), e);
	SIP_STATUSES(X)
#undef X
	assert_int_equal(sip_status_from_name(SLICE("Ringing")), STATUS_NONE);
}

static void room_end_reasons_and_egress_statuses_lead_back(void **state)
{
	(void)state;
#define X(number, name, e) \
	assert_string_equal(room_end_reason_name(e), name); \
	assert_int_equal(room_end_reason_from_name(SLICE(name)), e);
	ROOM_END_REASONS(X)
#undef X
	enum egress_status s = EGRESS_ACTIVE;
#define X(number, name, e) \
	assert_string_equal(egress_status_name(e), name); \
	assert_true(egress_status_from_name(SLICE(name), &s)); \
	assert_int_equal(s, e);
	EGRESS_STATUSES(X)
#undef X
	assert_false(egress_status_from_name(SLICE("EGRESS_LOST"), &s));
	assert_int_equal(s, EGRESS_LIMIT_REACHED);
}

static void marks_and_their_sources_lead_back(void **state)
{
	(void)state;
#define X(name, e) \
	assert_string_equal(mark_kind_name(e), name); \
	assert_int_equal(mark_kind_from_name(SLICE(name)), e);
	MARK_KINDS(X)
#undef X
#define X(name, e) \
	assert_string_equal(mark_source_name(e), name); \
	assert_int_equal(mark_source_from_name(SLICE(name)), e);
	MARK_SOURCES(X)
#undef X
	assert_int_equal(mark_kind_from_name(SLICE("")), MARK_NONE);
	assert_int_equal(mark_source_from_name(SLICE_NONE), MARK_SOURCE_NONE);
	assert_null(mark_kind_name(MARK_NONE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_event_type_has_a_name_that_leads_back),
		cmocka_unit_test(every_disconnect_reason_has_a_name_that_leads_back),
		cmocka_unit_test(every_participant_kind_has_a_name_that_leads_back),
		cmocka_unit_test(every_sip_status_has_a_name_that_leads_back),
		cmocka_unit_test(room_end_reasons_and_egress_statuses_lead_back),
		cmocka_unit_test(marks_and_their_sources_lead_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
