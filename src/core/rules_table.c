/* The rules: one row a way a call can end. The first row that fits fires, so special rows stand before general ones.
 *
 * What the rows rest on: LiveKit's SIP service before May 2026 ("A"), until August 2026 ("B") and after ("C") report the same end in
 * different words; a row must be right for all three, or name the others as alternatives. In short:
 *   - sip.callTag on an outbound leg is there if and only if the far side answered, in every version.
 *   - `hangup` on an answered outbound leg is a BYE, the maximum duration, EndCall or a finished transfer. A leg that ends without
 *     it while answered was cut: media lost (15 s after the last packet, 30 s without any) or the SIP service stopped.
 *   - USER_REJECTED is 486 in A, every refusal in B and C, also an answer without a common codec.
 *   - CLIENT_INITIATED without an answer is every other failure in A, a 5xx or a network error in B, SIP_TRUNK_FAILURE in C.
 *   - 31 to 33 s in `dialing` is the INVITE's own time limit (RFC 3261 timer B): nobody is there.
 *   - 180 s of ringing is LiveKit's default limit.
 *   - An inbound leg always leaves with CLIENT_INITIATED unless the room or the app ended it; its `hangup` may be BYE, CANCEL or lost
 *     media. It was answered when it could hear somebody. The default ring limit is 180 s there, too.
 * Immutable; any thread. */
#include "core/rules.h"

#define OUT RULE_OUT
#define IN RULE_IN
#define WEB (RULE_WEB | RULE_PHONE)
#define SIP (RULE_OUT | RULE_IN)
#define EVERY (SIP | WEB)
#define NO ANSWER_NO
#define MAYBE ANSWER_MAYBE
#define YES ANSWER_YES
#define ANY (ANSWER_NO | ANSWER_MAYBE | ANSWER_YES)
#define R(r) RULE_REASON(REASON_##r)
#define NO_LEAVE RULE_NO_LEAVE
#define ANY_R 0xffffffffu
#define S(s) RULE_STATUS(STATUS_##s)
#define ANY_S 0xffffffffu
#define NOT_RUNG (S(NONE) | S(DIALING))
#define NOT_HUNG_UP (S(NONE) | S(DIALING) | S(RINGING) | S(AUTOMATION) | S(ACTIVE))
#define APP_ENDED (R(ROOM_DELETED) | R(PARTICIPANT_REMOVED))
#define LOST (R(CONNECTION_TIMEOUT) | R(SIGNAL_CLOSE))
#define C(c) (1u << CODE_##c)

#define SEEN_ALL (NEED_LIMITS | NEED_KINDS | NEED_LEGS | NEED_ATTRIBUTES | NEED_NO_MEETING)
#define CODE_SEEN ((SEEN_ALL & ~NEED_ATTRIBUTES) | NEED_DIALER | NEED_CODE_FITS | NEED_NOTHING_AFTER)
#define TALKED (SEEN_ALL | NEED_PROOF | NEED_COUNTERPART | NEED_AGENTS)

#define COMPLETED OUTCOME_COMPLETED
#define NO_ANSWER OUTCOME_NO_ANSWER
#define BUSY OUTCOME_BUSY
#define FAILED OUTCOME_FAILED
#define UNKNOWN OUTCOME_UNKNOWN
#define CERTAIN CONFIDENCE_CERTAIN
#define LIKELY CONFIDENCE_LIKELY
#define AMBIGUOUS CONFIDENCE_AMBIGUOUS

