/* With any two events of a call withheld, a verdict may become unsure, but never certain and wrong. The calls are written by hand from
 * what LiveKit sends; each knows which outcomes are true of it. The recorded calls are put to the same test by classify_captures. */
#include "../unit/core_fixture.h"

struct scenario {
	const char *name;
	void (*make)(struct history *h);
	unsigned accepted; /* bits 1 << enum outcome, and NEEDS_MARKS */
};

#define DONE (1u << OUTCOME_COMPLETED)
#define UNANSWERED (1u << OUTCOME_NO_ANSWER)
#define BUSY (1u << OUTCOME_BUSY)
#define FAILED (1u << OUTCOME_FAILED)
#define NEEDS_MARKS (1u << 31) /* without its marks nobody could know better: only LiveKit's events are withheld */

static const struct who SECOND = { .sid = "PA_second", .identity = "sip_+13125550199", .kind = KIND_SIP, .joined_ms = 9000, .call = "SCL_2" };
static const struct who SILENT_AGENT = { .sid = "PA_silent", .identity = "agent-AJ_2", .kind = KIND_AGENT, .joined_ms = 500 };

static void answered_and_hung_up(struct history *h) { dial_and_end(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 6000); }

static void answered_then_the_agent_failed(struct history *h)
{
	dial(h);
	unpublishes(h, &AGENT, "TR_agent", 60, 4000);
	goes(h, &AGENT, REASON_AGENT_ERROR, 4000);
	unpublishes(h, &CALLEE, "TR_callee", 110, 7000);
	leaves(h, &CALLEE, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 7000);
	room_finished(h, 9000);
}

/* The agent dies before it publishes anything: two events are all there is of it. */
static void answered_with_an_agent_that_failed_at_once(struct history *h)
{
	room_started(h);
	joins(h, &SILENT_AGENT, STATUS_NONE, 530);
	joins(h, &CALLEE, STATUS_DIALING, 600);
	goes(h, &SILENT_AGENT, REASON_AGENT_ERROR, 2000);
	leaves(h, &CALLEE, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 7000);
	room_finished(h, 9000);
}

static void answered_until_the_media_stopped(struct history *h) { dial_and_end(h, REASON_CLIENT_INITIATED, STATUS_ACTIVE, true, 22000); }

static void busy_then_answered(struct history *h)
{
	dial(h);
	leaves(h, &CALLEE, REASON_USER_REJECTED, STATUS_RINGING, false, 2000);
	joins(h, &SECOND, STATUS_DIALING, 9040);
	publishes(h, &SECOND, "TR_2", 9100);
	unpublishes(h, &SECOND, "TR_2", 9100, 20000);
	leaves(h, &SECOND, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 20000);
	agent_goes(h, 21000);
}

static void removed_while_ringing_then_answered(struct history *h)
{
	dial(h);
	leaves(h, &CALLEE, REASON_PARTICIPANT_REMOVED, STATUS_RINGING, false, 8000);
	joins(h, &SECOND, STATUS_DIALING, 9040);
	publishes(h, &SECOND, "TR_2", 9100);
	leaves(h, &SECOND, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 20000);
	agent_goes(h, 21000);
}

/* The second attempt fails so fast that it has no track. */
static void rang_to_the_limit_then_no_trunk(struct history *h)
{
	struct who late = SECOND;
	late.joined_ms = 186000;
	dial(h);
	leaves(h, &CALLEE, REASON_USER_UNAVAILABLE, STATUS_RINGING, false, 180200);
	joins(h, &late, STATUS_DIALING, 186040);
	leaves(h, &late, REASON_CLIENT_INITIATED, STATUS_DIALING, false, 186400);
	agent_goes(h, 188000);
}

static void first_leg_lost_its_media_second_hung_up(struct history *h)
{
	dial(h);
	joins(h, &SECOND, STATUS_DIALING, 9040);
	publishes(h, &SECOND, "TR_2", 9100);
	leaves(h, &CALLEE, REASON_CLIENT_INITIATED, STATUS_ACTIVE, true, 30000);
	leaves(h, &SECOND, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 40000);
	agent_goes(h, 41000);
}

