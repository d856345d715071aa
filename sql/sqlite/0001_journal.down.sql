DROP TABLE IF EXISTS livekit_call_events;
