/* The description of the HTTP API (OpenAPI 3.1), made at build from openapi.json and from the code's own lists (tools/embed_openapi.py). */
#pragma once

#include <stddef.h>

extern const char openapi_text[];
extern const size_t openapi_bytes;
