// What the rows of the bench's table about JavaScript ask.

const table = "bench";

export function empty() {
  return {};
}

export function read() {
  return { body: ccf.bufToStr(ccf.kv[table].get(ccf.strToBuf("read"))) };
}

export function write(request) {
  const document = request.body.json();
  ccf.kv[table].set(ccf.strToBuf(document.id), ccf.jsonCompatibleToBuf(document.items));
  return { body: true };
}

const algorithm = { name: "ECDSA", hash: "SHA-256" };
const signed = () => ccf.strToBuf("what is signed");

/** Writes what read and verify need. */
export function setup() {
  const { privateKey, publicKey } = ccf.crypto.generateEcdsaKeyPair("secp256r1");
  const put = (key, value) => ccf.kv[table].set(ccf.strToBuf(key), value);
  put("read", ccf.strToBuf("a message of some length"));
  put("key", ccf.strToBuf(publicKey));
  put("signature", ccf.crypto.sign(algorithm, privateKey, signed()));
  return { body: true };
}

export function verify() {
  const get = (key) => ccf.kv[table].get(ccf.strToBuf(key));
  const good = ccf.crypto.verifySignature(algorithm, ccf.bufToStr(get("key")), get("signature"), signed());
  return { statusCode: good ? 200 : 500 };
}

export function loop() {
  for (;;);
}
