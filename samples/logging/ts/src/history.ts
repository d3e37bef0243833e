// Records as they were: of one transaction, with its receipt, and over a range.

import { type Kind, messageIn, privateRecords, publicRecords } from "./records";
import { failure, notFound, parseQuery, recordId } from "./request";

/** The table of a kind as the transaction of the request's header wrote it. */
function pastTable(request: Request, kind: Kind): KvMap {
  const { scope } = parseQuery(request);
  return ccf.historicalState.kv[scope === undefined ? kind : `${kind}-${scope}`];
}

function getHistorical(request: Request, kind: Kind): Response {
  const id = recordId(request);
  const msg = messageIn(pastTable(request, kind), id);
  return msg === undefined ? notFound(id) : { body: { msg } };
}

function getHistoricalReceipt(request: Request, kind: Kind): Response {
  const answer = getHistorical(request, kind);
  if (answer.statusCode !== undefined) return answer;
  const { receipt } = ccf.historicalState;
  if (kind === publicRecords && receipt.leaf_components !== undefined) {
    // The claim is the digest of the message, which is in this answer too.
    delete receipt.leaf_components.claims_digest;
  }
  return { body: { ...(answer.body as { msg: string }), receipt } };
}

/** How many transactions one answer looks at. */
const pageSize = 2000;
/** How long the node keeps what it fetched, in seconds. */
const keepFor = 1800;

function seqnoOf(parameters: Record<string, string | undefined>, name: string, otherwise: number): number {
  const text = parameters[name];
  if (text === undefined) return otherwise;
  const seqno = Number(text);
  if (!Number.isInteger(seqno) || seqno < 1) throw new Error(`Query parameter '${name}' is not a sequence number`);
  return seqno;
}

function getRange(request: Request, kind: Kind): Response {
  const parameters = parseQuery(request);
  const id = recordId(request);
  const from = seqnoOf(parameters, "from_seqno", 1);
  const to = seqnoOf(parameters, "to_seqno", ccf.consensus.getLastCommittedTxId().seqno);
  if (to < from) return failure(400, "InvalidInput", "to_seqno lies before from_seqno");
  const view = ccf.consensus.getViewForSeqno(to);
  if (view === null || ccf.consensus.getStatusForTxId(view, to) !== "Committed") {
    return failure(400, "InvalidInput", "to_seqno is not committed");
  }
  const last = Math.min(to, from + pageSize - 1);

  const states = ccf.historical.getStateRange(handleOf(`${kind} ${id} ${from} ${last}`), from, last, keepFor);
  if (states === null) {
    return { statusCode: 202, headers: { "retry-after": "1" }, body: "Historical entries are being fetched" };
  }
  const table = parameters.scope === undefined ? kind : `${kind}-${parameters.scope}`;
  const entries: { seqno: number; id: number; msg: string }[] = [];
  for (const state of states) {
    const msg = messageIn(state.kv[table], id);
    if (msg !== undefined) {
      entries.push({ seqno: Number(state.transactionId.split(".")[1]), id: Number(id), msg });
    }
  }
  const body: { entries: typeof entries; "@nextLink"?: string } = { entries };
  if (last < to) {
    const scope = parameters.scope === undefined ? "" : `&scope=${parameters.scope}`;
    body["@nextLink"] = `${request.path}?from_seqno=${last + 1}&to_seqno=${to}&id=${id}${scope}`;
  }
  return { body };
}

/** A number that names one query, so that asking again finds what was fetched. */
function handleOf(text: string): number {
  let hash = 0;
  for (const character of text) hash = (hash * 31 + character.charCodeAt(0)) % 4294967291;
  return hash;
}

export const getHistoricalPrivate = (request: Request): Response => getHistorical(request, privateRecords);
export const getHistoricalPublic = (request: Request): Response => getHistorical(request, publicRecords);
export const getHistoricalReceiptPrivate = (request: Request): Response => getHistoricalReceipt(request, privateRecords);
export const getHistoricalReceiptPublic = (request: Request): Response => getHistoricalReceipt(request, publicRecords);
export const getRangePrivate = (request: Request): Response => getRange(request, privateRecords);
export const getRangePublic = (request: Request): Response => getRange(request, publicRecords);
