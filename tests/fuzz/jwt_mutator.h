/* What the mutator of tokens and the targets that use it must agree about. */
#pragma once

#define JWT_MUTATOR_SECRET "secret of thirty-two bytes, or more"
