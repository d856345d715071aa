-- The journal: every accepted event, also those nobody could read.
CREATE TABLE livekit_call_events (
	id INTEGER PRIMARY KEY,
	"userId" TEXT,
	"callLogId" TEXT,
	"eventId" TEXT NOT NULL,
	event TEXT NOT NULL,
	"roomName" TEXT,
	"roomSid" TEXT,
	"participantIdentity" TEXT,
	"participantSid" TEXT,
	timestamp INTEGER,
	"rawPayload" TEXT,
	"rawBody" BLOB,
	processed INTEGER NOT NULL,
	"errorMessage" TEXT,
	"createdAt" TEXT NOT NULL,
	"processedAt" TEXT,
	source TEXT NOT NULL,
	"bodyHash" TEXT NOT NULL,
	"keyId" TEXT
) STRICT;
CREATE UNIQUE INDEX "idx_lce_eventId" ON livekit_call_events ("eventId");
CREATE INDEX idx_lce_room ON livekit_call_events ("roomSid") WHERE "roomSid" IS NOT NULL;
CREATE INDEX idx_lce_unbound ON livekit_call_events ("roomName") WHERE "roomSid" IS NULL;
CREATE INDEX idx_lce_unowned ON livekit_call_events ("roomSid") WHERE "userId" IS NULL;
CREATE INDEX idx_lce_aside ON livekit_call_events ("createdAt") WHERE processed = 0;
