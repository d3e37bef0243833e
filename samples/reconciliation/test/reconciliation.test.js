// Run with `chancery app test samples/reconciliation`.

const submit = (caller, records) =>
  chancery.call({
    method: "POST",
    path: "/records",
    caller,
    body: { records: Object.entries(records).map(([id, value]) => ({ id, value })) },
  });

const states = (caller) =>
  Object.fromEntries(chancery.call({ path: "/report", caller }).body.json().records.map((r) => [r.id, `${r.state} of ${r.parties}`]));

export function testStates() {
  const [a, b, c] = [chancery.user(), chancery.user(), chancery.user()];
  chancery.equal(submit(a, { x: "1", y: "1", z: "1", "a/b c": "1" }).statusCode, 204);
  submit(b, { x: "1", y: "2", "a/b c": "1" });
  submit(c, { x: "1", y: "2", "a/b": "1" });
  chancery.equal(states(a), { x: "agreed of 3", y: "minority of 3", z: "alone of 1", "a/b c": "agreed of 2" });
  chancery.equal(states(b), { x: "agreed of 3", y: "majority of 3", "a/b c": "agreed of 2" });
  chancery.equal(chancery.call({ path: "/summary", caller: chancery.member() }).body.json(), { alone: 2, agreed: 2, disputed: 1 });

  const one = chancery.call({ path: "/report/a%2Fb%20c", caller: a });
  chancery.equal(one.body.json(), { id: "a/b c", value: "1", state: "agreed", parties: 2 });
  chancery.equal(chancery.call({ path: "/report/z", caller: b }).statusCode, 404, "a record of another party");
  chancery.equal(chancery.call({ path: "/report/%ff", caller: b }).statusCode, 400);

  submit(b, { y: "1" });
  submit(c, { y: "1" });
  chancery.equal(states(a).y, "agreed of 3");
}

export function testPages() {
  const a = chancery.user();
  submit(a, Object.fromEntries([...Array(25).keys()].map((i) => [`id ${i}`, "v"])));
  const seen = [];
  for (let after = ""; after !== undefined; ) {
    const page = chancery.call({ path: `/report?limit=10${after && `&after=${after}`}`, caller: a }).body.json();
    seen.push(page.records.length);
    after = page.after;
  }
  chancery.equal(seen, [10, 10, 5]);
  chancery.equal(chancery.call({ path: "/report?limit=x", caller: a }).statusCode, 400);
}

export function testRefusals() {
  const a = chancery.user();
  for (const body of ["", "{", "null", "[]", { records: [] }, { records: [{}] }, { records: [{ id: "", value: "v" }] }, { records: [{ id: "x", value: 1 }] }]) {
    chancery.equal(chancery.call({ method: "POST", path: "/records", caller: a, body }).statusCode, 400, JSON.stringify(body));
  }
  chancery.equal(states(a), {});
}
