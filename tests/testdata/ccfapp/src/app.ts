// An application over the npm package @microsoft/ccf-app, for TestCCFAppPackage.

import * as app from "@microsoft/ccf-app";
import * as crypto from "@microsoft/ccf-app/crypto.js";
import { ccf, snp_attestation } from "@microsoft/ccf-app/global.js";
import { TextEncoder } from "@microsoft/ccf-app/textcodec.js";

interface Item {
  text: string;
  tags: string[];
}

const items = () => app.typedKv("items", app.uint32, app.json<Item>());
const tags = () => app.typedKvSet("public:tags", app.string);

const idOf = (request: app.Request) => Number(request.params.id);

export function put(request: app.Request<Item>): app.Response {
  const item = request.body.json();
  items().set(idOf(request), item);
  item.tags.forEach((tag) => tags().add(tag));
  app.setClaimsDigest(crypto.digest("SHA-256", ccf.jsonCompatibleToBuf(item)));
  return { statusCode: 201, body: { size: items().size, tags: tags().size } };
}

export function get(request: app.Request): app.Response {
  const id = idOf(request);
  const item = items().get(id);
  if (item === undefined) {
    return { statusCode: 404, body: { has: items().has(id) } };
  }
  const found: string[] = [];
  tags().forEach((tag) => found.push(tag));
  const ordered = globalThis.ccf.chancery.kv.keys(app.rawKv["public:tags"], { reverse: true }).keys.map((key) => app.string.decode(key));
  if (ordered.join() !== [...found].sort().reverse().join()) throw new Error(`in order: ${ordered}`);
  const caller = request.caller as unknown as app.UserCertAuthnIdentity;
  return { body: { item, tags: found.sort(), version: items().getVersionOfPreviousWrite(id), policy: caller.policy, last: app.getLastCommittedTxId().view } };
}

export function remove(request: app.Request): app.Response {
  items().delete(idOf(request));
  app.setApplyWrites(request.query === "apply");
  return { statusCode: 404 };
}

const show = (state: app.HistoricalState, id: number) => ({
  item: app.typedKv(state.kv["items"], app.uint32, app.json<Item>()).get(id),
  id: state.transactionId,
  claims: state.receipt.leaf_components?.claims_digest,
});

export function past(request: app.Request): app.Response {
  if (app.historicalState === undefined) throw new Error("no historical state");
  return { body: show(app.historicalState, idOf(request)) };
}

export function range(request: app.Request<{ from: number; to: number }>): app.Response {
  const { from, to } = request.body.json();
  const states = app.getStateRange(from, from, to, 60);
  if (states === null) return { statusCode: 202, headers: { "retry-after": "1" } };
  const body = states.map((state) => ({ ...show(state, idOf(request)), status: app.getStatusForTxId(app.getViewForSeqno(from)!, from) }));
  return { body: { body, dropped: app.dropCachedStates(from) } };
}

const hex = (b: ArrayBuffer) => [...new Uint8Array(b)].map((n) => n.toString(16).padStart(2, "0")).join("");