static void removed_while_ringing(struct history *h) { dial_and_end(h, REASON_PARTICIPANT_REMOVED, STATUS_RINGING, false, 4000); }
static void deleted_while_a_silent_trunk_was_tried(struct history *h) { dial_and_end(h, REASON_ROOM_DELETED, STATUS_DIALING, false, 20000); }
static void rejected_by_the_trunk(struct history *h) { dial_and_end(h, REASON_USER_REJECTED, STATUS_DIALING, false, 300); }
static void no_such_number(struct history *h) { dial_and_end(h, REASON_USER_UNAVAILABLE, STATUS_RINGING, false, 30000); }
static void declined_in_the_old_way(struct history *h) { dial_and_end(h, REASON_CLIENT_INITIATED, STATUS_DIALING, false, 900); }
static void the_trunk_failed_in_the_new_way(struct history *h) { dial_and_end(h, REASON_SIP_TRUNK_FAILURE, STATUS_DIALING, false, 900); }

static void moved_and_answered(struct history *h)
{
	struct who again = CALLEE;
	again.sid = "PA_again";
	again.joined_ms = 3000;
	dial(h);
	leaves(h, &CALLEE, REASON_MIGRATION, STATUS_RINGING, false, 2900);
	joins(h, &again, STATUS_DIALING, 3030);
	publishes(h, &again, "TR_again", 3060);
	leaves(h, &again, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 12000);
	agent_goes(h, 13000);
}

/* ---- inbound ---- */

static void agent_answers(struct history *h, int64_t at_ms)
{
	struct who agent = AGENT;
	agent.joined_ms = at_ms - 200;
	joins(h, &agent, STATUS_NONE, at_ms - 150);
	publishes(h, &agent, "TR_agent", at_ms);
}

static void answering_agent_goes(struct history *h, int64_t published_ms, int64_t at_ms)
{
	unpublishes(h, &AGENT, "TR_agent", published_ms, at_ms);
	goes(h, &AGENT, REASON_CLIENT_INITIATED, at_ms);
	room_finished(h, at_ms + 1000);
}

static void caller_ends(struct history *h, enum disconnect_reason r, enum sip_status s, int64_t at_ms)
{
	unpublishes(h, &CALLER, "TR_caller", 60, at_ms);
	leaves(h, &CALLER, r, s, true, at_ms);
}

static void caller_talked(struct history *h)
{
	call_in(h);
	agent_answers(h, 1500);
	caller_ends(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, 8000);
	answering_agent_goes(h, 1500, 9000);
}

static void caller_lost_the_media(struct history *h)
{
	call_in(h);
	agent_answers(h, 1500);
	caller_ends(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, 25000);
	answering_agent_goes(h, 1500, 26000);
}

static void caller_never_confirmed(struct history *h)
{
	call_in(h);
	agent_answers(h, 1500);
	caller_ends(h, REASON_CLIENT_INITIATED, STATUS_ACTIVE, 33000);
	answering_agent_goes(h, 1500, 34000);
}

static void caller_gave_up_alone(struct history *h)
{
	call_in(h);
	caller_ends(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, 8000);
	room_finished(h, 10000);
}

static void caller_gave_up_on_a_failed_agent(struct history *h)
{
	call_in(h);
	joins(h, &SILENT_AGENT, STATUS_NONE, 530);
	goes(h, &SILENT_AGENT, REASON_AGENT_ERROR, 2000);
	caller_ends(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, 8000);
	room_finished(h, 10000);
}

static void caller_gave_up_as_the_agent_came(struct history *h)
{
	call_in(h);
	caller_ends(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, 5100);
	agent_answers(h, 5600);
	answering_agent_goes(h, 5600, 6500);
}

static void caller_was_rejected(struct history *h)
{
	call_in(h);
	joins(h, &SILENT_AGENT, STATUS_NONE, 530);
	caller_ends(h, REASON_PARTICIPANT_REMOVED, STATUS_RINGING, 4000);
	goes(h, &SILENT_AGENT, REASON_CLIENT_INITIATED, 5000);
	room_finished(h, 7000);
}

static void caller_waited_for_a_phone_that_was_busy(struct history *h)
{
	call_in(h);
	joins(h, &SECOND, STATUS_DIALING, 9040);
	publishes(h, &SECOND, "TR_2", 9100);
	leaves(h, &SECOND, REASON_USER_REJECTED, STATUS_RINGING, false, 11000);
	caller_ends(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, 13000);
	room_finished(h, 15000);
}