/* name, direction, answered, reasons, statuses, then the verdict: outcome, why, confidence, fault, explanation; the rest by name */
#define ROW(name_, dir, ans, reasons, statuses, outcome_, why_, conf, fault_, text, ...) \
	{ .name = (name_), .direction = (dir), .answer = (ans), .reason = (reasons), .status = (statuses), .outcome = (outcome_), \
	  .why = VERDICT_##why_, .confidence = (conf), .fault = FAULT_##fault_, .explanation = (text), __VA_ARGS__ },
#define OR(...) .alternatives = { __VA_ARGS__ }
#define ALT(outcome, why) { outcome, VERDICT_##why }

static const struct rule RULES[] = {
	/* ---- witnesses ---- */
	ROW("witness-machine", SIP, YES, ANY_R, ANY_S, COMPLETED, MACHINE, LIKELY, NONE,
	  "It was answered, and a witness says that a machine did.", .flags = FLAG_MACHINE)
	ROW("witness-transferred", EVERY, YES, ANY_R, ANY_S, COMPLETED, TRANSFERRED, LIKELY, NONE,
	  "It was answered, and a witness says that it was transferred.", .flags = FLAG_TRANSFERRED)
	ROW("witness-max-duration", SIP, YES, R(CLIENT_INITIATED) | APP_ENDED | R(ROOM_CLOSED) | NO_LEAVE, ANY_S, COMPLETED, MAX_DURATION, LIKELY,
	  NONE, "It was answered, and a witness says that the maximum duration ended it.", .flags = FLAG_MAX_DURATION, OR(ALT(COMPLETED, HANGUP)))
	ROW("code-rate-limited", OUT, NO | MAYBE, ANY_R, ANY_S, FAILED, RATE_LIMITED, LIKELY, TRUNK,
	  "A witness's result ({code}) says that the trunk takes no more calls now.",
	  .codes = C(RATE_LIMITED), OR(ALT(FAILED, TRUNK_FAILURE)))
	ROW("code-blocked", OUT, NO | MAYBE, ANY_R, ANY_S, FAILED, CARRIER_BLOCKED, LIKELY, TRUNK,
	  "A witness's result ({code}) says that the carrier blocked the call.",
	  .codes = C(BLOCKED), OR(ALT(BUSY, DECLINED)))
	ROW("code-busy", OUT, NO | MAYBE, ANY_R, ANY_S, BUSY, BUSY, CERTAIN, CALLEE,
	  "A witness has the result {code}: the callee was busy.",
	  .codes = C(BUSY), .needs = CODE_SEEN)
	ROW("code-declined", OUT, NO | MAYBE, ANY_R, ANY_S, BUSY, DECLINED, CERTAIN, CALLEE,
	  "A witness has the result {code}: the callee declined.",
	  .codes = C(DECLINED), .needs = CODE_SEEN)
	ROW("code-forbidden", OUT, NO | MAYBE, ANY_R, ANY_S, FAILED, AUTH_OR_FORBIDDEN, CERTAIN, TRUNK,
	  "A witness has the result {code}: the trunk refused the call.",
	  .codes = C(FORBIDDEN), .needs = CODE_SEEN)
	ROW("code-media", OUT, NO | MAYBE, ANY_R, ANY_S, FAILED, MEDIA_FAILURE, CERTAIN, TRUNK,
	  "A witness has the result {code}: no media could be agreed on.",
	  .codes = C(MEDIA), .needs = CODE_SEEN)
	ROW("code-invalid-number", OUT, NO | MAYBE, ANY_R, ANY_S, FAILED, INVALID_NUMBER, CERTAIN, APP,
	  "A witness has the result {code}: there is no such number.",
	  .codes = C(INVALID), .needs = CODE_SEEN)
	ROW("code-unavailable", OUT, NO | MAYBE, ANY_R, ANY_S, NO_ANSWER, UNAVAILABLE, CERTAIN, CALLEE,
	  "A witness has the result {code}: the callee could not be reached.",
	  .codes = C(UNAVAILABLE), .needs = CODE_SEEN)
	ROW("code-timeout", OUT, NO | MAYBE, ANY_R, ANY_S, NO_ANSWER, UNAVAILABLE, LIKELY, CALLEE,
	  "A witness has the result {code}: the far side gave up waiting.",
	  .codes = C(TIMEOUT), OR(ALT(NO_ANSWER, RING_TIMEOUT), ALT(FAILED, TRUNK_FAILURE)))
	ROW("out-rang-to-limit", OUT, NO, R(USER_UNAVAILABLE), S(RINGING), NO_ANSWER, RING_TIMEOUT, CERTAIN, CALLEE,
	  "It rang for {seconds} s, LiveKit's limit, and nobody answered.",
	  .codes = C(NONE) | C(RING_TIMEOUT), .min_s = 178, .max_s = 182, .needs = SEEN_ALL | NEED_ONE_SESSION | NEED_NOTHING_AFTER)
	ROW("code-ring-timeout", OUT, NO | MAYBE, ANY_R, ANY_S, NO_ANSWER, RING_TIMEOUT, LIKELY, CALLEE,
	  "A witness's result says that LiveKit's time limit for the attempt ran out.",
	  .codes = C(RING_TIMEOUT), OR(ALT(NO_ANSWER, CANCELED), ALT(FAILED, TRUNK_FAILURE)))
	ROW("code-canceled", OUT, NO | MAYBE, ~APP_ENDED, ANY_S, NO_ANSWER, CANCELED, LIKELY, APP,
	  "A witness has the result {code}: the attempt was canceled before anybody answered.",
	  .codes = C(CANCELED), OR(ALT(NO_ANSWER, RING_TIMEOUT)))
	ROW("code-trunk", OUT, NO | MAYBE, ANY_R, ANY_S, FAILED, TRUNK_FAILURE, CERTAIN, TRUNK,
	  "A witness has the result {code}: the trunk failed.",
	  .codes = C(TRUNK), .needs = CODE_SEEN)
	ROW("code-unreachable", OUT, NO | MAYBE, ~R(SIP_TRUNK_FAILURE), ANY_S, FAILED, TRUNK_FAILURE, LIKELY, TRUNK,
	  "A witness's result says that nothing answered at the trunk's address.",
	  .codes = C(UNREACHABLE), OR(ALT(NO_ANSWER, UNAVAILABLE)))
	ROW("code-other", OUT, NO | MAYBE, ANY_R, ANY_S, FAILED, SETUP_FAILED, LIKELY, UNKNOWN,
	  "A witness has the result {code}: the call was not answered.",
	  .codes = C(OTHER), OR(ALT(NO_ANSWER, UNANSWERED)))
	ROW("in-code-canceled", IN, NO | MAYBE, ANY_R, ANY_S, NO_ANSWER, CALLER_ABANDONED, LIKELY, CALLER,
	  "A witness has the result {code}: the caller gave up before anybody answered.",
	  .codes = C(CANCELED), OR(ALT(NO_ANSWER, AGENT_UNAVAILABLE)))
	ROW("in-code", IN, NO | MAYBE, ANY_R, ANY_S, NO_ANSWER, AGENT_UNAVAILABLE, LIKELY, AGENT,
	  "A witness has the result {code}: the call was not taken.",
	  .codes = ~C(NONE), OR(ALT(FAILED, SETUP_FAILED), ALT(NO_ANSWER, CALLER_ABANDONED)))

	/* ---- the agent failed ---- */
	ROW("agent-error", EVERY, YES, R(CLIENT_INITIATED) | APP_ENDED | R(ROOM_CLOSED) | NO_LEAVE, ANY_S, FAILED, AGENT_ERROR, LIKELY, AGENT,
	  "It was answered, but the agent left with AGENT_ERROR shortly before the end and no other took over.",
	  .flags = FLAG_AGENT_ERROR, OR(ALT(COMPLETED, HANGUP)))
	ROW("agent-error-unanswered", IN | WEB, NO | MAYBE, ANY_R, ANY_S, FAILED, AGENT_ERROR, LIKELY, AGENT,
	  "The agent left with AGENT_ERROR before anybody could talk to it.", .flags = FLAG_AGENT_ERROR, OR(ALT(NO_ANSWER, AGENT_UNAVAILABLE)))
	ROW("agent-error-dialing", OUT, NO, APP_ENDED | R(ROOM_CLOSED), ANY_S, FAILED, AGENT_ERROR, LIKELY, AGENT,
	  "The agent left with AGENT_ERROR and the attempt was ended ({reason}) before anybody answered.",
	  .flags = FLAG_AGENT_ERROR, OR(ALT(NO_ANSWER, CANCELED)))

	/* ---- outbound, answered ---- */
	ROW("out-hangup", OUT, YES, R(CLIENT_INITIATED), S(HANGUP), COMPLETED, HANGUP, CERTAIN, NONE,
	  "The callee answered (sip.callTag) and the call was hung up: status hangup comes with a BYE, the maximum duration, EndCall or a "
	  "finished transfer, never with lost media.", .needs = TALKED)
	ROW("out-app-ended", OUT, YES, APP_ENDED, ANY_S, COMPLETED, AGENT_HANGUP, CERTAIN, NONE,
	  "The callee answered (sip.callTag); the app or the agent ended the call ({reason}).", .needs = TALKED)
	ROW("out-hangup-then-more", OUT, YES, ~(NO_LEAVE | R(SIP_TRUNK_FAILURE) | R(MEDIA_FAILURE)), S(HANGUP), COMPLETED, HANGUP, LIKELY, NONE,
	  "The callee answered and the status says hangup; {reason} came after it.", OR(ALT(FAILED, CONNECTION_LOST)))
	ROW("out-cut-early", OUT, YES, R(CLIENT_INITIATED), NOT_HUNG_UP, FAILED, SERVER_SHUTDOWN, LIKELY, LIVEKIT,
	  "The callee answered, but the leg ended after {seconds} s without a hang-up, too early for lost media: the SIP service stopped.",
	  .max_s = 13, OR(ALT(FAILED, MEDIA_TIMEOUT), ALT(COMPLETED, HANGUP)))
	ROW("out-media-lost", OUT, YES, R(CLIENT_INITIATED), NOT_HUNG_UP, FAILED, MEDIA_TIMEOUT, LIKELY, UNKNOWN,
	  "The callee answered, but the leg ended without a hang-up (status {status}): the audio stopped arriving, or the SIP service stopped.",
	  OR(ALT(FAILED, SERVER_SHUTDOWN), ALT(COMPLETED, HANGUP)))
	ROW("out-rejected-after-answer", OUT, YES, R(USER_REJECTED) | R(USER_UNAVAILABLE), NOT_HUNG_UP, COMPLETED, HANGUP, AMBIGUOUS, UNKNOWN,
	  "There is proof of an answer, yet the leg left with {reason}.", OR(ALT(BUSY, REJECTED_AMBIGUOUS), ALT(FAILED, SETUP_FAILED)))

	/* ---- outbound, answered or not is unknown ---- */
	ROW("out-gone-unanswered", OUT, MAYBE, NO_LEAVE, ANY_S, NO_ANSWER, UNANSWERED, AMBIGUOUS, UNKNOWN,
	  "The leg's participant_left is lost. LiveKit showed it unanswered when the watcher asked last, and then no more.",
	  .flags = FLAG_GONE_UNANSWERED, OR(ALT(BUSY, REJECTED_AMBIGUOUS), ALT(FAILED, TRUNK_FAILURE), ALT(COMPLETED, HANGUP)))
	ROW("out-leave-lost-long", OUT, MAYBE, NO_LEAVE, ANY_S, COMPLETED, HANGUP, LIKELY, UNKNOWN,
	  "The leg's participant_left is lost, but it was there for {seconds} s, longer than LiveKit lets a phone ring.",
	  .min_s = 185, OR(ALT(NO_ANSWER, RING_TIMEOUT), ALT(FAILED, MEDIA_TIMEOUT)))
	ROW("out-leave-lost", OUT, MAYBE, NO_LEAVE, ANY_S, UNKNOWN, EVENTS_LOST, AMBIGUOUS, UNKNOWN,
	  "The leg's participant_left is lost, and only that tells whether an outbound call was answered.",
	  OR(ALT(COMPLETED, HANGUP), ALT(NO_ANSWER, UNANSWERED), ALT(BUSY, REJECTED_AMBIGUOUS)))
	ROW("out-active-app-ended", OUT, MAYBE, APP_ENDED | R(ROOM_CLOSED), S(AUTOMATION) | S(ACTIVE), COMPLETED, AGENT_HANGUP, LIKELY, NONE,
	  "The status was {status}, as after an answer, though sip.callTag is missing; the app ended the call ({reason}).",
	  OR(ALT(NO_ANSWER, CANCELED)))
	ROW("out-active-lost", OUT, MAYBE, ~(APP_ENDED | R(ROOM_CLOSED) | NO_LEAVE), S(AUTOMATION) | S(ACTIVE), COMPLETED, HANGUP, AMBIGUOUS, UNKNOWN,
	  "The status was {status}, as after an answer, though sip.callTag is missing; a hang-up and lost media look alike here.",
	  OR(ALT(FAILED, MEDIA_TIMEOUT), ALT(FAILED, CONNECTION_LOST)))
	ROW("out-no-attributes", OUT, MAYBE, R(CLIENT_INITIATED) | APP_ENDED | R(ROOM_CLOSED), ANY_S, COMPLETED, HANGUP, AMBIGUOUS, UNKNOWN,
	  "The leg has no sip.* attributes, so whether it was answered cannot be told; it ended with {reason}.",
	  OR(ALT(NO_ANSWER, UNANSWERED), ALT(FAILED, TRUNK_FAILURE)))

	/* ---- outbound, not answered ---- */
	ROW("out-rejected-ringing", OUT, NO, R(USER_REJECTED), S(RINGING), BUSY, REJECTED_AMBIGUOUS, LIKELY, CALLEE,
	  "It rang and was rejected: 486, 600 or 603. An answer without a common codec looks the same, and so does a dialer that gave up its "
	  "own request.",
	  OR(ALT(BUSY, DECLINED), ALT(FAILED, MEDIA_FAILURE), ALT(NO_ANSWER, CANCELED)))
	ROW("out-rejected", OUT, NO, R(USER_REJECTED), ANY_S, BUSY, REJECTED_AMBIGUOUS, AMBIGUOUS, UNKNOWN,
	  "It was rejected without ringing: busy (486), refused by the trunk (401, 403, 407), a bad number (484, 604) and unusable media "
	  "(488) send the same words, and so does a dialer that gave up its own request.",
	  OR(ALT(FAILED, AUTH_OR_FORBIDDEN), ALT(FAILED, INVALID_NUMBER), ALT(FAILED, MEDIA_FAILURE), ALT(NO_ANSWER, CANCELED)))
	ROW("out-unavailable-ringing", OUT, NO, R(USER_UNAVAILABLE), S(RINGING), NO_ANSWER, UNANSWERED, LIKELY, CALLEE,
	  "It rang and nobody answered: the ring limit, or 480 or 408 from the far side. A number that does not exist (404 after an "
	  "announcement) is the rare other cause.", OR(ALT(NO_ANSWER, RING_TIMEOUT), ALT(NO_ANSWER, UNAVAILABLE), ALT(FAILED, INVALID_NUMBER)))
	ROW("out-silent-trunk", OUT, NO, R(USER_UNAVAILABLE) | R(CLIENT_INITIATED), NOT_RUNG, FAILED, TRUNK_FAILURE, LIKELY, TRUNK,
	  "After {seconds} s in dialing the INVITE ran out of time: nothing answers at the trunk's address.",
	  .min_s = 31, .max_s = 33, OR(ALT(NO_ANSWER, UNAVAILABLE), ALT(NO_ANSWER, RING_TIMEOUT), ALT(BUSY, DECLINED)))
	ROW("out-never-rang", OUT, NO, R(USER_UNAVAILABLE), NOT_RUNG, NO_ANSWER, RING_TIMEOUT, LIKELY, UNKNOWN,
	  "The trunk took the call but nothing rang for {seconds} s, until the time limit.", .min_s = 34, OR(ALT(FAILED, TRUNK_FAILURE)))
	ROW("out-unavailable", OUT, NO, R(USER_UNAVAILABLE), ANY_S, FAILED, INVALID_NUMBER, AMBIGUOUS, UNKNOWN,
	  "Unavailable without ringing: the number does not exist (404), or the callee cannot be reached (480, 408).", OR(ALT(NO_ANSWER, UNAVAILABLE), ALT(NO_ANSWER, RING_TIMEOUT)))
	ROW("out-trunk-failure", OUT, NO, R(SIP_TRUNK_FAILURE), ANY_S, FAILED, TRUNK_FAILURE, CERTAIN, TRUNK,
	  "LiveKit says that the trunk failed: a 5xx, no answer at all, or a network error.",
	  .needs = (SEEN_ALL & ~NEED_ATTRIBUTES) | NEED_NOTHING_AFTER)
	ROW("out-ended-before-answer", OUT, NO, R(CLIENT_INITIATED), S(HANGUP), NO_ANSWER, CANCELED, LIKELY, APP,
	  "The attempt was ended before anybody answered: hangup without sip.callTag.", OR(ALT(COMPLETED, HANGUP)))
	ROW("out-rang-to-limit-or-failed", OUT, NO, R(CLIENT_INITIATED), S(RINGING), NO_ANSWER, RING_TIMEOUT, LIKELY, CALLEE,
	  "It rang for {seconds} s, LiveKit's limit, and nobody answered.", .min_s = 178, .max_s = 182, OR(ALT(FAILED, TRUNK_FAILURE)))
	ROW("out-rang", OUT, NO, R(CLIENT_INITIATED), S(RINGING), NO_ANSWER, UNANSWERED, AMBIGUOUS, UNKNOWN,
	  "It rang and was not answered. SIP services before May 2026 report a decline, the ring limit and a failure of the trunk alike; "
	  "later ones only a failure.", OR(ALT(BUSY, DECLINED), ALT(FAILED, TRUNK_FAILURE)))
	ROW("out-dialing-long", OUT, NO, R(CLIENT_INITIATED), NOT_RUNG, NO_ANSWER, RING_TIMEOUT, AMBIGUOUS, UNKNOWN,
	  "For {seconds} s nothing rang, longer than a silent trunk is waited for.", .min_s = 34,
	  OR(ALT(FAILED, TRUNK_FAILURE), ALT(BUSY, DECLINED)))
	ROW("out-dialing-failed", OUT, NO, R(CLIENT_INITIATED), ANY_S, FAILED, TRUNK_FAILURE, LIKELY, TRUNK,
	  "It failed in dialing: a 5xx, a name that does not resolve, a network error. With SIP services before May 2026 it may be any "
	  "refusal without ringing.", OR(ALT(FAILED, AUTH_OR_FORBIDDEN), ALT(BUSY, DECLINED), ALT(NO_ANSWER, UNAVAILABLE)))
	ROW("out-app-ended-ringing", OUT, NO, APP_ENDED, S(RINGING), NO_ANSWER, CANCELED, CERTAIN, APP,
	  "It rang, nobody answered (no sip.callTag), and the app ended the attempt ({reason}).",
	  .needs = TALKED | NEED_ONE_SESSION | NEED_NOTHING_AFTER)
	ROW("out-app-ended-dialing", OUT, NO, APP_ENDED, ANY_S, NO_ANSWER, CANCELED, LIKELY, APP,
	  "The app ended the attempt ({reason}) before anything rang.", OR(ALT(FAILED, TRUNK_FAILURE)))
	ROW("out-room-closed-unanswered", OUT, NO, R(ROOM_CLOSED), ANY_S, NO_ANSWER, CANCELED, LIKELY, APP,
	  "The room was closed before anybody answered.", OR(ALT(FAILED, SERVER_SHUTDOWN)))
	ROW("out-replaced-unanswered", OUT, NO, R(DUPLICATE_IDENTITY), ANY_S, NO_ANSWER, CANCELED, AMBIGUOUS, APP,
	  "The same identity came into the room again and LiveKit canceled this attempt; of the next one nothing was seen.",
	  OR(ALT(COMPLETED, HANGUP), ALT(FAILED, CONNECTION_LOST)))

	/* ---- inbound, answered ---- */
	ROW("in-bridge-unanswered", IN, YES, ANY_R, ANY_S, COMPLETED, HANGUP, AMBIGUOUS, UNKNOWN,
	  "LiveKit answers the caller as soon as a second phone leg is there, but that leg was never answered, and nobody else could be heard.",
	  .flags = FLAG_BRIDGE_ONLY, OR(ALT(NO_ANSWER, AGENT_UNAVAILABLE), ALT(NO_ANSWER, CALLER_ABANDONED), ALT(FAILED, SETUP_FAILED)))
	ROW("in-let-in-alone", IN, YES, R(CLIENT_INITIATED) | APP_ENDED | R(ROOM_CLOSED) | NO_LEAVE, ANY_S, NO_ANSWER, AGENT_UNAVAILABLE, LIKELY,
	  AGENT, "LiveKit took the call to ask for a PIN and let the caller in, but nobody else could be heard in the room.",
	  .flags = FLAG_LET_IN_ALONE, OR(ALT(COMPLETED, HANGUP), ALT(FAILED, MEDIA_TIMEOUT)))
	ROW("in-hangup", IN, YES, R(CLIENT_INITIATED), S(HANGUP), COMPLETED, HANGUP, CERTAIN, NONE,
	  "The caller's leg could hear another party, which is when LiveKit answers, and then it ended with a hang-up.",
	  .needs = TALKED | NEED_AUDIO | NEED_SHORT_TALK)
	ROW("in-app-ended", IN, YES, APP_ENDED, S(ACTIVE) | S(AUTOMATION) | S(HANGUP), COMPLETED, AGENT_HANGUP, CERTAIN, NONE,
	  "The call was answered; the app or the agent ended it ({reason}).", .needs = TALKED | NEED_AUDIO)
	ROW("in-app-ended-unnoted", IN, YES, APP_ENDED, ANY_S, COMPLETED, AGENT_HANGUP, AMBIGUOUS, UNKNOWN,
	  "Another party could be heard, yet the status never became active; the app ended the call ({reason}).", OR(ALT(NO_ANSWER, CANCELED)))
	ROW("in-hangup-then-more", IN, YES, ~(NO_LEAVE | R(SIP_TRUNK_FAILURE) | R(MEDIA_FAILURE)), S(HANGUP), COMPLETED, HANGUP, LIKELY, NONE,
	  "The call was answered and the status says hangup; {reason} came after it.", OR(ALT(FAILED, CONNECTION_LOST)))
	ROW("in-not-confirmed", IN, YES, R(CLIENT_INITIATED), S(ACTIVE) | S(AUTOMATION), FAILED, SETUP_FAILED, LIKELY, CALLER,
	  "LiveKit answered, but the leg ended after {seconds} s without a hang-up: the caller's side never confirmed (no ACK), or the SIP "
	  "service stopped.", .max_s = 45, OR(ALT(FAILED, SERVER_SHUTDOWN), ALT(COMPLETED, HANGUP)))
	ROW("in-cut", IN, YES, R(CLIENT_INITIATED), S(ACTIVE) | S(AUTOMATION), FAILED, SERVER_SHUTDOWN, LIKELY, LIVEKIT,
	  "The call was answered and ended without a hang-up: the SIP service stopped.", OR(ALT(FAILED, SETUP_FAILED), ALT(COMPLETED, HANGUP)))
	ROW("in-answer-failed", IN, YES, R(CLIENT_INITIATED), ANY_S, FAILED, SETUP_FAILED, LIKELY, LIVEKIT,
	  "Another party could be heard, but LiveKit ended the leg while it still rang: answering did not succeed.",
	  OR(ALT(NO_ANSWER, AGENT_UNAVAILABLE), ALT(COMPLETED, HANGUP)))

	/* ---- inbound, not answered, or nobody can say ---- */
	ROW("in-perhaps-heard", IN, MAYBE, ANY_R, ANY_S, NO_ANSWER, CALLER_ABANDONED, AMBIGUOUS, UNKNOWN,
	  "Another party was audible about the time at which the caller's leg began or ended; whether the leg heard it cannot be told.",
	  OR(ALT(COMPLETED, HANGUP), ALT(FAILED, SETUP_FAILED)))
	ROW("in-too-long-unanswered", IN, NO, R(CLIENT_INITIATED), S(HANGUP), COMPLETED, HANGUP, AMBIGUOUS, UNKNOWN,
	  "Nobody else was heard, but the leg lasted {seconds} s, longer than LiveKit lets a caller wait: events must be lost.",
	  .min_s = 190, OR(ALT(NO_ANSWER, CALLER_ABANDONED), ALT(FAILED, MEDIA_TIMEOUT)))
	ROW("in-abandoned", IN, NO, R(CLIENT_INITIATED), S(HANGUP), NO_ANSWER, CALLER_ABANDONED, LIKELY, CALLER,
	  "The caller gave up: the leg never heard another party, and LiveKit answers only then.",
	  OR(ALT(COMPLETED, HANGUP), ALT(FAILED, AGENT_ERROR)))
	ROW("in-rang-to-limit", IN, NO, R(CLIENT_INITIATED), ANY_S, NO_ANSWER, AGENT_UNAVAILABLE, LIKELY, AGENT,
	  "The caller heard ringing for {seconds} s, LiveKit's limit, and nobody took the call.", .min_s = 178, .max_s = 182,
	  OR(ALT(FAILED, AGENT_ERROR)))
	ROW("in-ended-ringing", IN, NO, R(CLIENT_INITIATED), ANY_S, NO_ANSWER, AGENT_UNAVAILABLE, LIKELY, AGENT,
	  "LiveKit ended the leg while it rang: nobody took the call within the trunk's time limit, or answering failed.",
	  OR(ALT(FAILED, SETUP_FAILED)))
	ROW("in-rejected-by-app", IN, NO, APP_ENDED, NOT_RUNG | S(RINGING), NO_ANSWER, CANCELED, CERTAIN, APP,
	  "The app ended the call ({reason}) while it still rang.", .needs = TALKED | NEED_ONE_SESSION | NEED_NOTHING_AFTER)
	ROW("in-app-ended-unanswered", IN, NO, APP_ENDED, ANY_S, NO_ANSWER, CANCELED, LIKELY, APP,
	  "The app ended the call ({reason}); no other party was heard.", OR(ALT(COMPLETED, AGENT_HANGUP)))
	ROW("in-room-closed-unanswered", IN, NO, R(ROOM_CLOSED), ANY_S, NO_ANSWER, AGENT_UNAVAILABLE, LIKELY, AGENT,
	  "The room was closed before anybody took the call.", OR(ALT(FAILED, SERVER_SHUTDOWN)))
	ROW("in-leave-lost-unanswered", IN, NO, NO_LEAVE, ANY_S, NO_ANSWER, UNANSWERED, AMBIGUOUS, UNKNOWN,
	  "No other party was heard, but the caller's participant_left is lost, too.", OR(ALT(COMPLETED, HANGUP), ALT(FAILED, CONNECTION_LOST)))
	ROW("in-replaced-unanswered", IN, NO, R(DUPLICATE_IDENTITY), ANY_S, NO_ANSWER, CALLER_ABANDONED, AMBIGUOUS, UNKNOWN,
	  "The same identity came into the room again, which ends the caller's leg; of the next one nothing was seen.",
	  OR(ALT(COMPLETED, HANGUP), ALT(FAILED, CONNECTION_LOST)))

	/* ---- a phone, either way ---- */
	ROW("sip-room-closed", SIP, YES, R(ROOM_CLOSED), ANY_S, COMPLETED, ROOM_CLOSED, LIKELY, NONE,
	  "It was answered; the room was closed.", OR(ALT(FAILED, SERVER_SHUTDOWN)))
	ROW("sip-server-shutdown-answered", SIP, YES, R(SERVER_SHUTDOWN), ANY_S, FAILED, SERVER_SHUTDOWN, LIKELY, LIVEKIT,
	  "It was answered; LiveKit stopped and the leg did not come back.", OR(ALT(COMPLETED, HANGUP)))
	ROW("sip-connection-lost-answered", SIP, YES, LOST, ANY_S, FAILED, CONNECTION_LOST, LIKELY, LIVEKIT,
	  "It was answered; then the SIP service's connection was lost ({reason}), about 20 s before the end that is shown.",
	  OR(ALT(FAILED, SERVER_SHUTDOWN), ALT(COMPLETED, HANGUP)))
	ROW("sip-trunk-failure-answered", SIP, YES | MAYBE, R(SIP_TRUNK_FAILURE), ANY_S, FAILED, TRUNK_FAILURE, LIKELY, TRUNK,
	  "LiveKit says that the trunk failed, after an answer.", OR(ALT(COMPLETED, HANGUP)))
	ROW("sip-media-failure", SIP, ANY, R(MEDIA_FAILURE), ANY_S, FAILED, MEDIA_FAILURE, LIKELY, TRUNK,
	  "LiveKit says that the media failed.", OR(ALT(COMPLETED, HANGUP)))
	ROW("sip-replaced-answered", SIP, YES, R(DUPLICATE_IDENTITY), ANY_S, COMPLETED, AGENT_HANGUP, AMBIGUOUS, APP,
	  "It was answered; then the same identity came into the room again, and LiveKit ended this leg.",
	  OR(ALT(FAILED, CONNECTION_LOST), ALT(COMPLETED, TRANSFERRED)))
	ROW("sip-leave-lost-answered", SIP, YES, NO_LEAVE, ANY_S, COMPLETED, HANGUP, LIKELY, UNKNOWN,
	  "It was answered; its participant_left is lost, so how it ended is not known.", OR(ALT(FAILED, MEDIA_TIMEOUT), ALT(FAILED, CONNECTION_LOST)))
	ROW("sip-moved-answered", SIP, YES, R(MIGRATION) | R(STATE_MISMATCH), ANY_S, FAILED, CONNECTION_LOST, AMBIGUOUS, LIVEKIT,
	  "It was answered; LiveKit moved the leg ({reason}) and it was not seen again.", OR(ALT(COMPLETED, HANGUP)))
	ROW("sip-answered-otherwise", SIP, YES, ANY_R, ANY_S, COMPLETED, HANGUP, AMBIGUOUS, UNKNOWN,
	  "It was answered; how it ended is not clear ({reason}).", OR(ALT(FAILED, CONNECTION_LOST)))
	ROW("sip-server-shutdown", SIP, NO | MAYBE, R(SERVER_SHUTDOWN), ANY_S, FAILED, SERVER_SHUTDOWN, LIKELY, LIVEKIT,
	  "LiveKit stopped before anybody answered, and the leg did not come back.", OR(ALT(NO_ANSWER, UNANSWERED)))
	ROW("sip-connection-lost", SIP, NO | MAYBE, LOST, ANY_S, FAILED, CONNECTION_LOST, LIKELY, LIVEKIT,
	  "The SIP service's connection was lost ({reason}) before anybody answered.", OR(ALT(FAILED, SERVER_SHUTDOWN), ALT(NO_ANSWER, UNANSWERED)))
	ROW("sip-join-failure", SIP, NO | MAYBE, R(JOIN_FAILURE), ANY_S, FAILED, JOIN_FAILURE, LIKELY, LIVEKIT,
	  "The leg could not join the room.", OR(ALT(NO_ANSWER, UNANSWERED)))
	ROW("sip-moved", SIP, NO | MAYBE, R(MIGRATION) | R(STATE_MISMATCH), ANY_S, FAILED, CONNECTION_LOST, AMBIGUOUS, LIVEKIT,
	  "LiveKit moved the leg ({reason}) and it was not seen again.", OR(ALT(NO_ANSWER, UNANSWERED), ALT(COMPLETED, HANGUP)))
	ROW("sip-unanswered-otherwise", SIP, NO | MAYBE, ANY_R, ANY_S, FAILED, SETUP_FAILED, AMBIGUOUS, UNKNOWN,
	  "No answer was seen; how it ended is not clear ({reason}).", OR(ALT(NO_ANSWER, UNANSWERED), ALT(COMPLETED, HANGUP)))

	/* ---- no phone: a web call ---- */
	ROW("web-user-left", WEB, YES, R(CLIENT_INITIATED), ANY_S, COMPLETED, USER_LEFT, CERTAIN, NONE,
	  "Two parties were in the room together and one of them left.",
	  .needs = TALKED | NEED_LONG_OVERLAP | NEED_DIRECTION | NEED_AGENT_MET)
	ROW("web-app-ended", WEB, YES, APP_ENDED, ANY_S, COMPLETED, AGENT_HANGUP, CERTAIN, NONE,
	  "Two parties were in the room together; the app or the agent ended the call ({reason}).",
	  .needs = TALKED | NEED_LONG_OVERLAP | NEED_DIRECTION | NEED_AGENT_MET)
	ROW("web-room-closed", WEB, YES, R(ROOM_CLOSED), ANY_S, COMPLETED, ROOM_CLOSED, LIKELY, NONE,
	  "Two parties were in the room together; the room was closed.", OR(ALT(FAILED, SERVER_SHUTDOWN)))
	ROW("web-connection-lost", WEB, YES, LOST | R(DUPLICATE_IDENTITY), ANY_S, COMPLETED, CONNECTION_LOST, LIKELY, CALLER,
	  "Two parties were in the room together; then a user's connection was lost ({reason}), up to 20 s before the end that is shown.",
	  OR(ALT(FAILED, CONNECTION_LOST)))
	ROW("web-server-shutdown", WEB, YES, R(SERVER_SHUTDOWN), ANY_S, FAILED, SERVER_SHUTDOWN, LIKELY, LIVEKIT,
	  "LiveKit stopped during the call and the user did not come back.", OR(ALT(COMPLETED, CONNECTION_LOST)))
	ROW("web-media-failure", WEB, ANY, R(MEDIA_FAILURE), ANY_S, FAILED, MEDIA_FAILURE, LIKELY, UNKNOWN,
	  "A user left because the media failed.", OR(ALT(COMPLETED, USER_LEFT)))
	ROW("web-leave-lost", WEB, YES, NO_LEAVE, ANY_S, COMPLETED, USER_LEFT, LIKELY, UNKNOWN,
	  "Two parties were in the room together; the event that says how it ended is lost.", OR(ALT(FAILED, CONNECTION_LOST), ALT(FAILED, AGENT_ERROR)))
	ROW("web-met-otherwise", WEB, YES, ANY_R, ANY_S, COMPLETED, USER_LEFT, AMBIGUOUS, UNKNOWN,
	  "Two parties were in the room together; how it ended is not clear ({reason}).", OR(ALT(FAILED, CONNECTION_LOST)))
	ROW("web-stranger", WEB, NO | MAYBE, ANY_R, ANY_S, UNKNOWN, EVENTS_LOST, AMBIGUOUS, UNKNOWN,
	  "Of somebody in the room only tracks were seen; it may have been a phone or a web user.",
	  .flags = FLAG_STRANGER, OR(ALT(COMPLETED, HANGUP), ALT(NO_ANSWER, UNANSWERED), ALT(FAILED, SETUP_FAILED)))
	ROW("web-maybe-met", WEB, MAYBE, ANY_R, ANY_S, NO_ANSWER, AGENT_UNAVAILABLE, AMBIGUOUS, UNKNOWN,
	  "Two parties may have been in the room together, but for a moment only, or after one of them had lost its connection.", OR(ALT(COMPLETED, USER_LEFT), ALT(FAILED, CONNECTION_LOST)))
	ROW("room-failed", WEB, NO, ANY_R, ANY_S, FAILED, SERVER_SHUTDOWN, LIKELY, LIVEKIT,
	  "LiveKit says that the room could not be opened, or that the server stopped; nobody had met.",
	  .flags = FLAG_ROOM_FAILED, OR(ALT(NO_ANSWER, NOBODY_JOINED)))
	ROW("web-nobody", WEB, NO, ANY_R, ANY_S, NO_ANSWER, NOBODY_JOINED, LIKELY, UNKNOWN,
	  "Nobody was seen in the room.", .flags = FLAG_NOBODY, OR(ALT(FAILED, SETUP_FAILED)))
	ROW("web-agents-only", WEB, NO, ANY_R, ANY_S, NO_ANSWER, USER_NEVER_JOINED, LIKELY, CALLER,
	  "Only agents were seen in the room.", .flags = FLAG_AGENTS_ONLY, OR(ALT(FAILED, SETUP_FAILED)))
	ROW("web-gave-up-connecting", WEB, NO, R(CLIENT_INITIATED), ANY_S, NO_ANSWER, CALLER_ABANDONED, LIKELY, CALLER,
	  "The user left before the connection to the room was complete.", .flags = FLAG_ABORTED_ONLY, OR(ALT(FAILED, JOIN_FAILURE)))
	ROW("web-never-connected", WEB, NO, ANY_R, ANY_S, FAILED, JOIN_FAILURE, LIKELY, CALLER,
	  "The user's connection to the room never came about ({reason}).", .flags = FLAG_ABORTED_ONLY, OR(ALT(NO_ANSWER, CALLER_ABANDONED)))
	ROW("web-alone", WEB, NO, R(CLIENT_INITIATED) | R(ROOM_CLOSED) | NO_LEAVE, ANY_S, NO_ANSWER, AGENT_UNAVAILABLE, LIKELY, AGENT,
	  "The user met nobody in the room.", OR(ALT(COMPLETED, USER_LEFT), ALT(FAILED, AGENT_ERROR)))
	ROW("web-alone-app-ended", WEB, NO, APP_ENDED, ANY_S, NO_ANSWER, CANCELED, LIKELY, APP,
	  "The user met nobody; the app ended it ({reason}).", OR(ALT(COMPLETED, AGENT_HANGUP)))
	ROW("web-alone-server-shutdown", WEB, NO, R(SERVER_SHUTDOWN), ANY_S, FAILED, SERVER_SHUTDOWN, LIKELY, LIVEKIT,
	  "LiveKit stopped before the user met anybody.", OR(ALT(NO_ANSWER, AGENT_UNAVAILABLE)))
	ROW("web-alone-lost", WEB, NO, ANY_R, ANY_S, FAILED, CONNECTION_LOST, LIKELY, CALLER,
	  "The user's connection was lost ({reason}) before anybody was met.", OR(ALT(NO_ANSWER, AGENT_UNAVAILABLE)))
};

const struct rule *rules_table(size_t *ret_count)
{
	*ret_count = sizeof RULES / sizeof RULES[0];
	return RULES;
}
