#include "base/error.h"

const char *oc_error_text(int code)
{
	switch ((enum oc_error)code) {
	case OC_OK: return "ok";
	case OC_NOMEM: return "out of memory";
	case OC_INVALID: return "malformed input";
	case OC_NOT_FOUND: return "not found";
	case OC_FULL: return "a limit is reached";
	case OC_DOWN: return "database cannot be reached";
	case OC_UNSURE: return "connection lost in commit";
	case OC_RETRY: return "conflict with another transaction";
	case OC_DATA: return "database refused the data";
	case OC_IO: return "input/output error";
	case OC_SCHEMA: return "schema version does not fit";
	case OC_DENIED: return "access denied";
	case OC_TIMEOUT: return "deadline passed";
	case OC_CONFLICT: return "conflict";
	case OC_CONFIG: return "configuration error";
	case OC_NET: return "network error";
	case OC_FSYNC: return "a sync to the disk failed";
	}
	return "unknown error";
}