static void caller_and_a_restarted_server(struct history *h)
{
	struct who again = CALLER;
	again.sid = "PA_again";
	again.joined_ms = 12000;
	call_in(h);
	agent_answers(h, 1500);
	room_started(h);
	joins(h, &again, STATUS_RINGING, 12040);
	leaves(h, &again, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 20000);
	room_finished(h, 22000);
}

/* ---- web ---- */

static void user_and_silent_agent(struct history *h)
{
	room_started(h);
	joins(h, &USER, STATUS_NONE, 40);
	joins(h, &SILENT_AGENT, STATUS_NONE, 530);
	goes(h, &USER, REASON_CLIENT_INITIATED, 6000);
	goes(h, &SILENT_AGENT, REASON_CLIENT_INITIATED, 7000);
	room_finished(h, 9000);
}

static void user_whose_agent_failed(struct history *h)
{
	room_started(h);
	joins(h, &USER, STATUS_NONE, 40);
	joins(h, &SILENT_AGENT, STATUS_NONE, 530);
	goes(h, &SILENT_AGENT, REASON_AGENT_ERROR, 3000);
	goes(h, &USER, REASON_CLIENT_INITIATED, 6000);
	room_finished(h, 9000);
}

static void user_gone_before_the_agent_came(struct history *h)
{
	struct who late = SILENT_AGENT;
	late.joined_ms = 4000;
	room_started(h);
	joins(h, &USER, STATUS_NONE, 40);
	publishes(h, &USER, "TR_user", 300);
	unpublishes(h, &USER, "TR_user", 300, 3000);
	goes(h, &USER, REASON_CLIENT_INITIATED, 3000);
	joins(h, &late, STATUS_NONE, 4040);
	goes(h, &late, REASON_ROOM_CLOSED, 5500);
	room_finished(h, 5500);
}

static void user_for_a_blink(struct history *h)
{
	room_started(h);
	joins(h, &SILENT_AGENT, STATUS_NONE, 530);
	struct who blink = USER;
	blink.joined_ms = 1900;
	joins(h, &blink, STATUS_NONE, 1960);
	goes(h, &blink, REASON_CLIENT_INITIATED, 2040);
	goes(h, &SILENT_AGENT, REASON_CLIENT_INITIATED, 3000);
	room_finished(h, 5000);
}

/* A user in the browser dials somebody out, who is busy. */
static void user_dialing_a_busy_phone(struct history *h)
{
	room_started(h);
	joins(h, &USER, STATUS_NONE, 40);
	joins(h, &SILENT_AGENT, STATUS_NONE, 530);
	joins(h, &SECOND, STATUS_DIALING, 9040);
	publishes(h, &SECOND, "TR_2", 9100);
	leaves(h, &SECOND, REASON_USER_REJECTED, STATUS_RINGING, false, 11000);
	goes(h, &USER, REASON_CLIENT_INITIATED, 16000);
	goes(h, &SILENT_AGENT, REASON_CLIENT_INITIATED, 17000);
	room_finished(h, 19000);
}

/* The user's connection died before the second one came; LiveKit noticed when that had gone. */
static void user_whom_only_a_dead_connection_met(struct history *h)
{
	static const struct who LATER = { .sid = "PA_later", .identity = "web-later", .kind = KIND_STANDARD, .joined_ms = 3000 };
	room_started(h);
	joins(h, &USER, STATUS_NONE, 40);
	publishes(h, &USER, "TR_user", 300);
	joins(h, &LATER, STATUS_NONE, 3030);
	goes(h, &LATER, REASON_CLIENT_INITIATED, 13000);
	unpublishes(h, &USER, "TR_user", 300, 21300);
	goes(h, &USER, REASON_CONNECTION_TIMEOUT, 21300);
	room_finished(h, 24000);
}

