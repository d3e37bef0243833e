// Accounts of users. Members open them and pay in; users transfer between them. Every
// movement is a line of a statement, and a transfer is a claim of its transaction, so that
// whoever was paid can prove it to anybody, offline, with the transaction's receipt.

import { failure, parametersOf, readValue } from "./request.js";

// All private: encrypted in the ledger.
const accounts = "accounts"; // "user/account" -> {balance, movements}
const statements = "statements"; // "user/account/number" -> {kind, value, balance, ...}
const claims = "claims"; // "last" -> the text whose digest is the transaction's claim

const keyOf = (user, account) => ccf.strToBuf(`${user}/${account}`);

/** The key of a movement: numbers of equal length are in the order of their texts. */
const movementKey = (user, account, number) =>
  ccf.strToBuf(`${user}/${account}/${String(number).padStart(15, "0")}`);

function accountOf(user, account) {
  const stored = ccf.kv[accounts].get(keyOf(user, account));
  return stored === undefined ? undefined : ccf.bufToJsonCompatible(stored);
}

/** Changes a balance, which must not get below 0, and adds a line to the statement. */
function move(user, account, state, line) {
  const balance = state.balance + line.value;
  const movements = state.movements + 1;
  ccf.kv[accounts].set(keyOf(user, account), ccf.jsonCompatibleToBuf({ balance, movements }));
  ccf.kv[statements].set(movementKey(user, account, movements), ccf.jsonCompatibleToBuf({ ...line, balance }));
}

const noAccount = () => failure(404, "ResourceNotFound", "There is no such account");
const tooLarge = () => failure(400, "InvalidInput", "The balance would not be a safe number any more");

export function open(request) {
  const { user_id: user, account_name: account } = request.params;
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(account)) {
    return failure(400, "InvalidInput", "An account's name has 1 to 64 letters, digits, '_' and '-'");
  }
  if (!ccf.kv["public:ccf.gov.users.certs"].has(ccf.strToBuf(user))) {
    return failure(404, "ResourceNotFound", "There is no such user");
  }
  if (accountOf(user, account) === undefined) {
    ccf.kv[accounts].set(keyOf(user, account), ccf.jsonCompatibleToBuf({ balance: 0, movements: 0 }));
  }
  return { statusCode: 204 };
}

export function deposit(request) {
  const { user_id: user, account_name: account } = request.params;
  const { body, refused } = readValue(request);
  if (refused) return refused;
  const state = accountOf(user, account);
  if (state === undefined) return noAccount();
  if (!Number.isSafeInteger(state.balance + body.value)) return tooLarge();
  move(user, account, state, { kind: "deposit", value: body.value });
  return { statusCode: 204 };
}

export function balance(request) {
  const state = accountOf(request.caller.id, request.params.account_name);
  return state === undefined ? noAccount() : { body: { balance: state.balance } };
}

export function transfer(request) {
  const { body, refused } = readValue(request);
  if (refused) return refused;
  const from = { user: request.caller.id, account: request.params.account_name };
  const to = { user: body.user_id_to, account: body.account_name_to };
  if (typeof to.user !== "string" || typeof to.account !== "string") {
    return failure(400, "InvalidInput", "user_id_to and account_name_to say who is paid");
  }
  if (from.user === to.user && from.account === to.account) {
    return failure(400, "InvalidInput", "An account cannot pay itself");
  }
  const payer = accountOf(from.user, from.account);
  const payee = accountOf(to.user, to.account);
  if (payer === undefined || payee === undefined) return noAccount();
  if (payer.balance < body.value) return failure(400, "InvalidInput", "The balance is too low");
  if (!Number.isSafeInteger(payee.balance + body.value)) return tooLarge();
  move(from.user, from.account, payer, { kind: "paid", value: -body.value, other: to });
  move(to.user, to.account, payee, { kind: "received", value: body.value, other: from });

  const claim = ccf.jsonCompatibleToBuf({ from, to, value: body.value });
  ccf.kv[claims].set(ccf.strToBuf("last"), claim);
  ccf.rpc.setClaimsDigest(ccf.crypto.digest("SHA-256", claim));
  return { statusCode: 204 };
}

const longestPage = 1000;

/** Lines of the statement, newest first; "before" of the answer asks for the next page. */
export function statement(request) {
  const { id: user } = request.caller;
  const { account_name: account } = request.params;
  if (accountOf(user, account) === undefined) return noAccount();
  const { limit = "50", before } = parametersOf(request);
  if (!/^[1-9][0-9]*$/.test(limit) || Number(limit) > longestPage) {
    return failure(400, "InvalidQueryParameterValue", `limit is a number from 1 to ${longestPage}`);
  }
  if (before !== undefined && !/^[1-9][0-9]{0,14}$/.test(before)) {
    return failure(400, "InvalidQueryParameterValue", "before is the number of a movement");
  }
  const { entries, cursor } = ccf.chancery.kv.range(ccf.kv[statements], {
    prefix: ccf.strToBuf(`${user}/${account}/`),
    reverse: true,
    limit: Number(limit),
    cursor: before === undefined ? undefined : movementKey(user, account, before),
  });
  const numberOf = (key) => Number(ccf.bufToStr(key).split("/")[2]);
  const movements = entries.map(({ key, value }) => ({ number: numberOf(key), ...ccf.bufToJsonCompatible(value) }));
  return { body: cursor === undefined ? { movements } : { movements, before: numberOf(cursor) } };
}

/** How long the node keeps what it fetched, in seconds. */
const keepFor = 1800;

/** The claim of a transfer with its receipt, for the two who took part in it. */
export function proof(request) {
  const { transaction_id: id } = parametersOf(request);
  const parts = /^([0-9]{1,15})\.([0-9]{1,15})$/.exec(id ?? "");
  if (parts === null || Number(parts[2]) === 0) {
    return failure(400, "InvalidQueryParameterValue", "transaction_id is view.seqno");
  }
  const [view, seqno] = [Number(parts[1]), Number(parts[2])];
  const status = ccf.consensus.getStatusForTxId(view, seqno);
  if (status === "Invalid") return failure(404, "TransactionInvalid", `Transaction ${id} is invalid`);
  const states = status === "Committed" ? ccf.historical.getStateRange(seqno, seqno, seqno, keepFor) : null;
  if (states === null) {
    return { statusCode: 202, headers: { "retry-after": "1" }, body: `Transaction ${id} is not available yet` };
  }
  const claim = states[0].kv[claims].get(ccf.strToBuf("last"));
  const parties = claim === undefined ? {} : ccf.bufToJsonCompatible(claim);
  if (request.caller.id !== parties.from?.user && request.caller.id !== parties.to?.user) {
    return failure(404, "ResourceNotFound", `Transaction ${id} is no transfer of yours`);
  }
  return { body: { claim: ccf.bufToStr(claim), receipt: states[0].receipt } };
}
