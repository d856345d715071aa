/* core/sip_code.c: what a witness's result of a dialed call means. */
#include "core_fixture.h"

#include "core/sip_code.h"

static void sip_codes_have_their_classes(void **state)
{
	(void)state;
	static const struct {
		int code;
		enum code_class want;
	} CODES[] = {
		{ 0, CODE_NONE }, { 180, CODE_NONE }, { 200, CODE_NONE }, { 299, CODE_NONE }, { 302, CODE_OTHER }, { 401, CODE_FORBIDDEN },
		{ 402, CODE_FORBIDDEN }, { 403, CODE_FORBIDDEN }, { 404, CODE_INVALID }, { 407, CODE_FORBIDDEN }, { 408, CODE_TIMEOUT },
		{ 410, CODE_INVALID }, { 420, CODE_OTHER }, { 429, CODE_RATE_LIMITED }, { 480, CODE_UNAVAILABLE }, { 484, CODE_INVALID },
		{ 486, CODE_BUSY }, { 487, CODE_CANCELED }, { 488, CODE_MEDIA }, { 500, CODE_TRUNK }, { 503, CODE_TRUNK }, { 599, CODE_TRUNK },
		{ 600, CODE_BUSY }, { 603, CODE_DECLINED }, { 604, CODE_INVALID }, { 606, CODE_MEDIA }, { 607, CODE_DECLINED },
		{ 608, CODE_BLOCKED }, { 699, CODE_OTHER },
	};
	for (size_t i = 0; i < sizeof CODES / sizeof CODES[0]; i++)
		assert_int_equal(code_class_of(CODES[i].code), CODES[i].want);
	for (unsigned c = CODE_NONE + 1; c <= CODE_OTHER; c++)
		assert_non_null(code_class_text((enum code_class)c));
	assert_null(code_class_text(CODE_NONE));
}

static const struct told {
	int code;
	const char *text;
	int names;
	enum code_class want;
} TOLD[] = {
	{ 486, "Busy Here", 486, CODE_BUSY },
	{ 200, NULL, 200, CODE_NONE },
	{ 180, "Ringing", 0, CODE_NONE },
	{ 0, NULL, 0, CODE_NONE },
	{ 0, "", 0, CODE_NONE },
	{ 0, "twirp error unknown: INVITE failed: sip status: 486: Busy Here", 486, CODE_BUSY },
	{ 0, "sip status: 200", 200, CODE_NONE },
	{ 0, "sip status: 4860", 0, CODE_OTHER },
	{ 0, "sip status:", 0, CODE_OTHER },
	{ 0, "twirp error unknown: common audio codec not found", 0, CODE_MEDIA },
	{ 0, "twirp error unknown: sip server required auth, but no username or password was provided", 0, CODE_FORBIDDEN },
	{ 0, "twirp error unknown: sip request timed out", 0, CODE_RING_TIMEOUT },
	{ 0, "twirp error unknown: transaction failed to complete (0 intermediate responses)", 0, CODE_UNREACHABLE },
	{ 0, "transport<TCP> dial err=dial tcp :0->127.0.0.1:5292: connect: connection refused", 0, CODE_UNREACHABLE },
	{ 0, "fail to resolve target for \"trunk.invalid\"", 0, CODE_UNREACHABLE },
	{ 0, "Something new", 0, CODE_OTHER },
	{ 503, "Concurrent Call Limit Exceeded", 503, CODE_RATE_LIMITED },
	{ 603, "Network Blocked", 603, CODE_BLOCKED },
	{ 0, "Q.850;cause=17;text=\"User busy\"", 486, CODE_BUSY },
	{ 0, "q.850 ; cause = 1", 404, CODE_INVALID },
	{ 0, "Q.850;cause=16;text=\"Normal call clearing\"", 0, CODE_OTHER },
	{ 0, "Q.850;cause=99999999999999999999", 0, CODE_OTHER },
	{ 0, "cause=17", 0, CODE_OTHER },
};

static void a_result_is_its_code_or_what_its_text_says(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof TOLD / sizeof TOLD[0]; i++) {
		struct event_mark m = { .kind = MARK_SIP_RESULT, .sip_code = TOLD[i].code, .sip_text = slice_cstr(TOLD[i].text) };
		if (code_of_mark(&m) != TOLD[i].names || code_class_of_mark(&m) != TOLD[i].want)
			fail_msg("%d \"%s\": code %d class %d", TOLD[i].code, TOLD[i].text ? TOLD[i].text : "", code_of_mark(&m), (int)code_class_of_mark(&m));
	}
}

static void only_a_result_has_a_class(void **state)
{
	(void)state;
	struct event_mark m = { .kind = MARK_NOTE, .sip_code = 486 };
	assert_int_equal(code_class_of_mark(&m), CODE_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sip_codes_have_their_classes),
		cmocka_unit_test(a_result_is_its_code_or_what_its_text_says),
		cmocka_unit_test(only_a_result_has_a_class),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