/* The same, with an agent who looked in while nobody was alive in the room. */
static void user_whom_nobody_met_alive(struct history *h)
{
	static const struct who LATER = { .sid = "PA_later", .identity = "web-later", .kind = KIND_STANDARD, .joined_ms = 15000 };
	struct who agent = SILENT_AGENT;
	agent.joined_ms = 12000;
	room_started(h);
	joins(h, &USER, STATUS_NONE, 5040);
	publishes(h, &USER, "TR_user", 5300);
	joins(h, &agent, STATUS_NONE, 12030);
	goes(h, &agent, REASON_CLIENT_INITIATED, 13700);
	joins(h, &LATER, STATUS_NONE, 15030);
	goes(h, &LATER, REASON_CLIENT_INITIATED, 23600);
	unpublishes(h, &USER, "TR_user", 5300, 29200);
	goes(h, &USER, REASON_CONNECTION_TIMEOUT, 29200);
	room_finished(h, 32000);
}

/* An ingress keeps the room open long after the first user, so the room's end says nothing of when that one left. */
static void users_who_missed_each_other_while_a_stream_ran(struct history *h)
{
	static const struct who LATER = { .sid = "PA_later", .identity = "web-later", .kind = KIND_STANDARD, .joined_ms = 100000 };
	static const struct who STREAM = { .sid = "PA_stream", .identity = "stream", .kind = KIND_INGRESS, .joined_ms = 5 };
	room_started(h);
	joins(h, &STREAM, STATUS_NONE, 10);
	joins(h, &USER, STATUS_NONE, 40);
	goes(h, &USER, REASON_CLIENT_INITIATED, 10000);
	joins(h, &LATER, STATUS_NONE, 100030);
	goes(h, &LATER, REASON_CLIENT_INITIATED, 120000);
	goes(h, &STREAM, REASON_CLIENT_INITIATED, 300000);
	room_finished(h, 302000);
}

static void agent_and_user_until_a_transfer_failed(struct history *h)
{
	room_started(h);
	joins(h, &USER, STATUS_NONE, 40);
	joins(h, &SILENT_AGENT, STATUS_NONE, 530);
	joins(h, &SECOND, STATUS_DIALING, 9040);
	leaves(h, &SECOND, REASON_PARTICIPANT_REMOVED, STATUS_RINGING, false, 31000);
	goes(h, &USER, REASON_CLIENT_INITIATED, 36000);
	goes(h, &SILENT_AGENT, REASON_CLIENT_INITIATED, 37000);
	room_finished(h, 39000);
}

static void caller_gone_before_the_dialed_phone_was_taken(struct history *h)
{
	call_in(h);
	joins(h, &SECOND, STATUS_DIALING, 9040);
	publishes(h, &SECOND, "TR_2", 9100);
	caller_ends(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, 13000);
	unpublishes(h, &SECOND, "TR_2", 9100, 16000);
	leaves(h, &SECOND, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 16000);
	room_finished(h, 18000);
}

/* The agent stays, but has ended its audio before the caller comes. */
static void caller_whom_the_agent_had_muted_itself_for(struct history *h)
{
	struct who late = CALLER;
	late.joined_ms = 5000;
	room_started(h);
	joins(h, &AGENT, STATUS_NONE, 30);
	publishes(h, &AGENT, "TR_agent", 60);
	unpublishes(h, &AGENT, "TR_agent", 60, 3000);
	joins(h, &late, STATUS_RINGING, 5030);
	leaves(h, &late, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 9000);
	goes(h, &AGENT, REASON_CLIENT_INITIATED, 10000);
	room_finished(h, 12000);
}

/* An old server, which tells joining to the second and takes a second more to connect: the user's audio ended just before. */
static void caller_who_connected_after_the_audio_had_ended(struct history *h)
{
	struct who late = CALLER;
	late.joined_ms = 11000;
	room_started(h);
	joins(h, &USER, STATUS_NONE, 40);
	publishes(h, &USER, "TR_user", 11250);
	unpublishes(h, &USER, "TR_user", 11250, 11990);
	joins(h, &late, STATUS_RINGING, 12300);
	h->events[h->n - 1].participant.joined_at_whole_s = true;
	goes(h, &USER, REASON_CLIENT_INITIATED, 15800);
	leaves(h, &late, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 18900);
	h->events[h->n - 1].participant.joined_at_whole_s = true;
	room_finished(h, 21000);
}

/* Of the second attempt, which was answered, nothing but the tracks and the room's end need arrive. */
static void busy_says_the_dialer_then_answered(struct history *h)
{
	dial(h);
	leaves(h, &CALLEE, REASON_USER_REJECTED, STATUS_RINGING, false, 2000);
	marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 486, 2050)->mark.sip_call_id = slice_cstr(CALLEE.call);
	joins(h, &SECOND, STATUS_DIALING, 9040);
	publishes(h, &SECOND, "TR_2", 9100);
	leaves(h, &SECOND, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 20000);
	agent_goes(h, 21000);
}

