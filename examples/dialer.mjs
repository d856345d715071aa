// Dials with LiveKit's Node SDK and tells outcomed what came of it: the SIP code is only in the error that the dialer gets.
//
//   import { SipClient } from 'livekit-server-sdk';
//   const participant = await dial(new SipClient(url, key, secret), 'ST_…', '+15105550123', 'sales-42', { waitUntilAnswered: true });
//
// Nothing but fetch. OUTCOMED_URL is where outcomed listens, OUTCOMED_TOKEN a service token or a tenant's, where it asks for one.

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

/** The event id under which outcomed keeps the mark, or null. Never throws: a mark is not worth a call. */
export async function postMark(mark, waits = [1000, 2000, 4000, 8000]) {
  const url = (process.env.OUTCOMED_URL ?? 'http://127.0.0.1:5000') + '/api/marks';
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': randomUUID() };
  if (process.env.OUTCOMED_TOKEN) headers.Authorization = `Bearer ${process.env.OUTCOMED_TOKEN}`;
  for (const wait of [...waits, null]) {
    try {
      const reply = await fetch(url, { method: 'POST', headers, body: JSON.stringify(mark), signal: AbortSignal.timeout(5000) });
      if (reply.ok) return (await reply.json()).event_id;
      const text = await reply.text();
      if (reply.status < 500 && reply.status !== 429) {
        console.error('outcomed refused the mark:', reply.status, text);
        return null;
      }
    } catch {
      // not reached, or no answer in time
    }
    if (wait !== null) await sleep(wait);
  }
  console.error('outcomed could not be reached: the mark is lost');
  return null;
}

/** What LiveKit's answer (TwirpError, SipCallError) says about the call; null for an error that is no answer of LiveKit's. */
export function markOfError(error, roomName) {
  if (error?.metadata === undefined && error?.status === undefined) return null;
  const code = Number.parseInt(error.metadata?.sip_status_code ?? '', 10);
  const text = error.metadata?.sip_status || error.message || '';
  return {
    roomName, source: 'dialer', kind: 'sip_result', at: new Date().toISOString(), sipCode: Number.isNaN(code) ? null : code, sipText: text.slice(0, 500),
  };
}

/** sip.createSipParticipant(…), with its result posted in the background; `posted` hears of the mark. */
export async function dial(sip, trunkId, number, roomName, options = {}, posted = () => {}) {
  const tell = (mark) => postMark(mark).then(posted);
  try {
    const participant = await sip.createSipParticipant(trunkId, number, roomName, options);
    if (options.waitUntilAnswered) tell({ sipCallId: participant.sipCallId, source: 'dialer', kind: 'answered', at: new Date().toISOString() });
    return participant;
  } catch (error) {
    const mark = markOfError(error, roomName);
    if (mark) tell(mark);
    throw error;
  }
}
