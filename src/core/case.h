/* A call as the rules see it, and what verdict.c tells about it. Internal to core/. */
#pragma once

#include "core/rules.h"

struct call_case {
	struct room_view view;
	struct presence presence;        /* of those without a phone */
	bool met_besides;                /* two of them met, while the phone was not answered */
	const struct leg *leg;           /* the primary leg; NULL = the room itself */
	bool alone;                      /* this leg is judged for itself, whatever the others did */
	bool only_told;                  /* a dialed call of which witnesses alone know: no event of a phone or a user came */
	const struct fact_session *end;  /* whose leave ended the call; NULL = not seen */
	int64_t end_s;                   /* the second it ended, as far as known; 0 = unknown */
	const struct fact_session *failed_agent; /* for FLAG_AGENT_ERROR */
	struct rule_case rule_case;
};

/* What witnesses say of the leg, or of the room. Points into the case. */
static inline const struct testimony *case_marks(const struct call_case *c) { return c->leg ? &c->leg->marks : &c->view.marks; }

OC_NODISCARD int case_make(const struct facts *f, struct arena *a, struct call_case *ret);
/* One phone leg for itself: an index into the room_view's legs. */
OC_NODISCARD int case_make_of_leg(const struct facts *f, size_t index, struct arena *a, struct call_case *ret);

/* Its verdict, as if it were the call; for a leg that is over. In verdict.c. */
OC_NODISCARD int verdict_of_leg(const struct facts *f, size_t index, struct arena *a, struct verdict *ret);

/* When the call counts as over although nothing more comes: milliseconds, 0 = never. *ret_over: it is over by an event. */
int64_t case_deadline_ms(const struct call_case *c, bool *ret_over);
/* The shorter limit of an open call, also where the longer one holds: so that nothing is to be written when somebody answers. 0 = none. */
int64_t case_first_look_ms(const struct call_case *c);

/* The row's confidence, lowered where something it needs does not hold, and where witnesses contradict each other or the events. */
enum confidence case_confidence(const struct call_case *c, const struct rule *r);

OC_NODISCARD int case_explain(const struct call_case *c, const struct rule *r, struct arena *a, struct verdict *v);