/* ---- with second witnesses, who tell the truth, but do not all say which leg they mean ---- */

static struct event *dialer_says(struct history *h, int code, int64_t at_ms) { return marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, code, at_ms); }

static void fast_leg(struct history *h, enum disconnect_reason r, enum sip_status status, bool tag, int64_t at_ms)
{
	joins(h, &SECOND, STATUS_DIALING, 9040);
	leaves(h, &SECOND, r, status, tag, at_ms);
}

static void busy_by_a_nameless_word_then_answered(struct history *h)
{
	dial(h);
	leaves(h, &CALLEE, REASON_USER_REJECTED, STATUS_RINGING, false, 2000);
	(void)dialer_says(h, 486, 2050);
	fast_leg(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 20000);
	(void)marks(h, MARK_ANSWERED, MARK_SOURCE_DIALER, 0, 11000);
	agent_goes(h, 21000);
}

static void answered_then_a_colleague_was_busy(struct history *h)
{
	dial(h);
	(void)marks(h, MARK_ANSWERED, MARK_SOURCE_DIALER, 0, 3000);
	fast_leg(h, REASON_USER_REJECTED, STATUS_DIALING, false, 9700);
	(void)dialer_says(h, 486, 9750);
	leaves(h, &CALLEE, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 20000);
	agent_goes(h, 21000);
}

static void busy_then_no_trunk(struct history *h)
{
	dial(h);
	leaves(h, &CALLEE, REASON_USER_REJECTED, STATUS_RINGING, false, 2000);
	(void)dialer_says(h, 486, 2050);
	fast_leg(h, REASON_CLIENT_INITIATED, STATUS_DIALING, false, 9400);
	(void)dialer_says(h, 503, 9450);
	agent_goes(h, 11000);
}

static void no_trunk_then_busy(struct history *h)
{
	dial(h);
	leaves(h, &CALLEE, REASON_CLIENT_INITIATED, STATUS_DIALING, false, 400);
	(void)dialer_says(h, 503, 450);
	fast_leg(h, REASON_USER_REJECTED, STATUS_DIALING, false, 9400);
	(void)dialer_says(h, 486, 9450);
	agent_goes(h, 11000);
}

static void removed_then_busy(struct history *h)
{
	dial(h);
	leaves(h, &CALLEE, REASON_PARTICIPANT_REMOVED, STATUS_RINGING, false, 8000);
	fast_leg(h, REASON_USER_REJECTED, STATUS_RINGING, false, 12000);
	(void)dialer_says(h, 486, 12010);
	agent_goes(h, 13000);
}

static void answered_by_a_machine(struct history *h)
{
	dial_and_end(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 9000);
	(void)marks(h, MARK_MACHINE, MARK_SOURCE_AGENT, 0, 3000);
}

static void an_announcement_taken_for_a_machine(struct history *h)
{
	dial_and_end(h, REASON_USER_UNAVAILABLE, STATUS_RINGING, false, 9000);
	(void)marks(h, MARK_MACHINE, MARK_SOURCE_AGENT, 0, 3000);
	(void)dialer_says(h, 404, 9010);
}

static void answered_until_the_media_stopped_says_the_watcher(struct history *h)
{
	dial_and_end(h, REASON_CLIENT_INITIATED, STATUS_ACTIVE, true, 22000);
	struct event *m = marks(h, MARK_ANSWERED, MARK_SOURCE_WATCHER, 0, 3000);
	m->mark.sip_call_id = slice_cstr(CALLEE.call);
	m->mark.within_ms = 600;
}

/* Beside a user and an agent who talk, the app dials somebody; the trunk refuses before the leg is in the room. */
static void user_talked_and_a_dialed_colleague_never_came(struct history *h)
{
	room_started(h);
	joins(h, &USER, STATUS_NONE, 40);
	joins(h, &AGENT, STATUS_NONE, 60);
	publishes(h, &AGENT, "TR_agent", 90);
	(void)dialer_says(h, 503, 5000);
	goes(h, &USER, REASON_CLIENT_INITIATED, 15000);
	agent_goes(h, 16000);
}

