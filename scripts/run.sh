#!/bin/sh
# What `make run` runs after the build: starts the daemon on loopback with a SQLite file, sends one recorded call through it, shows the verdict
# and stays in the foreground until Ctrl-C. For trying out: the database is always ./outcomed.db, and reads need no token.
set -eu
cd "$(dirname "$0")/.."

outcomed=build/outcomed
capture=tests/captures/out-answered-bye.jsonl
tenant=user-9
listen=${OUTCOMED_LISTEN:-127.0.0.1:5000}
url=http://$listen

unset OUTCOMED_SERVICE_TOKEN OUTCOMED_SERVICE_TOKEN_FILE OUTCOMED_TENANT_SECRET OUTCOMED_TENANT_SECRET_FILE
if [ -n "${DATABASE_URL-}" ]; then
	echo "make run does not touch the database of DATABASE_URL; it uses sqlite:outcomed.db" >&2
fi

case $listen in
127.*:* | localhost:* | '[::1]':*) ;;
*)
	echo "make run listens on loopback only; OUTCOMED_LISTEN=$listen is not. For anything else run $outcomed serve yourself." >&2
	exit 2
	;;
esac

# 7 is curl's "could not connect": nobody is there yet.
status=0
curl -s -o /dev/null --max-time 2 "$url/livez" || status=$?
if [ "$status" != 7 ]; then
	echo "Something is listening on $listen already. Stop it, or take another port: OUTCOMED_LISTEN=127.0.0.1:5001 make run" >&2
	exit 2
fi

send=$outcomed
if [ -z "${LIVEKIT_WEBHOOK_SECRET-}${LIVEKIT_WEBHOOK_SECRET_FILE-}${LIVEKIT_API_KEY-}${LIVEKIT_KEYS-}${LIVEKIT_KEYS_FILE-}" ]; then
	export LIVEKIT_API_KEY=devkey LIVEKIT_API_SECRET=secret
	send="LIVEKIT_API_KEY=devkey LIVEKIT_API_SECRET=secret $outcomed"
	cat >&2 <<'BANNER'

  ********************************************************************************
  *  DEMO KEY, not for production: devkey / secret, which everybody knows.       *
  *  Anybody who reaches this port can forge webhooks. For your own LiveKit set  *
  *  LIVEKIT_API_KEY and LIVEKIT_API_SECRET and run this again.                  *
  ********************************************************************************

BANNER
fi

sid=$(grep -o 'RM_[A-Za-z0-9]*' "$capture" | head -n 1)
outcome_url="$url/api/calls/$sid/outcome?user_id=$tenant"

# Is the daemon ($$, after the exec below) running? One that nobody has waited for yet is not.
runs() {
	[ -r /proc/$$/status ] && ! grep -q '^State:[[:space:]]*Z' /proc/$$/status
}

show_a_call() {
	tries=0
	until curl -s -f -o /dev/null --max-time 2 "$url/readyz"; do
		runs || exit 0
		tries=$((tries + 1))
		if [ "$tries" -ge 100 ]; then
			echo "The daemon did not get ready in 20 seconds; its log above says why." >&2
			exit 1
		fi
		sleep 0.2
	done
	echo
	echo "Sending a recorded call through it: an outbound call that rang, was answered, and ended with a hang-up."
	if ! "$outcomed" send --url "$url/api/webhooks/call_completed" "$capture"; then
		echo "The recorded call was not taken; the lines above say why." >&2
		exit 1
	fi
	echo
	echo "Its verdict (GET /api/calls/$sid/outcome?user_id=$tenant):"
	curl -s --max-time 10 "$outcome_url" | python3 -m json.tool || echo "It could not be read." >&2
	cat <<NEXT

outcomed is serving on $url, with its data in $(pwd)/outcomed.db. What next, in another terminal:
  curl '$outcome_url'
  curl '$url/api/calls?user_id=$tenant'
  curl '$url/metrics'
  $outcomed explain --database sqlite:outcomed.db --user=$tenant $sid
  $send send --url $url/api/webhooks/call_completed tests/captures/out-486.jsonl
The last one sends another recorded call, whose line was busy; look for it in the list. Point LiveKit at it: webhook.urls: [$url/api/webhooks/call_completed]
Ctrl-C stops it.

NEXT
}

show_a_call &
exec "$outcomed" serve --listen "$listen" --database sqlite:outcomed.db
