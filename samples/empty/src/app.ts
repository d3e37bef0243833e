// One endpoint that reads and one that writes. app.json says at which paths, for whom,
// and whether they may write.

const counts = "greetings"; // a private map: encrypted in the ledger

function countOf(name: string): number {
  const stored = ccf.kv[counts].get(ccf.strToBuf(name));
  return stored === undefined ? 0 : ccf.bufToJsonCompatible(stored);
}

export function hello(request: Request): Response {
  const { name } = request.params;
  return { body: { greeting: `Hello, ${name}`, count: countOf(name) } };
}

export function count(request: Request): Response {
  const { name } = request.params;
  const next = countOf(name) + 1;
  ccf.kv[counts].set(ccf.strToBuf(name), ccf.jsonCompatibleToBuf(next));
  return { body: { greeting: `Hello, ${name}`, count: next } };
}