/* An operator and an agent wait in the room for a phone that the trunk refuses: that attempt was the call. */
static void operator_waited_for_a_refused_phone(struct history *h)
{
	user_talked_and_a_dialed_colleague_never_came(h);
}

static void caller_gave_up_says_the_carrier(struct history *h)
{
	call_in(h);
	caller_ends(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, 9000);
	(void)marks(h, MARK_SIP_RESULT, MARK_SOURCE_CARRIER, 487, 9000);
	room_finished(h, 11000);
}

static void caller_was_helped_says_the_agent(struct history *h)
{
	caller_talked(h);
	(void)marks(h, MARK_ANSWERED, MARK_SOURCE_AGENT, 0, 4000);
	(void)marks(h, MARK_HUMAN, MARK_SOURCE_AGENT, 0, 5000);
}

static void refused_with_a_wrong_word_taken_back(struct history *h)
{
	dial_and_end(h, REASON_USER_REJECTED, STATUS_DIALING, false, 700);
	dialer_says(h, 486, 700)->mark.posted_ms = T0 + 800;
	dialer_says(h, 403, 700)->mark.posted_ms = T0 + 5000;
}

static const struct scenario SCENARIOS[] = {
	{ "busy by a nameless word, then answered", busy_by_a_nameless_word_then_answered, DONE },
	{ "answered, then a colleague was busy", answered_then_a_colleague_was_busy, DONE },
	{ "busy, then no trunk", busy_then_no_trunk, FAILED },
	{ "no trunk, then busy", no_trunk_then_busy, BUSY },
	{ "removed, then busy", removed_then_busy, BUSY },
	{ "answered by a machine", answered_by_a_machine, DONE },
	{ "an announcement taken for a machine", an_announcement_taken_for_a_machine, FAILED },
	{ "answered until the media stopped, says the watcher", answered_until_the_media_stopped_says_the_watcher, FAILED },
	{ "user talked, and a dialed colleague never came", user_talked_and_a_dialed_colleague_never_came, DONE },
	{ "operator waited for a refused phone", operator_waited_for_a_refused_phone, FAILED | NEEDS_MARKS },
	{ "caller gave up, says the carrier", caller_gave_up_says_the_carrier, UNANSWERED },
	{ "caller was helped, says the agent", caller_was_helped_says_the_agent, DONE },
	{ "refused, with a wrong word taken back", refused_with_a_wrong_word_taken_back, FAILED | NEEDS_MARKS },
	{ "answered and hung up", answered_and_hung_up, DONE },
	{ "answered, then the agent failed", answered_then_the_agent_failed, FAILED },
	{ "answered with an agent that failed at once", answered_with_an_agent_that_failed_at_once, FAILED },
	{ "answered until the media stopped", answered_until_the_media_stopped, FAILED },
	{ "busy, then answered", busy_then_answered, DONE },
	{ "removed while ringing, then answered", removed_while_ringing_then_answered, DONE },
	{ "rang to the limit, then no trunk", rang_to_the_limit_then_no_trunk, FAILED },
	{ "first leg lost its media, second hung up", first_leg_lost_its_media_second_hung_up, FAILED },
	{ "removed while ringing", removed_while_ringing, UNANSWERED },
	{ "deleted while a silent trunk was tried", deleted_while_a_silent_trunk_was_tried, FAILED },
	{ "rejected by the trunk", rejected_by_the_trunk, FAILED },
	{ "no such number, after an announcement", no_such_number, FAILED },
	{ "declined, old SIP service", declined_in_the_old_way, BUSY },
	{ "trunk failed, new SIP service", the_trunk_failed_in_the_new_way, FAILED },
	{ "moved and answered", moved_and_answered, DONE },
	{ "caller talked", caller_talked, DONE },
	{ "caller lost the media", caller_lost_the_media, FAILED },
	{ "caller never confirmed", caller_never_confirmed, FAILED },
	{ "caller gave up alone", caller_gave_up_alone, UNANSWERED },
	{ "caller gave up on a failed agent", caller_gave_up_on_a_failed_agent, FAILED },
	{ "caller gave up as the agent came", caller_gave_up_as_the_agent_came, UNANSWERED },
	{ "caller was rejected", caller_was_rejected, UNANSWERED },
	{ "caller waited for a phone that was busy", caller_waited_for_a_phone_that_was_busy, UNANSWERED | BUSY },
	{ "caller and a restarted server", caller_and_a_restarted_server, DONE },
	{ "user and silent agent", user_and_silent_agent, DONE },
	{ "user whose agent failed", user_whose_agent_failed, FAILED },
	{ "user gone before the agent came", user_gone_before_the_agent_came, UNANSWERED },
	{ "user for a blink", user_for_a_blink, UNANSWERED | FAILED },
	{ "user dialing a busy phone", user_dialing_a_busy_phone, BUSY },
	{ "user whom only a dead connection met", user_whom_only_a_dead_connection_met, UNANSWERED | FAILED },
	{ "user whom nobody met alive", user_whom_nobody_met_alive, UNANSWERED | FAILED },
	{ "users who missed each other while a stream ran", users_who_missed_each_other_while_a_stream_ran, UNANSWERED },
	{ "agent and user until a transfer failed", agent_and_user_until_a_transfer_failed, DONE },
	{ "caller gone before the dialed phone was taken", caller_gone_before_the_dialed_phone_was_taken, UNANSWERED },
	{ "caller whom the agent had muted itself for", caller_whom_the_agent_had_muted_itself_for, UNANSWERED },
	{ "caller who connected after the audio had ended", caller_who_connected_after_the_audio_had_ended, UNANSWERED },
	{ "busy, says the dialer, then answered", busy_says_the_dialer_then_answered, DONE },
};