export function useCrypto(): app.Response {
  const data = new TextEncoder().encode("data").buffer as ArrayBuffer;
  const out: Record<string, unknown> = { digest: hex(crypto.digest("SHA-256", data)) };
  const ec = crypto.generateEcdsaKeyPair("secp256r1");
  const ed = crypto.generateEddsaKeyPair("curve25519");
  const rsa = crypto.generateRsaKeyPair(2048);
  const algorithms: [crypto.SigningAlgorithm, crypto.CryptoKeyPair][] = [
    [{ name: "ECDSA", hash: "SHA-256" }, ec],
    [{ name: "EdDSA" }, ed],
    [{ name: "RSA-PSS", hash: "SHA-256", saltLength: 32 }, rsa],
  ];
  for (const [algorithm, pair] of algorithms) {
    const signature = crypto.sign(algorithm, pair.privateKey, data);
    out[algorithm.name] = [
      crypto.verifySignature(algorithm, pair.publicKey, signature, data),
      crypto.verifySignature(algorithm, pair.publicKey, signature, new ArrayBuffer(4)),
    ];
  }
  const key = crypto.generateAesKey(256);
  const kek = crypto.generateAesKey(128);
  const bytes = (pem: string) => ccf.strToBuf(pem);
  const wraps: [crypto.WrapAlgoParams, ArrayBuffer, ArrayBuffer][] = [
    [{ name: "AES-KWP" }, kek, kek],
    [{ name: "RSA-OAEP" }, bytes(rsa.publicKey), bytes(rsa.privateKey)],
    [{ name: "RSA-OAEP-AES-KWP", aesKeySize: 256 }, bytes(rsa.publicKey), bytes(rsa.privateKey)],
  ];
  for (const [algorithm, wrap, unwrap] of wraps) {
    out[algorithm.name] = hex(crypto.unwrapKey(crypto.wrapKey(key, wrap, algorithm), unwrap, algorithm)) === hex(key);
  }
  const again = (pem: string, there: (pem: string) => any, back: (jwk: any) => string) => hex(bytes(back(there(pem)))) === hex(bytes(pem));
  out.jwk = [
    again(ec.publicKey, crypto.pubPemToJwk, crypto.pubJwkToPem),
    again(ec.privateKey, crypto.pemToJwk, crypto.jwkToPem),
    again(rsa.publicKey, crypto.pubRsaPemToJwk, crypto.pubRsaJwkToPem),
    again(rsa.privateKey, crypto.rsaPemToJwk, crypto.rsaJwkToPem),
    again(ed.publicKey, crypto.pubEddsaPemToJwk, crypto.pubEddsaJwkToPem),
    again(ed.privateKey, crypto.eddsaPemToJwk, crypto.eddsaJwkToPem),
  ];
  out.certs = [crypto.isValidX509CertBundle(ec.publicKey), crypto.isValidX509CertChain("x", "y")];
  return { body: out };
}

export function converters(): app.Response {
  const failed: string[] = [];
  function check<T>(name: string, converter: app.DataConverter<T>, ...values: T[]) {
    const map = app.typedKv(`of ${name}`, converter, converter);
    for (const value of values) {
      map.set(value, value);
      const text = (v: unknown) => JSON.stringify(v, (_, x) => (typeof x === "bigint" ? `${x}n` : x instanceof ArrayBuffer ? hex(x) : x));
      if (text(map.get(value)) !== text(value)) failed.push(`${name}: ${text(map.get(value))} for ${text(value)}`);
    }
    if (map.size !== values.length) failed.push(`${name}: ${map.size} keys`);
  }
  check("bool", app.bool, true, false);
  check("int8", app.int8, -128, 127);
  check("uint8", app.uint8, 0, 255);
  check("int16", app.int16, -32768, 32767);
  check("uint16", app.uint16, 0, 65535);
  check("int32", app.int32, -(2 ** 31), 2 ** 31 - 1);
  check("uint32", app.uint32, 0, 2 ** 32 - 1);
  check("int64", app.int64, -(2n ** 63n), 2n ** 63n - 1n);
  check("uint64", app.uint64, 0n, 2n ** 64n - 1n);
  check("float32", app.float32, -1.5, 0.25);
  check("float64", app.float64, Math.PI, -1e300);
  check("string", app.string, "", "zürich 🌍");
  check("json", app.json<unknown>(), null, { a: [1, "two", { b: false }] });
  check("checkedJson", app.checkedJson<{ a: number }>(), { a: 1 });
  check("typedArray", app.typedArray(Uint16Array), new Uint16Array([1, 65535]));
  check("arrayBuffer", app.arrayBuffer, new Uint8Array([0, 255]).buffer as ArrayBuffer);
  app.rawKv["raw"].set(app.string.encode("k"), app.string.encode("v"));
  return { body: failed };
}

/** What is at each of the paths: "ccf.crypto.sign" gives "function". */
export function kinds(request: app.Request<string[]>): app.Response {
  const roots: Record<string, unknown> = { ccf, snp_attestation };
  const kindOf = (path: string) => typeof path.split(".").reduce((value: any, name) => value?.[name], roots);
  return { body: Object.fromEntries(request.body.json().map((path) => [path, kindOf(path)])) };
}