/* Judges the history without the events i and k (equal: without one). */
static struct verdict without(const struct history *h, size_t i, size_t k, struct arena *a)
{
	struct facts *f;
	struct verdict v;
	assert_int_equal(facts_new(a, SLICE("RM_1"), &f), 0);
	for (size_t e = 0; e < h->n; e++)
		if (e != i && e != k)
			assert_int_equal(facts_fold(f, &h->events[e]), 0);
	assert_int_equal(verdict_classify(f, VERDICT_RULES_VERSION, FAR_FUTURE, a, &v), 0);
	return v;
}

static long check(const struct scenario *s, size_t withheld)
{
	_cleanup_history_ struct history *h = history_new();
	long wrong = 0;
	s->make(h);
	for (size_t i = 0; i < h->n; i++)
		for (size_t k = withheld == 2 ? i + 1 : i; k < (withheld == 2 ? h->n : i + 1); k++) {
			_cleanup_arena_ struct arena *a = arena_new(32 * 1024);
			size_t none = h->n;
			if ((s->accepted & NEEDS_MARKS) && (h->events[i].type == EVENT_MARK || h->events[k].type == EVENT_MARK))
				continue;
			struct verdict v = withheld == 0 ? without(h, none, none, a) : without(h, i, k, a);
			if (v.confidence != CONFIDENCE_CERTAIN || (s->accepted & 1u << v.outcome))
				continue;
			wrong++;
			print_error("%s, without %.*s (%.*s) and %.*s (%.*s): certainly %s by %.*s\n", s->name, SLICE_FMT(h->events[i].id),
				SLICE_FMT(h->events[i].type_name), SLICE_FMT(h->events[k].id), SLICE_FMT(h->events[k].type_name), outcome_name(v.outcome),
				SLICE_FMT(v.rule));
		}
	return wrong;
}

static void check_all(size_t withheld)
{
	long wrong = 0;
	for (size_t i = 0; i < sizeof SCENARIOS / sizeof SCENARIOS[0]; i++)
		wrong += check(&SCENARIOS[i], withheld);
	assert_int_equal(wrong, 0);
}

static void with_all_events_nothing_is_certain_and_wrong(void **state)
{
	(void)state;
	check_all(0);
}

static void with_any_event_withheld_nothing_is_certain_and_wrong(void **state)
{
	(void)state;
	check_all(1);
}

static void with_any_two_events_withheld_nothing_is_certain_and_wrong(void **state)
{
	(void)state;
	check_all(2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_all_events_nothing_is_certain_and_wrong),
		cmocka_unit_test(with_any_event_withheld_nothing_is_certain_and_wrong),
		cmocka_unit_test(with_any_two_events_withheld_nothing_is_certain_and_wrong),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
